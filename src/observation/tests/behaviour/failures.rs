//! Cycles that hang, fail, panic or block: recorded, survived, and never silent.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::{Instant, sleep};
use trellis_observation::{
    Cursor, CyclePhase, FailureKind, ObservationHandle, ObservationStatus, StaticSources,
};

use crate::support::{Act, INTERVAL, LONG, POLL_TIMEOUT, Scripted, chain, config};

/// Does `act` in call number `nth` and finds the call's number in all others.
fn once(nth: u64, act: Act) -> impl Fn(u64) -> Act + Send + Sync + 'static {
    move |call| {
        if call == nth {
            act.clone()
        } else {
            Act::Find(vec![u32::try_from(call).unwrap()])
        }
    }
}

async fn until_failing(handle: &ObservationHandle<Scripted>) -> (Instant, u64, String) {
    loop {
        if let ObservationStatus::Failing {
            since,
            consecutive,
            last_error,
        } = handle.status()
        {
            return (since, consecutive, chain(last_error.as_ref()));
        }
        sleep(Duration::from_millis(1)).await;
    }
}

fn all_events(handle: &ObservationHandle<Scripted>) -> Vec<u32> {
    let backlog = handle.events_since(Cursor::START);
    assert_eq!(backlog.dropped, 0);
    backlog.events().copied().collect()
}

#[tokio::test(start_paused = true)]
async fn a_hanging_poll_is_dropped_at_its_deadline_and_recorded() {
    let began = Instant::now();
    let hang_twice = |call| match call {
        2..=3 => Act::Hang,
        _ => Act::Find(Vec::new()),
    };
    let (_runtime, handle) = Scripted::polling(hang_twice).start();

    let (since, consecutive, error) = until_failing(&handle).await;

    assert_eq!(since - began, INTERVAL + POLL_TIMEOUT);
    assert_eq!(consecutive, 1);
    assert_eq!(error, "the poll did not end within 1s");
    assert_eq!(
        handle.latest().unwrap().version,
        1,
        "the old snapshot stays"
    );
    handle
        .wait_until(LONG, |seen| seen.polls == 4)
        .await
        .unwrap();
    assert!(handle.status().is_running());
}

