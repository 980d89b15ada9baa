//! Property: whatever the order of finding and reading, a reader that goes by its cursor gets each
//! event once and in order, or is told how many it missed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::sleep;
use trellis_observation::{Backlog, Cursor, ObservationHandle, StaticSources};

use crate::support::{Act, Scripted, config};

/// What one poll does: how many events it finds, and whether it fails after them.
type Found = (usize, bool);

#[derive(Clone, Debug)]
struct Reader {
    joins_after: Duration,
    from_start: bool,
    /// How long it is busy with what it read, again and again.
    pace: Vec<Duration>,
}

/// Checks that what a reader gets is what comes next.
struct Tally {
    next: u64,
    missed: u64,
}

impl Tally {
    fn take(&mut self, backlog: &Backlog<u32>) {
        self.next += backlog.dropped;
        self.missed += backlog.dropped;
        for event in backlog.events() {
            assert_eq!(
                u64::from(*event),
                self.next,
                "each event once, and in order"
            );
            self.next += 1;
        }
        assert_eq!(backlog.next.position(), self.next);
    }
}

/// Numbers the events from 0 over all polls, so that an event's value is its position.
fn numbering(script: Vec<Found>) -> Scripted {
    let published = Arc::new(AtomicU32::new(0));
    Scripted::polling(move |call| {
        let index = usize::try_from(call - 1).unwrap();
        let (found, fails) = script.get(index).copied().unwrap_or_default();
        let found = u32::try_from(found).unwrap();
        let first = published.fetch_add(found, Ordering::SeqCst);
        let events = (first..first + found).collect();
        if fails {
            Act::FailAfter(events)
        } else {
            Act::Find(events)
        }
    })
}

/// Reads from history, joins the live events where that ends, and goes on until the loop stops.
async fn read(handle: ObservationHandle<Scripted>, reader: Reader) -> Tally {
    sleep(reader.joins_after).await;
    let start = if reader.from_start {
        Cursor::START
    } else {
        handle.cursor()
    };
    let mut tally = Tally {
        next: start.position(),
        missed: 0,
    };
    let past = handle.events_since(start);
    tally.take(&past);
    let mut live = handle.subscribe_from(past.next);
    let mut pace = reader.pace.iter().cycle();
    while let Some(backlog) = live.next().await {
        assert!(!backlog.is_empty());
        tally.take(&backlog);
        sleep(*pace.next().unwrap()).await;
    }
    tally
}

async fn run(script: Vec<Found>, entries_max: usize, readers: Vec<Reader>) -> (u64, Vec<Tally>) {
    let polls = u64::try_from(script.len()).unwrap();
    let total = script
        .iter()
        .map(|(found, _)| u64::try_from(*found).unwrap())
        .sum();
    let config = config()
        .with_interval(Duration::from_millis(10))
        .with_history_entries_max(entries_max);
    let (runtime, handle) = numbering(script).start_with(StaticSources::new([]), config);
    let readers: Vec<_> = readers
        .into_iter()
        .map(|reader| tokio::spawn(read(handle.clone(), reader)))
        .collect();

    handle
        .wait_until(Duration::from_mins(1), |seen| seen.polls > polls)
        .await
        .unwrap();
    runtime.shutdown().await;
    let mut tallies = Vec::new();
    for reader in readers {
        tallies.push(reader.await.unwrap());
    }
    (total, tallies)
}

fn readers() -> impl Strategy<Value = Vec<Reader>> {
    let millis = |max: u64| (0..max).prop_map(Duration::from_millis);
    let reader = (
        millis(300),
        any::<bool>(),
        prop::collection::vec(millis(80), 1..6),
    )
        .prop_map(|(joins_after, from_start, pace)| Reader {
            joins_after,
            from_start,
            pace,
        });
    prop::collection::vec(reader, 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_reader_sees_each_event_once_or_is_told_what_it_missed(
        script in prop::collection::vec((0usize..8, any::<bool>()), 1..40),
        entries_max in 0usize..30,
        readers in readers(),
    ) {
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();

        let unbounded = entries_max >= script.iter().map(|(found, _)| found).sum();
        let (total, tallies) = tokio.block_on(run(script, entries_max, readers));

        for tally in tallies {
            prop_assert_eq!(tally.next, total);
            prop_assert!(!unbounded || tally.missed == 0);
        }
    }
}
