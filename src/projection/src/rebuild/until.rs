//! Until: a delivery that is cut off where a replay has to end.

use async_trait::async_trait;
use tokio::sync::watch;

use crate::stream::{Delivery, EventSource, ReceiveLimits, StreamError, StreamFacts};

/// How far a source that is cut off has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Given {
    /// The last sequence that was given.
    pub(super) last: u64,
    /// Whether there is nothing more up to the end.
    pub(super) complete: bool,
}

/// A source that ends at a sequence: later events are not given.
pub struct UpTo<S> {
    inner: S,
    until: u64,
    given: watch::Sender<Given>,
}

impl<S> UpTo<S> {
    /// `inner`, up to the event `until` and with it.
    pub fn new(inner: S, until: u64) -> Self {
        Self {
            inner,
            until,
            given: watch::Sender::default(),
        }
    }

    pub(super) fn given(&self) -> watch::Receiver<Given> {
        self.given.subscribe()
    }
}

#[async_trait]
impl<S: EventSource> EventSource for UpTo<S> {
    async fn facts(&mut self, floor: u64) -> Result<StreamFacts, StreamError> {
        self.inner.facts(floor).await
    }

    async fn start(&mut self, from: u64) -> Result<(), StreamError> {
        self.given.send_replace(Given {
            last: from.saturating_sub(1),
            complete: from > self.until,
        });
        self.inner.start(from).await
    }

    async fn receive(&mut self, limits: &ReceiveLimits) -> Result<Vec<Delivery>, StreamError> {
        if self.given.borrow().complete {
            tokio::time::sleep(limits.idle).await;
            return Ok(Vec::new());
        }
        let mut received = self.inner.receive(limits).await?;
        let all_there_is = match received.last() {
            Some(last) => last.pending == 0,
            // Silence alone says nothing: a server may have too much to do, or be gone.
            None => self.inner.pending().await? == 0,
        };
        let within = received.partition_point(|delivery| delivery.sequence <= self.until);
        let beyond = within < received.len();
        received.truncate(within);
        self.given.send_modify(|given| {
            given.last = received.last().map_or(given.last, |last| last.sequence);
            given.complete = beyond || all_there_is || given.last >= self.until;
        });
        Ok(received)
    }

    async fn pending(&mut self) -> Result<u64, StreamError> {
        self.inner.pending().await
    }

    async fn acknowledge(&mut self, _through: u64) -> Result<(), StreamError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;
    use crate::{
        rebuild::test_streams::{limits, stream},
        stream::MemorySource,
    };

    /// A stream that says nothing for a while.
    struct Silent {
        inner: MemorySource,
        receives: u32,
    }

    #[async_trait]
    impl EventSource for Silent {
        async fn facts(&mut self, floor: u64) -> Result<StreamFacts, StreamError> {
            self.inner.facts(floor).await
        }

        async fn start(&mut self, from: u64) -> Result<(), StreamError> {
            self.inner.start(from).await
        }

        async fn receive(&mut self, limits: &ReceiveLimits) -> Result<Vec<Delivery>, StreamError> {
            if self.receives == 0 {
                return self.inner.receive(limits).await;
            }
            self.receives -= 1;
            sleep(limits.idle).await;
            Ok(Vec::new())
        }

        async fn pending(&mut self) -> Result<u64, StreamError> {
            self.inner.pending().await
        }

        async fn acknowledge(&mut self, through: u64) -> Result<(), StreamError> {
            self.inner.acknowledge(through).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_the_end_only_where_the_stream_says_that_there_is_nothing_more() {
        let silent = Silent {
            inner: stream(50),
            receives: 1_000,
        };
        let mut cut = UpTo::new(silent, 60);
        let given = cut.given();
        cut.start(41).await.unwrap();
        for _ in 0..1_000 {
            assert_eq!(cut.receive(&limits(20)).await.unwrap().len(), 0);
            assert!(!given.borrow().complete, "ten events are still to come");
        }
        assert_eq!(cut.receive(&limits(20)).await.unwrap().len(), 10);
        // What the stream had up to the end is gone from it.
        cut.start(51).await.unwrap();
        assert_eq!(cut.receive(&limits(20)).await.unwrap().len(), 0);
        assert!(given.borrow().complete);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_behind_the_end_is_given_and_the_end_is_known() {
        let mut cut = UpTo::new(stream(50), 33);
        let given = cut.given();
        cut.start(1).await.unwrap();
        let mut last = 0;
        while !given.borrow().complete {
            let received = cut.receive(&limits(20)).await.unwrap();
            last = received.last().map_or(last, |last| last.sequence);
        }
        assert_eq!((last, given.borrow().last), (33, 33));
        assert_eq!(cut.receive(&limits(20)).await.unwrap().len(), 0);
    }
}
