//! Polling of sources: asks many at once, so that a slow one costs its own freshness and not the
//! cycle's.
//!
//! What to ask and what to make of the answers is the observer's.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use thiserror::Error;
use tokio::time::{Instant, timeout};

use crate::{
    health::{self, HealthBoard},
    source::{DynError, ObservedSource},
    status::{chain, panic_message},
};

/// What one source answered.
#[derive(Debug)]
#[non_exhaustive]
pub struct SourcePoll<T> {
    /// The source's name.
    pub name: String,
    /// How long it took, from the start of this source's own request.
    pub latency: Duration,
    /// The answer.
    pub result: Result<T, SourcePollError>,
}

/// Why a source gave no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourcePollError {
    /// It had an error to report.
    #[error("it could not be asked")]
    Failed {
        /// What the request returned.
        #[source]
        source: DynError,
    },
    /// It was given up.
    #[error("no answer within {within:?}")]
    TimedOut {
        /// The time that it had.
        within: Duration,
    },
    /// The code that asked it panicked.
    #[error("asking it panicked: {message}")]
    Panicked {
        /// The panic's text.
        message: String,
    },
}

/// Asks all `sources` by `ask`, at most `limit` at a time, each with `within` of its own, and
/// returns one answer a source, in the order of the sources.
///
/// Takes as long as the slowest source, and so (with `limit` at least the number of sources) never
/// much more than `within`. The time of a source begins when its own request does. A panic in
/// `ask` is that source's failure.
///
/// Called from an observer that a runtime runs, it also brings `ObservationHandle::sources_health`
/// up to date, source by source as they answer.
///
/// # Cancel safety
/// Dropping it drops the requests under way; they count as failed in the sources' health.
///
/// ```
/// # use std::time::Duration;
/// # use trellis_observation::{ObservedSource, poll_sources};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let sources = [ObservedSource::new("a", "12"), ObservedSource::new("b", "many")];
///
/// let polls = poll_sources(&sources, 8, Duration::from_secs(1), async |text| text.parse::<u8>()).await;
///
/// assert_eq!(*polls[0].result.as_ref().unwrap(), 12);
/// assert!(polls[1].result.is_err());
/// # });
/// ```
pub async fn poll_sources<S, T, E, F, Fut>(
    sources: &[ObservedSource<S>],
    limit: usize,
    within: Duration,
    ask: F,
) -> Vec<SourcePoll<T>>
where
    S: Clone,
    F: Fn(S) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: Into<DynError>,
{
    let board = health::current_board();
    let mut waiting = sources.iter().enumerate();
    let mut in_flight = FuturesUnordered::new();
    let mut polls: Vec<Option<SourcePoll<T>>> = sources.iter().map(|_| None).collect();
    loop {
        let free = limit.max(1) - in_flight.len();
        for (index, ObservedSource { name, source }) in waiting.by_ref().take(free) {
            let request = Request::new(name, board.clone());
            // Boxed, because the layers around it would each copy a client's large future, and
            // that costs more than the allocation.
            let asked = Box::pin(async { ask(source.clone()).await });
            in_flight.push(async move { (index, request.run(within, asked).await) });
        }
        let Some((index, poll)) = in_flight.next().await else {
            break;
        };
        polls[index] = Some(poll);
    }
    polls.into_iter().flatten().collect()
}

/// One request under way. When it is dropped before the answer, the health says so.
struct Request<'a> {
    name: &'a str,
    began_at: Instant,
    board: Option<Arc<HealthBoard>>,
}

impl<'a> Request<'a> {
    fn new(name: &'a str, board: Option<Arc<HealthBoard>>) -> Self {
        Self {
            name,
            began_at: Instant::now(),
            board,
        }
    }

    async fn run<T, E: Into<DynError>>(
        mut self,
        within: Duration,
        asked: impl Future<Output = Result<T, E>>,
    ) -> SourcePoll<T> {
        let bounded = async move { timeout(within, asked).await };
        let result = match AssertUnwindSafe(bounded).catch_unwind().await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(error))) => Err(SourcePollError::Failed {
                source: error.into(),
            }),
            Ok(Err(_elapsed)) => Err(SourcePollError::TimedOut { within }),
            Err(panic) => Err(SourcePollError::Panicked {
                message: panic_message(panic.as_ref()),
            }),
        };
        let latency = self.began_at.elapsed();
        if let Some(board) = self.board.take() {
            match &result {
                Ok(_) => board.record_ok(self.name, latency),
                Err(error) => board.record_failure(self.name, latency, chain(error)),
            }
        }
        SourcePoll {
            name: self.name.to_owned(),
            latency,
            result,
        }
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        if let Some(board) = self.board.take() {
            let message = "the poll ended before an answer came".to_owned();
            board.record_failure(self.name, self.began_at.elapsed(), message);
        }
    }
}
