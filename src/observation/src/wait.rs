//! Waiting: for a snapshot that shows what the caller hopes for, or for a cycle that is fresh.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};

use crate::{
    shared::Shared,
    snapshot::{Observed, Since},
    status::{CycleFailure, StopReason, chain, rounded},
};

/// A wait that did not get what it waited for.
///
/// `Display` names the goal, the time and how old the last snapshot is. Snapshots need not be
/// printable; [`describe_with`](Self::describe_with) says what the last one was where they are.
#[non_exhaustive]
pub struct WaitError<S> {
    /// What was awaited: the end of the sentence "waited 30s for ..".
    pub goal: String,
    /// The time that the wait had.
    pub within: Duration,
    /// How long it took until it was given up.
    pub waited: Duration,
    /// Why it was given up.
    pub reason: WaitReason,
    /// The last snapshot, even if the wait excluded it; `None` if there was none at all.
    pub last: Option<Arc<Observed<S>>>,
    /// The last snapshot's age when the wait was given up.
    pub last_age: Option<Duration>,
    /// The last failure of a cycle, if there was one during the wait or observation still fails.
    pub failure: Option<Arc<CycleFailure>>,
}

/// Why a wait was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitReason {
    /// The time was over.
    Timeout,
    /// The loop stopped.
    Stopped(StopReason),
    /// The cycle that `refresh` asked for failed.
    CycleFailed,
}

impl<S> WaitError<S> {
    /// The whole message, with the last snapshot in the caller's words:
    /// `waited 30s for node-3 to follow its peers; the last snapshot was height 112, 80ms old`.
    ///
    /// Unlike `Display` it includes the last failure with its causes.
    pub fn describe_with(&self, describe: impl FnOnce(&S) -> String) -> String {
        let last = self.last.as_deref().map(|last| describe(&last.snapshot));
        let mut message = self.message(last);
        if let Some(failure) = &self.failure {
            message.push_str("; the last failure: ");
            message.push_str(&chain(failure.as_ref()));
        }
        message
    }

    fn message(&self, last: Option<String>) -> String {
        let Self { goal, within, .. } = self;
        let waited = rounded(self.waited);
        let outcome = match self.reason {
            WaitReason::Timeout => format!("waited {within:?} for {goal}"),
            WaitReason::Stopped(reason) => format!(
                "waited {waited:?} of {within:?} for {goal}; observation stopped, because {reason}"
            ),
            WaitReason::CycleFailed => {
                format!("waited {waited:?} for {goal}, but it failed")
            }
        };
        match (last, self.last_age) {
            (Some(last), Some(age)) => {
                let age = rounded(age);
                format!("{outcome}; the last snapshot was {last}, {age:?} old")
            }
            _ => format!("{outcome}; there was no snapshot"),
        }
    }
}

impl<S> fmt::Display for WaitError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.last.as_deref();
        let version = last.map(|last| format!("version {}", last.version));
        f.write_str(&self.message(version))
    }
}

impl<S> fmt::Debug for WaitError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitError")
            .field("goal", &self.goal)
            .field("within", &self.within)
            .field("waited", &self.waited)
            .field("reason", &self.reason)
            .field("last", &self.last.as_deref().map(|last| last.version))
            .field("last_age", &self.last_age)
            .field("failure", &self.failure)
            .finish()
    }
}

impl<S> Error for WaitError<S> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let failure = self.failure.as_deref()?;
        Some(failure)
    }
}

/// A wait as it begins.
pub(crate) struct Awaited {
    goal: String,
    since: Option<Since>,
    within: Duration,
    began_at: Instant,
}

impl Awaited {
    pub(crate) fn new(goal: String, within: Duration) -> Self {
        Self {
            goal,
            since: None,
            within,
            began_at: Instant::now(),
        }
    }

    pub(crate) fn since(mut self, since: Since) -> Self {
        self.since = Some(since);
        self
    }

    fn given_up<S, E>(self, shared: &Shared<S, E>, reason: WaitReason) -> WaitError<S> {
        let last = shared.latest();
        let failing = shared.status().is_failing();
        let failure = shared
            .last_failure()
            .filter(|failure| failing || failure.at >= self.began_at);
        WaitError {
            goal: self.goal,
            within: self.within,
            waited: self.began_at.elapsed(),
            reason,
            last_age: last.as_deref().map(Observed::age),
            last,
            failure,
        }
    }
}

/// Waits for a snapshot that satisfies `predicate`. Each snapshot is tried once at most.
pub(crate) async fn for_snapshot<S, E>(
    shared: &Shared<S, E>,
    awaited: Awaited,
    mut predicate: impl FnMut(&S) -> bool,
) -> Result<Arc<Observed<S>>, WaitError<S>> {
    let mut tried = 0;
    let satisfied = shared.until(|| {
        // Read before the snapshot, so that the last one is not missed.
        let stopped = shared.stopped();
        let untried = shared.latest().filter(|latest| latest.version > tried);
        if let Some(latest) = untried {
            tried = latest.version;
            if awaited.since.is_none_or(|since| since.admits(&latest)) && predicate(&latest) {
                return Some(Ok(latest));
            }
        }
        stopped.map(|reason| Err(WaitReason::Stopped(reason)))
    });
    let ended = timeout(awaited.within, satisfied).await;
    ended
        .unwrap_or(Err(WaitReason::Timeout))
        .map_err(|reason| awaited.given_up(shared, reason))
}

/// Asks for a cycle that starts after this call, and waits until it is done.
pub(crate) async fn for_cycle<S, E>(
    shared: &Shared<S, E>,
    within: Duration,
) -> Result<Arc<Observed<S>>, WaitError<S>> {
    let awaited = Awaited::new("a fresh look at the sources".to_owned(), within);
    let wanted = shared.want_cycle();
    let done = shared.until(|| {
        let stopped = shared.stopped();
        if shared.completed() >= wanted {
            let fresh = shared.latest().filter(|latest| latest.cycle >= wanted);
            return Some(fresh.ok_or(WaitReason::CycleFailed));
        }
        stopped.map(|reason| Err(WaitReason::Stopped(reason)))
    });
    let ended = timeout(within, done).await;
    ended
        .unwrap_or(Err(WaitReason::Timeout))
        .map_err(|reason| awaited.given_up(shared, reason))
}
