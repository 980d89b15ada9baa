//! Checks: what must be right for a node to be ready, and to be left running. Each says how it is, and what to do.

use std::time::Duration;

use super::{Check, Health, Liveness, Observed, ProjectionReport};
use crate::pipeline::{ShardState, ShardStatus};

/// The committer shows that it lives once a second, or after each commit. One commit does not take that long.
const HEARTBEAT_AGE_MAX: Duration = Duration::from_mins(1);

fn right(name: &str, says: impl Into<String>) -> Check {
    Check {
        name: name.to_owned(),
        ok: true,
        says: says.into(),
        mend: None,
    }
}

fn wrong(name: &str, says: impl Into<String>, mend: impl Into<String>) -> Check {
    Check {
        name: name.to_owned(),
        ok: false,
        says: says.into(),
        mend: Some(mend.into()),
    }
}

impl Health {
    /// Whether the node works at all. What others can mend without starting it again is not looked at.
    pub fn liveness(&self) -> Liveness {
        let uptime = self.started.elapsed().as_secs();
        let opened = match self.store.snapshot() {
            Ok(_) => right("store", "it is open and can be read"),
            Err(error) => wrong(
                "store",
                error.to_string(),
                "look at the disk of storage_path",
            ),
        };
        let checks = vec![
            right("process", format!("it runs since {uptime} s")),
            opened,
            self.committer(),
        ];
        Liveness {
            healthy: checks.iter().all(|check| check.ok),
            checks,
        }
    }

    fn committer(&self) -> Check {
        let Some(beat) = self.metrics.last_beat() else {
            return right("committer", "no delivery goes on, so none runs");
        };
        let age = beat.elapsed();
        let says = format!("its last heartbeat was {} s ago", age.as_secs());
        if age <= HEARTBEAT_AGE_MAX {
            right("committer", says)
        } else {
            wrong(
                "committer",
                says,
                "the disk hangs: look at it, and start the node again",
            )
        }
    }

    pub(super) fn checks(
        &self,
        status: &ShardStatus,
        observed: &Observed,
        projections: &[ProjectionReport],
    ) -> Vec<Check> {
        let mut checks = vec![
            self.process(status),
            nats(observed),
            source(status, observed),
            storage(status, observed),
            self.lag(projections),
            stall(observed),
        ];
        checks.extend(projections.iter().map(going_on));
        checks
    }

    fn process(&self, status: &ShardStatus) -> Check {
        if self.is_draining() {
            return wrong("process", "it is about to end", "ask another node");
        }
        match &status.state {
            ShardState::Stopped => wrong("process", "it has ended", "start it again"),
            _ => right("process", "it runs"),
        }
    }

    fn lag(&self, projections: &[ProjectionReport]) -> Check {
        let farthest = projections
            .iter()
            .filter(|state| state.blocked.is_none())
            .max_by_key(|state| state.behind);
        let Some(farthest) = farthest else {
            return right("lag", "nothing goes on");
        };
        let says = format!(
            "{} is {} events behind",
            farthest.projection, farthest.behind
        );
        match self.lag_max {
            Some(max) if farthest.behind > max => wrong(
                "lag",
                format!("{says}, more than {max}"),
                "wait until it has caught up, or raise ready_lag_max",
            ),
            _ => right("lag", says),
        }
    }
}

fn nats(observed: &Observed) -> Check {
    match (&observed.probed.trouble, observed.probed.last) {
        (None, Some(last)) => right("nats", format!("it answers; the stream is at {last}")),
        (trouble, _) => {
            let trouble = trouble.as_deref().unwrap_or("it was not asked yet");
            wrong(
                "nats",
                trouble,
                "start NATS with JetStream and create the stream, or set nats_url and stream; the node goes on by itself",
            )
        }
    }
}

fn source(status: &ShardStatus, observed: &Observed) -> Check {
    match &status.state {
        ShardState::Running if observed.probed.bound => right("source", "it is bound"),
        ShardState::Waiting { why } => wrong("source", why, "nothing, if that passes by itself"),
        ShardState::Blocked => wrong(
            "source",
            "no projection goes on",
            "see what is said of each projection",
        ),
        _ => wrong(
            "source",
            "it is not bound yet",
            "wait; if it stays, look at what is said of nats",
        ),
    }
}

fn storage(status: &ShardStatus, observed: &Observed) -> Check {
    let trouble = status
        .storage_trouble
        .as_ref()
        .or(observed.unwritable.as_ref());
    match trouble {
        None => right("storage", "it can be written"),
        Some(trouble) => wrong(
            "storage",
            trouble,
            "make room on the disk, or raise storage_bytes_max and start again; nothing is lost meanwhile",
        ),
    }
}

fn stall(observed: &Observed) -> Check {
    match &observed.stalled {
        None => right("stall", "what comes is committed"),
        Some(waits) => wrong("stall", waits, "if it stays, start the node again"),
    }
}

fn going_on(state: &ProjectionReport) -> Check {
    let name = format!("projection {}", state.projection);
    match &state.blocked {
        None => right(&name, format!("it is at {}", state.floor)),
        Some(reason) => wrong(&name, reason, state.mend.clone().unwrap_or_default()),
    }
}
