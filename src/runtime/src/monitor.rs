//! The monitor: notices that a node of ours ended by itself, and says so in the inventory and the journal.

use std::sync::Arc;

use trellis_bootstrap::{NodeControl, SharedInventory};
use trellis_domain::{NodeName, NodeState};

use crate::Journal;

/// Watches one node over all its starts, until the task is cancelled or the node leaves the inventory.
pub(crate) async fn watch_exits(
    node: NodeName,
    control: Arc<dyn NodeControl>,
    inventory: SharedInventory,
    journal: Journal,
) {
    let mut changes = inventory.watch();
    loop {
        let Ok(handle) = inventory.node(&node) else {
            return;
        };
        let incarnation = handle.incarnation;
        let started_again = |nodes: &Arc<_>| is_other_start(nodes, &node, incarnation);
        let report = tokio::select! {
            report = control.exited(&node) => report,
            _ = changes.wait_for(started_again) => continue,
        };
        journal.note(format!("{node} ended by itself: {report}"));
        let marked = inventory.update(|nodes| {
            if nodes.node(&node)?.incarnation == incarnation {
                nodes.set_state(&node, NodeState::Exited(report.status.clone()))?;
            }
            Ok::<_, trellis_domain::UnknownNode>(())
        });
        let started_again = |nodes: &Arc<_>| is_other_start(nodes, &node, incarnation);
        if marked.is_err() || changes.wait_for(started_again).await.is_err() {
            return;
        }
    }
}

fn is_other_start(
    nodes: &Arc<trellis_domain::NodeInventory>,
    node: &NodeName,
    incarnation: u32,
) -> bool {
    nodes
        .node(node)
        .map_or(true, |handle| handle.incarnation != incarnation)
}
