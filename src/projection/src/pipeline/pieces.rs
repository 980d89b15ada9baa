//! Pieces: a batch is received, decoded and folded in parts that stay near the processor, and is written once when it closes.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    settings::BatchLimits,
    stream::{Delivery, ReceiveLimits},
};

/// How many events a piece has. What is decoded takes about five times as much as its bytes, and should not leave the caches before it is folded.
pub(super) const PIECE_EVENTS: usize = 1_000;

/// The batch that is being received.
#[derive(Default)]
pub(super) struct OpenBatch {
    events: usize,
    bytes: usize,
    /// When its first piece came.
    since: Option<Instant>,
}

impl OpenBatch {
    /// How much may be received for the next piece, of which none has more than `events_max` and `bytes_max`.
    pub(super) fn next_piece(
        &self,
        batch: BatchLimits,
        (events_max, bytes_max): (usize, usize),
        idle: Duration,
    ) -> ReceiveLimits {
        let left = self.left(batch.within);
        ReceiveLimits {
            events_max: batch
                .events_max
                .saturating_sub(self.events)
                .min(events_max)
                .max(1),
            bytes_max: batch
                .bytes_max
                .saturating_sub(self.bytes)
                .min(bytes_max)
                .max(1),
            within: left,
            idle: if self.events > 0 {
                idle.min(left)
            } else {
                idle
            },
        }
    }

    /// Adds what was received by `limits`. Whether that closes the batch: it is full, or nothing more comes in time.
    pub(super) fn take(
        &mut self,
        received: &[Delivery],
        batch: BatchLimits,
        limits: &ReceiveLimits,
    ) -> bool {
        let bytes: usize = received.iter().map(|delivery| delivery.payload.len()).sum();
        self.events += received.len();
        self.bytes += bytes;
        self.since.get_or_insert_with(Instant::now);
        let is_whole = received.len() >= limits.events_max || bytes >= limits.bytes_max;
        let at_the_end = received.last().is_none_or(|last| last.pending == 0);
        let is_full = self.events >= batch.events_max
            || self.bytes >= batch.bytes_max
            || self.left(batch.within).is_zero();
        let closes = is_full || at_the_end || !is_whole;
        if closes {
            *self = Self::default();
        }
        closes
    }

    /// Whether anything was received that no piece has closed.
    pub(super) fn is_empty(&self) -> bool {
        self.events == 0
    }

    fn left(&self, within: Duration) -> Duration {
        let open_for = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        within.saturating_sub(open_for)
    }
}

/// Which pieces close what is folded, where more of them wait.
#[derive(Default)]
pub(super) struct Closing {
    /// A piece has closed a batch, and so many that were there by then are still to be added to it.
    owed: Option<usize>,
    events: usize,
}

/// A piece that is about to be decoded.
pub(super) struct Next {
    pub(super) events: usize,
    /// Of how many receptions it is.
    pub(super) receptions: usize,
    /// Whether one of them has closed a batch.
    pub(super) closes: bool,
    /// How many more are here.
    pub(super) waiting: usize,
}

impl Closing {
    /// Whether a piece closes a batch. One that ended for want of events takes those that are here by then, up to `events_max`: what came in small batches while the last one was written is written at once, and waits for nothing that comes later.
    pub(super) fn closes(&mut self, next: &Next, events_max: usize) -> bool {
        self.events += next.events;
        self.owed = match self.owed {
            Some(left) => Some(left.saturating_sub(next.receptions)),
            None => next.closes.then_some(next.waiting),
        };
        let closes = self
            .owed
            .is_some_and(|left| left == 0 || self.events >= events_max);
        if closes {
            *self = Self::default();
        }
        closes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: BatchLimits = BatchLimits {
        events_max: 2_500,
        bytes_max: 1 << 20,
        within: Duration::from_millis(50),
    };
    const IDLE: Duration = Duration::from_millis(100);

    fn received(events: usize, bytes: usize, pending: u64) -> Vec<Delivery> {
        let one = |sequence| Delivery {
            sequence,
            published: 0,
            subject: "events".into(),
            payload: vec![b' '; bytes].into(),
            pending,
        };
        (1..=events as u64).map(one).collect()
    }

    fn take(open: &mut OpenBatch, events: usize, bytes: usize, pending: u64) -> bool {
        let limits = open.next_piece(BATCH, (PIECE_EVENTS, usize::MAX), IDLE);
        open.take(&received(events, bytes, pending), BATCH, &limits)
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_received_in_pieces_and_closed_by_its_own_limits() {
        let mut open = OpenBatch::default();
        assert!(!take(&mut open, 1_000, 10, 9_000));
        assert!(!take(&mut open, 1_000, 10, 8_000));
        let limits = open.next_piece(BATCH, (PIECE_EVENTS, usize::MAX), IDLE);
        assert_eq!(limits.events_max, 500);
        assert!(take(&mut open, 500, 10, 7_500));
        assert!(open.is_empty());
        assert!(take(&mut open, 600, 2_000, 7_000), "it has too many bytes");
    }

    #[tokio::test(start_paused = true)]
    async fn time_counts_from_the_first_piece_on() {
        let mut open = OpenBatch::default();
        assert!(!take(&mut open, 1_000, 10, 9_000));
        tokio::time::advance(Duration::from_millis(30)).await;
        let limits = open.next_piece(BATCH, (PIECE_EVENTS, usize::MAX), IDLE);
        assert_eq!(limits.within, Duration::from_millis(20));
        assert_eq!(limits.idle, Duration::from_millis(20));
        tokio::time::advance(Duration::from_millis(20)).await;
        assert!(take(&mut open, 1_000, 10, 8_000));
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_early_closes_the_batch_and_so_does_the_end_of_the_stream() {
        let mut open = OpenBatch::default();
        assert!(take(&mut open, 999, 10, 5), "nothing more came in time");
        assert!(take(&mut open, 1_000, 10, 0), "there is nothing more");
        assert!(!take(&mut open, 1_000, 10, 1));
        assert!(take(&mut open, 0, 0, 0), "nothing came at all");
    }

    #[test]
    fn small_batches_that_wait_become_one_up_to_a_whole_one() {
        let mut closing = Closing::default();
        let mut closes = |events, closes, waiting| {
            let next = Next {
                events,
                receptions: 1,
                closes,
                waiting,
            };
            closing.closes(&next, 100)
        };
        assert!(closes(10, true, 0));
        assert!(!closes(10, true, 2), "two more are here");
        assert!(!closes(10, true, 5), "those have come since");
        assert!(closes(10, false, 4), "all that were there");
        assert!(!closes(60, false, 4), "nobody has closed it");
        assert!(closes(40, true, 3), "that is a whole one");
        assert!(!closes(50, true, 3));
        assert!(closes(50, false, 2), "and so is that");
    }
}
