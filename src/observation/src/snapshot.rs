//! Snapshots: what was true in one cycle, when that was, and where the latest one is kept.

use std::{fmt, ops::Deref, sync::Arc, time::Duration};

use spin::{Yield, mutex::SpinMutex};
use tokio::time::Instant;

/// A snapshot, and when it was taken. Derefs to the snapshot.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Observed<S> {
    /// What the observer showed.
    pub snapshot: S,
    /// 1 for the first snapshot, and one more for each next.
    pub version: u64,
    /// The cycle that took it. Failed cycles count too but leave no snapshot.
    pub cycle: u64,
    /// When that cycle began. Nothing in the snapshot was asked for before, unless the observer
    /// chose to show something older.
    pub began_at: Instant,
    /// When the snapshot was taken.
    pub taken_at: Instant,
}

impl<S> Observed<S> {
    /// How long ago the snapshot was taken.
    pub fn age(&self) -> Duration {
        self.taken_at.elapsed()
    }
}

impl<S> Deref for Observed<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.snapshot
    }
}

/// Excludes snapshots that may not show what the caller just did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Since {
    /// Only snapshots of cycles that began after this one did; `ObservationHandle::mark` gives
    /// the cycle that is going on. Exact, so the best choice before an action.
    Cycle(u64),
    /// Only snapshots of cycles that began at this instant or later.
    Instant(Instant),
    /// Only snapshots newer than this version, however early their cycle began.
    Version(u64),
}

impl Since {
    pub(crate) fn admits<S>(self, observed: &Observed<S>) -> bool {
        match self {
            Self::Cycle(cycle) => observed.cycle > cycle,
            Self::Instant(instant) => observed.began_at >= instant,
            Self::Version(version) => observed.version > version,
        }
    }
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cycle(cycle) => write!(f, "cycle {cycle}"),
            Self::Instant(instant) => write!(f, "{:?} ago", instant.elapsed()),
            Self::Version(version) => write!(f, "version {version}"),
        }
    }
}

/// Holds the latest snapshot for all readers.
///
/// A spin lock, because it is held for the increment of one counter and nothing else: no user
/// code, no allocation, no destructor. That saves the second atomic exchange of a std lock, which
/// is what keeps a read within twice the cost of the `Arc` clone itself (`cargo bench`). A reader
/// that meets a holder which was scheduled away yields its thread.
pub(crate) struct LatestCell<S>(SpinMutex<Option<Arc<Observed<S>>>, Yield>);

impl<S> LatestCell<S> {
    pub(crate) fn new() -> Self {
        Self(SpinMutex::new(None))
    }

    pub(crate) fn get(&self) -> Option<Arc<Observed<S>>> {
        self.0.lock().clone()
    }

    /// Puts a newer snapshot in place and returns the one before, to be dropped by the caller.
    #[must_use = "to be dropped where no lock is held"]
    pub(crate) fn replace(&self, observed: Arc<Observed<S>>) -> Option<Arc<Observed<S>>> {
        self.0.lock().replace(observed)
    }
}
