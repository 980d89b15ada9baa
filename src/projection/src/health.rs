//! Health: what a node says about itself. It looks at the shard, the stream and the store once a second, and judges from that.
//!
//! How it is shown is elsewhere: over HTTP (see `http`), as metrics (see `metrics`), and by the command.

mod checks;
mod observe;
mod report;
mod stall;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    manifest::ProjectionManifest,
    metrics::Metrics,
    pipeline::ShardStatus,
    rebuild::Progress,
    settings::{Durability, Settings},
    storage::ViewStore,
};

pub use report::{Check, Info, Liveness, ProjectionInfo, ProjectionReport, Report, StorageReport};

use self::observe::Observed;

/// The commit that this was built from, where the build was told.
pub const COMMIT: &str = match option_env!("PROJECTION_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// What a node knows about itself.
pub struct Health {
    manifest: ProjectionManifest,
    stream: String,
    store: Arc<ViewStore>,
    store_limit: u64,
    status: watch::Receiver<ShardStatus>,
    metrics: Arc<Metrics>,
    started: Instant,
    stall_after: Duration,
    lag_max: Option<u64>,
    draining: AtomicBool,
    observed: Mutex<Observed>,
    rebuilds: watch::Receiver<Vec<Progress>>,
}

impl Health {
    /// Of the shard that tells `status` and `rebuilds`, and counts in `metrics`. It knows nothing before it observes (see [`Health::observe`]).
    pub fn new(
        settings: &Settings,
        manifest: ProjectionManifest,
        store: Arc<ViewStore>,
        status: watch::Receiver<ShardStatus>,
        rebuilds: watch::Receiver<Vec<Progress>>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        // What is committed counts when it is on the disk, which may take that long without a stall.
        let between_syncs = match settings.durability {
            Durability::Commit => Duration::ZERO,
            Durability::Interval(interval) => interval,
        };
        Arc::new(Self {
            manifest,
            stream: settings.stream.clone(),
            store,
            store_limit: settings.storage_bytes_max as u64,
            status,
            metrics,
            started: Instant::now(),
            stall_after: settings.stall_after + between_syncs,
            lag_max: settings.ready_lag_max,
            draining: AtomicBool::new(false),
            observed: Mutex::default(),
            rebuilds,
        })
    }

    /// Whether it is about to end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn observed(&self) -> Observed {
        lock(&self.observed).clone()
    }
}

/// A node that can be asked how it is, whether it has one shard or several.
pub trait Asked: Send + Sync {
    /// Whether the node works at all. What others can mend without starting it again is not looked at.
    fn liveness(&self) -> Liveness;

    /// How everything is.
    fn report(&self) -> Report;

    /// What runs.
    fn info(&self) -> Info;

    /// All metrics as text, with what stands now.
    fn metrics_text(&self) -> String;

    /// Says from now on that the node is not ready, because it is about to end.
    fn drain(&self);
}

impl Asked for Health {
    fn liveness(&self) -> Liveness {
        self.liveness()
    }

    fn report(&self) -> Report {
        self.report()
    }

    fn info(&self) -> Info {
        Info::of(&self.stream, &self.manifest)
    }

    fn metrics_text(&self) -> String {
        self.metrics.text(&self.report())
    }

    fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
