//! Settings: what a node is told by its file and by `PROJECTION_...`, as one typed value.
//!
//! Everything that is wrong is said at once. What the manifest says is not looked at here (see `manifest`).

mod choices;
mod fields;
mod problem;
mod secret;
mod values;

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use crate::{
    query::QueryLimits,
    rebuild::RebuildOptions,
    shards::{ShardId, ShardLayout},
    types::TenantId,
};

pub use fields::{FieldAbout, fields};
pub use problem::{SettingsError, SettingsProblem};
pub use secret::{Secret, Tokens};

/// All that a node is told.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// Where the server of the stream is.
    pub nats_url: String,
    /// The stream.
    pub stream: String,
    /// What of the stream is read; empty for all of it.
    pub subjects: Vec<String>,
    /// How the stream is read.
    pub source: SourceKind,
    /// The name of the durable consumer, where there is one.
    pub durable: String,
    /// After how much silence of the server delivery is started again.
    pub heartbeat: Duration,
    /// Where views are stored.
    pub storage_path: PathBuf,
    /// What stores them.
    pub storage_engine: Engine,
    /// How large a store may grow.
    pub storage_bytes_max: usize,
    /// When a commit is on the disk.
    pub durability: Durability,
    /// Which projections there are.
    pub manifest: PathBuf,
    /// Whether events name tenants of their own.
    pub multi_tenant: bool,
    /// Whose events they are that name no tenant.
    pub default_tenant: TenantId,
    /// The token of a subject, from 0, that must be the tenant of the event.
    pub subject_tenant_token: Option<usize>,
    /// When a batch is committed.
    pub batch: BatchLimits,
    /// When a batch is committed while far behind.
    pub catch_up: BatchLimits,
    /// How far behind that is, in events.
    pub catch_up_lag: u64,
    /// How much may be received and not yet folded.
    pub queue_bytes_max: usize,
    /// How large an event may be.
    pub event_bytes_max: usize,
    /// How large a view may be.
    pub view_bytes_max: usize,
    /// How much of the work of one event may be, where the manifest does not say.
    pub gas_max: u64,
    /// How many keys may be parked before a projection halts.
    pub parked_keys_max: usize,
    /// How many of their events are kept aside before it halts.
    pub parked_events_max: usize,
    /// How many threads fold.
    pub lanes: usize,
    /// How long storage is left alone after it failed.
    pub breaker_pause: Duration,
    /// Into how many shards the stream is divided.
    pub shards: u32,
    /// The bucket of the leases by which nodes share the shards; `None` where one node has them all.
    pub leases: Option<String>,
    /// What this node is called among the others.
    pub node: String,
    /// Where the others send the queries that are for this node.
    pub node_address: Option<String>,
    /// How long a shard stays with a node that says nothing.
    pub lease_ttl: Duration,
    /// How views are made again.
    pub rebuild: RebuildOptions,
    /// Where HTTP is answered; `None` where it is not.
    pub http_listen: Option<SocketAddr>,
    /// What queries may cost.
    pub query_limits: QueryLimits,
    /// Whose views are shown to whom. Where there are any, nobody is answered without one.
    pub query_tokens: Tokens,
    /// What those come with who look into events, decide on them, and rebuild views. Without one nobody may where there are `query_tokens`, and everybody elsewhere.
    pub operator_token: Option<Secret>,
    /// What cursors are signed with; where there is none, they end with the process.
    pub query_cursor_secret: Option<Secret>,
    /// How many events a ready node may be behind; `None` where any number.
    pub ready_lag_max: Option<u64>,
    /// How long events may wait without a commit.
    pub stall_after: Duration,
    /// How long a node that was told to stop may take to commit what it has.
    pub grace: Duration,
    /// How the log is written.
    pub log_format: LogFormat,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs, an object a line.
    Json,
}

/// How the stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// By a consumer without acknowledgements that starts after the checkpoint.
    Ordered,
    /// By a durable consumer that is acknowledged after each commit, for streams that drop what was read.
    Durable,
}

/// What stores views.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// MDBX, through C.
    Mdbx,
    /// redb, in Rust alone.
    Redb,
}

/// When a commit is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// When it returns.
    Commit,
    /// At the next multiple of this time. Nothing is acknowledged before.
    Interval(Duration),
}

