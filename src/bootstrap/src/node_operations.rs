//! Node operations: what a step may want done to a node, as a backend does it.
//!
//! A backend of our own nodes has these as part of its [`NodeControl`](crate::NodeControl). A provider of borrowed nodes may offer them, too, for nodes that a feature opts in by name; it offers nothing else, so that there is no way from a borrowed node to a teardown.

use std::time::Duration;

use async_trait::async_trait;
use trellis_domain::{NodeName, Permit};

use crate::{Instance, LogTail, ProviderError, StopReport};

/// Carries out operations on nodes.
///
/// Methods that act on a node take a [`Permit`], the proof that ownership or opt-in, capability and state were checked.
/// All of them may be called from several tasks at once, for different nodes; calls for one node are made one after the other.
#[async_trait]
pub trait NodeOperations: Send + Sync + 'static {
    /// Starts a node that is down again, on the same data, with the same command and the artifacts last configured.
    ///
    /// # Errors
    /// A program that cannot be run.
    async fn start(&self, permit: &Permit) -> Result<Instance, ProviderError>;

    /// Asks the node to end, and makes it end when it has not after `grace`.
    ///
    /// # Errors
    /// A node that is still there after that.
    async fn stop(&self, permit: &Permit, grace: Duration) -> Result<StopReport, ProviderError>;

    /// Ends the node without asking, and returns when it is gone.
    ///
    /// # Errors
    /// A node that is still there after that.
    async fn kill(&self, permit: &Permit) -> Result<(), ProviderError>;

    /// Freezes the node: it keeps its sockets and answers nothing.
    ///
    /// # Errors
    /// A node that did not freeze.
    async fn pause(&self, permit: &Permit) -> Result<(), ProviderError>;

    /// Thaws the node.
    ///
    /// # Errors
    /// A node that did not thaw.
    async fn resume(&self, permit: &Permit) -> Result<(), ProviderError>;

    /// Copies the data folder of a node that is down under the name `label`, replacing an earlier copy of the same node and label.
    ///
    /// # Errors
    /// What could not be copied; the earlier copy is kept then.
    async fn save_data(&self, permit: &Permit, label: &str) -> Result<(), ProviderError>;

    /// Replaces the data folder of a node that is down by what `source` saved under `label`.
    ///
    /// # Errors
    /// An unknown copy, with the known ones; the data is as before then.
    async fn restore_data(
        &self,
        permit: &Permit,
        label: &str,
        source: &NodeName,
    ) -> Result<(), ProviderError>;

    /// The last `lines` lines that the node logged; empty when it logged nothing.
    ///
    /// # Errors
    /// A log that cannot be read.
    async fn log_tail(&self, node: &NodeName, lines: usize) -> Result<LogTail, ProviderError>;

    /// The error of an operation that this backend does not have.
    fn unsupported(&self, permit: &Permit) -> ProviderError {
        ProviderError::Unsupported {
            node: permit.name().clone(),
            operation: permit.operation(),
        }
    }
}
