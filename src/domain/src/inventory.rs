//! The inventory: the one list of all nodes of a scenario.
//!
//! A plain value with a version. What wakes the watchers of a new version is `trellis-runtime`'s, since waiting needs an async runtime.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use thiserror::Error;

use crate::{
    Endpoint, MergeError, NetworkIdentity, NodeHandle, NodeName, NodeSighting, NodeState, PeerId,
    merge::merge,
};

/// A name that no node has, with the names that there are.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no node {name:?}; {}", Known(known))]
pub struct UnknownNode {
    /// The name that was asked for.
    pub name: String,
    /// The names that there are.
    pub known: Vec<NodeName>,
}

struct Known<'a>(&'a [NodeName]);

impl fmt::Display for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("the inventory is empty");
        }
        f.write_str("known nodes:")?;
        for (position, name) in self.0.iter().enumerate() {
            let separator = if position == 0 { " " } else { ", " };
            write!(f, "{separator}{name}")?;
        }
        Ok(())
    }
}

/// Why the inventory refuses a change.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InventoryError {
    /// The node is not in it.
    #[error(transparent)]
    Unknown(#[from] UnknownNode),
    /// The sightings contradict each other.
    #[error(transparent)]
    Merge(#[from] MergeError),
}

/// The one list of all nodes of a scenario: stable names, one handle a node, a version that every change raises.
///
/// A refused change leaves it as it was.
#[derive(Debug, Clone, Default)]
pub struct NodeInventory {
    version: u64,
    sightings: BTreeSet<NodeSighting>,
    adopted: BTreeSet<NodeName>,
    nodes: BTreeMap<NodeName, NodeHandle>,
}

impl NodeInventory {
    /// An empty inventory in which an ownership clash of the `adopted` names is settled as owned.
    pub fn adopting(adopted: BTreeSet<NodeName>) -> Self {
        Self {
            adopted,
            ..Self::default()
        }
    }

    /// Merges more sightings in.
    ///
    /// # Errors
    /// Any contradiction between sightings; nothing is changed then.
    pub fn merge(
        &mut self,
        sightings: impl IntoIterator<Item = NodeSighting>,
    ) -> Result<(), MergeError> {
        let mut all = self.sightings.clone();
        all.extend(sightings);
        self.rebuild(all)
    }

    /// Replaces where a node answers, after a restart that gave it other addresses.
    ///
    /// # Errors
    /// An unknown node, or a place that another node has.
    pub fn relocate(
        &mut self,
        name: &NodeName,
        endpoints: &BTreeSet<Endpoint>,
    ) -> Result<(), InventoryError> {
        self.amend(name, |sighting| sighting.endpoints.clone_from(endpoints))
    }

    /// Records what the node said of itself when it was asked.
    ///
    /// # Errors
    /// An unknown node, or an id that another node has.
    pub fn identify(
        &mut self,
        name: &NodeName,
        peer_id: Option<&PeerId>,
        network: &NetworkIdentity,
    ) -> Result<(), InventoryError> {
        self.amend(name, |sighting| {
            sighting.peer_id = peer_id.cloned();
            sighting.network = network.clone();
        })
    }

    /// Takes a node off the list.
    ///
    /// # Errors
    /// An unknown node.
    pub fn leave(&mut self, name: &NodeName) -> Result<(), InventoryError> {
        let node = self.node(name)?.clone();
        let all = self
            .sightings
            .iter()
            .filter(|s| !node.answers_to(&s.name))
            .cloned()
            .collect();
        Ok(self.rebuild(all)?)
    }

    /// Records whether a node runs.
    ///
    /// # Errors
    /// An unknown node.
    pub fn set_state(&mut self, name: &NodeName, state: NodeState) -> Result<(), UnknownNode> {
        let node = self.node_mut(name)?;
        if node.state != state {
            node.facts_mut().state = state;
            self.version += 1;
        }
        Ok(())
    }

    /// Records a new start of a node: what runs it now, one incarnation more, state [`NodeState::Starting`].
    ///
    /// # Errors
    /// An unknown node.
    pub fn started(
        &mut self,
        name: &NodeName,
        instance: Option<String>,
    ) -> Result<(), UnknownNode> {
        let facts = self.node_mut(name)?.facts_mut();
        facts.state = NodeState::Starting;
        facts.instance = instance;
        facts.incarnation += 1;
        self.version += 1;
        Ok(())
    }

    /// Raised by every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All nodes, in natural order of their names.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &NodeHandle> {
        self.nodes.values()
    }

    /// The nodes that are neither stopped, paused nor gone.
    pub fn running(&self) -> impl Iterator<Item = &NodeHandle> {
        self.nodes().filter(|node| node.state.is_running())
    }

    /// How many nodes there are, running or not.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The node of this name or alias.
    ///
    /// # Errors
    /// Lists the known names when there is none.
    pub fn node(&self, name: &NodeName) -> Result<&NodeHandle, UnknownNode> {
        self.nodes
            .get(name)
            .or_else(|| self.nodes.values().find(|node| node.answers_to(name)))
            .ok_or_else(|| UnknownNode {
                name: name.as_str().to_owned(),
                known: self.nodes.keys().cloned().collect(),
            })
    }

    fn node_mut(&mut self, name: &NodeName) -> Result<&mut NodeHandle, UnknownNode> {
        let canonical = self.node(name)?.name().clone();
        Ok(self
            .nodes
            .get_mut(&canonical)
            .expect("the name was just looked up"))
    }

    /// Changes every sighting of one node, then merges again.
    fn amend(
        &mut self,
        name: &NodeName,
        change: impl Fn(&mut NodeSighting),
    ) -> Result<(), InventoryError> {
        let node = self.node(name)?.clone();
        let amended = self.sightings.iter().cloned().map(|mut sighting| {
            if node.answers_to(&sighting.name) {
                change(&mut sighting);
            }
            sighting
        });
        Ok(self.rebuild(amended.collect())?)
    }

    /// Merges `sightings` anew and carries over what is known of running instances.
    fn rebuild(&mut self, sightings: BTreeSet<NodeSighting>) -> Result<(), MergeError> {
        let mut nodes = BTreeMap::new();
        for (name, mut facts) in merge(&sightings, &self.adopted)? {
            let before = self
                .nodes
                .values()
                .find(|node| node.answers_to(&name) || facts.aliases.contains(node.name()));
            if let Some(before) = before {
                facts.state = before.state.clone();
                facts.incarnation = before.incarnation;
                facts.instance.clone_from(&before.instance);
            }
            nodes.insert(name, NodeHandle::new(facts));
        }
        if nodes != self.nodes {
            self.version += 1;
        }
        self.sightings = sightings;
        self.nodes = nodes;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
