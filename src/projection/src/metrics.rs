//! Metrics: what the pipeline counts while it works, and what is looked up when somebody asks.
//!
//! What stands at a moment (lag, sizes, readiness) is set from a report just before it is shown (see `health`). All names are in `table`.

mod merge;
mod table;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Metric, Registry},
};

use crate::{
    health::Report, quarantine::Fault, shards::ShardId, stream::Interruption, types::ViewTable,
};

pub(crate) use merge::merged;
pub use table::{METRICS, MetricAbout};

/// What the text is that [`Metrics::text`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;
type Float = Gauge<f64, AtomicU64>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// What a node counts.
pub struct Metrics {
    registry: Registry,
    now: Now,
    received: Counter,
    folded: Family<Labels, Counter>,
    duplicates: Family<Labels, Counter>,
    restarts: Family<Labels, Counter>,
    fold_seconds: Histograms,
    gas: Histograms,
    batch_events: Histogram,
    commit_seconds: Histogram,
    commit_bytes: Histogram,
    commit_views: Histogram,
    commit_failures: Counter,
    latency: Histograms,
    set_aside: Family<Labels, Counter>,
    /// When the committer last showed that it lives; `None` where none runs.
    beat: Mutex<Option<Instant>>,
    folded_in_all: Mutex<BTreeMap<ViewTable, u64>>,
    commits: AtomicU64,
    changes: AtomicU64,
}

/// What stands at a moment.
struct Now {
    ready: Gauge,
    nats_connected: Gauge,
    stalled: Gauge,
    lag_events: Family<Labels, Gauge>,
    lag_seconds: Family<Labels, Float>,
    floor: Family<Labels, Gauge>,
    stream_last: Gauge,
    blocked: Family<Labels, Gauge>,
    heartbeat_age: Float,
    quarantine: Family<Labels, Gauge>,
    oldest: Family<Labels, Float>,
    parked: Family<Labels, Gauge>,
    rebuilds: Family<Labels, Float>,
    used: Gauge,
    limit: Gauge,
}

/// A metric of the table, which is shown from now on.
fn shown<M: Metric + Clone>(registry: &mut Registry, name: &'static str, metric: M) -> M {
    registry.register(name, table::about(name), metric.clone());
    metric
}

/// From a tenth of a millisecond to about a minute.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_1, 2.0, 20))
}

/// From 1 to about a million.
fn amounts() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 4.0, 11))
}

/// From 1 KiB to 1 GiB.
fn sizes() -> Histogram {
    Histogram::new(exponential_buckets(1_024.0, 4.0, 11))
}

impl Now {
    fn new(registry: &mut Registry) -> Self {
        Self {
            ready: shown(registry, "ready", Gauge::default()),
            nats_connected: shown(registry, "nats_connected", Gauge::default()),
            stalled: shown(registry, "stalled", Gauge::default()),
            lag_events: shown(registry, "lag_events", Family::default()),
            lag_seconds: shown(registry, "lag_seconds", Family::default()),
            floor: shown(registry, "floor", Family::default()),
            stream_last: shown(registry, "stream_last_sequence", Gauge::default()),
            blocked: shown(registry, "blocked", Family::default()),
            heartbeat_age: shown(
                registry,
                "committer_heartbeat_age_seconds",
                Float::default(),
            ),
            quarantine: shown(registry, "quarantine_events", Family::default()),
            oldest: shown(registry, "quarantine_oldest_seconds", Family::default()),
            parked: shown(registry, "parked_keys", Family::default()),
            rebuilds: shown(registry, "rebuild_progress_ratio", Family::default()),
            used: shown(registry, "store_used_bytes", Gauge::default()),
            limit: shown(registry, "store_limit_bytes", Gauge::default()),
        }
    }

    fn set(&self, report: &Report) {
        self.ready.set(report.ready.into());
        self.nats_connected.set(report.nats_connected.into());
        self.stalled.set(report.stalled.is_some().into());
        self.stream_last.set(whole(report.stream_last));
        self.heartbeat_age
            .set(report.committer_heartbeat_age_s.unwrap_or(0.0));
        self.used.set(whole(report.storage.used_bytes));
        self.limit.set(whole(report.storage.limit_bytes));
        // What is not served any more is not shown either.
        self.lag_events.clear();
        self.lag_seconds.clear();
        self.floor.clear();
        self.blocked.clear();
        self.quarantine.clear();
        self.oldest.clear();
        self.parked.clear();
        for state in &report.projections {
            let labels = vec![("projection", state.projection.clone())];
            self.lag_events
                .get_or_create(&labels)
                .set(whole(state.behind));
            self.lag_seconds
                .get_or_create(&labels)
                .set(state.lag_seconds);
            self.floor.get_or_create(&labels).set(whole(state.floor));
            self.blocked
                .get_or_create(&labels)
                .set(state.blocked.is_some().into());
            self.quarantine
                .get_or_create(&labels)
                .set(whole(state.quarantined as u64));
            self.oldest
                .get_or_create(&labels)
                .set(state.quarantine_oldest_s.unwrap_or(0.0));
            self.parked
                .get_or_create(&labels)
                .set(whole(state.parked_keys as u64));
        }
        // One that is done or given up is not shown any more.
        self.rebuilds.clear();
        let going_on = report
            .rebuilds
            .iter()
            .filter(|rebuild| !rebuild.phase.is_over());
        for rebuild in going_on {
            let labels = vec![("projection", rebuild.generation.clone())];
            self.rebuilds.get_or_create(&labels).set(rebuild.ratio());
        }
    }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Default for Metrics {
    fn default() -> Self {
        Self::shown_in(Registry::with_prefix("projection"))
    }
}

impl Metrics {
    /// The same for one shard of several, whose number is in every label.
    pub fn of_shard(shard: ShardId) -> Self {
        let label = ("shard".into(), shard.to_string().into());
        Self::shown_in(Registry::with_prefix_and_labels(
            "projection",
            [label].into_iter(),
        ))
    }

