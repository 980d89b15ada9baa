//! Reports: what a node says about itself, as one value. Programs read it as JSON, so names in it do not change.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{COMMIT, Health, Observed};
use crate::{
    manifest::ProjectionManifest,
    pipeline::{ShardState, ShardStatus, since},
    rebuild::Progress,
    shards::ShardId,
    types::ViewTable,
};

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
    /// What is made beside that, and what was of late.
    pub rebuilds: Vec<Progress>,
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
    /// Of which shard, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardId>,
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

impl Info {
    /// Of a node that makes what `manifest` says of `stream`.
    pub fn of(stream: &str, manifest: &ProjectionManifest) -> Self {
        let projections = manifest.projections().iter();
        let projections = projections.map(|projection| ProjectionInfo {
            view_type: projection.table.view_type.to_string(),
            generation: projection.table.generation,
            program_hash: projection.program.hash().to_owned(),
            poison: projection.policy,
        });
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: COMMIT.to_owned(),
            stream: stream.to_owned(),
            projections: projections.collect(),
        }
    }
}

impl ProjectionReport {
    /// Its name for people.
    pub fn name(&self) -> String {
        match self.shard {
            None => self.projection.clone(),
            Some(shard) => format!("{} of shard {shard}", self.projection),
        }
    }
}

impl Health {
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
            rebuilds: self.rebuilds.borrow().clone(),
        }
    }

    /// What is served, or what should be where nothing is yet.
    pub(super) fn tables(&self, status: &ShardStatus) -> Vec<ViewTable> {
        if status.projections.is_empty() {
            let wanted = self.manifest.projections().iter();
            return wanted.map(|wanted| wanted.table.clone()).collect();
        }
        status.projections.keys().cloned().collect()
    }

    fn projections(&self, status: &ShardStatus, observed: &Observed) -> Vec<ProjectionReport> {
        let one = |table: &ViewTable| {
            let state = status.projections.get(table).cloned().unwrap_or_default();
            let behind = observed.probed.behind(state.floor);
            let old = |published| since(published).as_secs_f64();
            let quarantine = observed.quarantine.get(table).copied().unwrap_or_default();
            ProjectionReport {
                projection: table.to_string(),
                shard: None,
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
        self.tables(status).iter().map(one).collect()
    }
}
