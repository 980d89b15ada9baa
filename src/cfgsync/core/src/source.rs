//! The port behind the server: where registrations go and configurations come from.

use std::{fmt, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::watch;

use crate::{NodeArtifactsPayload, NodeRegistration};

/// Any error, for ports whose implementors own their errors.
pub type DynCfgsyncError = Box<dyn std::error::Error + Send + Sync>;

/// Where registrations go and configurations come from. Asked from many requests at once.
#[async_trait]
pub trait NodeConfigSource: Send + Sync + 'static {
    /// Takes a registration in. The same one again changes nothing; one that differs replaces the earlier one of that identifier.
    ///
    /// # Errors
    /// A node that this source does not serve, or no room for another one.
    ///
    /// # Cancel safety
    /// A dropped call has registered the node or has not; it can be made again.
    async fn register(
        &self,
        registration: NodeRegistration,
    ) -> Result<RegisterOutcome, RegisterError>;

    /// The configuration of a node, as far as there is one now. Never waits for other nodes: whoever holds a request watches [`NodeConfigSource::changes`].
    ///
    /// # Errors
    /// What keeps the application from making it; told to the node as a server error.
    ///
    /// # Cancel safety
    /// Dropping loses nothing.
    async fn resolve(
        &self,
        registration: &NodeRegistration,
    ) -> Result<ConfigResolution, DynCfgsyncError>;

    /// A number that grows whenever [`NodeConfigSource::resolve`] might answer something else than before.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Who is there and who is missing, for people.
    fn overview(&self) -> RegistrationOverview;
}

/// What a node's configuration is like now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigResolution {
    /// There it is. Shared, so that many nodes can be given it at once.
    Ready(Arc<NodeArtifactsPayload>),
    /// There will be one.
    NotReady(NotReady),
    /// There is none and will be none unless something is done; the text says what this source knows.
    Missing(String),
}

/// What a configuration waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotReady {
    /// How many nodes have registered.
    pub registered: usize,
    /// How many have to; `None` where only the application knows.
    pub expected: Option<usize>,
    /// Those that have to and have not, as far as they are known by name.
    pub missing: Vec<String>,
}

/// How many names a message has; the others are counted.
const NAMED_MAX: usize = 10;

/// Names as a message has them: `node-1, node-2`, of which there may be any number: `a, b, c and 9997 more`.
pub fn in_short<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let mut names = names.into_iter();
    let named: Vec<&str> = names.by_ref().take(NAMED_MAX).map(String::as_str).collect();
    match (named.is_empty(), names.count()) {
        (true, _) => "none".to_owned(),
        (false, 0) => named.join(", "),
        (false, more) => format!("{} and {more} more", named.join(", ")),
    }
}

/// `not ready: 3 of 5 registered, missing node-4, node-5`.
impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not ready: {}", self.registered)?;
        if let Some(expected) = self.expected {
            write!(f, " of {expected}")?;
        }
        f.write_str(" registered")?;
        if self.missing.is_empty() {
            return Ok(());
        }
        write!(f, ", missing {}", in_short(&self.missing))
    }
}

/// What a registration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisterOutcome {
    /// The node was not known before.
    New,
    /// It was known with another address or other metadata.
    Changed,
    /// It was known exactly so.
    Unchanged,
}

/// Why a registration is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The source knows its nodes beforehand, and this is none of them.
    #[error("{identifier:?} is not a node of this deployment; known nodes: {known}")]
    Unknown {
        /// The node.
        identifier: String,
        /// Those that are served, for people.
        known: String,
    },
    /// As many nodes as there may be.
    #[error("{limit} nodes are registered, which is the limit of this server")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// More metadata than there is room for.
    #[error(
        "the metadata of {identifier:?} do not fit into the {limit} bytes that this server keeps for all registrations"
    )]
    TooLarge {
        /// The node.
        identifier: String,
        /// The limit.
        limit: usize,
    },
}

/// Who is there and who is missing: the body of `GET /registrations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RegistrationOverview {
    /// Grows with every change.
    pub version: u64,
    /// Whether configurations are ready.
    pub ready: bool,
    /// The nodes that have registered, by identifier.
    pub registered: Vec<RegistrationRecord>,
    /// How many have to register; absent where only the application knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<usize>,
    /// Those that have to and have not, as far as they are known by name.
    pub missing: Vec<String>,
    /// Since when somebody has been missing, in whole seconds since 1970 (UTC); absent when nobody is.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "seconds::some"
    )]
    pub waiting_since: Option<SystemTime>,
}

/// One node of the overview. Its metadata is not shown: it may hold keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RegistrationRecord {
    /// The node.
    pub identifier: String,
    /// Its address.
    pub ip: std::net::IpAddr,
    /// The version that its last change made.
    pub version: u64,
    /// When it registered first, in whole seconds since 1970 (UTC).
    #[serde(serialize_with = "seconds::of")]
    pub since: SystemTime,
}

/// Times as people compare them: whole seconds since 1970.
mod seconds {
    use std::time::{SystemTime, UNIX_EPOCH};

    use serde::Serializer;

    pub(super) fn of<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        serializer.serialize_u64(since.as_secs())
    }

    #[expect(clippy::ref_option, reason = "serde passes the field as it is")]
    pub(super) fn some<S: Serializer>(
        time: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => of(time, serializer),
            None => serializer.serialize_none(),
        }
    }
}
