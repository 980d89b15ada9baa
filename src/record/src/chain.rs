//! Chains: what the chain observer tells, put on record as heads, reorgs and lag.
//!
//! Blocks themselves are not: a record says where nodes were, and the chain says what is in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use serde_json::json;
use trellis_chain::{ChainEvent, ChainObserver, ChainView, NodeView, Reorg};

use crate::{Delta, Fact, Recording, Subject, millis};

/// Puts on record where the nodes of a chain are.
#[derive(Debug, Default)]
pub struct ChainRecording {
    /// Where each node was last, whether it answers or not.
    heights: BTreeMap<Arc<str>, u64>,
    silent: BTreeSet<Arc<str>>,
    /// What was said last of how far a node is behind.
    lags: BTreeMap<Arc<str>, u64>,
}

impl Recording for ChainRecording {
    type Observer = ChainObserver;

    fn record(&mut self, delta: &Delta<'_, ChainEvent>) -> Vec<Fact> {
        let mut facts = Vec::new();
        for (position, event) in delta.events.iter().enumerate() {
            self.tell(delta, position, event, &mut facts);
        }
        // After the whole cycle: within it one node is ahead only because it is told of first.
        self.tell_lags(delta.at, &mut facts);
        facts
    }

    fn after_gap(&mut self, at: SystemTime, view: &ChainView) -> Vec<Fact> {
        let mut facts = Vec::new();
        for node in view.nodes.values().filter(|node| node.observed) {
            self.catch_up(at, node, &mut facts);
        }
        self.tell_lags(at, &mut facts);
        facts
    }
}

impl ChainRecording {
    fn tell(
        &mut self,
        delta: &Delta<'_, ChainEvent>,
        position: usize,
        event: &ChainEvent,
        facts: &mut Vec<Fact>,
    ) {
        let at = delta.at;
        match event {
            ChainEvent::HeadMoved { node, to, .. } => {
                self.heights.insert(Arc::clone(node), to.height);
                let details = json!({ "height": to.height, "block": to.id.to_string() });
                facts.push(of_node(node, "HeadMoved", at, details));
            }
            ChainEvent::Reorg(reorg) => {
                let details = json!({ "depth": reorg.depth() });
                facts.push(of_node(&reorg.node, "Reorganised", at, details));
                facts.push(reorganised(reorg, at, delta.cycle, position));
            }
            ChainEvent::Finalised { node, to, .. } => {
                let details = json!({ "height": to.height, "block": to.id.to_string() });
                facts.push(of_node(node, "Finalised", at, details));
            }
            ChainEvent::ModeChanged { node, to, .. } => {
                let details = json!({ "mode": to.to_string() });
                facts.push(of_node(node, "ModeChanged", at, details));
            }
            ChainEvent::Lost { node, why } => {
                self.silent.insert(Arc::clone(node));
                facts.push(of_node(node, "Lost", at, json!({ "why": why })));
            }
            ChainEvent::Found { node } => {
                self.silent.remove(node);
                facts.push(of_node(node, "Found", at, json!({})));
            }
            ChainEvent::Contradiction { node, why } => {
                facts.push(of_node(node, "Contradiction", at, json!({ "why": why })));
            }
            // Who is on it is told by the heads.
            _ => {}
        }
    }

    /// Says what is different of a node after deltas were lost.
    fn catch_up(&mut self, at: SystemTime, node: &NodeView, facts: &mut Vec<Fact>) {
        let name = &node.name;
        if let Some(head) = node.head
            && self.heights.insert(Arc::clone(name), head.height) != Some(head.height)
        {
            let details = json!({ "height": head.height, "block": head.id.to_string() });
            facts.push(of_node(name, "HeadMoved", at, details));
        }
        match &node.failing {
            Some(why) if self.silent.insert(Arc::clone(name)) => {
                facts.push(of_node(name, "Lost", at, json!({ "why": why })));
            }
            None if self.silent.remove(name) => {
                facts.push(of_node(name, "Found", at, json!({})));
            }
            _ => {}
        }
    }

    /// Says how far nodes are behind the highest of those that answer, where that is new.
    fn tell_lags(&mut self, at: SystemTime, facts: &mut Vec<Fact>) {
        let answering = self
            .heights
            .iter()
            .filter(|(node, _)| !self.silent.contains(*node));
        let Some(best) = answering.clone().map(|(_, height)| *height).max() else {
            return;
        };
        for (node, height) in answering {
            let lag = best - height;
            if self.lags.insert(Arc::clone(node), lag) == Some(lag) {
                continue;
            }
            let details = json!({ "lag": lag, "height": height, "best": best });
            facts.push(of_node(node, "LagChanged", at, details));
        }
    }
}

fn of_node(
    node: &Arc<str>,
    event: &'static str,
    at: SystemTime,
    details: serde_json::Value,
) -> Fact {
    Fact::new(Subject::ChainNode, &**node, event, at, details)
}

/// In the order of time when they are sorted as texts.
fn reorganised(reorg: &Reorg, at: SystemTime, cycle: u64, position: usize) -> Fact {
    let id = format!("{:014}-{cycle}-{position}-{}", millis(at), reorg.node);
    let details = json!({
        "node": reorg.node,
        "depth": reorg.depth(),
        "from_height": reorg.from.height,
        "from": reorg.from.id.to_string(),
        "to_height": reorg.to.height,
        "to": reorg.to.id.to_string(),
        "common_height": reorg.common_ancestor.height,
        "common": reorg.common_ancestor.id.to_string(),
        "blocks_in": reorg.blocks_in.len(),
    });
    Fact::new(Subject::Reorg, id, "Reorg", at, details)
}
