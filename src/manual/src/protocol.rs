//! The protocol between a supervisor and its clients: what is asked, and what is answered.
//!
//! One question a connection, answered by one or more replies, each a line of JSON (see `wire`). The last reply is any but [`Reply::Working`] and [`Reply::Log`] with more to come.
//! Credentials are in none of it: whoever uses a node gets them where the supervisor got them.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use trellis_domain::{AppName, CapabilitySet, Endpoint, NodeHandle, NodeName, Operation};

use crate::{ClusterName, SupervisorId};

/// Raised by every change that an older program would misunderstand.
pub(crate) const VERSION: u32 = 1;

/// The most lines of a log that are asked for at one time.
pub(crate) const LOG_LINES_MAX: usize = 10_000;

/// One question.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Who asks, for the supervisor's own record.
    pub(crate) by: String,
    pub(crate) ask: Ask,
}

/// What comes before a request; it stays as it is in every version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) version: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    Status,
    /// The end of a node's log.
    Log {
        node: NodeName,
        lines: usize,
    },
    Act {
        node: NodeName,
        action: Action,
    },
    /// End the cluster.
    Down,
}

/// What can be done to a node of a running cluster through its supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Start it again after a stop, and wait until it is ready.
    Start,
    /// Ask it to end, then make it.
    Stop,
    /// End it without asking.
    Kill,
    /// Stop if it runs, then start, on the same data.
    Restart {
        /// Changes to its configuration that stay: dotted path to YAML value.
        with: BTreeMap<String, String>,
    },
    /// Freeze it.
    Pause,
    /// Thaw it.
    Resume,
    /// Save its data while it is down.
    SaveData {
        /// Under which name.
        label: String,
    },
    /// Replace its data while it is down.
    RestoreData {
        /// What it was saved as.
        label: String,
        /// Whose data that was.
        source: NodeName,
    },
}

impl Action {
    /// The operation that it is.
    pub fn operation(&self) -> Operation {
        match self {
            Self::Start => Operation::Start,
            Self::Stop => Operation::Stop,
            Self::Kill => Operation::Kill,
            Self::Restart { .. } => Operation::Restart,
            Self::Pause => Operation::Pause,
            Self::Resume => Operation::Resume,
            Self::SaveData { .. } => Operation::SaveData,
            Self::RestoreData { .. } => Operation::RestoreData,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    Status(Box<ClusterStatus>),
    Log {
        source: String,
        lines: Vec<String>,
        more: bool,
    },
    Done(Done),
    Released(Released),
    /// It takes its time; said often enough that silence means trouble.
    Working,
    Refused {
        why: String,
    },
}

/// What was done to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// In words, such as `started (pid 4711)`.
    pub said: String,
    /// What runs the node now.
    pub instance: Option<String>,
    /// How long it took to end, where it was asked to.
    pub took: Option<Duration>,
    /// Whether it had to be killed.
    pub forced: bool,
}

/// What became of the nodes of a cluster that was ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// Nodes that were ours and are gone.
    pub ended: Vec<NodeName>,
    /// Nodes that are somebody else's and were left as they are.
    pub untouched: Vec<NodeName>,
    /// What could not be removed, in words.
    pub left: Option<String>,
}

/// How far a cluster has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It is being brought up.
    Starting,
    /// It can be used.
    Running,
    /// It is being ended.
    Ending,
}

/// A cluster as its supervisor sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// What it is called.
    pub name: ClusterName,
    /// How far it has come.
    pub phase: Phase,
    /// Who keeps it.
    pub supervisor: SupervisorId,
    /// How long it has been kept.
    pub up_for_seconds: u64,
    /// The file that it was made from.
    pub spec: String,
    /// The application of its nodes.
    pub app: AppName,
    /// Its nodes; none before they are known.
    pub nodes: Vec<NodeStatus>,
    /// Its nodes as a table for people.
    pub table: String,
}

/// A node as its supervisor sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: NodeName,
    /// `owned` or `borrowed`, from the supervisor's side.
    pub ownership: String,
    /// Where it came from, in words.
    pub origin: String,
    /// In words, such as `running`.
    pub state: String,
    /// Whether it can be used now.
    pub is_running: bool,
    /// What the supervisor can do to it.
    pub capabilities: CapabilitySet,
    /// Where it answers.
    pub endpoints: Vec<Endpoint>,
    /// What runs it now, for people.
    pub instance: Option<String>,
    /// How often it was started.
    pub incarnation: u32,
    /// The last lines that it logged, where it ended by itself.
    pub log: Vec<String>,
}

impl NodeStatus {
    pub(crate) fn of(node: &NodeHandle, log: Vec<String>) -> Self {
        Self {
            name: node.name().clone(),
            ownership: node.ownership.to_string(),
            origin: node.shown_origins(),
            state: node.state.to_string(),
            is_running: node.state.is_running(),
            capabilities: node.capabilities,
            endpoints: node.endpoints.iter().cloned().collect(),
            instance: node.instance.clone(),
            incarnation: node.incarnation,
            log,
        }
    }
}
