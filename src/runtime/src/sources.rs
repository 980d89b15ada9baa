//! Node sources: the running nodes of a cluster as sources of an observer.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use trellis_bootstrap::SharedInventory;
use trellis_domain::{NodeHandle, NodeName};
use trellis_observation::{DynError, ObservedSource, SourceProvider};

/// Gives an observer a client for each running node; joins, leaves, stops and restarts show in its next cycle.
pub struct NodeSources<S, F> {
    inventory: SharedInventory,
    client: F,
    made: Mutex<BTreeMap<NodeName, Made<S>>>,
}

/// A client, and the node as it was when the client was made.
struct Made<S> {
    node: NodeHandle,
    client: S,
}

impl<S, F> NodeSources<S, F>
where
    S: Clone,
    F: Fn(&NodeHandle) -> Option<S>,
{
    /// Sources made by `client`, which is called once for every start of a node, and again when where it answers changes; `None` leaves a node out for now.
    pub fn new(inventory: SharedInventory, client: F) -> Self {
        Self {
            inventory,
            client,
            made: Mutex::default(),
        }
    }

    /// The client of `node`: the one that was made before, as long as it is the same process at the same place.
    pub fn client(&self, node: &NodeHandle) -> Option<S> {
        let mut made = self.made();
        if let Some(made) = made.get(node.name())
            && is_same(&made.node, node)
        {
            return Some(made.client.clone());
        }
        let client = (self.client)(node)?;
        let new = Made {
            node: node.clone(),
            client: client.clone(),
        };
        made.insert(node.name().clone(), new);
        Some(client)
    }

    fn made(&self) -> MutexGuard<'_, BTreeMap<NodeName, Made<S>>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_same(one: &NodeHandle, other: &NodeHandle) -> bool {
    one.incarnation == other.incarnation
        && one.endpoints == other.endpoints
        && one.credential == other.credential
}

#[async_trait]
impl<S, F> SourceProvider<S> for NodeSources<S, F>
where
    S: Clone + Send + Sync + 'static,
    F: Fn(&NodeHandle) -> Option<S> + Send + Sync + 'static,
{
    async fn sources(&self) -> Result<Vec<ObservedSource<S>>, DynError> {
        let inventory = self.inventory.snapshot();
        let running: Vec<&NodeHandle> = inventory.running().collect();
        // What a client holds open to a node that is gone is closed.
        self.made()
            .retain(|name, _| running.iter().any(|node| node.name() == name));
        let sources = running.into_iter().filter_map(|node| {
            let source = self.client(node)?;
            Some(ObservedSource::new(node.name().as_str(), source))
        });
        Ok(sources.collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use trellis_domain::{Endpoint, NodeInventory, NodeSighting, NodeState, Origin};

    use super::*;

    fn inventory(name: &NodeName) -> SharedInventory {
        let origin = Origin::Managed {
            deployer: "local".into(),
        };
        let mut sighting = NodeSighting::new(name.clone(), origin);
        let endpoint = Endpoint::new("http".parse().unwrap(), "http://10.0.0.1:1").unwrap();
        sighting.endpoints.insert(endpoint);
        let mut inventory = NodeInventory::default();
        inventory.merge([sighting]).unwrap();
        inventory.set_state(name, NodeState::Running).unwrap();
        SharedInventory::new(inventory)
    }

    #[tokio::test]
    async fn a_client_is_made_once_for_every_start_of_a_node() {
        let name: NodeName = "NODE_1".parse().unwrap();
        let inventory = inventory(&name);
        let made = AtomicUsize::new(0);
        let client = move |_: &NodeHandle| Some(made.fetch_add(1, Ordering::Relaxed));
        let sources = NodeSources::new(inventory.clone(), client);
        let listed = async || {
            let listed = sources.sources().await.unwrap();
            listed.into_iter().map(|listed| listed.source).collect()
        };
        let look: Vec<usize> = listed().await;
        assert_eq!((look, listed().await), (vec![0], vec![0]));

        let running = |nodes: &mut NodeInventory| nodes.set_state(&name, NodeState::Running);
        inventory
            .update(|nodes| nodes.started(&name, None).and_then(|()| running(nodes)))
            .unwrap();
        assert_eq!(listed().await, [1]);

        inventory
            .update(|nodes| nodes.set_state(&name, NodeState::Stopped))
            .unwrap();
        assert_eq!(listed().await, [0; 0]);
        inventory.update(running).unwrap();
        assert_eq!(listed().await, [2], "what a stopped node had is not kept");
    }
}