/// What closes a batch, whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// This many events.
    pub events_max: usize,
    /// This many bytes of events.
    pub bytes_max: usize,
    /// This long since its first event.
    pub within: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            nats_url: "nats://127.0.0.1:4222".to_owned(),
            stream: String::new(),
            subjects: Vec::new(),
            source: SourceKind::Ordered,
            durable: "projection".to_owned(),
            heartbeat: Duration::from_secs(5),
            storage_path: PathBuf::new(),
            storage_engine: Engine::Mdbx,
            storage_bytes_max: 16 << 30,
            durability: Durability::Commit,
            manifest: PathBuf::new(),
            multi_tenant: false,
            default_tenant: TenantId::default(),
            subject_tenant_token: None,
            batch: BatchLimits {
                events_max: 5_000,
                bytes_max: 4 << 20,
                within: Duration::from_millis(50),
            },
            catch_up: BatchLimits {
                events_max: 20_000,
                bytes_max: 32 << 20,
                within: Duration::from_secs(1),
            },
            catch_up_lag: 40_000,
            queue_bytes_max: 64 << 20,
            event_bytes_max: 1 << 20,
            view_bytes_max: 1 << 20,
            gas_max: 100_000,
            parked_keys_max: 1_000,
            parked_events_max: 100_000,
            lanes: 1,
            breaker_pause: Duration::from_secs(1),
            shards: 1,
            leases: None,
            node: String::new(),
            node_address: None,
            lease_ttl: Duration::from_secs(10),
            rebuild: RebuildOptions::default(),
            http_listen: Some(SocketAddr::from(([127, 0, 0, 1], 8090))),
            query_limits: QueryLimits::default(),
            query_tokens: Tokens::default(),
            operator_token: None,
            query_cursor_secret: None,
            ready_lag_max: None,
            stall_after: Duration::from_secs(30),
            grace: Duration::from_secs(8),
            log_format: LogFormat::Text,
        }
    }
}

impl Settings {
    /// Reads `file`, if one is given, and lets `variables` win over it.
    ///
    /// Whether the file is YAML, TOML or JSON is told by its name.
    ///
    /// # Errors
    /// All that is wrong, in the order of the file and then of the variables.
    pub fn load(
        file: Option<&Path>,
        variables: &BTreeMap<String, String>,
    ) -> Result<Self, SettingsError> {
        let mut settings = Self::default();
        let mut problems = Vec::new();
        let given = match file.map(read_document).transpose() {
            Ok(given) => given.unwrap_or_default(),
            Err(problem) => {
                problems.push(problem);
                BTreeMap::new()
            }
        };
        for (key, value) in given {
            fields::set(&mut settings, &key, &value, &mut problems);
        }
        for (name, text) in variables {
            fields::set_from_variable(&mut settings, name, text, &mut problems);
        }
        if settings.node.is_empty() {
            // What a container is called, unless it is told otherwise.
            settings.node = variables.get("HOSTNAME").cloned().unwrap_or_default();
        }
        fields::require(&settings, &mut problems);
        fields::require_shards(&settings, &mut problems);
        if problems.is_empty() {
            Ok(settings)
        } else {
            Err(SettingsError::new(problems))
        }
    }

    /// How the stream is divided.
    ///
    /// # Errors
    /// What is wrong with the subjects; settings that were loaded have none of it.
    pub fn layout(&self) -> Result<ShardLayout, String> {
        ShardLayout::new(self.shards, &self.subjects)
    }

    /// The settings of one shard: a folder, a consumer and subjects of its own. With one shard only, they are what they are.
    #[must_use]
    pub fn of_shard(&self, shard: ShardId) -> Self {
        let mut settings = self.clone();
        settings
            .subjects
            .iter_mut()
            .for_each(|subject| *subject = shard.fill(subject));
        if self.shards > 1 {
            settings.storage_path = self.storage_path.join(format!("shard-{shard}"));
            settings.durable = format!("{}-{shard}", self.durable);
        }
        settings
    }
}

/// The members of the object that `file` holds.
fn read_document(file: &Path) -> Result<BTreeMap<String, Value>, SettingsProblem> {
    let text = fs::read_to_string(file)
        .map_err(|error| SettingsProblem::of_file(file, format!("cannot be read: {error}")))?;
    parse_document(file, &text).map_err(|what| SettingsProblem::of_file(file, what))
}

/// Reads `text` in the language that the name of `file` tells.
pub(crate) fn parse_document<T: serde::de::DeserializeOwned>(
    file: &Path,
    text: &str,
) -> Result<T, String> {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("yaml" | "yml") => {
            serde_saphyr::from_str(text).map_err(|error| first_line(&error.to_string()))
        }
        Some("toml") => toml::from_str(text).map_err(|error| error.message().to_owned()),
        Some("json") => serde_json::from_str(text).map_err(|error| error.to_string()),
        _ => Err("must end in .yaml, .toml or .json".to_owned()),
    }
}

/// The sentence of an error, without the lines of the file that may follow it.
fn first_line(error: &str) -> String {
    error.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
