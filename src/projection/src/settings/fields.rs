//! Fields: the table of all that can be set. A field is added here and nowhere else.
//!
//! How values are read that are of one field only is in `choices`.

use serde_json::Value;

use super::{
    Secret, Settings, SettingsProblem, SourceKind,
    choices::{
        cutover, durability, engine, lanes, lease_ttl, listen, log_format, name, percent, shards,
        source, tenant, tokens, unless_none,
    },
    values::{bytes, count, duration, flag, number, position, text, texts},
};
use crate::shards::ShardBy;

const PREFIX: &str = "PROJECTION_";
/// Variables with the prefix that are not settings: the name of their file, and what tests of the node are told.
const SETTINGS_FILE: &str = "PROJECTION_SETTINGS";
const OF_TESTS: &str = "PROJECTION_TEST_";

type Setter = fn(&mut Settings, &Value) -> Result<(), String>;

struct Field {
    key: &'static str,
    about: &'static str,
    set: Setter,
}

/// A field, for people who look for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldAbout {
    /// Its key in a file.
    pub key: &'static str,
    /// The variable that wins over the file.
    pub variable: String,
    /// What it sets.
    pub about: &'static str,
}

const fn field(key: &'static str, about: &'static str, set: Setter) -> Field {
    Field { key, about, set }
}

