//! View: what projection nodes say of themselves, and what may be concluded from it.

use std::{collections::BTreeMap, fmt};

use trellis_domain::NodeName;

use super::EventKey;

/// All running projection nodes as they were seen last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectionView {
    /// How many shards there are.
    pub shards: u32,
    /// By name; why a node did not answer, if it did not.
    pub nodes: BTreeMap<NodeName, Result<NodeView, String>>,
}

/// What a node says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeView {
    /// What it is doing, in its own word.
    pub state: String,
    /// What keeps it from being ready; `None` for a node that is.
    pub not_ready: Option<String>,
    /// The owners that it knows, by shard; nobody where it has the stream to itself.
    pub owners: BTreeMap<u32, NodeName>,
    /// The shards that it has.
    pub shards: BTreeMap<u32, ShardView>,
}

/// A shard as the node says that has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardView {
    /// The last event that is in its views, or in quarantine.
    pub floor: u64,
    /// How many events of the stream are not.
    pub behind: u64,
    /// The generation of its views that is served; 0 before there is one.
    pub served: u32,
    /// What becomes of other generations, by their names.
    pub rebuilds: BTreeMap<String, String>,
    /// Whether one of them could be served.
    pub has_caught_up: bool,
    /// Events in quarantine.
    pub quarantine: Vec<Aside>,
}

/// An event in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// Which.
    pub sequence: u64,
    /// Whether nothing is wrong with it but that it comes after another one of its key.
    pub waits: bool,
    /// What is wrong with it, in a word.
    pub fault: String,
    /// Its key, where that is known.
    pub key: Option<EventKey>,
}

impl ProjectionView {
    /// The nodes that answered.
    pub(super) fn answering(&self) -> impl Iterator<Item = (&NodeName, &NodeView)> {
        let all = self.nodes.iter();
        all.filter_map(|(name, node)| Some((name, node.as_ref().ok()?)))
    }

    /// Whether so many nodes are there and all of them answered.
    pub(super) fn all_answer(&self, nodes: usize) -> bool {
        self.nodes.len() == nodes && self.nodes.values().all(Result::is_ok)
    }

    /// The only node that has `shard`; `None` where no node has it, or several.
    pub(super) fn owner(&self, shard: u32) -> Option<(&NodeName, &ShardView)> {
        let mut owners = self
            .answering()
            .filter_map(|(name, node)| Some((name, node.shards.get(&shard)?)));
        owners.next().filter(|_| owners.next().is_none())
    }

    /// All shards, each with its only owner; `None` where one has none, or several, or not all nodes that answer know it.
    pub(super) fn owned(&self) -> Option<BTreeMap<u32, (&NodeName, &ShardView)>> {
        let known = |shard: u32, owner: &NodeName| {
            let mut nodes = self.answering();
            self.shards == 1 || nodes.all(|(_, node)| node.owners.get(&shard) == Some(owner))
        };
        let owned = (0..self.shards).map(|shard| {
            let owner = self.owner(shard).filter(|(owner, _)| known(shard, owner))?;
            Some((shard, owner))
        });
        owned.collect()
    }

    /// Whether all shards have an owner, and no node has two more than another.
    pub(super) fn is_even(&self) -> bool {
        let counts = || self.answering().map(|(_, node)| node.shards.len());
        let spread = counts().max().zip(counts().min());
        self.owned().is_some() && spread.is_some_and(|(most, least)| most - least <= 1)
    }

    /// Whether the event `sequence` has come to every shard, and is in its views if it is of one.
    pub(super) fn has(&self, sequence: u64) -> bool {
        let there =
            |(_, shard): &(&NodeName, &ShardView)| shard.served > 0 && shard.floor >= sequence;
        self.owned().is_some_and(|owned| owned.values().all(there))
    }

    /// The events in quarantine, with the shard that each is of.
    pub(super) fn quarantined(&self) -> impl Iterator<Item = (u32, &Aside)> {
        let shards = self.answering().flat_map(|(_, node)| &node.shards);
        shards.flat_map(|(shard, of)| of.quarantine.iter().map(|aside| (*shard, aside)))
    }
}

