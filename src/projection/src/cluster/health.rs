//! Health of a node of several shards: what each of them says of itself, as one.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use super::ClusterView;
use crate::{
    health::{Asked, Check, Health, Info, Liveness, Report, StorageReport},
    manifest::ProjectionManifest,
    metrics,
    pipeline::ShardState,
    settings::Settings,
    shards::ShardId,
};

/// A node that does not even try is stuck: each turn ends within the time of a lease, whether the server answers or not.
const LOOKED_WITHIN: u32 = 3;

/// What a node of several shards knows about itself.
pub struct ClusterHealth {
    view: ClusterView,
    info: Info,
    started: Instant,
    draining: AtomicBool,
}

impl ClusterHealth {
    /// Of the node that `view` shows.
    pub fn new(view: ClusterView, settings: &Settings, manifest: &ProjectionManifest) -> Arc<Self> {
        Arc::new(Self {
            view,
            info: Info::of(&settings.stream, manifest),
            started: Instant::now(),
            draining: AtomicBool::new(false),
        })
    }

    fn owned(&self) -> Vec<(ShardId, Arc<Health>)> {
        let hosted = self.view.hosted();
        let hosted = hosted.borrow();
        let owned = hosted
            .iter()
            .filter_map(|(shard, hosted)| Some((*shard, Arc::clone(hosted.health.as_ref()?))));
        owned.collect()
    }

    /// Shards that it owns and that are not open yet.
    fn opening(&self) -> Vec<Check> {
        let hosted = self.view.hosted();
        let hosted = hosted.borrow();
        let opening = hosted.iter().filter(|(_, hosted)| hosted.health.is_none());
        let opening = opening.map(|(shard, hosted)| {
            let says = match &hosted.status.borrow().state {
                ShardState::Waiting { why } => why.clone(),
                _ => "its store is being opened".to_owned(),
            };
            check(&format!("shard {shard}"), false, says)
        });
        opening.collect()
    }

    fn leases(&self) -> Check {
        if self.view.looked_within(LOOKED_WITHIN) {
            check("leases", true, "they are looked at")
        } else {
            let says = "the leases were not looked at for long";
            mended(check("leases", false, says), "start the node again")
        }
    }

    fn owners(&self) -> Check {
        let owned = self.view.owners().borrow().len();
        let of = self.view.layout().count() as usize;
        let says = format!("{owned} of {of} shards have an owner");
        let owners = check("owners", owned == of, says);
        if owned == of {
            return owners;
        }
        mended(
            owners,
            "wait, shards are taken over within the time of a lease; else start more nodes",
        )
    }

    fn process(&self) -> Check {
        if self.draining.load(Ordering::Relaxed) {
            let process = check("process", false, "it is about to end");
            return mended(process, "ask another node");
        }
        check("process", true, "it runs")
    }
}

impl Asked for ClusterHealth {
    fn liveness(&self) -> Liveness {
        let uptime = self.started.elapsed().as_secs();
        let mut checks = vec![
            check("process", true, format!("it runs since {uptime} s")),
            self.leases(),
        ];
        for (shard, health) in self.owned() {
            let of_shard = health.liveness().checks.into_iter();
            let of_shard = of_shard.filter(|check| check.name != "process");
            checks.extend(of_shard.map(|check| of(shard, check)));
        }
        Liveness {
            healthy: checks.iter().all(|check| check.ok),
            checks,
        }
    }

    fn report(&self) -> Report {
        let reports: Vec<_> = self
            .owned()
            .into_iter()
            .map(|(shard, health)| (shard, health.report()))
            .collect();
        let opening = self.opening();
        let is_opening = !opening.is_empty();
        let mut whole = Report {
            ready: false,
            checks: vec![self.process(), self.leases(), self.owners()],
            state: "running".to_owned(),
            waiting_for: None,
            version: self.info.version.clone(),
            uptime_s: self.started.elapsed().as_secs(),
            stream: self.info.stream.clone(),
            stream_last: 0,
            nats_connected: true,
            committer_heartbeat_age_s: None,
            stalled: None,
            received: 0,
            restarts: BTreeMap::new(),
            storage: StorageReport::default(),
            projections: Vec::new(),
            rebuilds: Vec::new(),
        };
        whole.checks.extend(opening);
        for (shard, report) in reports {
            add(&mut whole, shard, report);
        }
        whole.ready = whole.checks.iter().all(|check| check.ok);
        if self.draining.load(Ordering::Relaxed) {
            "draining".clone_into(&mut whole.state);
        } else if is_opening && whole.state == "running" {
            "starting".clone_into(&mut whole.state);
        }
        whole
    }

    fn info(&self) -> Info {
        self.info.clone()
    }

    fn metrics_text(&self) -> String {
        let owned = self.owned();
        let texts: Vec<_> = owned
            .iter()
            .map(|(_, health)| health.metrics_text())
            .collect();
        metrics::merged(&texts)
    }

    fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

/// Adds what one shard says. What is not right anywhere is not right.
fn add(whole: &mut Report, shard: ShardId, report: Report) {
    whole
        .checks
        .extend(report.checks.into_iter().map(|check| of(shard, check)));
    if whole.state == "running" {
        whole.state = report.state;
    }
    let named = |text: String| format!("shard {shard}: {text}");
    whole.waiting_for = whole.waiting_for.take().or(report.waiting_for.map(named));
    whole.stalled = whole.stalled.take().or(report.stalled.map(named));
    whole.stream_last = whole.stream_last.max(report.stream_last);
    whole.nats_connected &= report.nats_connected;
    whole.committer_heartbeat_age_s = [
        whole.committer_heartbeat_age_s,
        report.committer_heartbeat_age_s,
    ]
    .into_iter()
    .flatten()
    .reduce(f64::max);
    whole.received += report.received;
    for (why, times) in report.restarts {
        *whole.restarts.entry(why).or_default() += times;
    }
    whole.storage.used_bytes += report.storage.used_bytes;
    whole.storage.limit_bytes += report.storage.limit_bytes;
    let trouble = report.storage.trouble.map(named);
    whole.storage.trouble = whole.storage.trouble.take().or(trouble);
    let projections = report.projections.into_iter().map(|mut state| {
        state.shard = Some(shard);
        let of_shard = format!("projection --shard {shard} ");
        state.mend = state
            .mend
            .map(|mend| mend.replace("projection ", &of_shard));
        state
    });
    whole.projections.extend(projections);
    let rebuilds = report.rebuilds.into_iter().map(|mut rebuild| {
        rebuild.generation = format!("{} of shard {shard}", rebuild.generation);
        rebuild
    });
    whole.rebuilds.extend(rebuilds);
}

fn check(name: &str, ok: bool, says: impl Into<String>) -> Check {
    Check {
        name: name.to_owned(),
        ok,
        says: says.into(),
        mend: None,
    }
}

fn mended(check: Check, mend: &str) -> Check {
    Check {
        mend: Some(mend.to_owned()),
        ..check
    }
}

fn of(shard: ShardId, check: Check) -> Check {
    Check {
        name: format!("shard {shard}, {}", check.name),
        ..check
    }
}