#[tokio::test(start_paused = true)]
async fn the_state_outlives_a_dropped_poll_with_what_was_written_so_far() {
    let (_runtime, handle) = Scripted::polling(once(2, Act::HangHalfway)).start();

    let third = handle
        .wait_until(LONG, |seen| seen.polls == 3)
        .await
        .unwrap();

    assert_eq!((third.inits, third.polls_ended), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn an_event_kept_in_the_state_outlives_a_dropped_poll() {
    let (_runtime, handle) = Scripted::polling(once(2, Act::HangWith(77))).start();

    handle
        .wait_until(LONG, |seen| seen.polls == 4)
        .await
        .unwrap();

    assert_eq!(all_events(&handle), [1, 77, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_panicking_poll_is_recorded_and_the_next_cycle_starts_with_init() {
    let (_runtime, handle) = Scripted::polling(once(3, Act::Panic)).start();

    let (_, _, error) = until_failing(&handle).await;
    assert_eq!(error, "the poll panicked: poll fell over");
    let next = handle
        .wait_until(LONG, |seen| seen.inits == 2)
        .await
        .unwrap();

    assert_eq!(
        (next.polls, next.polls_ended),
        (1, 1),
        "nothing half done is left"
    );
    assert_eq!((next.version, next.cycle), (3, 4));
    assert_eq!(all_events(&handle), [1, 2, 4]);
}

#[tokio::test(start_paused = true)]
async fn events_found_before_a_failure_are_published_once() {
    let (_runtime, handle) = Scripted::polling(once(2, Act::FailAfter(vec![7, 8]))).start();

    let (_, _, error) = until_failing(&handle).await;
    assert_eq!(error, "the poll failed: the source is away");
    assert_eq!(all_events(&handle), [1, 7, 8]);
    assert_eq!(handle.latest().unwrap().polls, 1, "the old snapshot stays");
    let third = handle
        .wait_until(LONG, |seen| seen.polls == 3)
        .await
        .unwrap();

    assert_eq!(third.inits, 1, "the state is kept");
    assert_eq!(all_events(&handle), [1, 7, 8, 3]);
}

#[tokio::test(start_paused = true)]
async fn events_tell_whether_the_snapshot_shows_them() {
    let (_runtime, handle) = Scripted::polling(once(2, Act::FailAfter(vec![7]))).start();

    until_failing(&handle).await;

    let newest = handle.events_since(Cursor::START).batches.pop().unwrap();
    assert_eq!(newest.cycle(), 2);
    assert!(handle.latest().unwrap().cycle < newest.cycle());
}

#[tokio::test(start_paused = true)]
async fn a_panicking_snapshot_costs_no_event_and_keeps_the_state() {
    let (_runtime, handle) = Scripted::polling(once(2, Act::PanicInSnapshot(vec![7]))).start();

    let (_, _, error) = until_failing(&handle).await;
    assert_eq!(error, "the snapshot panicked: snapshot fell over");
    let third = handle
        .wait_until(LONG, |seen| seen.polls == 3)
        .await
        .unwrap();

    assert_eq!(third.inits, 1);
    assert_eq!(all_events(&handle), [1, 7, 3]);
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_are_counted_from_the_first_one() {
    let fail_five = |call| match call {
        2..=6 => Act::FailAfter(Vec::new()),
        _ => Act::Find(Vec::new()),
    };
    let began = Instant::now();
    let (_runtime, handle) = Scripted::polling(fail_five).start();

    sleep(5 * INTERVAL + INTERVAL / 2).await;
    let (since, consecutive, _) = until_failing(&handle).await;
    assert_eq!((since - began, consecutive), (INTERVAL, 5));
    sleep(INTERVAL).await;

    assert!(handle.status().is_running());
    assert_eq!(handle.last_failure().unwrap().cycle, 6, "it is still known");
}

#[tokio::test(start_paused = true)]
async fn an_init_that_fails_hangs_or_panics_is_tried_again() {
    let troubled = |call| match call {
        1 => Act::FailAfter(Vec::new()),
        2 => Act::Hang,
        3 => Act::Panic,
        _ => Act::Find(Vec::new()),
    };
    let observer = Scripted::quiet().starting(troubled);
    let polls = observer.poll_count();
    let config = config().with_interval(Duration::MAX);
    let (_runtime, handle) = observer.start_with(StaticSources::new([]), config);

    let mut errors = Vec::new();
    while errors.len() < 3 {
        let failed = handle.refresh().await.unwrap_err().failure.unwrap();
        assert_eq!(failed.phase, CyclePhase::Init);
        errors.push(chain(failed.as_ref()));
    }

    assert_eq!(errors[0], "the observer's start failed: init broke");
    assert_eq!(errors[1], "the observer's start did not end within 1s");
    assert_eq!(errors[2], "the observer's start panicked: init fell over");
    assert_eq!(polls.load(Ordering::SeqCst), 0);
    assert!(handle.latest().is_none());
    assert_eq!(handle.refresh().await.unwrap().inits, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_that_blocks_its_thread_shows_as_failing_while_it_does() {
    let block = once(1, Act::Block(Duration::from_secs(2)));
    let config = config().with_poll_timeout(Duration::from_millis(10));
    let (_runtime, handle) = Scripted::polling(block).start_with(StaticSources::new([]), config);

    let (_, _, error) = until_failing(&handle).await;

    let expected = "the poll did not end within 10ms and blocks its thread";
    assert_eq!(error, expected);
    let kind = &handle.last_failure().unwrap().kind;
    assert!(matches!(kind, FailureKind::Blocking { .. }));
    handle
        .wait_until(LONG, |seen| seen.polls == 2)
        .await
        .unwrap();
    assert!(handle.status().is_running());
}
