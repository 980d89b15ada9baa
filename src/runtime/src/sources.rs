//! Node sources: the running nodes of a cluster as sources of an observer.

use async_trait::async_trait;
use trellis_bootstrap::SharedInventory;
use trellis_domain::NodeHandle;
use trellis_observation::{DynError, ObservedSource, SourceProvider};

/// Gives an observer a client for each running node; joins, leaves, stops and restarts show in its next cycle.
pub struct NodeSources<F> {
    inventory: SharedInventory,
    client: F,
}

impl<F> NodeSources<F> {
    /// Sources made by `client`, which is called for every running node in every cycle and must be cheap; `None` leaves a node out.
    pub fn new(inventory: SharedInventory, client: F) -> Self {
        Self { inventory, client }
    }
}

#[async_trait]
impl<S, F> SourceProvider<S> for NodeSources<F>
where
    S: Clone + Send + Sync + 'static,
    F: Fn(&NodeHandle) -> Option<S> + Send + Sync + 'static,
{
    async fn sources(&self) -> Result<Vec<ObservedSource<S>>, DynError> {
        let inventory = self.inventory.snapshot();
        let running = inventory.running();
        let sources = running.filter_map(|node| {
            let source = (self.client)(node)?;
            Some(ObservedSource::new(node.name().as_str(), source))
        });
        Ok(sources.collect())
    }
}
