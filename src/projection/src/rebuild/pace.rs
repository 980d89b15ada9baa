//! Pace: a delivery that is held back, so that what is served keeps its share.

use std::time::Duration;

use async_trait::async_trait;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::RebuildOptions;
use crate::{
    pipeline::ShardStatus,
    stream::{Delivery, EventSource, ReceiveLimits, StreamError, StreamFacts},
};

/// How fast a replay may be.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Events a second.
    pub rate_max: Option<u64>,
    /// The share of its time, in percent, that it works while what is served is behind.
    pub share_percent: u32,
    /// What is served, where anything is.
    pub served: Option<watch::Receiver<ShardStatus>>,
}

impl Pace {
    /// What `options` say, beside `served`.
    pub fn of(options: &RebuildOptions, served: Option<watch::Receiver<ShardStatus>>) -> Self {
        Self {
            rate_max: options.rate_max,
            share_percent: options.share_percent,
            served,
        }
    }

    /// Whether what is served has more before it than a moment brings.
    fn served_is_behind(&self) -> bool {
        /// As many as come in one batch of a node that is well.
        const A_MOMENT: u64 = 1_000;
        let behind = |served: &watch::Receiver<ShardStatus>| served.borrow().pending > A_MOMENT;
        self.served.as_ref().is_some_and(behind)
    }

    /// How long to rest after working for `worked` on `events`.
    fn rest(&self, worked: Duration, events: usize) -> Duration {
        /// What is served catches up between two batches, or it never does.
        const REST_MAX: Duration = Duration::from_secs(5);
        let by_rate = self.rate_max.map_or(Duration::ZERO, |rate| {
            let due = Duration::from_secs(1).mul_f64(to_f64(events) / to_f64(rate.max(1)));
            due.saturating_sub(worked)
        });
        let by_share = if self.served_is_behind() {
            let share = self.share_percent.clamp(1, 100);
            (worked * (100 - share) / share).min(REST_MAX)
        } else {
            Duration::ZERO
        };
        by_rate.max(by_share)
    }
}

fn to_f64(number: impl TryInto<u32>) -> f64 {
    number.try_into().map_or(f64::from(u32::MAX), f64::from)
}

/// A source that is held back.
pub struct Paced<S> {
    inner: S,
    pace: Pace,
    /// When the last batch was given, and how large it was.
    given: Option<(Instant, usize)>,
    /// Until when nothing is given.
    rests_until: Option<Instant>,
}

impl<S> Paced<S> {
    /// `inner` at `pace`.
    pub fn new(inner: S, pace: Pace) -> Self {
        Self {
            inner,
            pace,
            given: None,
            rests_until: None,
        }
    }
}

#[async_trait]
impl<S: EventSource> EventSource for Paced<S> {
    async fn facts(&mut self, floor: u64) -> Result<StreamFacts, StreamError> {
        self.inner.facts(floor).await
    }

    async fn start(&mut self, from: u64) -> Result<(), StreamError> {
        self.given = None;
        self.inner.start(from).await
    }

    /// Cancel-safe as far as the inner source is: a rest that is broken off goes on.
    async fn receive(&mut self, limits: &ReceiveLimits) -> Result<Vec<Delivery>, StreamError> {
        if let Some((given, events)) = self.given.take() {
            // Whoever folds has held the next call back for as long as that took.
            let rest = self.pace.rest(given.elapsed(), events);
            self.rests_until = Some(Instant::now() + rest);
        }
        if let Some(until) = self.rests_until {
            sleep_until(until).await;
            self.rests_until = None;
        }
        // Small pieces where there is a rate, so that a second of it is never taken at once.
        let events_max = match self.pace.rate_max {
            Some(rate) => {
                let piece = usize::try_from(rate / 4).unwrap_or(usize::MAX).max(1);
                limits.events_max.min(piece)
            }
            None => limits.events_max,
        };
        let begun = Instant::now();
        let limits = ReceiveLimits {
            events_max,
            ..*limits
        };
        let received = self.inner.receive(&limits).await?;
        if !received.is_empty() {
            self.given = Some((begun, received.len()));
        }
        Ok(received)
    }

    async fn pending(&mut self) -> Result<u64, StreamError> {
        self.inner.pending().await
    }

    async fn acknowledge(&mut self, _through: u64) -> Result<(), StreamError> {
        // What a replay has read is no business of the stream.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rebuild::test_streams::{limits, stream};

    fn status(pending: u64) -> watch::Receiver<ShardStatus> {
        let status = ShardStatus {
            pending,
            ..ShardStatus::default()
        };
        watch::channel(status).1
    }

    #[test]
    fn a_replay_rests_for_its_rate_and_for_what_is_served_only_while_that_is_behind() {
        let worked = Duration::from_millis(100);
        let pace = |rate_max, pending| Pace {
            rate_max,
            share_percent: 25,
            served: Some(status(pending)),
        };
        assert_eq!(pace(None, 10).rest(worked, 500), Duration::ZERO);
        assert_eq!(pace(None, 50_000).rest(worked, 500), worked * 3);
        assert_eq!(pace(Some(1_000), 10).rest(worked, 500), worked * 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_replay_is_not_faster_than_its_rate() {
        let pace = Pace {
            rate_max: Some(200),
            share_percent: 25,
            served: None,
        };
        let mut paced = Paced::new(stream(1_000), pace);
        paced.start(1).await.unwrap();
        let begun = Instant::now();
        let mut received = 0;
        while received < 1_000 {
            received += paced.receive(&limits(400)).await.unwrap().len();
        }
        let took = begun.elapsed();
        assert!((4..=6).contains(&took.as_secs()), "{took:?}");
    }
}
