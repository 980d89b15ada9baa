//! Handle: everything that a reader may ask of an observation.
//!
//! Reading never disturbs the loop. The only thing a reader can make it do is look sooner
//! (`refresh`). How waiting works is in `wait`, how following the events works in `subscription`.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    health::SourceHealth,
    history::{Backlog, Cursor},
    observer::Observer,
    shared::SharedOf,
    snapshot::{Observed, Since},
    status::{CycleFailure, ObservationStatus},
    subscription::{Snapshots, Subscription},
    wait::{self, Awaited, WaitError},
};

/// The read side of an observation. Cheap to clone; outlives the runtime.
pub struct ObservationHandle<O: Observer> {
    shared: Arc<SharedOf<O>>,
    cycle_within: Duration,
}

/// What is true now.
impl<O: Observer> ObservationHandle<O> {
    pub(crate) fn new(shared: Arc<SharedOf<O>>, cycle_within: Duration) -> Self {
        Self {
            shared,
            cycle_within,
        }
    }

    /// What the configuration called this observation.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The snapshot of the last good cycle; `None` before the first one.
    ///
    /// Costs about an `Arc` clone, whatever the snapshot's size.
    pub fn latest(&self) -> Option<Arc<Observed<O::Snapshot>>> {
        self.shared.latest()
    }

    /// Whether the loop runs, fails or has stopped.
    pub fn status(&self) -> ObservationStatus {
        self.shared.status()
    }

    /// The most recent failure of a cycle, even if later cycles were good.
    pub fn last_failure(&self) -> Option<Arc<CycleFailure>> {
        self.shared.last_failure()
    }

    /// How each source did when it was last asked through `poll_sources`, in the provider's order.
    ///
    /// Sources that have left are left out; one that was never asked has neither success nor
    /// error.
    pub fn sources_health(&self) -> Vec<SourceHealth> {
        self.shared.health.all()
    }

    /// Now, for [`wait_fresh`](Self::wait_fresh): take it before an action, to exclude all
    /// snapshots that may not show its effect.
    pub fn mark(&self) -> Since {
        Since::Cycle(self.shared.started())
    }
}

/// What happened.
impl<O: Observer> ObservationHandle<O> {
    /// The position after the last published event.
    pub fn cursor(&self) -> Cursor {
        self.shared.cursor()
    }

    /// The events after `cursor` that are still held, and how many are not.
    ///
    /// Going on from the backlog's `next` gives each event once, or counts it as dropped.
    pub fn events_since(&self, cursor: Cursor) -> Backlog<O::Event> {
        self.shared.events_since(cursor)
    }

    /// Waits until there is something after `cursor`. `None` when the loop has stopped and nothing
    /// is left. Does *not* have a deadline of its own.
    ///
    /// Cancel-safe: dropping loses nothing.
    pub async fn next_after(&self, cursor: Cursor) -> Option<Backlog<O::Event>> {
        self.shared.events_after(cursor).await
    }

    /// Follows the events from `cursor` on, past and future alike.
    pub fn subscribe_from(&self, cursor: Cursor) -> Subscription<O> {
        Subscription::new(Arc::clone(&self.shared), cursor)
    }

    /// Follows the snapshots, for instance to show progress while something is awaited.
    pub fn snapshots(&self) -> Snapshots<O> {
        Snapshots::new(Arc::clone(&self.shared))
    }
}

/// What will be true.
///
/// All waits look at the latest snapshot first and then at each new one, and return as soon as the
/// loop stops. The predicate runs in the caller's task, with no lock held. All are cancel-safe:
/// dropping loses nothing.
impl<O: Observer> ObservationHandle<O> {
    /// Waits until a snapshot satisfies `predicate`, and returns that snapshot.
    ///
    /// # Errors
    /// When there was none `within` the time, or the loop stopped before.
    pub async fn wait_until(
        &self,
        within: Duration,
        predicate: impl FnMut(&O::Snapshot) -> bool,
    ) -> Result<Arc<Observed<O::Snapshot>>, WaitError<O::Snapshot>> {
        self.wait_for("a snapshot that satisfies the condition", within, predicate)
            .await
    }

    /// Like [`wait_until`](Self::wait_until), with a goal for the error to name. The goal is the
    /// end of the sentence "waited 30s for ..".
    pub async fn wait_for(
        &self,
        goal: impl Into<String>,
        within: Duration,
        predicate: impl FnMut(&O::Snapshot) -> bool,
    ) -> Result<Arc<Observed<O::Snapshot>>, WaitError<O::Snapshot>> {
        let awaited = Awaited::new(goal.into(), within);
        wait::for_snapshot(&self.shared, awaited, predicate).await
    }

    /// Like [`wait_for`](Self::wait_for), but looks only at snapshots newer than `since`.
    pub async fn wait_fresh(
        &self,
        goal: impl Into<String>,
        since: Since,
        within: Duration,
        predicate: impl FnMut(&O::Snapshot) -> bool,
    ) -> Result<Arc<Observed<O::Snapshot>>, WaitError<O::Snapshot>> {
        let awaited = Awaited::new(goal.into(), within).since(since);
        wait::for_snapshot(&self.shared, awaited, predicate).await
    }

    /// Looks now instead of at the next tick, and returns the snapshot of a cycle that started
    /// after this call. Has the time that two whole cycles may take, since one may be under way.
    ///
    /// Callers that ask during one cycle share the next one.
    ///
    /// # Errors
    /// When that cycle failed, was not done in time, or the loop stopped before.
    pub async fn refresh(&self) -> Result<Arc<Observed<O::Snapshot>>, WaitError<O::Snapshot>> {
        let two_cycles = self.cycle_within.saturating_mul(2);
        self.refresh_within(two_cycles.saturating_add(Duration::from_secs(1)))
            .await
    }

    /// Like [`refresh`](Self::refresh), with a time of the caller's.
    pub async fn refresh_within(
        &self,
        within: Duration,
    ) -> Result<Arc<Observed<O::Snapshot>>, WaitError<O::Snapshot>> {
        wait::for_cycle(&self.shared, within).await
    }
}

impl<O: Observer> Clone for ObservationHandle<O> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            cycle_within: self.cycle_within,
        }
    }
}

impl<O: Observer> fmt::Debug for ObservationHandle<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservationHandle")
            .field("name", &self.name())
            .field("status", &self.status())
            .field("cursor", &self.cursor())
            .finish_non_exhaustive()
    }
}
