//! The port to running clusters: what an attach provider finds in one, and what it could do there.
//!
//! Adapters only look and tell. Who is ready, who is who, what may be done to whom: all of that is decided on this side of the port.

use std::{collections::BTreeSet, fmt, sync::Arc};

use async_trait::async_trait;
use thiserror::Error;
use trellis_domain::{CapabilitySet, Credential, Endpoint, NodeName};

use crate::{DynError, NodeOperations};

/// Finds the nodes of clusters that run already and are not ours.
#[async_trait]
pub trait AttachProvider: Send + Sync + 'static {
    /// The name that features and reports use, such as `static`.
    fn name(&self) -> &'static str;

    /// What it can do to borrowed nodes that a feature opts in by name, beyond query and submit. For a node of its own it may be less, see [`DiscoveredNode::capabilities`].
    fn capabilities(&self) -> CapabilitySet;

    /// Looks for the nodes of `cluster` once. It says what there is; whether that is enough is decided by the caller.
    ///
    /// # Errors
    /// A cluster that it does not know, or whatever keeps it from looking.
    async fn discover(&self, cluster: &str) -> Result<Discovery, AttachError>;
}

/// What an attach provider found.
#[derive(Clone, Default)]
pub struct Discovery {
    /// The nodes that there are.
    pub nodes: Vec<DiscoveredNode>,
    /// The nodes that there should be and are not.
    pub missing: Vec<MissingNode>,
    /// What can be done to them where a feature opts in; there is no teardown among it.
    pub operations: Option<Arc<dyn NodeOperations>>,
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery")
            .field("nodes", &self.nodes)
            .field("missing", &self.missing)
            .field("operations", &self.operations.is_some())
            .finish()
    }
}

/// A node as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveredNode {
    /// Its name there, which features use.
    pub name: NodeName,
    /// Where it answers.
    pub endpoints: BTreeSet<Endpoint>,
    /// How a client proves itself to it, where it asks for that.
    pub credential: Option<Credential>,
    /// What can be done to this one, of what its provider can do at all.
    pub capabilities: CapabilitySet,
}

/// A node that should have been found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissingNode {
    /// Its name there.
    pub name: NodeName,
    /// Why it is not there, as far as that is known.
    pub why: String,
}

impl fmt::Display for MissingNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.why)
    }
}

/// Why an attach provider could not look into a cluster.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The provider does not know it.
    #[error("there is no cluster {cluster:?}; {hint}")]
    UnknownCluster {
        /// The cluster, in the provider's terms.
        cluster: String,
        /// The ones that there are, or where they would have to be listed.
        hint: String,
    },
    /// It could not look.
    #[error("the cluster {cluster:?} could not be looked into")]
    Failed {
        /// The cluster, in the provider's terms.
        cluster: String,
        /// Why.
        #[source]
        source: DynError,
    },
}
