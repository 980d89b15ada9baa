//! The port: somebody else who runs nodes, as phrases see it.

use async_trait::async_trait;
use trellis_domain::{AttachSpec, ExternalNode, NodeName, Secret};

use crate::{StepError, StepResult};

/// Runs nodes that are not the harness's.
#[async_trait]
pub trait Outsiders: Send + Sync + 'static {
    /// Starts a cluster of nodes with these names, and waits until it takes writes. They want `token` from everybody, if one is given.
    ///
    /// # Errors
    /// Whatever keeps it from coming up.
    async fn start(
        &self,
        names: &[NodeName],
        token: Option<Secret>,
    ) -> StepResult<Box<dyn OutsideCluster>>;
}

/// What a node that lies says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lie {
    /// Its head is this many blocks higher than it is.
    HigherBy(u64),
    /// Headers are others than those that their ids are the hashes of.
    ForgedHeaders,
}

/// A faucet that somebody else runs, in two places.
#[derive(Debug, Clone)]
pub struct OutsideFaucet {
    /// Where it wants a user and a password.
    pub url: String,
    /// Where it gives to whoever asks.
    pub open_url: String,
    /// Whom it knows.
    pub user: String,
    /// Their password.
    pub password: Secret,
}

/// A cluster that somebody else runs. It ends when it is dropped.
#[async_trait]
pub trait OutsideCluster: Send + Sync {
    /// Its nodes, as a scenario would list them.
    fn nodes(&self) -> Vec<ExternalNode>;

    /// Where peers reach `node`, in the application's own form; `None` where nobody joins such a cluster.
    fn peer_address(&self, node: &NodeName) -> Option<String> {
        let _ = node;
        None
    }

    /// How the attach provider called `provider` finds it.
    ///
    /// # Errors
    /// A provider through which it cannot be found.
    fn attach(&self, provider: &str) -> StepResult<AttachSpec>;

    /// Kills a node, if it is one of these; says whether it is.
    ///
    /// # Errors
    /// A node that is gone already.
    async fn kill(&self, node: &NodeName) -> StepResult<bool>;

    /// Has one half of the nodes and the other refuse each other.
    ///
    /// # Errors
    /// Nodes that cannot be told to.
    async fn split(&self) -> StepResult {
        Err(StepError::new("these nodes cannot be split in two"))
    }

    /// Waits until the nodes have more than a few blocks, and has them keep those and add nothing.
    ///
    /// # Errors
    /// Nodes that cannot be told to.
    async fn halt(&self) -> StepResult {
        Err(StepError::new("these nodes cannot be halted"))
    }

    /// Has the nodes serve what they have slowly to their peers, once that is more than a few blocks.
    ///
    /// # Errors
    /// Nodes that cannot be told to.
    async fn slow_down(&self) -> StepResult {
        Err(StepError::new("these nodes cannot be slowed down"))
    }

    /// Has `node` lie to all who ask it, if it is one of these; says whether it is.
    ///
    /// # Errors
    /// A node that cannot be made to.
    async fn lie(&self, node: &NodeName, lie: Lie) -> StepResult<bool> {
        Err(StepError::new(format!(
            "{node} cannot be made to say {lie:?}"
        )))
    }

    /// Where a faucet of this network is, which is started where there is none.
    ///
    /// # Errors
    /// A network without such.
    async fn faucet(&self) -> StepResult<OutsideFaucet> {
        Err(StepError::new("nobody gives value away here"))
    }

    /// Checks that every node that was not killed has the same process and data as in the beginning, and that connections to it were not dropped.
    ///
    /// # Errors
    /// What somebody noticed.
    async fn check_unnoticed(&self) -> StepResult;
}
