//! Waiting: wakes on change, ends in time, and says what it saw last.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use trellis_observation::{Since, StaticSources, StopReason, WaitReason};

use crate::support::{Act, INTERVAL, LONG, Scripted, chain, config};

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_the_first_snapshot_that_satisfies_it() {
    let began = Instant::now();
    let (_runtime, handle) = Scripted::quiet().start();

    let seen = handle
        .wait_until(LONG, |seen| seen.polls >= 4)
        .await
        .unwrap();

    assert_eq!(seen.polls, 4);
    assert_eq!(began.elapsed(), 3 * INTERVAL);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_what_is_already_true_does_not_wait() {
    let (runtime, handle) = Scripted::quiet().start();
    handle.wait_until(LONG, |_| true).await.unwrap();
    let began = Instant::now();

    handle
        .wait_until(Duration::ZERO, |seen| seen.polls == 1)
        .await
        .unwrap();
    runtime.shutdown().await;
    handle
        .wait_until(LONG, |seen| seen.polls == 1)
        .await
        .unwrap();

    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn each_snapshot_is_tried_once() {
    let (_runtime, handle) = Scripted::quiet().start();
    let mut tried = Vec::new();

    let within = 3 * INTERVAL + INTERVAL / 2;
    let wait = handle.wait_until(within, |seen| {
        tried.push(seen.polls);
        false
    });
    wait.await.unwrap_err();

    assert_eq!(tried, [1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_names_the_goal_and_the_last_snapshot() {
    let (_runtime, handle) = Scripted::quiet().start();
    let within = Duration::from_millis(30_050);

    let goal = "node-3 to follow its peers";
    let error = handle.wait_for(goal, within, |_| false).await.unwrap_err();

    assert_eq!(error.reason, WaitReason::Timeout);
    assert_eq!((error.goal.as_str(), error.waited), (goal, within));
    assert!(error.failure.is_none());
    assert_eq!(
        error.to_string(),
        "waited 30.05s for node-3 to follow its peers; \
         the last snapshot was version 301, 50ms old"
    );
    assert_eq!(
        error.describe_with(|seen| format!("height {}", seen.polls)),
        "waited 30.05s for node-3 to follow its peers; \
         the last snapshot was height 301, 50ms old"
    );
}

#[tokio::test(start_paused = true)]
async fn a_timeout_carries_the_failure_that_kept_the_snapshot_old() {
    let fail = |call| match call {
        1 => Act::Find(Vec::new()),
        _ => Act::FailAfter(Vec::new()),
    };
    let (_runtime, handle) = Scripted::polling(fail).start();

    let within = Duration::from_secs(2);
    let error = handle
        .wait_for("peace", within, |_| false)
        .await
        .unwrap_err();

    assert_eq!(error.last.as_ref().unwrap().version, 1);
    assert_eq!(error.last_age, Some(within));
    assert_eq!(
        chain(&error),
        "waited 2s for peace; the last snapshot was version 1, 2s old: \
         the poll failed: the source is away"
    );
    assert_eq!(
        error.describe_with(|seen| format!("{} poll", seen.polls)),
        "waited 2s for peace; the last snapshot was 1 poll, 2s old; \
         the last failure: the poll failed: the source is away"
    );
}

#[tokio::test(start_paused = true)]
async fn a_timeout_does_not_bring_up_a_failure_that_was_over_before_the_wait() {
    let fail_first = |call| match call {
        1 => Act::FailAfter(Vec::new()),
        _ => Act::Find(Vec::new()),
    };
    let (_runtime, handle) = Scripted::polling(fail_first).start();
    handle.wait_until(LONG, |_| true).await.unwrap();

    let within = Duration::from_secs(2);
    let error = handle.wait_until(within, |_| false).await.unwrap_err();

    assert!(error.failure.is_none());
    assert!(handle.last_failure().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_timeout_without_any_snapshot_says_so() {
    let (_runtime, handle) = Scripted::polling(|_| Act::Hang).start();

    let within = Duration::from_millis(500);
    let error = handle
        .wait_for("a sign", within, |_| true)
        .await
        .unwrap_err();

    assert_eq!(
        error.to_string(),
        "waited 500ms for a sign; there was no snapshot"
    );
    assert!(error.last.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_all_waits_at_once() {
    let (runtime, handle) = Scripted::polling(|call| match call {
        1 => Act::Find(Vec::new()),
        _ => Act::Hang,
    })
    .start();
    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move { handle.wait_for("the end", LONG, |_| false).await }
    });
    let refreshing = tokio::spawn({
        let handle = handle.clone();
        async move { handle.refresh_within(LONG).await }
    });
    sleep(Duration::from_millis(150)).await;
    let began = Instant::now();

    runtime.shutdown().await;
    let error = waiting.await.unwrap().unwrap_err();
    let refresh_error = refreshing.await.unwrap().unwrap_err();

    assert_eq!(began.elapsed(), Duration::ZERO);
    let stopped = WaitReason::Stopped(StopReason::Shutdown);
    assert_eq!((error.reason, refresh_error.reason), (stopped, stopped));
    assert_eq!(
        error.to_string(),
        "waited 150ms of 3600s for the end; observation stopped, because it was shut down; \
         the last snapshot was version 1, 150ms old"
    );
}

#[tokio::test(start_paused = true)]
async fn a_fresh_wait_excludes_a_cycle_that_began_before_the_mark() {
    let take = |_| Act::Take(Duration::from_millis(50));
    let (_runtime, handle) = Scripted::polling(take).start();
    sleep(INTERVAL + Duration::from_millis(10)).await;
    assert_eq!(handle.latest().unwrap().cycle, 1);

    let since = handle.mark();
    let fresh = handle
        .wait_fresh("news", since, LONG, |_| true)
        .await
        .unwrap();

    assert_eq!(fresh.cycle, 3, "cycle 2 was under way at the mark");
}

#[tokio::test(start_paused = true)]
async fn a_fresh_wait_can_start_from_an_instant_or_a_version() {
    let take = |_| Act::Take(Duration::from_millis(50));
    let (_runtime, handle) = Scripted::polling(take).start();
    sleep(INTERVAL + Duration::from_millis(10)).await;
    let instant = Since::Instant(Instant::now());
    let version = Since::Version(handle.latest().unwrap().version);

    let (by_instant, by_version) = tokio::join!(
        handle.wait_fresh("news", instant, LONG, |_| true),
        handle.wait_fresh("news", version, LONG, |_| true),
    );

    assert_eq!(by_instant.unwrap().cycle, 3);
    assert_eq!(by_version.unwrap().cycle, 2);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_returns_a_cycle_that_began_after_the_call() {
    let take = |_| Act::Take(Duration::from_millis(50));
    let (_runtime, handle) = Scripted::polling(take).start();
    sleep(Duration::from_millis(10)).await;
    let called = Instant::now();

    let fresh = handle.refresh().await.unwrap();

    assert!(fresh.began_at > called);
    assert_eq!(fresh.cycle, 2);
    assert_eq!(
        called.elapsed(),
        Duration::from_millis(90),
        "it did not wait for the tick"
    );
}

#[tokio::test(start_paused = true)]
async fn callers_that_refresh_during_one_cycle_share_the_next() {
    let config = config().with_interval(Duration::MAX);
    let take = |_| Act::Take(Duration::from_millis(50));
    let observer = Scripted::polling(take);
    let (_runtime, handle) = observer.start_with(StaticSources::new([]), config);
    sleep(Duration::from_millis(10)).await;

    let calls = (0..20).map(|_| handle.refresh());
    let fresh = futures::future::try_join_all(calls).await.unwrap();
    sleep(LONG).await;

    assert!(fresh.iter().all(|fresh| fresh.cycle == 2));
    assert_eq!(handle.latest().unwrap().cycle, 2, "no cycle ran for nobody");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_whose_cycle_fails_is_an_error_and_not_an_old_snapshot() {
    let fail = |call| match call {
        1 => Act::Find(Vec::new()),
        _ => Act::FailAfter(Vec::new()),
    };
    let config = config().with_interval(Duration::MAX);
    let (_runtime, handle) = Scripted::polling(fail).start_with(StaticSources::new([]), config);
    handle.wait_until(LONG, |_| true).await.unwrap();

    let error = handle.refresh().await.unwrap_err();

    assert_eq!(error.reason, WaitReason::CycleFailed);
    assert_eq!(error.failure.unwrap().cycle, 2);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_has_a_deadline() {
    let (_runtime, handle) = Scripted::polling(|_| Act::Hang).start();
    let within = Duration::from_millis(500);

    let error = handle.refresh_within(within).await.unwrap_err();

    assert_eq!((error.reason, error.waited), (WaitReason::Timeout, within));
}

#[tokio::test(start_paused = true)]
async fn progress_can_be_shown_while_something_is_awaited() {
    let (_runtime, handle) = Scripted::quiet().start();
    let mut progress = handle.snapshots();
    let mut shown = Vec::new();

    let wait = handle.wait_until(LONG, |seen| seen.polls == 3);
    tokio::pin!(wait);
    let reached = loop {
        tokio::select! {
            biased;
            Some(seen) = progress.changed() => shown.push(seen.polls),
            reached = &mut wait => break reached.unwrap(),
        }
    };

    assert_eq!(reached.polls, 3);
    assert_eq!(shown, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn following_snapshots_skips_to_the_newest_and_ends_with_the_loop() {
    let (runtime, handle) = Scripted::quiet().start();
    let mut snapshots = handle.snapshots();
    sleep(5 * INTERVAL + INTERVAL / 2).await;

    assert_eq!(snapshots.changed().await.unwrap().polls, 6);
    assert_eq!(snapshots.changed().await.unwrap().polls, 7);
    runtime.shutdown().await;

    assert!(timeout(LONG, snapshots.changed()).await.unwrap().is_none());
}
