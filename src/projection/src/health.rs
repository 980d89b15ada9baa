//! Health: what a node says about itself. It looks at the shard, the stream and the store once a second, and judges from that.
//!
//! How it is shown is elsewhere: over HTTP (see `http`), as metrics (see `metrics`), and by the command.

mod checks;
mod observe;
mod report;
mod stall;

use std::{
    collections::BTreeMap,
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
    settings::{Durability, Settings},
    storage::ViewStore,
    types::ViewTable,
};

pub use report::{
    Check, Info, Liveness, ProjectionInfo, ProjectionReport, RebuildReport, Report, StorageReport,
};

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
    rebuilds: Mutex<BTreeMap<ViewTable, RebuildReport>>,
}

impl Health {
    /// Of the shard that tells `status` and counts in `metrics`. It knows nothing before it observes (see [`Health::observe`]).
    pub fn new(
        settings: &Settings,
        manifest: ProjectionManifest,
        store: Arc<ViewStore>,
        status: watch::Receiver<ShardStatus>,
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
            rebuilds: Mutex::default(),
        })
    }

    /// Says from now on that the node is not ready, because it is about to end.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether it is about to end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Shows how far a rebuild is, until it is told that it is over.
    pub fn show_rebuild(&self, table: &ViewTable, progress: Option<RebuildReport>) {
        let mut rebuilds = lock(&self.rebuilds);
        match progress {
            Some(progress) => {
                rebuilds.insert(table.clone(), progress);
            }
            None => {
                rebuilds.remove(table);
            }
        }
    }

    /// All metrics as text, with what stands now.
    pub fn metrics_text(&self) -> String {
        self.metrics.text(&self.report())
    }

    fn observed(&self) -> Observed {
        lock(&self.observed).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
