//! Nodes: one sighting of a node, and the handle that all its sightings are merged into.

use std::{collections::BTreeSet, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    CapabilitySet, Credential, Endpoint, HostPort, NetworkIdentity, NodeName, Origin, Ownership,
    PeerId,
};

/// What makes two sightings the same node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NodeIdentity {
    /// The id that the node gives itself on its network.
    Peer(PeerId),
    /// Where it answers, when it gives no id.
    Place(HostPort),
}

impl fmt::Display for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(peer) => write!(f, "peer {peer}"),
            Self::Place(place) => write!(f, "{place}"),
        }
    }
}

/// One node as one source saw it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeSighting {
    /// The name that this source gives it.
    pub name: NodeName,
    /// Who saw it.
    pub origin: Origin,
    /// What this source lets us do to it.
    pub ownership: Ownership,
    /// What this source can do to it.
    pub capabilities: CapabilitySet,
    /// The node's own id, when it was asked and gave one.
    pub peer_id: Option<PeerId>,
    /// Where it answers.
    pub endpoints: BTreeSet<Endpoint>,
    /// How this source says that a client proves itself to it; never written down.
    #[serde(skip)]
    pub credential: Option<Credential>,
    /// Which network it says that it is on.
    pub network: NetworkIdentity,
}

impl NodeSighting {
    /// A sighting with the origin's usual ownership, no capabilities, no endpoints and nothing known of its network.
    pub fn new(name: NodeName, origin: Origin) -> Self {
        Self {
            name,
            ownership: origin.usual_ownership(),
            origin,
            capabilities: CapabilitySet::NONE,
            peer_id: None,
            endpoints: BTreeSet::new(),
            credential: None,
            network: NetworkIdentity::default(),
        }
    }
}

/// Whether a node runs, as far as the harness knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NodeState {
    /// Started, not yet seen ready.
    Starting,
    /// Ready, as far as we know.
    #[default]
    Running,
    /// Frozen on purpose.
    Paused,
    /// Stopped on purpose; stays in the inventory and is left out of cluster-wide steps.
    Stopped,
    /// Ended by itself, with the exit status in words.
    Exited(String),
    /// Borrowed, and silent when the cluster came up; observers and cluster-wide steps leave it out until it is waited for again and ready.
    Unreachable,
}

impl NodeState {
    /// Whether observers should ask it and cluster-wide steps should count it.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running | Self::Starting)
    }

    /// Whether it has no process now.
    pub fn is_down(&self) -> bool {
        matches!(self, Self::Stopped | Self::Exited(_))
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.pad("starting"),
            Self::Running => f.pad("running"),
            Self::Paused => f.pad("paused"),
            Self::Stopped => f.pad("stopped"),
            Self::Exited(status) => write!(f, "exited ({status})"),
            Self::Unreachable => f.pad("unreachable"),
        }
    }
}

/// One node of a scenario. Cheap to clone; a value, so it shows the node as it was when the handle was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeHandle {
    inner: Arc<NodeFacts>,
}

/// What is known of one node; reached through [`NodeHandle`], which derefs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeFacts {
    /// The name that features use.
    pub name: NodeName,
    /// Other names that its sightings gave it; they find it too.
    pub aliases: BTreeSet<NodeName>,
    /// What makes it itself.
    pub identity: NodeIdentity,
    /// Every source that saw it.
    pub origins: BTreeSet<Origin>,
    /// Ours or not.
    pub ownership: Ownership,
    /// What can be done to it.
    pub capabilities: CapabilitySet,
    /// Where it answers.
    pub endpoints: BTreeSet<Endpoint>,
    /// How a client proves itself to it, where it asks for that.
    pub credential: Option<Credential>,
    /// Which network it says that it is on.
    pub network: NetworkIdentity,
    /// Whether it runs.
    pub state: NodeState,
    /// How often it was started: 1 after the first start; 0 for a node that we never started.
    pub incarnation: u32,
    /// What runs it now, for people: `pid 4711`, a container or a pod.
    pub instance: Option<String>,
}

impl NodeHandle {
    pub(crate) fn new(facts: NodeFacts) -> Self {
        Self {
            inner: Arc::new(facts),
        }
    }

    pub(crate) fn facts_mut(&mut self) -> &mut NodeFacts {
        Arc::make_mut(&mut self.inner)
    }

    /// The name that features use.
    pub fn name(&self) -> &NodeName {
        &self.inner.name
    }

    /// The first endpoint that is called `name`.
    pub fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        self.inner
            .endpoints
            .iter()
            .find(|endpoint| endpoint.name().as_str() == name)
    }

    /// Whether it was started by the harness.
    pub fn is_managed(&self) -> bool {
        self.inner
            .origins
            .iter()
            .any(|origin| matches!(origin, Origin::Managed { .. }))
    }

    /// Every source that saw it, in words.
    pub fn shown_origins(&self) -> String {
        let origins: Vec<String> = self.inner.origins.iter().map(ToString::to_string).collect();
        origins.join(", ")
    }

    /// Whether `name` is its name or one of its aliases.
    pub fn answers_to(&self, name: &NodeName) -> bool {
        self.inner.name == *name || self.inner.aliases.contains(name)
    }
}

impl std::ops::Deref for NodeHandle {
    type Target = NodeFacts;

    fn deref(&self) -> &NodeFacts {
        &self.inner
    }
}

impl fmt::Display for NodeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.name.fmt(f)
    }
}
