//! Starting, ticking and stopping.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use trellis_observation::{
    Cursor, ObservationRuntime, ObservationStatus, StaticSources, StopReason, WaitReason,
};

use crate::support::{Act, INTERVAL, LONG, Scripted, config};

#[track_caller]
fn assert_stopped(status: &ObservationStatus, expected: StopReason) {
    let ObservationStatus::Stopped { reason } = status else {
        panic!("{status}");
    };
    assert_eq!(*reason, expected);
}

#[tokio::test(start_paused = true)]
async fn an_observation_starts_empty_and_runs_after_its_first_cycle() {
    let (_runtime, handle) = Scripted::quiet().start();
    assert!(handle.latest().is_none());
    assert!(matches!(handle.status(), ObservationStatus::Starting));

    let first = handle.wait_until(LONG, |_| true).await.unwrap();

    assert_eq!((first.version, first.cycle, first.polls), (1, 1, 1));
    assert!(handle.status().is_running());
}

#[tokio::test(start_paused = true)]
async fn a_cycle_begins_an_interval_after_the_last_one_began() {
    let began = Instant::now();
    let take = |_| Act::Take(Duration::from_millis(60));
    let (_runtime, handle) = Scripted::polling(take).start();

    let third = handle
        .wait_until(LONG, |seen| seen.polls == 3)
        .await
        .unwrap();

    assert_eq!(third.began_at - began, 2 * INTERVAL);
    assert_eq!(third.taken_at - third.began_at, Duration::from_millis(60));
}

#[tokio::test(start_paused = true)]
async fn a_long_cycle_delays_the_next_and_is_not_made_up_for() {
    let began = Instant::now();
    let take = |call| match call {
        1 => Act::Take(Duration::from_millis(450)),
        _ => Act::Find(Vec::new()),
    };
    let (_runtime, handle) = Scripted::polling(take).start();

    let third = handle
        .wait_until(LONG, |seen| seen.polls == 3)
        .await
        .unwrap();

    assert_eq!(third.began_at - began, Duration::from_millis(550));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_tells_its_age() {
    let (runtime, handle) = Scripted::quiet().start();
    handle.wait_until(LONG, |_| true).await.unwrap();
    runtime.shutdown().await;

    sleep(Duration::from_secs(7)).await;

    assert_eq!(handle.latest().unwrap().age(), Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn after_a_shutdown_nothing_runs_and_all_stays_readable() {
    let observer = Scripted::polling(|call| Act::Find(vec![u32::try_from(call).unwrap()]));
    let polls = observer.poll_count();
    let (runtime, handle) = observer.start();
    handle
        .wait_until(LONG, |seen| seen.polls == 2)
        .await
        .unwrap();

    runtime.shutdown().await;
    let polls_at_shutdown = polls.load(Ordering::SeqCst);
    sleep(LONG).await;

    assert_eq!(polls.load(Ordering::SeqCst), polls_at_shutdown);
    assert_stopped(&handle.status(), StopReason::Shutdown);
    assert_eq!(handle.latest().unwrap().polls, 2);
    let events: Vec<_> = handle
        .events_since(Cursor::START)
        .events()
        .copied()
        .collect();
    assert_eq!(events, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_a_hanging_poll() {
    let (runtime, _handle) = Scripted::polling(|_| Act::Hang).start();
    sleep(Duration::from_millis(1)).await;
    let began = Instant::now();

    runtime.shutdown().await;

    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_leaves_a_poll_that_blocks_its_thread_behind() {
    let block = Duration::from_secs(3);
    let (runtime, handle) = Scripted::polling(move |_| Act::Block(block)).start();
    while handle.status().is_running() || handle.mark() == trellis_observation::Since::Cycle(0) {
        tokio::task::yield_now().await;
    }

    timeout(Duration::from_secs(2), runtime.shutdown())
        .await
        .expect("a shutdown is bounded");

    assert_stopped(&handle.status(), StopReason::Shutdown);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_runtime_stops_the_loop() {
    let observer = Scripted::quiet();
    let polls = observer.poll_count();
    let (runtime, handle) = observer.start();
    handle.wait_until(LONG, |_| true).await.unwrap();

    drop(runtime);
    sleep(LONG).await;

    assert_eq!(polls.load(Ordering::SeqCst), 1);
    assert_stopped(&handle.status(), StopReason::Dropped);
}

#[tokio::test(start_paused = true)]
async fn the_token_in_the_configuration_stops_the_loop() {
    let cancel = CancellationToken::new();
    let config = config().with_cancel(cancel.clone());
    let (_runtime, handle) = Scripted::quiet().start_with(StaticSources::new([]), config);
    handle.wait_until(LONG, |_| true).await.unwrap();

    cancel.cancel();
    let error = handle.wait_until(LONG, |_| false).await.unwrap_err();

    assert_eq!(error.reason, WaitReason::Stopped(StopReason::Cancelled));
    assert_stopped(&handle.status(), StopReason::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn stopping_a_runtime_leaves_the_token_of_the_configuration_alone() {
    let cancel = CancellationToken::new();
    let config = config().with_cancel(cancel.clone());
    let (runtime, _handle) = Scripted::quiet().start_with(StaticSources::new([]), config);

    runtime.shutdown().await;

    assert!(!cancel.is_cancelled());
}

#[test]
fn readers_learn_that_the_tokio_runtime_went_away_under_the_loop() {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let sources = StaticSources::new([]);
    let runtime = tokio.block_on(async {
        let runtime = ObservationRuntime::start(Scripted::quiet(), sources, config());
        runtime.handle().wait_until(LONG, |_| true).await.unwrap();
        runtime
    });

    drop(tokio);

    assert_stopped(&runtime.handle().status(), StopReason::Aborted);
}

#[tokio::test(start_paused = true)]
async fn an_endless_interval_leaves_all_cycles_to_refresh() {
    let config = config().with_interval(Duration::MAX);
    let (_runtime, handle) = Scripted::quiet().start_with(StaticSources::new([]), config);
    sleep(LONG).await;
    assert_eq!(handle.latest().unwrap().polls, 1);

    let fresh = handle.refresh().await.unwrap();

    assert_eq!(fresh.polls, 2);
}