const FIELDS: &[Field] = &[
    field("nats_url", "where the server is", |s, v| {
        text(v).map(|value| s.nats_url = value)
    }),
    field("stream", "the stream to read (required)", |s, v| {
        text(v).map(|value| s.stream = value)
    }),
    field(
        "subjects",
        "what of the stream is read; all by default",
        |s, v| texts(v).map(|value| s.subjects = value),
    ),
    field("source", "ordered or durable", |s, v| {
        source(v).map(|value| s.source = value)
    }),
    field("durable", "the name of the durable consumer", |s, v| {
        text(v).map(|value| s.durable = value)
    }),
    field(
        "heartbeat",
        "the silence after which delivery starts again",
        |s, v| duration(v).map(|value| s.heartbeat = value),
    ),
    field(
        "storage_path",
        "the folder of the views (required)",
        |s, v| text(v).map(|value| s.storage_path = value.into()),
    ),
    field("storage_engine", "mdbx or redb", |s, v| {
        engine(v).map(|value| s.storage_engine = value)
    }),
    field(
        "storage_bytes_max",
        "how large the store may grow",
        |s, v| bytes(v).map(|value| s.storage_bytes_max = value),
    ),
    field(
        "durability",
        "commit, or an interval such as 100ms",
        |s, v| durability(v).map(|value| s.durability = value),
    ),
    field(
        "manifest",
        "the file of the projections (required)",
        |s, v| text(v).map(|value| s.manifest = value.into()),
    ),
    field("multi_tenant", "whether events name tenants", |s, v| {
        flag(v).map(|value| s.multi_tenant = value)
    }),
    field(
        "default_tenant",
        "whose events they are that name none",
        |s, v| tenant(v).map(|value| s.default_tenant = value.into()),
    ),
    field(
        "subject_tenant_token",
        "the token of the subject that is the tenant",
        |s, v| position(v).map(|value| s.subject_tenant_token = Some(value)),
    ),
    field("batch_events_max", "events in a batch", |s, v| {
        count(v).map(|value| s.batch.events_max = value)
    }),
    field("batch_bytes_max", "bytes of events in a batch", |s, v| {
        bytes(v).map(|value| s.batch.bytes_max = value)
    }),
    field("batch_within", "how long a batch stays open", |s, v| {
        duration(v).map(|value| s.batch.within = value)
    }),
    field(
        "catch_up_events_max",
        "events in a batch while far behind",
        |s, v| count(v).map(|value| s.catch_up.events_max = value),
    ),
    field(
        "catch_up_bytes_max",
        "bytes in a batch while far behind",
        |s, v| bytes(v).map(|value| s.catch_up.bytes_max = value),
    ),
    field(
        "catch_up_within",
        "how long a batch stays open while far behind",
        |s, v| duration(v).map(|value| s.catch_up.within = value),
    ),
    field("catch_up_lag", "how many events behind is far", |s, v| {
        number(v).map(|value| s.catch_up_lag = value)
    }),
    field(
        "queue_bytes_max",
        "bytes received and not yet folded",
        |s, v| bytes(v).map(|value| s.queue_bytes_max = value),
    ),
    field("event_bytes_max", "how large an event may be", |s, v| {
        bytes(v).map(|value| s.event_bytes_max = value)
    }),
    field("view_bytes_max", "how large a view may be", |s, v| {
        bytes(v).map(|value| s.view_bytes_max = value)
    }),
    field("gas_max", "how much work an event may cause", |s, v| {
        number(v).map(|value| s.gas_max = value)
    }),
    field(
        "parked_keys_max",
        "parked keys before a projection halts",
        |s, v| count(v).map(|value| s.parked_keys_max = value),
    ),
    field(
        "parked_events_max",
        "events of parked keys before a projection halts",
        |s, v| count(v).map(|value| s.parked_events_max = value),
    ),
    field("lanes", "threads that fold", |s, v| {
        lanes(v).map(|value| s.lanes = value)
    }),
    field(
        "breaker_pause",
        "how long failed storage is left alone",
        |s, v| duration(v).map(|value| s.breaker_pause = value),
    ),
    field(
        "shards",
        "into how many shards the stream is divided",
        |s, v| shards(v).map(|value| s.shards = value),
    ),
    field(
        "leases",
        "the bucket by which nodes share the shards",
        |s, v| name(v).map(|value| s.leases = Some(value)),
    ),
    field("node", "what this node is called among them", |s, v| {
        name(v).map(|value| s.node = value)
    }),
    field(
        "node_address",
        "where other nodes send queries, such as http://host:port",
        |s, v| text(v).map(|value| s.node_address = Some(value)),
    ),
    field(
        "lease_ttl",
        "how long a shard stays with a node that is silent",
        |s, v| lease_ttl(v).map(|value| s.lease_ttl = value),
    ),
    field(
        "rebuild_cutover",
        "automatic, or command: who decides that a new generation is served",
        |s, v| cutover(v).map(|value| s.rebuild.cutover = value),
    ),
    field(
        "rebuild_lag_max",
        "how many events behind a new generation is caught up",
        |s, v| number(v).map(|value| s.rebuild.lag_max = value),
    ),
    field(
        "rebuild_settled",
        "how long a new generation must be caught up",
        |s, v| duration(v).map(|value| s.rebuild.settled = value),
    ),
    field(
        "rebuild_keep_old",
        "how long the way back to the old generation stays",
        |s, v| duration(v).map(|value| s.rebuild.keep_old = value),
    ),
    field(
        "rebuild_rate_max",
        "events a second that are replayed at most",
        |s, v| number(v).map(|value| s.rebuild.rate_max = Some(value.max(1))),
    ),
    field(
        "rebuild_share_percent",
        "the share of time for replays while what is served is behind",
        |s, v| percent(v).map(|value| s.rebuild.share_percent = value),
    ),
    field(
        "rebuild_events_max",
        "events in a batch of a replay",
        |s, v| count(v).map(|value| s.rebuild.batch.events_max = value),
    ),
    field(
        "rebuild_bytes_max",
        "bytes in a batch of a replay",
        |s, v| bytes(v).map(|value| s.rebuild.batch.bytes_max = value),
    ),
    field("http_listen", "where HTTP is answered, or none", |s, v| {
        listen(v).map(|value| s.http_listen = value)
    }),
    field("query_limit_max", "views in one answer", |s, v| {
        count(v).map(|value| s.query_limits.limit_max = value)
    }),
    field("query_rows_max", "views that a query looks at", |s, v| {
        count(v).map(|value| s.query_limits.rows_max = value as u64)
    }),
    field("query_bytes_max", "bytes that a query looks at", |s, v| {
        bytes(v).map(|value| s.query_limits.bytes_max = value as u64)
    }),
    field("query_within", "how long a query looks at views", |s, v| {
        duration(v).map(|value| s.query_limits.within = value)
    }),
    field(
        "query_wait_max",
        "how long a query may wait for an event",
        |s, v| duration(v).map(|value| s.query_limits.wait_max = value),
    ),
    field(
        "queries_max",
        "queries that are answered at once",
        |s, v| count(v).map(|value| s.query_limits.queries_max = value),
    ),
    field(
        "query_tokens",
        "the tokens of queries with their tenants, such as token=tenant",
        |s, v| tokens(v).map(|value| s.query_tokens = value),
    ),
    field(
        "operator_token",
        "what operators come with: they see events, decide on them, and rebuild",
        |s, v| text(v).map(|value| s.operator_token = Some(Secret::from(&*value))),
    ),
    field(
        "query_cursor_secret",
        "what cursors are signed with, the same on all nodes",
        |s, v| text(v).map(|value| s.query_cursor_secret = Some(Secret::from(&*value))),
    ),
    field(
        "ready_lag_max",
        "events that a ready node may be behind, or none",
        |s, v| unless_none(v, number).map(|value| s.ready_lag_max = value),
    ),
    field(
        "stall_after",
        "how long events may wait without a commit",
        |s, v| duration(v).map(|value| s.stall_after = value),
    ),
    field("grace", "how long stopping may take", |s, v| {
        duration(v).map(|value| s.grace = value)
    }),
    field("log_format", "text or json", |s, v| {
        log_format(v).map(|value| s.log_format = value)
    }),
];

