//! History: the bounded past, in the order in which it was published, read by cursor.
//!
//! A position in it counts events since the start of the runtime, and goes on counting when old
//! events are dropped. So a reader's cursor says exactly what it has seen and what it missed.
//! Waiting for more is not here (see `subscription`).

use std::{collections::VecDeque, fmt, sync::Arc};

use tokio::time::Instant;

/// A position between two events of one runtime's history.
///
/// Only meaningful with the runtime that gave it out. The default is [`Cursor::START`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor(u64);

impl Cursor {
    /// Before the first event.
    pub const START: Self = Self(0);

    /// How many events were published before this position.
    pub fn position(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The events that one cycle published. Cheap to clone: the events are shared.
pub struct EventBatch<E> {
    events: Arc<[E]>,
    /// How many of `events` the bound has cut off at the front.
    cut: usize,
    /// The position before the first event that is left.
    first: u64,
    cycle: u64,
    at: Instant,
}

impl<E> EventBatch<E> {
    /// The events, oldest first; never empty.
    pub fn events(&self) -> &[E] {
        &self.events[self.cut..]
    }

    /// The position before the first of the events.
    pub fn cursor(&self) -> Cursor {
        Cursor(self.first)
    }

    /// The cycle that found them. A snapshot shows them if its `cycle` is this one or later.
    pub fn cycle(&self) -> u64 {
        self.cycle
    }

    /// When they were published.
    pub fn at(&self) -> Instant {
        self.at
    }

    fn len(&self) -> usize {
        self.events.len() - self.cut
    }

    fn end(&self) -> u64 {
        self.first + as_count(self.len())
    }

    fn cut_front(&mut self, events: usize) {
        self.cut += events;
        self.first += as_count(events);
    }
}

impl<E> Clone for EventBatch<E> {
    fn clone(&self) -> Self {
        Self {
            events: Arc::clone(&self.events),
            ..*self
        }
    }
}

impl<E: fmt::Debug> fmt::Debug for EventBatch<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventBatch")
            .field("events", &self.events())
            .field("first", &self.first)
            .field("cycle", &self.cycle)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

/// All that a reader has not seen yet.
#[derive(Debug)]
pub struct Backlog<E> {
    /// What is still there, oldest first.
    pub batches: Vec<EventBatch<E>>,
    /// How many events were dropped by the bound before this reader came. All of them are older
    /// than the batches.
    pub dropped: u64,
    /// Where to go on from.
    pub next: Cursor,
}

impl<E> Backlog<E> {
    /// The events of all batches, oldest first.
    pub fn events(&self) -> impl Iterator<Item = &E> {
        self.batches.iter().flat_map(EventBatch::events)
    }

    /// True when there is nothing new: no event, and none missed.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.dropped == 0
    }
}

/// The last `entries_max` events, by batch.
///
/// A batch is shared with its readers and freed as a whole, so up to twice the bound may be held
/// in memory; no reader ever sees more than the bound.
pub(crate) struct History<E> {
    batches: VecDeque<EventBatch<E>>,
    entries: usize,
    entries_max: usize,
    end: u64,
}

impl<E> History<E> {
    pub(crate) fn new(entries_max: usize) -> Self {
        Self {
            batches: VecDeque::new(),
            entries: 0,
            entries_max,
            end: 0,
        }
    }

    /// The position after the last event.
    pub(crate) fn end(&self) -> Cursor {
        Cursor(self.end)
    }

    /// Adds what a cycle found and returns the batches that the bound pushed out.
    ///
    /// They are returned so that the caller can drop them where no lock is held: an event's
    /// destructor is the app's code.
    #[must_use = "to be dropped outside of the lock"]
    pub(crate) fn publish(
        &mut self,
        events: Vec<E>,
        cycle: u64,
        at: Instant,
    ) -> Vec<EventBatch<E>> {
        if events.is_empty() {
            return Vec::new();
        }
        let batch = EventBatch {
            events: events.into(),
            cut: 0,
            first: self.end,
            cycle,
            at,
        };
        self.end = batch.end();
        self.entries += batch.len();
        self.batches.push_back(batch);
        self.enforce_bound()
    }

    fn enforce_bound(&mut self) -> Vec<EventBatch<E>> {
        let mut pushed_out = Vec::new();
        while self.entries > self.entries_max {
            let excess = self.entries - self.entries_max;
            let oldest = self.batches.front_mut().expect("entries are in batches");
            if oldest.len() > excess {
                oldest.cut_front(excess);
                self.entries -= excess;
            } else {
                self.entries -= oldest.len();
                pushed_out.extend(self.batches.pop_front());
            }
        }
        pushed_out
    }

