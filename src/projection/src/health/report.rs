//! Reports: what a node says about itself, as one value. Programs read it as JSON, so names in it do not change.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{COMMIT, Health, lock};
use crate::pipeline::{ShardState, since};

/// All that a node says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Whether it may be given work.
    pub ready: bool,
    /// What that is judged by.
    pub checks: Vec<Check>,
    /// `starting`, `running`, `waiting`, `blocked`, `stopped` or `draining`.
    pub state: String,
    /// What it waits for, where it does.
    pub waiting_for: Option<String>,
    /// Its version.
    pub version: String,
    /// How long it runs, in seconds.
    pub uptime_s: u64,
    /// The stream.
    pub stream: String,
    /// The last sequence of the stream, as far as it is known.
    pub stream_last: u64,
    /// Whether NATS answers.
    pub nats_connected: bool,
    /// Since the committer last showed that it lives; nothing where none runs.
    pub committer_heartbeat_age_s: Option<f64>,
    /// What events wait for that are not committed, where they wait for too long.
    pub stalled: Option<String>,
    /// How many events were received.
    pub received: u64,
    /// How often delivery was started again, by the reason.
    pub restarts: BTreeMap<String, u64>,
    /// The store.
    pub storage: StorageReport,
    /// Each projection.
    pub projections: Vec<ProjectionReport>,
    /// Rebuilds that go on.
    pub rebuilds: Vec<RebuildReport>,
}

/// One thing that must be right for a node to be ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Which.
    pub name: String,
    /// Whether it is right.
    pub ok: bool,
    /// How it is, as a sentence.
    pub says: String,
    /// What to do, where it is not right and somebody can do something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// How large the store is, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StorageReport {
    /// How much it takes.
    pub used_bytes: u64,
    /// How much it may take.
    pub limit_bytes: u64,
    /// What it says, where it fails.
    pub trouble: Option<String>,
}

/// How far a projection is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProjectionReport {
    /// Which, such as `account@1`.
    pub projection: String,
    /// The stored checkpoint.
    pub floor: u64,
    /// The last sequence of the stream.
    pub stream_last: u64,
    /// How many events are not in the views.
    pub behind: u64,
    /// How old the last event in the views is, while others wait.
    pub lag_seconds: f64,
    /// Events folded in a second, of late.
    pub rate: f64,
    /// Events in quarantine.
    pub quarantined: usize,
    /// How old the oldest of them is.
    pub quarantine_oldest_s: Option<f64>,
    /// Views whose events wait.
    pub parked_keys: usize,
    /// Why it does not go on.
    pub blocked: Option<String>,
    /// What mends that.
    pub mend: Option<String>,
}

/// How far a rebuild is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildReport {
    /// What is made, such as `account@2`.
    pub projection: String,
    /// Where it began.
    pub from: u64,
    /// Where it is.
    pub at: u64,
    /// Where it is to get.
    pub to: u64,
}

impl RebuildReport {
    /// How much is done, from 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "it is shown to people")]
    pub fn ratio(&self) -> f64 {
        let all = self.to.saturating_sub(self.from);
        let done = self.at.saturating_sub(self.from);
        if all == 0 {
            1.0
        } else {
            (done as f64 / all as f64).min(1.0)
        }
    }
}

/// Whether the process works at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liveness {
    /// Whether nothing here says that it should be started again.
    pub healthy: bool,
    /// What that is judged by.
    pub checks: Vec<Check>,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Its version.
    pub version: String,
    /// The commit that it was built from.
    pub commit: String,
    /// The stream.
    pub stream: String,
    /// What is projected.
    pub projections: Vec<ProjectionInfo>,
}

/// What a projection is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectionInfo {
    /// The type of its views.
    pub view_type: String,
    /// Which generation of them.
    pub generation: u32,
    /// The program.
    pub program_hash: String,
    /// What becomes of events that it cannot apply.
    pub poison: crate::quarantine::PoisonPolicy,
}

impl Health {
    /// What runs.
    pub fn info(&self) -> Info {
        let projections = self.manifest.projections().iter();
        let projections = projections.map(|projection| ProjectionInfo {
            view_type: projection.table.view_type.to_string(),
            generation: projection.table.generation,
            program_hash: projection.program.hash().to_owned(),
            poison: projection.policy,
        });
        Info {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: COMMIT.to_owned(),
            stream: self.stream.clone(),
            projections: projections.collect(),
        }
    }

    /// How everything is.
    pub fn report(&self) -> Report {
        let status = self.status.borrow().clone();
        let observed = self.observed();
        let (state, mut waiting_for) = match status.state.clone() {
            ShardState::Starting => ("starting", None),
            ShardState::Running => ("running", None),
            ShardState::Waiting { why } => ("waiting", Some(why)),
            ShardState::Blocked => ("blocked", None),
            ShardState::Stopped => ("stopped", None),
        };
        if waiting_for.is_none() {
            waiting_for = status
                .storage_trouble
                .as_ref()
                .map(|trouble| format!("storage: {trouble}"));
        }
        let projections = self.projections(&status, &observed);
        let checks = self.checks(&status, &observed, &projections);
        let age = |beat: std::time::Instant| beat.elapsed().as_secs_f64();
        let restarts = status.restarts.iter();
        Report {
            ready: checks.iter().all(|check| check.ok),
            checks,
            state: if self.is_draining() {
                "draining"
            } else {
                state
            }
            .to_owned(),
            waiting_for,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: self.started.elapsed().as_secs(),
            stream: self.stream.clone(),
            stream_last: observed.known(0),
            nats_connected: observed.probed.connected,
            committer_heartbeat_age_s: self.metrics.last_beat().map(age),
            stalled: observed.stalled.clone(),
            received: status.received,
            restarts: restarts
                .map(|(why, times)| (why.name().to_owned(), *times))
                .collect(),
            storage: StorageReport {
                used_bytes: observed.used_bytes,
                limit_bytes: self.store_limit,
                trouble: status.storage_trouble.or(observed.unwritable),
            },
            projections,
            rebuilds: lock(&self.rebuilds).values().cloned().collect(),
        }
    }

    fn projections(
        &self,
        status: &crate::pipeline::ShardStatus,
        observed: &super::Observed,
    ) -> Vec<ProjectionReport> {
        let projections = self.manifest.projections().iter();
        let one = |projection: &crate::manifest::Projection| {
            let table = &projection.table;
            let state = status.projections.get(table).cloned().unwrap_or_default();
            let behind = observed.probed.behind(state.floor);
            let old = |published| since(published).as_secs_f64();
            let quarantine = observed.quarantine.get(table).copied().unwrap_or_default();
            ProjectionReport {
                projection: table.to_string(),
                floor: state.floor,
                stream_last: observed.known(state.floor),
                behind,
                lag_seconds: state.published.filter(|_| behind > 0).map_or(0.0, old),
                rate: observed.rates.get(table).copied().unwrap_or_default(),
                quarantined: quarantine.events,
                quarantine_oldest_s: quarantine.oldest.map(old),
                parked_keys: state.parked_keys,
                mend: state.blocked.as_ref().map(|reason| reason.mend(table)),
                blocked: state.blocked.as_ref().map(ToString::to_string),
            }
        };
        projections.map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rebuild_of_nothing_is_done_and_none_is_more_than_done() {
        let rebuild = |from, at, to| RebuildReport {
            projection: "account@2".to_owned(),
            from,
            at,
            to,
        };
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(rebuild(0, 0, 0).ratio(), 1.0));
        assert!(near(rebuild(100, 150, 200).ratio(), 0.5));
        assert!(near(rebuild(0, 30, 20).ratio(), 1.0));
    }
}
