//! The cleanup controller: collects and removes what is ours, however a cluster ended.
//!
//! It is given [`OwnedNode`]s and the fleet that placed them; a node of others can be neither.

use std::path::Path;

use tracing::{info, warn};
use trellis_domain::{NodeInventory, OwnedNode};

use crate::{Fleet, ProviderError};

/// Cleanup of one cluster.
pub struct Cleanup<'a> {
    fleet: &'a Fleet,
    nodes: Vec<OwnedNode>,
}

impl<'a> Cleanup<'a> {
    /// Cleanup of `nodes`, and of what `fleet` placed before there was an inventory.
    pub fn new(fleet: &'a Fleet, nodes: Vec<OwnedNode>) -> Self {
        Self { fleet, nodes }
    }

    /// Cleanup of those nodes of `inventory` that are ours.
    pub fn of(fleet: &'a Fleet, inventory: &NodeInventory) -> Self {
        let ours = inventory
            .nodes()
            .filter_map(|node| OwnedNode::try_from(node).ok());
        Self::new(fleet, ours.collect())
    }

    /// Copies the logs and configuration of every node below `target`, a folder a node. What cannot be copied is skipped with a warning.
    pub async fn collect(&self, target: &Path) {
        for node in &self.nodes {
            let target = target.join(node.name().as_str());
            if let Err(error) = self.fleet.control().collect(node, &target).await {
                warn!(%node, %error, "logs were not kept");
            }
        }
    }

    /// Ends every node and removes everything that the cluster kept. May be done again.
    ///
    /// # Errors
    /// What is left, after trying everything.
    pub async fn remove(&self) -> Result<(), ProviderError> {
        for node in &self.nodes {
            info!(%node, "removing a node of ours");
        }
        self.fleet.teardown().await
    }
}
