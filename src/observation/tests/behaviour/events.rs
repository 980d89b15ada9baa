//! Events: history, cursors, and subscribers of all speeds.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::{sleep, timeout};
use trellis_observation::{Backlog, Cursor, StaticSources};

use crate::support::{Act, INTERVAL, LONG, Scripted, config};

/// Finds one event a poll: the poll's number.
fn counting() -> Scripted {
    Scripted::polling(|call| Act::Find(vec![u32::try_from(call).unwrap()]))
}

fn values(backlog: &Backlog<u32>) -> Vec<u32> {
    backlog.events().copied().collect()
}

#[tokio::test(start_paused = true)]
async fn a_reader_joins_history_and_live_events_at_one_cursor() {
    let (runtime, handle) = counting().start();
    handle
        .wait_until(LONG, |seen| seen.polls == 2)
        .await
        .unwrap();

    let past = handle.events_since(Cursor::START);
    assert_eq!(values(&past), [1, 2]);
    let mut live = handle.subscribe_from(past.next);
    assert_eq!(values(&live.next().await.unwrap()), [3]);
    assert_eq!(values(&live.next().await.unwrap()), [4]);

    runtime.shutdown().await;
    assert!(live.next().await.is_none());
    assert_eq!(live.cursor().position(), 4);
}

#[tokio::test(start_paused = true)]
async fn next_after_a_cursor_wakes_on_the_next_event() {
    let (_runtime, handle) = counting().start();
    handle
        .wait_until(LONG, |seen| seen.polls == 3)
        .await
        .unwrap();

    let next = handle.next_after(handle.cursor()).await.unwrap();

    assert_eq!(values(&next), [4]);
    assert_eq!(handle.latest().unwrap().polls, 4, "the snapshot shows it");
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_is_told_what_it_missed_and_slows_nobody() {
    let config = config().with_history_entries_max(3);
    let (runtime, handle) = counting().start_with(StaticSources::new([]), config);
    let mut slow = handle.subscribe_from(Cursor::START);
    assert_eq!(values(&slow.next().await.unwrap()), [1]);

    sleep(9 * INTERVAL + INTERVAL / 2).await;
    assert_eq!(handle.latest().unwrap().polls, 10, "no tick was missed");
    let late = slow.next().await.unwrap();

    assert_eq!((late.dropped, values(&late)), (6, vec![8, 9, 10]));
    runtime.shutdown().await;
    assert!(slow.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_was_found_before_the_stop_is_still_delivered() {
    let (runtime, handle) = counting().start();
    let mut late = handle.subscribe_from(Cursor::START);
    handle
        .wait_until(LONG, |seen| seen.polls == 2)
        .await
        .unwrap();

    runtime.shutdown().await;

    assert_eq!(values(&late.next().await.unwrap()), [1, 2]);
    assert!(late.next().await.is_none());
    assert!(handle.next_after(late.cursor()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_wait_for_events_loses_none() {
    let (_runtime, handle) = counting().start();
    let mut events = handle.subscribe_from(Cursor::START);
    let mut delivered = Vec::new();

    while delivered.len() < 10 {
        if let Ok(backlog) = timeout(Duration::from_millis(7), events.next()).await {
            delivered.extend(values(&backlog.unwrap()));
        }
    }

    assert_eq!(delivered, (1..=10).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_history_of_nothing_still_tells_how_much_was_missed() {
    let config = config().with_history_entries_max(0);
    let observer = counting();
    let polls = observer.poll_count();
    let (_runtime, handle) = observer.start_with(StaticSources::new([]), config);
    handle
        .wait_until(LONG, |seen| seen.polls == 4)
        .await
        .unwrap();

    let backlog = handle.events_since(Cursor::START);

    assert!(backlog.batches.is_empty());
    assert_eq!(backlog.dropped, polls.load(Ordering::SeqCst));
}
