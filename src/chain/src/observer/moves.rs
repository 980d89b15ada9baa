//! Moves: where the head and the last final block of one node go, and what events that makes.

use std::sync::Arc;

use super::event::{ChainEvent, Reorg};
use crate::{
    graph::{Graph, Place, Relation},
    view::NodeView,
};

/// What is wrong with the height that a node gives to its own tip.
pub(super) fn impossible_height(graph: &Graph, node: &NodeView) -> Option<String> {
    let reported = node.reported.as_ref()?;
    let counted = graph.place(&reported.tip)?.height;
    let (claimed, tip) = (reported.height, reported.tip.short());
    (claimed != counted)
        .then(|| format!("its tip {tip} is said to be at height {claimed}, and is at {counted}"))
}

/// Whether the tip that a node told last is in the graph, at the height that it told.
pub(super) fn fits(graph: &Graph, node: &NodeView) -> bool {
    let tip = node
        .reported
        .as_ref()
        .and_then(|head| Some((head.height, graph.place(&head.tip)?)));
    tip.is_some_and(|(told, place)| told == place.height)
}

/// Moves the head of a node to the tip that it reported, when the graph knows that block.
pub(super) fn move_head(graph: &Graph, node: &mut NodeView, events: &mut Vec<ChainEvent>) {
    let tip = node
        .reported
        .as_ref()
        .and_then(|head| graph.place(&head.tip));
    let Some(to) = tip.filter(|to| node.head != Some(*to)) else {
        return;
    };
    let from = node.head.replace(to);
    events.push(ChainEvent::HeadMoved {
        node: Arc::clone(&node.name),
        from,
        to,
    });
    let Some(from) = from else {
        return;
    };
    let common_ancestor = match graph.relation(&from.id, &to.id) {
        Relation::Forked(common) => common,
        Relation::After(_) => to,
        Relation::Before(_) => {
            // It may come back to blocks that it left before.
            for id in graph.path(&from.id, &to.id).unwrap_or_default() {
                node.left.remove_mut(&id);
            }
            return;
        }
        Relation::Same | Relation::Unknown => return,
    };
    let blocks_out = graph
        .path(&common_ancestor.id, &from.id)
        .unwrap_or_default();
    let blocks_in = graph.path(&common_ancestor.id, &to.id).unwrap_or_default();
    for id in &blocks_out {
        node.left.insert_mut(*id);
    }
    for id in &blocks_in {
        node.left.remove_mut(id);
    }
    events.push(ChainEvent::Reorg(Reorg {
        node: Arc::clone(&node.name),
        from,
        to,
        common_ancestor,
        blocks_out,
        blocks_in,
    }));
}

/// Moves the last final block of a node to the one that it reported, or on chains without finality
/// to the one `final_depth` below its head.
pub(super) fn move_final(
    graph: &Graph,
    node: &mut NodeView,
    final_depth: u64,
    events: &mut Vec<ChainEvent>,
) {
    let Some(reported) = &node.reported else {
        return;
    };
    let found: Option<Place> = match &reported.finalised {
        Some(finalised) => graph.place(&finalised.id),
        None => node.head.and_then(|head| {
            let height = head.height.saturating_sub(final_depth);
            graph.ancestor_at(&head.id, height)
        }),
    };
    let Some(to) = found.filter(|to| node.finalised != Some(*to)) else {
        return;
    };
    let from = node.finalised.replace(to);
    events.push(ChainEvent::Finalised {
        node: Arc::clone(&node.name),
        from,
        to,
    });
}
