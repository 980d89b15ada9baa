//! The inventory as several tasks share it: every new version wakes who watches.

use std::sync::Arc;

use tokio::sync::watch;
use trellis_domain::{NodeHandle, NodeInventory, NodeName, UnknownNode};

/// A [`NodeInventory`] that is changed in one place at a time and watched from many. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SharedInventory {
    current: watch::Sender<Arc<NodeInventory>>,
}

impl SharedInventory {
    /// Shares `inventory` from now on.
    pub fn new(inventory: NodeInventory) -> Self {
        Self {
            current: watch::Sender::new(Arc::new(inventory)),
        }
    }

    /// The inventory as it is now.
    pub fn snapshot(&self) -> Arc<NodeInventory> {
        Arc::clone(&self.current.borrow())
    }

    /// The node of this name or alias, as it is now.
    ///
    /// # Errors
    /// Lists the known names when there is none.
    pub fn node(&self, name: &NodeName) -> Result<NodeHandle, UnknownNode> {
        self.snapshot().node(name).cloned()
    }

    /// Changes the inventory; watchers wake when that raised its version, and not otherwise.
    ///
    /// `change` runs under a lock: it must not wait for anything.
    ///
    /// # Errors
    /// Whatever `change` returns.
    pub fn update<T, E>(
        &self,
        change: impl FnOnce(&mut NodeInventory) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut result = None;
        self.current.send_if_modified(|current| {
            let before = current.version();
            result = Some(change(Arc::make_mut(current)));
            current.version() != before
        });
        result.expect("send_if_modified calls its closure once")
    }

    /// Watches for new versions. `wait_for` on it sees the current one first.
    pub fn watch(&self) -> watch::Receiver<Arc<NodeInventory>> {
        self.current.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trellis_domain::{Endpoint, NodeSighting, NodeState, Origin};

    fn inventory() -> NodeInventory {
        let origin = Origin::Managed {
            deployer: "local".into(),
        };
        let mut sighting = NodeSighting::new("A".parse().unwrap(), origin);
        let endpoint = Endpoint::new("http".parse().unwrap(), "http://10.0.0.1:1").unwrap();
        sighting.endpoints.insert(endpoint);
        let mut inventory = NodeInventory::default();
        inventory.merge([sighting]).unwrap();
        inventory
    }

    #[tokio::test]
    async fn a_change_wakes_watchers_and_no_change_does_not() {
        let shared = SharedInventory::new(inventory());
        let name: NodeName = "A".parse().unwrap();
        let mut watch = shared.watch();
        watch.mark_unchanged();
        shared
            .update(|inventory| inventory.set_state(&name, NodeState::Running))
            .unwrap();
        assert!(!watch.has_changed().unwrap());
        shared
            .update(|inventory| inventory.set_state(&name, NodeState::Stopped))
            .unwrap();
        assert!(watch.has_changed().unwrap());
        let seen = watch
            .wait_for(|inventory| inventory.running().count() == 0)
            .await
            .unwrap();
        assert_eq!(seen.len(), 1);
    }

    #[test]
    fn a_snapshot_stays_as_it_was() {
        let shared = SharedInventory::new(inventory());
        let name: NodeName = "A".parse().unwrap();
        let before = shared.snapshot();
        shared.update(|inventory| inventory.leave(&name)).unwrap();
        assert_eq!((before.len(), shared.snapshot().len()), (1, 0));
    }
}
