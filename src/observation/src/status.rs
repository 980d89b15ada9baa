//! Status: whether the loop runs, fails or has stopped, and what went wrong last.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

/// What the observation loop is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ObservationStatus {
    /// No cycle has ended yet.
    Starting,
    /// The last cycle was good.
    Running,
    /// The last cycle failed, or the one going on is long past its deadline.
    Failing {
        /// When the first cycle of this row of failures failed.
        since: Instant,
        /// How many cycles in a row have failed.
        consecutive: u64,
        /// The last one's failure.
        last_error: Arc<CycleFailure>,
    },
    /// The loop has ended. Snapshot and history stay readable.
    Stopped {
        /// Why it ended.
        reason: StopReason,
    },
}

impl ObservationStatus {
    /// True while the last cycle was good.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running)
    }

    /// True while the last cycle was bad.
    pub fn is_failing(&self) -> bool {
        matches!(self, Self::Failing { .. })
    }

    /// True once the loop has ended.
    pub fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped { .. })
    }
}

impl fmt::Display for ObservationStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Running => f.write_str("running"),
            Self::Failing {
                since,
                consecutive,
                last_error,
            } => {
                let since = rounded(since.elapsed());
                let last_error = chain(last_error.as_ref());
                write!(
                    f,
                    "failing for {since:?} ({consecutive} in a row): {last_error}"
                )
            }
            Self::Stopped { reason } => write!(f, "stopped: {reason}"),
        }
    }
}

/// Why an observation loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// `ObservationRuntime::shutdown` was called.
    Shutdown,
    /// The token in the configuration was cancelled.
    Cancelled,
    /// The runtime was dropped.
    Dropped,
    /// The loop's task ended without being asked to: the tokio runtime went away under it.
    Aborted,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shutdown => "it was shut down",
            Self::Cancelled => "it was cancelled",
            Self::Dropped => "its runtime was dropped",
            Self::Aborted => "its task was aborted",
        })
    }
}

/// What a cycle is doing, in the order in which it does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CyclePhase {
    /// `SourceProvider::sources`.
    Sources,
    /// `Observer::init`; only in the first cycle, and after it failed or a poll panicked.
    Init,
    /// `Observer::poll`.
    Poll,
    /// `Observer::snapshot`.
    Snapshot,
    /// Letting go of what is no longer needed; the destructors are the app's.
    Release,
}

impl fmt::Display for CyclePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sources => "the listing of sources",
            Self::Init => "the observer's start",
            Self::Poll => "the poll",
            Self::Snapshot => "the snapshot",
            Self::Release => "the release of old values",
        })
    }
}

/// Why a cycle left no snapshot.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CycleFailure {
    /// Which cycle.
    pub cycle: u64,
    /// What it was doing.
    pub phase: CyclePhase,
    /// What happened.
    pub kind: FailureKind,
    /// When it was noticed.
    pub at: Instant,
}

/// What can happen to a phase of a cycle.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FailureKind {
    /// It returned this error.
    Failed(Arc<dyn Error + Send + Sync>),
    /// It was dropped at its deadline.
    TimedOut {
        /// The budget that it had.
        within: Duration,
    },
    /// It panicked.
    Panicked {
        /// The panic's text.
        message: String,
    },
    /// It is past its deadline and cannot be dropped, because it does not yield its thread.
    Blocking {
        /// The budget that it had.
        within: Duration,
    },
}

impl fmt::Display for CycleFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = self.phase;
        match &self.kind {
            FailureKind::Failed(_) => write!(f, "{phase} failed"),
            FailureKind::TimedOut { within } => write!(f, "{phase} did not end within {within:?}"),
            FailureKind::Panicked { message } => write!(f, "{phase} panicked: {message}"),
            FailureKind::Blocking { within } => write!(
                f,
                "{phase} did not end within {within:?} and blocks its thread"
            ),
        }
    }
}

impl Error for CycleFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            FailureKind::Failed(cause) => Some(cause.as_ref()),
            _ => None,
        }
    }
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

/// A duration without the digits that no person reads.
pub(crate) fn rounded(duration: Duration) -> Duration {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(millis)
}

/// The text that a panic was raised with.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}