    fn shown_in(mut registry: Registry) -> Self {
        let r = &mut registry;
        let build = Family::<Labels, Gauge>::default();
        let labels = vec![
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("commit", crate::health::COMMIT.to_owned()),
        ];
        build.get_or_create(&labels).set(1);
        shown(r, "build_info", build);
        let restarts = Family::<Labels, Counter>::default();
        // From 0 on, or the first of each would not be seen as a rise.
        for why in Interruption::ALL {
            drop(restarts.get_or_create(&vec![("reason", why.name().to_owned())]));
        }
        let seconds_of_each = || Histograms::new_with_constructor(seconds);
        Self {
            now: Now::new(r),
            received: shown(r, "events_received", Counter::default()),
            folded: shown(r, "events_folded", Family::default()),
            duplicates: shown(r, "events_duplicate", Family::default()),
            restarts: shown(r, "restarts", restarts),
            fold_seconds: shown(r, "fold_seconds", seconds_of_each()),
            gas: shown(r, "gas", Histograms::new_with_constructor(amounts)),
            batch_events: shown(r, "batch_events", amounts()),
            commit_seconds: shown(r, "commit_seconds", seconds()),
            commit_bytes: shown(r, "commit_bytes", sizes()),
            commit_views: shown(r, "commit_views", amounts()),
            commit_failures: shown(r, "commit_failures", Counter::default()),
            latency: shown(r, "latency_seconds", seconds_of_each()),
            set_aside: shown(r, "set_aside", Family::default()),
            beat: Mutex::default(),
            folded_in_all: Mutex::default(),
            commits: AtomicU64::default(),
            changes: AtomicU64::default(),
            registry,
        }
    }
}

impl Metrics {
    /// Everything in the OpenMetrics text form, with what stands in `report`.
    pub fn text(&self, report: &Report) -> String {
        self.now.set(report);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a text takes whatever is written to it");
        text
    }

    pub(crate) fn received(&self, events: u64) {
        self.received.inc_by(events);
    }

    pub(crate) fn restarted(&self, why: Interruption) {
        let labels = vec![("reason", why.name().to_owned())];
        self.restarts.get_or_create(&labels).inc();
    }

    /// Notes that `events` were folded in `took`, beside `duplicates` that were left out.
    pub(crate) fn folded(&self, table: &ViewTable, events: u64, duplicates: u64, took: Duration) {
        let labels = vec![("projection", table.to_string())];
        self.folded.get_or_create(&labels).inc_by(events);
        self.duplicates.get_or_create(&labels).inc_by(duplicates);
        self.fold_seconds
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
        let mut all = lock(&self.folded_in_all);
        *all.entry(table.clone()).or_default() += events;
    }

    /// Where the gas of events of a projection is noted: got once, since that is looked up.
    pub(crate) fn gas(&self, table: &ViewTable) -> Histogram {
        let labels = vec![("projection", table.to_string())];
        self.gas.get_or_create_owned(&labels)
    }

    pub(crate) fn batch(&self, events: usize) {
        self.batch_events.observe(float(events));
    }

    /// Notes a commit of `views` and `bytes`.
    pub(crate) fn committed(&self, views: usize, bytes: usize, took: Duration) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.commit_seconds.observe(took.as_secs_f64());
        self.commit_bytes.observe(float(bytes));
        self.commit_views.observe(float(views));
    }

    pub(crate) fn commit_failed(&self) {
        self.commit_failures.inc();
    }

    /// Notes how long it took from publication until an event was in the views.
    pub(crate) fn visible(&self, table: &ViewTable, after: Duration) {
        let labels = vec![("projection", table.to_string())];
        self.latency
            .get_or_create(&labels)
            .observe(after.as_secs_f64());
    }

    pub(crate) fn set_aside(&self, table: &ViewTable, fault: Fault) {
        let labels = vec![
            ("projection", table.to_string()),
            ("fault", fault.name().to_owned()),
        ];
        self.set_aside.get_or_create(&labels).inc();
    }

    /// Notes that the committer lives, or that there is none any more.
    pub(crate) fn beat(&self, at: Option<Instant>) {
        *lock(&self.beat) = at;
    }

    pub(crate) fn last_beat(&self) -> Option<Instant> {
        *lock(&self.beat)
    }

    /// Notes that somebody else changed the store, so that it is looked at again.
    pub(crate) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Rises with each commit, and with each change by somebody else.
    pub(crate) fn changes(&self) -> u64 {
        self.commits() + self.changes.load(Ordering::Relaxed)
    }

    /// How many commits there were.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// How many events of each projection were folded.
    pub(crate) fn folded_in_all(&self) -> BTreeMap<ViewTable, u64> {
        lock(&self.folded_in_all).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a histogram has far fewer buckets than that"
)]
fn float(amount: usize) -> f64 {
    amount as f64
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
