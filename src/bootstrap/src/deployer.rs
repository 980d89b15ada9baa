//! The port to backends: what a deployer and its node control must be able to do.
//!
//! Adapters only adapt. When a node counts as ready, which nodes are peers, what may be done to whom: all of that is decided on this side of the port.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use cfgsync_artifacts::ArtifactFile;
use trellis_domain::{CapabilitySet, EndpointName, NodeName, Operation, OwnedNode};

use crate::{
    NodeCommand, NodeOperations, PortSpec, ProviderError, RunLedger, application::Address,
};

/// Makes room for clusters of owned nodes on one kind of backend.
#[async_trait]
pub trait Deployer: Send + Sync + 'static {
    /// The name that features, tags and reports use, such as `local`.
    fn name(&self) -> &'static str;

    /// What the backend can do to its nodes, known before anything runs.
    fn capabilities(&self) -> CapabilitySet;

    /// Opens an empty cluster.
    ///
    /// # Errors
    /// What keeps the backend from being used at all.
    async fn open(&self, request: ClusterRequest) -> Result<Arc<dyn NodeControl>, ProviderError>;
}

/// What a deployer needs to know of a cluster.
#[derive(Clone)]
pub struct ClusterRequest {
    /// The cluster's own network name; unlike that of any other cluster of any run.
    pub network: String,
    /// An empty folder of this machine for everything that the cluster keeps.
    pub folder: PathBuf,
    /// Where to write down what is about to be created.
    pub ledger: Arc<RunLedger>,
}

/// Where a node will be, decided before it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Where each port is.
    pub addresses: BTreeMap<EndpointName, Address>,
    /// Its configuration folder, as the node sees it.
    pub config_dir: PathBuf,
    /// Its data folder, as the node sees it.
    pub data_dir: PathBuf,
}

/// Controls the nodes of one cluster that is ours, from their first place to the teardown; what a step asks of a node is in [`NodeOperations`].
///
/// A deployer opens it empty, and [`NodeControl::place`] is the only way into it: it can neither remove nor collect a node that it did not place.
/// All of its methods may be called from several tasks at once, for different nodes; calls for one node are made one after the other.
/// Dropping a returned future may leave the operation half done; [`NodeControl::teardown`] copes with that.
#[async_trait]
pub trait NodeControl: NodeOperations {
    /// Reserves ports and folders for a new node. Nothing runs yet.
    ///
    /// # Errors
    /// No free port, no writable folder, or a name that has a place already.
    async fn place(&self, node: &NodeName, ports: &[PortSpec]) -> Result<Placement, ProviderError>;

    /// Gives up the ports of a node that does not run and reserves others.
    ///
    /// # Errors
    /// As for [`NodeControl::place`]; a node that runs is refused.
    async fn replace_ports(
        &self,
        node: &NodeName,
        ports: &[PortSpec],
    ) -> Result<Placement, ProviderError>;

    /// Writes the node's artifacts, all or none; they replace those of an earlier call.
    ///
    /// # Errors
    /// A path that would leave the configuration folder, or a folder that cannot be written.
    async fn configure(
        &self,
        node: &NodeName,
        artifacts: &[ArtifactFile],
    ) -> Result<(), ProviderError>;

    /// Starts the node's process for the first time.
    ///
    /// # Errors
    /// A program that cannot be run. A node that starts and ends at once is no error here; see [`NodeControl::exited`].
    async fn launch(
        &self,
        node: &NodeName,
        command: &NodeCommand,
    ) -> Result<Instance, ProviderError>;

    /// Waits until the node's current process has ended, and says how; at once when it has already.
    /// Never returns for an end that was ordered by [`NodeOperations::stop`], [`NodeOperations::kill`] or [`NodeControl::teardown`].
    ///
    /// Cancel-safe.
    async fn exited(&self, node: &NodeName) -> ExitReport;

    /// Copies what a person needs to look into a node afterwards, its logs and configuration, below `target`.
    ///
    /// # Errors
    /// What could not be copied.
    async fn collect(&self, node: &OwnedNode, target: &Path) -> Result<(), ProviderError>;

    /// Ends every node, removes everything the cluster kept, and strikes it from the ledger. May be called again.
    ///
    /// # Errors
    /// What is left, after trying everything.
    async fn teardown(&self) -> Result<(), ProviderError>;
}

/// A process, container or pod that runs a node now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// For people: `pid 4711`.
    pub label: String,
}

/// How a stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopReport {
    /// How long the node took to end.
    pub took: Duration,
    /// Whether it had to be killed.
    pub forced: bool,
}

/// How a process ended that nobody told to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitReport {
    /// In words: `exit code 1`, `killed by signal 9 (SIGKILL)`.
    pub status: String,
    /// What it logged last.
    pub log: LogTail,
    /// A port of the node that another process listens on, where that was found.
    pub taken_port: Option<u16>,
}

impl fmt::Display for ExitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if let Some(port) = self.taken_port {
            write!(f, "; another process listens on its port {port}")?;
        }
        write!(f, "\n{}", self.log)
    }
}

/// The end of a node's log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogTail {
    /// Where all of it is: a file or a command.
    pub source: String,
    /// The last lines, oldest first.
    pub lines: Vec<String>,
}

impl fmt::Display for LogTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines.is_empty() {
            return write!(f, "  (it logged nothing; {})", self.source);
        }
        write!(
            f,
            "  last {} log lines ({}):",
            self.lines.len(),
            self.source
        )?;
        for line in &self.lines {
            write!(f, "\n  | {line}")?;
        }
        Ok(())
    }
}

/// Where in a node's life a provider was, for its errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doing {
    /// Reserving its ports and folders.
    Placing,
    /// Writing its artifacts.
    Configuring,
    /// Starting it for the first time.
    Launching,
    /// Carrying out an operation of a step.
    Operating(Operation),
    /// Copying its logs and configuration.
    Collecting,
    /// Removing it.
    TearingDown,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Placing => f.write_str("reserve a place for"),
            Self::Configuring => f.write_str("configure"),
            Self::Launching => f.write_str("launch"),
            Self::Operating(operation) => operation.fmt(f),
            Self::Collecting => f.write_str("collect the logs of"),
            Self::TearingDown => f.write_str("tear down"),
        }
    }
}
