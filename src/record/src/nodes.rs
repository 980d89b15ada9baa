//! Nodes: which nodes a cluster has and whether they run, from its inventory; whatever the application.
//!
//! Nobody is asked: the inventory is told by whoever starts, stops and watches the nodes.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use serde_json::json;
use trellis_bootstrap::SharedInventory;
use trellis_domain::{NodeHandle, NodeName, NodeState};
use trellis_observation::{DynError, ObservationHandle, ObservedSource, Observer, PollFailure};

use crate::{Delta, Fact, Recording, Subject};

/// Looks at an inventory.
#[derive(Debug, Clone)]
pub struct NodesObserver {
    inventory: SharedInventory,
}

/// A node as the inventory had it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSeen {
    /// What it does.
    pub state: NodeState,
    /// How often it was started.
    pub incarnation: u32,
}

/// All nodes, by name.
pub type NodesSeen = Arc<BTreeMap<NodeName, NodeSeen>>;

/// What became different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeEvent {
    /// A node is not as it was, or was not there.
    Changed {
        /// The node.
        node: NodeName,
        /// As it is.
        now: NodeSeen,
    },
    /// A node is not in the cluster any more.
    Left {
        /// The node.
        node: NodeName,
        /// As it was.
        before: NodeSeen,
    },
}

impl NodesObserver {
    /// An observer of `inventory`.
    pub fn new(inventory: SharedInventory) -> Self {
        Self { inventory }
    }

    fn look(&self) -> BTreeMap<NodeName, NodeSeen> {
        let inventory = self.inventory.snapshot();
        let nodes = inventory.nodes();
        nodes
            .map(|node| (node.name().clone(), NodeSeen::of(node)))
            .collect()
    }
}

impl NodeSeen {
    fn of(node: &NodeHandle) -> Self {
        Self {
            state: node.state.clone(),
            incarnation: node.incarnation,
        }
    }
}

#[async_trait]
impl Observer for NodesObserver {
    type Source = ();
    type State = NodesSeen;
    type Snapshot = NodesSeen;
    type Event = NodeEvent;

    async fn init(&self, _: &[ObservedSource<()>]) -> Result<NodesSeen, DynError> {
        Ok(NodesSeen::default())
    }

    async fn poll(
        &self,
        _: &[ObservedSource<()>],
        before: &mut NodesSeen,
    ) -> Result<Vec<NodeEvent>, PollFailure<NodeEvent>> {
        let now = self.look();
        let events = differences(before, &now);
        *before = Arc::new(now);
        Ok(events)
    }

    fn snapshot(&self, state: &NodesSeen) -> NodesSeen {
        Arc::clone(state)
    }
}

fn differences(
    before: &BTreeMap<NodeName, NodeSeen>,
    now: &BTreeMap<NodeName, NodeSeen>,
) -> Vec<NodeEvent> {
    let changed = now
        .iter()
        .filter(|(node, seen)| before.get(*node) != Some(*seen))
        .map(|(node, seen)| NodeEvent::Changed {
            node: node.clone(),
            now: seen.clone(),
        });
    let left = before
        .iter()
        .filter(|(node, _)| !now.contains_key(*node))
        .map(|(node, seen)| NodeEvent::Left {
            node: node.clone(),
            before: seen.clone(),
        });
    changed.chain(left).collect()
}

/// Looks at each change of the inventory at once, instead of at the next tick. Ends with the inventory.
///
/// # Cancel safety
/// Dropping it loses nothing: the observation goes on by its own ticks.
pub(crate) async fn wake_on_changes(
    handle: ObservationHandle<NodesObserver>,
    inventory: SharedInventory,
) {
    let mut changes = inventory.watch();
    while changes.changed().await.is_ok() {
        // A cycle that fails says so in the handle, and the next one looks again.
        let _ = handle.refresh().await;
    }
}

/// Puts on record when nodes were up and when they were not.
#[derive(Debug, Default)]
pub struct NodesRecording {
    known: BTreeMap<NodeName, NodeSeen>,
}

impl Recording for NodesRecording {
    type Observer = NodesObserver;

    fn record(&mut self, delta: &Delta<'_, NodeEvent>) -> Vec<Fact> {
        let events = delta.events.iter();
        let facts = events.map(|event| match event {
            NodeEvent::Changed { node, now } => {
                self.known.insert(node.clone(), now.clone());
                fact(node, now, delta.at)
            }
            NodeEvent::Left { node, before } => {
                self.known.remove(node);
                left(node, before, delta.at)
            }
        });
        facts.collect()
    }

    fn after_gap(&mut self, at: SystemTime, snapshot: &NodesSeen) -> Vec<Fact> {
        let events = differences(&self.known, snapshot);
        self.record(&Delta {
            at,
            cycle: 0,
            events: &events,
        })
    }
}

fn fact(node: &NodeName, seen: &NodeSeen, at: SystemTime) -> Fact {
    let is_up = seen.state == NodeState::Running;
    told(node, &seen.state.to_string(), is_up, seen.incarnation, at)
}

fn left(node: &NodeName, before: &NodeSeen, at: SystemTime) -> Fact {
    told(node, "left", false, before.incarnation, at)
}

fn told(node: &NodeName, state: &str, is_up: bool, incarnation: u32, at: SystemTime) -> Fact {
    let details = json!({ "state": state, "is_up": is_up, "incarnation": incarnation });
    Fact::new(Subject::Node, node.as_str(), "NodeChanged", at, details)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(state: NodeState, incarnation: u32) -> NodeSeen {
        NodeSeen { state, incarnation }
    }

    fn nodes(all: &[(&str, NodeSeen)]) -> BTreeMap<NodeName, NodeSeen> {
        let nodes = all.iter();
        nodes
            .map(|(name, seen)| (name.parse().unwrap(), seen.clone()))
            .collect()
    }

    #[test]
    fn what_became_different_is_told_and_nothing_else() {
        let before = nodes(&[
            ("A", seen(NodeState::Running, 1)),
            ("B", seen(NodeState::Running, 1)),
            ("C", seen(NodeState::Stopped, 1)),
        ]);
        let now = nodes(&[
            ("A", seen(NodeState::Running, 1)),
            ("B", seen(NodeState::Running, 2)),
            ("D", seen(NodeState::Starting, 1)),
        ]);
        let told: Vec<String> = differences(&before, &now)
            .iter()
            .map(|event| match event {
                NodeEvent::Changed { node, now } => {
                    format!("{node} {} {}", now.state, now.incarnation)
                }
                NodeEvent::Left { node, .. } => format!("{node} left"),
            })
            .collect();
        assert_eq!(told, ["B running 2", "D starting 1", "C left"]);
    }

    #[test]
    fn after_a_gap_only_what_is_not_known_yet_is_put_on_record() {
        let mut recording = NodesRecording::default();
        let first = nodes(&[
            ("A", seen(NodeState::Running, 1)),
            ("B", seen(NodeState::Running, 1)),
        ]);
        let at = SystemTime::UNIX_EPOCH;
        assert_eq!(recording.after_gap(at, &Arc::new(first.clone())).len(), 2);
        assert_eq!(recording.after_gap(at, &Arc::new(first.clone())), []);
        let mut later = first;
        later.insert("B".parse().unwrap(), seen(NodeState::Stopped, 1));
        let facts = recording.after_gap(at, &Arc::new(later));
        assert_eq!(facts.len(), 1);
        assert_eq!(facts[0].id, "B");
        assert_eq!(facts[0].payload()["is_up"], false);
    }
}