/// All fields, in the order in which one should read them.
pub fn fields() -> impl Iterator<Item = FieldAbout> {
    FIELDS.iter().map(|field| FieldAbout {
        key: field.key,
        variable: variable(field.key),
        about: field.about,
    })
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase())
}

pub(super) fn set(
    settings: &mut Settings,
    key: &str,
    value: &Value,
    problems: &mut Vec<SettingsProblem>,
) {
    let Some(field) = FIELDS.iter().find(|field| field.key == key) else {
        problems.push(SettingsProblem::of_field(key, unknown(key)));
        return;
    };
    if let Err(wanted) = (field.set)(settings, value) {
        problems.push(SettingsProblem::of_field(key, wanted));
    }
}

pub(super) fn set_from_variable(
    settings: &mut Settings,
    name: &str,
    text: &str,
    problems: &mut Vec<SettingsProblem>,
) {
    let Some(key) = name.strip_prefix(PREFIX) else {
        return;
    };
    if name == SETTINGS_FILE || name.starts_with(OF_TESTS) {
        return;
    }
    let key = key.to_lowercase();
    let Some(field) = FIELDS.iter().find(|field| field.key == key) else {
        problems.push(SettingsProblem::of_field(name, unknown(&key)));
        return;
    };
    if let Err(wanted) = (field.set)(settings, &Value::String(text.to_owned())) {
        problems.push(SettingsProblem::of_field(name, wanted));
    }
}

/// What no default can be given for.
pub(super) fn require(settings: &Settings, problems: &mut Vec<SettingsProblem>) {
    let missing = [
        ("stream", settings.stream.is_empty()),
        ("storage_path", settings.storage_path.as_os_str().is_empty()),
        ("manifest", settings.manifest.as_os_str().is_empty()),
    ];
    for (key, missing) in missing {
        let named = |problem: &SettingsProblem| {
            problem.subject() == key || problem.subject() == variable(key)
        };
        if missing && !problems.iter().any(named) {
            let what = format!("is missing; set it in the file, or as {}", variable(key));
            problems.push(SettingsProblem::of_field(key, what));
        }
    }
}

/// What several shards need of other fields.
pub(super) fn require_shards(settings: &Settings, problems: &mut Vec<SettingsProblem>) {
    match settings.layout() {
        Err(what) => problems.push(SettingsProblem::of_field("subjects", what)),
        Ok(layout)
            if layout.by() == ShardBy::Aggregate
                && settings.source == SourceKind::Durable
                && settings.shards > 1 =>
        {
            // Each shard would acknowledge what is of the others.
            problems.push(SettingsProblem::of_field(
                "source",
                "must be ordered, unless subjects tell the shard",
            ));
        }
        Ok(_) => {}
    }
    if settings.leases.is_none() {
        return;
    }
    if settings.source == SourceKind::Durable {
        let what = "must be ordered where nodes share shards: a shard that moves is made again from the stream";
        problems.push(SettingsProblem::of_field("source", what));
    }
    if settings.node.is_empty() {
        let what = format!("is missing; set it in the file, or as {}", variable("node"));
        problems.push(SettingsProblem::of_field("node", what));
    }
}

fn unknown(key: &str) -> String {
    /// Below it, words have little but their first letters in common.
    const LIKENESS_MIN: f64 = 0.8;
    let likeness = |field: &Field| strsim::jaro_winkler(key, field.key);
    let nearest = FIELDS
        .iter()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest.filter(|field| likeness(field) >= LIKENESS_MIN) {
        Some(field) => format!("is not a setting; did you mean {}?", field.key),
        None => "is not a setting".to_owned(),
    }
}