    /// What was published after `cursor`, and how much of it is gone.
    pub(crate) fn since(&self, cursor: Cursor) -> Backlog<E> {
        let seen = cursor.0.min(self.end);
        let oldest = self.end - as_count(self.entries);
        let from = self.batches.partition_point(|batch| batch.end() <= seen);
        let mut batches: Vec<_> = self.batches.range(from..).cloned().collect();
        if let Some(first) = batches.first_mut()
            && let Ok(known) = usize::try_from(seen.saturating_sub(first.first))
        {
            first.cut_front(known);
        }
        Backlog {
            batches,
            dropped: oldest.saturating_sub(seen),
            next: self.end(),
        }
    }
}

fn as_count(events: usize) -> u64 {
    u64::try_from(events).expect("a count of values in memory fits into 64 bits")
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Mutex,
            atomic::{AtomicBool, Ordering},
        },
        thread,
    };

    use proptest::prelude::*;

    use super::*;

    /// Publishes `count` events, each of which is its own position.
    fn publish(history: &mut History<u64>, count: u64) {
        let end = history.end;
        let pushed_out = history.publish((end..end + count).collect(), end, Instant::now());
        drop(pushed_out);
    }

    /// What a reader may expect of `backlog` when it had read up to `cursor`.
    fn assert_goes_on(cursor: Cursor, backlog: &Backlog<u64>) {
        let events: Vec<_> = backlog.events().copied().collect();
        let expected: Vec<_> = (cursor.0 + backlog.dropped..backlog.next.0).collect();
        assert_eq!(events, expected, "each event once, and in order");
        for batch in &backlog.batches {
            assert_eq!(batch.cursor().position(), batch.events()[0]);
        }
    }

    #[test]
    fn the_bound_cuts_a_batch_where_it_falls() {
        let mut history = History::new(4);
        publish(&mut history, 3);
        publish(&mut history, 3);

        let backlog = history.since(Cursor::START);

        assert_eq!(backlog.dropped, 2);
        assert_eq!(backlog.events().copied().collect::<Vec<_>>(), [2, 3, 4, 5]);
        assert_eq!(backlog.batches.len(), 2);
    }

    #[test]
    fn a_batch_larger_than_the_bound_keeps_its_newest_events() {
        let mut history = History::new(2);
        publish(&mut history, 1);
        publish(&mut history, 5);

        let backlog = history.since(Cursor(1));

        assert_eq!(backlog.dropped, 3);
        assert_eq!(backlog.events().copied().collect::<Vec<_>>(), [4, 5]);
    }

    #[test]
    fn a_cursor_within_a_batch_gives_the_rest_of_it() {
        let mut history = History::new(9);
        publish(&mut history, 5);

        assert_goes_on(Cursor(3), &history.since(Cursor(3)));
    }

    #[test]
    fn a_cursor_from_elsewhere_reads_as_the_end() {
        let mut history = History::new(2);
        publish(&mut history, 1);

        let backlog = history.since(Cursor(9));

        assert!(backlog.is_empty());
        assert_eq!(backlog.next, history.end());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Publish(u64),
        Read(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0u64..12).prop_map(Step::Publish),
            (0usize..3).prop_map(Step::Read),
        ];
        prop::collection::vec(step, 0..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_order_of_publishing_and_reading_gives_each_event_once_or_counts_it(
            steps in steps(),
            entries_max in 0usize..20,
        ) {
            let mut history = History::new(entries_max);
            let mut readers = [Cursor::START; 3];
            for step in steps {
                match step {
                    Step::Publish(count) => publish(&mut history, count),
                    Step::Read(reader) => {
                        let cursor = readers[reader];
                        let backlog = history.since(cursor);
                        assert_goes_on(cursor, &backlog);
                        let unseen = history.end - cursor.0;
                        let lost = unseen.saturating_sub(as_count(entries_max));
                        prop_assert_eq!(backlog.dropped, lost, "no more is lost than the bound says");
                        readers[reader] = backlog.next;
                    }
                }
                prop_assert!(history.entries <= entries_max);
                let held: usize = history.batches.iter().map(|batch| batch.events.len()).sum();
                prop_assert!(held <= 2 * entries_max + 12, "memory is bounded too");
            }
        }
    }

    #[test]
    fn readers_on_other_threads_see_each_event_once_or_know_what_they_missed() {
        const EVENTS: u64 = 20_000;
        let history = Mutex::new(History::new(500));
        let done = AtomicBool::new(false);
        let read = || {
            let mut cursor = history.lock().unwrap().end();
            loop {
                let last_look = done.load(Ordering::Acquire);
                let backlog = history.lock().unwrap().since(cursor);
                assert_goes_on(cursor, &backlog);
                cursor = backlog.next;
                if last_look {
                    return cursor;
                }
            }
        };

        thread::scope(|scope| {
            let readers = [(); 3].map(|()| scope.spawn(read));
            while history.lock().unwrap().end < EVENTS {
                publish(&mut history.lock().unwrap(), 7);
            }
            done.store(true, Ordering::Release);
            for reader in readers {
                assert_eq!(reader.join().unwrap(), history.lock().unwrap().end());
            }
        });
    }
}
