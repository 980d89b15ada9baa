//! Subscriptions: following the events and the snapshots as they come.
//!
//! Nothing is queued for a subscriber. It reads from the one history that all share, at its own
//! pace, so a slow one costs the loop nothing and can miss only what the bound dropped.

use std::{fmt, sync::Arc};

use crate::{
    history::{Backlog, Cursor},
    observer::Observer,
    shared::SharedOf,
    snapshot::Observed,
};

/// Follows the events of an observation from a cursor on.
pub struct Subscription<O: Observer> {
    shared: Arc<SharedOf<O>>,
    cursor: Cursor,
}

impl<O: Observer> Subscription<O> {
    pub(crate) fn new(shared: Arc<SharedOf<O>>, cursor: Cursor) -> Self {
        Self { shared, cursor }
    }

    /// Everything published since the last call, once there is something. `None` when the loop has
    /// stopped and all was delivered. Does *not* have a deadline of its own.
    ///
    /// Cancel-safe: dropping loses nothing.
    pub async fn next(&mut self) -> Option<Backlog<O::Event>> {
        let backlog = self.shared.events_after(self.cursor).await?;
        self.cursor = backlog.next;
        Some(backlog)
    }

    /// The position after what was delivered.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }
}

impl<O: Observer> fmt::Debug for Subscription<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
    }
}

/// Follows the snapshots of an observation. Always gives the newest; older ones are skipped.
pub struct Snapshots<O: Observer> {
    shared: Arc<SharedOf<O>>,
    seen: u64,
}

impl<O: Observer> Snapshots<O> {
    pub(crate) fn new(shared: Arc<SharedOf<O>>) -> Self {
        Self { shared, seen: 0 }
    }

    /// The latest snapshot, once it is newer than the one given before; the first call gives the
    /// one that is there. `None` when the loop has stopped. Does *not* have a deadline of its own.
    ///
    /// Cancel-safe: dropping loses nothing.
    pub async fn changed(&mut self) -> Option<Arc<Observed<O::Snapshot>>> {
        let newer = self
            .shared
            .until(|| {
                // Read before the snapshot, so that the last one is not missed.
                let stopped = self.shared.stopped();
                match self.shared.latest() {
                    Some(latest) if latest.version > self.seen => Some(Some(latest)),
                    _ => stopped.map(|_| None),
                }
            })
            .await?;
        self.seen = newer.version;
        Some(newer)
    }
}

impl<O: Observer> fmt::Debug for Snapshots<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshots")
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}
