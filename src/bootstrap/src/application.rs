//! Application: how to configure, start, probe and identify one kind of node.
//!
//! This is all that the harness knows of a system under test.
//! Not here: what the system *means* - its leaders, blocks or wallets are between its typed client, its observer and the steps that speak of them.

use std::{borrow::Cow, collections::BTreeMap, fmt, path::PathBuf};

use async_trait::async_trait;
use cfgsync_artifacts::ArtifactFile;
use serde::{Deserialize, Serialize};
use trellis_domain::{
    AppName, CapabilitySet, Endpoint, EndpointError, EndpointName, NetworkIdentity, NodeHandle,
    NodeName, PeerId,
};

use crate::DynError;

/// One kind of node. Object-safe, so that a harness can hold several.
///
/// Implementations are asked from several tasks at once and must not block.
#[async_trait]
pub trait Application: Send + Sync + 'static {
    /// The name that features and reports use.
    fn name(&self) -> &AppName;

    /// What the application supports. A node has what both this and its backend offer.
    fn capabilities(&self) -> CapabilitySet;

    /// The ports that each node listens on.
    fn ports(&self) -> Vec<PortSpec>;

    /// What to run for `node`; its files are in place by then.
    fn command(&self, node: &NodePlan) -> NodeCommand;

    /// The files that `node` needs in order to start among `peers`. Their paths are relative, without `..`, and below the node's configuration folder.
    ///
    /// Called again whenever they may have changed; it must have no other effect.
    ///
    /// # Errors
    /// Whatever keeps the application from making them; the harness adds which node it was.
    fn artifacts(&self, node: &NodePlan, peers: &[PeerPlan])
    -> Result<Vec<ArtifactFile>, DynError>;

    /// The artifact that takes configuration overrides, a YAML or JSON file; `None` when there is none.
    fn config_artifact(&self) -> Option<&str>;

    /// Asks `node` once whether it is ready. The harness repeats it, and bounds each call.
    ///
    /// # Errors
    /// A node that cannot be asked yet is an error too; its text is shown as what was seen last.
    async fn probe(&self, node: &NodeHandle) -> Result<Probe, DynError>;

    /// Asks a ready `node` who it is.
    ///
    /// # Errors
    /// Whatever keeps the node from answering.
    async fn identify(&self, node: &NodeHandle) -> Result<SelfDescription, DynError>;
}

/// A port that an application listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSpec {
    /// What the endpoint is called.
    pub endpoint: EndpointName,
    /// The scheme of its URL, such as `http`.
    pub scheme: &'static str,
    /// What is spoken below it.
    pub transport: Transport,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP, QUIC included.
    Udp,
}

/// A host and port that a node has been given, and the scheme spoken there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The host as other nodes and the harness reach it; never assume that it is loopback.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The scheme of its URL.
    pub scheme: Cow<'static, str>,
}

impl Address {
    /// As an endpoint called `name`.
    ///
    /// # Errors
    /// A host that cannot stand in a URL.
    pub fn endpoint(&self, name: EndpointName) -> Result<Endpoint, EndpointError> {
        Endpoint::new(name, &self.url())
    }

    /// As a URL without a path.
    pub fn url(&self) -> String {
        format!("{}://{self}", self.scheme)
    }
}

/// `host:port`, with brackets around an IPv6 address.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// All that is decided of a node before it has files or a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePlan {
    /// Its name.
    pub name: NodeName,
    /// Its number in the cluster, never used twice. It begins at 1 where the cluster is ours, and far up where it is somebody else's.
    pub index: u64,
    /// The network that it is on: the cluster's own, unlike that of any other cluster on this machine, or the one that nodes of others are on.
    pub network: String,
    /// Whether it is one of the nodes that the cluster begins with; the others join a cluster that is there.
    pub founding: bool,
    /// Where it listens, by endpoint name.
    pub addresses: BTreeMap<EndpointName, Address>,
    /// Where its artifacts will be, as the node sees it.
    pub config_dir: PathBuf,
    /// Where it keeps its data, as the node sees it. Survives restarts.
    pub data_dir: PathBuf,
}

/// What a node is told of another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerPlan {
    /// Its name.
    pub name: NodeName,
    /// Its number in the cluster; `None` for a node that the harness did not start.
    pub index: Option<u64>,
    /// Whether it is one of the nodes that the cluster begins with.
    pub founding: bool,
    /// Where it listens, by endpoint name.
    pub addresses: BTreeMap<EndpointName, Address>,
}

impl NodePlan {
    /// The address of the endpoint called `name`.
    pub fn address(&self, name: &str) -> Option<&Address> {
        named(&self.addresses, name)
    }

    /// What other nodes are told of it.
    pub fn as_peer(&self) -> PeerPlan {
        PeerPlan {
            name: self.name.clone(),
            index: Some(self.index),
            founding: self.founding,
            addresses: self.addresses.clone(),
        }
    }
}

impl PeerPlan {
    /// The address of the endpoint called `name`.
    pub fn address(&self, name: &str) -> Option<&Address> {
        named(&self.addresses, name)
    }
}

fn named<'a>(addresses: &'a BTreeMap<EndpointName, Address>, name: &str) -> Option<&'a Address> {
    addresses
        .iter()
        .find(|(key, _)| key.as_str() == name)
        .map(|(_, address)| address)
}

/// A program and how to call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCommand {
    /// The program: a path, or a name to be found on the backend.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables to set; nothing else is handed down but what a program needs in order to run at all.
    pub env: BTreeMap<String, String>,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// The node can be used.
    Ready,
    /// It answers but is not ready, with what it said of itself.
    NotYet(String),
}

/// What a node says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SelfDescription {
    /// Its id on its own network, where it has one.
    pub peer_id: Option<PeerId>,
    /// The network that it is on.
    pub network: NetworkIdentity,
}