/// A line or two for each node, for people.
impl fmt::Display for ProjectionView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shards {
            1 => f.write_str("a stream of one shard")?,
            shards => write!(f, "{shards} shards")?,
        }
        if self.nodes.is_empty() {
            return f.write_str(", and no node runs");
        }
        for (name, node) in &self.nodes {
            match node {
                Ok(node) => write!(f, "\n  {name}: {node}")?,
                Err(why) => write!(f, "\n  {name}: no answer ({why})")?,
            }
        }
        let lost = (0..self.shards).filter(|shard| self.owner(*shard).is_none());
        for shard in lost {
            let has = |node: &NodeView| node.shards.contains_key(&shard);
            let owners = self.answering().filter(|(_, node)| has(node)).count();
            write!(f, "\n  {owners} nodes have shard {shard}")?;
        }
        Ok(())
    }
}

impl fmt::Display for NodeView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.not_ready {
            None => write!(f, "{}, ready", self.state)?,
            Some(why) => write!(f, "{}, not ready ({why})", self.state)?,
        }
        if self.shards.is_empty() {
            f.write_str(", has no shard")?;
        }
        for (place, (number, shard)) in self.shards.iter().enumerate() {
            let begin = if place == 0 { "\n    shard" } else { ", shard" };
            write!(f, "{begin} {number} {shard}")?;
        }
        for (number, shard) in &self.shards {
            shard.write_special(*number, f)?;
        }
        Ok(())
    }
}

impl fmt::Display for ShardView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.served == 0 {
            return f.write_str("is being opened");
        }
        write!(f, "at event {}", self.floor)?;
        match self.behind {
            0 => Ok(()),
            behind => write!(f, " ({behind} behind)"),
        }
    }
}

impl ShardView {
    /// Lines about what is not so on every shard.
    fn write_special(&self, number: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// How many events in quarantine are shown.
        const ASIDE_SHOWN: usize = 5;
        if self.served > 1 || !self.rebuilds.is_empty() {
            write!(f, "\n    shard {number} serves generation {}", self.served)?;
        }
        for (generation, what) in &self.rebuilds {
            write!(f, ", {generation} {what}")?;
        }
        if self.quarantine.is_empty() {
            return Ok(());
        }
        let count = self.quarantine.len();
        write!(f, "\n    shard {number} has {count} in quarantine:")?;
        for aside in self.quarantine.iter().take(ASIDE_SHOWN) {
            write!(f, " {} ({}", aside.sequence, aside.fault)?;
            match &aside.key {
                Some(key) => write!(f, ", of {key})")?,
                None => f.write_str(")")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two shards at these events: on which nodes, and whom every node takes for their owners.
    fn view(has: &[(&str, &[(u32, u64)])], known: &[(u32, &str)]) -> ProjectionView {
        let owners: BTreeMap<u32, NodeName> = known
            .iter()
            .map(|(shard, owner)| (*shard, owner.parse().unwrap()))
            .collect();
        let nodes = has.iter().map(|(name, shards)| {
            let shard = |(number, floor): &(u32, u64)| {
                let shard = ShardView {
                    floor: *floor,
                    served: 1,
                    ..ShardView::default()
                };
                (*number, shard)
            };
            let node = NodeView {
                owners: owners.clone(),
                shards: shards.iter().map(shard).collect(),
                ..NodeView::default()
            };
            (name.parse().unwrap(), Ok(node))
        });
        ProjectionView {
            shards: 2,
            nodes: nodes.collect(),
        }
    }

    #[test]
    fn a_shard_that_two_nodes_have_has_no_owner() {
        let known = [(0, "A"), (1, "B")];
        let good = view(&[("A", &[(0, 7)]), ("B", &[(1, 7)])], &known);
        assert!(good.is_even() && good.has(7) && !good.has(8));
        let both = view(&[("A", &[(0, 7), (1, 7)]), ("B", &[(1, 7)])], &known);
        assert!(both.owned().is_none() && !both.has(1));
        assert!(both.to_string().contains("2 nodes have shard 1"), "{both}");
        let nobody = view(&[("A", &[(0, 7)]), ("B", &[])], &known);
        assert!(nobody.owned().is_none());
    }

    #[test]
    fn an_owner_that_others_do_not_know_is_none_yet() {
        let stale = view(&[("A", &[(0, 7)]), ("B", &[(1, 7)])], &[(0, "A"), (1, "A")]);
        assert!(stale.owned().is_none());
    }

    #[test]
    fn a_node_with_everything_is_not_even_with_one_that_has_nothing() {
        let one_sided = view(
            &[("A", &[(0, 7), (1, 7)]), ("B", &[])],
            &[(0, "A"), (1, "A")],
        );
        assert!(one_sided.owned().is_some() && !one_sided.is_even());
    }
}
