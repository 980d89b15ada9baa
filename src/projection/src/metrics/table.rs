//! The table of metrics: what each is called, what it counts, and in what it differs by label. The reference lists the same (a test compares them).

/// A metric, for people who look for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricAbout {
    /// Its name, without `projection_` before it and without the `_total` that counters get.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it measures.
    pub about: &'static str,
}

const fn metric(
    name: &'static str,
    kind: &'static str,
    labels: &'static [&'static str],
    about: &'static str,
) -> MetricAbout {
    MetricAbout {
        name,
        kind,
        labels,
        about,
    }
}

const OF_EACH: &[&str] = &["projection"];

/// All metrics, in the order in which one should read them.
pub const METRICS: &[MetricAbout] = &[
    metric(
        "build_info",
        "gauge",
        &["version", "commit"],
        "Always 1; the labels say what runs",
    ),
    metric("ready", "gauge", &[], "1 where /ready says ready"),
    metric("nats_connected", "gauge", &[], "1 while NATS answers"),
    metric(
        "stalled",
        "gauge",
        &[],
        "1 while events wait and no commit comes",
    ),
    metric(
        "lag_events",
        "gauge",
        OF_EACH,
        "Events of the stream that are not in the views",
    ),
    metric(
        "lag_seconds",
        "gauge",
        OF_EACH,
        "The age of the last event in the views, while others wait; else 0",
    ),
    metric(
        "floor",
        "gauge",
        OF_EACH,
        "The stored checkpoint, as a sequence of the stream",
    ),
    metric(
        "stream_last_sequence",
        "gauge",
        &[],
        "The last sequence of the stream",
    ),
    metric(
        "blocked",
        "gauge",
        OF_EACH,
        "1 while the projection does not go on",
    ),
    metric(
        "events_received",
        "counter",
        &[],
        "Events that were received",
    ),
    metric(
        "events_folded",
        "counter",
        OF_EACH,
        "Events that were folded into views that were committed or are about to be",
    ),
    metric(
        "events_duplicate",
        "counter",
        OF_EACH,
        "Events that were delivered again and are in the views",
    ),
    metric(
        "restarts",
        "counter",
        &["reason"],
        "How often delivery was started again after the checkpoint",
    ),
    metric(
        "fold_seconds",
        "histogram",
        OF_EACH,
        "The time to fold a batch",
    ),
    metric("gas", "histogram", OF_EACH, "The gas that an event needed"),
    metric("batch_events", "histogram", &[], "Events in a batch"),
    metric(
        "commit_seconds",
        "histogram",
        &[],
        "The time to commit a batch",
    ),
    metric(
        "commit_bytes",
        "histogram",
        &[],
        "Bytes of views and records in a commit",
    ),
    metric(
        "commit_views",
        "histogram",
        &[],
        "Views that a commit wrote or removed",
    ),
    metric(
        "commit_failures",
        "counter",
        &[],
        "Commits and syncs that storage refused",
    ),
    metric(
        "latency_seconds",
        "histogram",
        OF_EACH,
        "From publication until in the views, of the last event of a commit",
    ),
    metric(
        "committer_heartbeat_age_seconds",
        "gauge",
        &[],
        "Since the committer last showed that it lives; 0 where none runs",
    ),
    metric(
        "set_aside",
        "counter",
        &["projection", "fault"],
        "Events that were put into quarantine",
    ),
    metric(
        "quarantine_events",
        "gauge",
        OF_EACH,
        "Events in quarantine",
    ),
    metric(
        "quarantine_oldest_seconds",
        "gauge",
        OF_EACH,
        "The age of the oldest event in quarantine",
    ),
    metric("parked_keys", "gauge", OF_EACH, "Views whose events wait"),
    metric(
        "rebuild_progress_ratio",
        "gauge",
        OF_EACH,
        "How much of a rebuild is done, from 0 to 1",
    ),
    metric(
        "store_used_bytes",
        "gauge",
        &[],
        "What the store takes, with pages that it will use again",
    ),
    metric(
        "store_limit_bytes",
        "gauge",
        &[],
        "How large the store may grow",
    ),
];

/// The row of the metric `name`.
pub(super) fn about(name: &str) -> &'static str {
    let found = METRICS.iter().find(|metric| metric.name == name);
    found.expect("every metric is in the table").about
}
