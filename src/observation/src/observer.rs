//! Observer: the one trait that an app implements, and the error that its polls may return.
//!
//! The app owns what is seen (sources, state, snapshot, events). When to look, how long that may
//! take and what happens when it goes wrong is not here but in `cycle`.

use std::error::Error;

use async_trait::async_trait;

use crate::source::{DynError, ObservedSource};

/// Turns sources into a state, a snapshot of it, and events about what changed.
///
/// The runtime calls `init` once, then `poll` and `snapshot` in each cycle. All three may fail or
/// panic, and the first two may hang: the runtime records it, keeps the last snapshot, and tries
/// again in the next cycle.
///
/// What becomes of the state then:
/// - a poll that *returned an error* keeps its state: it returned, so the state is as it meant it;
/// - a poll that *overran its deadline* was dropped at an await point and keeps its state, with
///   what was written before that point. Write a finding into the state and its event into a list
///   in the state together, with no await in between, and drain the list where `poll` returns:
///   nothing is then lost or told twice;
/// - a poll that *panicked* may have left anything half done: the state is dropped, and the next
///   cycle begins with `init`;
/// - a `snapshot` that panicked only borrowed the state, which is kept.
#[async_trait]
pub trait Observer: Send + Sync + 'static {
    /// What is looked at.
    type Source: Clone + Send + Sync + 'static;
    /// What the observer remembers between polls.
    type State: Send + Sync + 'static;
    /// What readers get: what is true now.
    type Snapshot: Clone + Send + Sync + 'static;
    /// What changed.
    type Event: Clone + Send + Sync + 'static;

    /// Builds the first state. `sources` may be empty.
    async fn init(&self, sources: &[ObservedSource<Self::Source>])
    -> Result<Self::State, DynError>;

    /// Looks at the sources once, brings the state up to date, and returns what changed.
    ///
    /// # Cancel safety
    /// Must stand being dropped at any await point; see the trait's text for what happens then.
    async fn poll(
        &self,
        sources: &[ObservedSource<Self::Source>],
        state: &mut Self::State,
    ) -> Result<Vec<Self::Event>, PollFailure<Self::Event>>;

    /// The view of the state that readers share. Called once in each successful cycle.
    fn snapshot(&self, state: &Self::State) -> Self::Snapshot;
}

/// A poll that failed, with the events that it found before it did; they are still published.
///
/// Built from any error by `?`. It is not an error itself: that is what lets every other error
/// convert into it.
#[derive(Debug)]
pub struct PollFailure<E> {
    /// Why the poll failed.
    pub error: DynError,
    /// What it found before, oldest first.
    pub events: Vec<E>,
}

impl<E> PollFailure<E> {
    /// A failure that found nothing before. Takes what `?` cannot: a text, or a boxed error.
    pub fn new(error: impl Into<DynError>) -> Self {
        Self::with_events(error, Vec::new())
    }

    /// A failure that found `events` before.
    pub fn with_events(error: impl Into<DynError>, events: Vec<E>) -> Self {
        Self {
            error: error.into(),
            events,
        }
    }
}

impl<E, F: Error + Send + Sync + 'static> From<F> for PollFailure<E> {
    fn from(error: F) -> Self {
        Self::new(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_built_from_any_error_by_the_question_mark() {
        fn poll() -> Result<Vec<u8>, PollFailure<u8>> {
            let number: u8 = "many".parse()?;
            Ok(vec![number])
        }

        let failure = poll().unwrap_err();

        assert_eq!(failure.error.to_string(), "invalid digit found in string");
        assert!(failure.events.is_empty());
    }

    #[test]
    fn a_failure_carries_the_events_found_before_it() {
        let failure = PollFailure::with_events("the third source is away", vec![1, 2]);

        assert_eq!(failure.error.to_string(), "the third source is away");
        assert_eq!(failure.events, [1, 2]);
    }
}
