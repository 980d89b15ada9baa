//! Events: what happens to the nodes of a cluster that is kept, told as it happens.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::time::{MissedTickBehavior, interval, timeout};
use trellis_bootstrap::{Probe, Progress, in_one_line};
use trellis_domain::{NodeHandle, NodeInventory, NodeState, Ownership};
use trellis_runtime::Cluster;

use crate::desk::last_lines;

/// How often nodes of others are asked how they are.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long each may take to answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// Tells every change of every node, until the future is dropped.
pub(crate) async fn narrate(cluster: Cluster, progress: Arc<dyn Progress>) {
    let mut changes = cluster.inventory().watch();
    let mut before = Arc::clone(&changes.borrow_and_update());
    while changes.changed().await.is_ok() {
        let now = Arc::clone(&changes.borrow_and_update());
        for node in now.nodes().filter(|node| is_news(&before, node)) {
            let mut text = told(node);
            for line in last_lines(&cluster, node).await {
                text.push_str("\n  | ");
                text.push_str(&line);
            }
            progress.note(&text);
        }
        before = now;
    }
}

fn is_news(before: &NodeInventory, node: &NodeHandle) -> bool {
    let was = before.node(node.name());
    was.map_or(true, |was| {
        was.state != node.state || was.incarnation != node.incarnation
    })
}

fn told(node: &NodeHandle) -> String {
    match (&node.state, &node.instance) {
        (NodeState::Starting | NodeState::Running, Some(instance)) => {
            format!("{node} is {} ({instance})", node.state)
        }
        (NodeState::Exited(status), _) => format!("{node} ended by itself: {status}"),
        _ => format!("{node} is {}", node.state),
    }
}

/// Asks the nodes that are not ours how they are, again and again, and records it; that is all that is done to them.
pub(crate) async fn look_at_borrowed(cluster: Cluster, progress: Arc<dyn Progress>) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let inventory = cluster.inventory().snapshot();
        let borrowed = inventory.nodes().filter(|node| is_looked_at(node));
        join_all(borrowed.map(|node| look_at(&cluster, node, &*progress))).await;
    }
}

fn is_looked_at(node: &NodeHandle) -> bool {
    let may_change = matches!(node.state, NodeState::Running | NodeState::Unreachable);
    node.ownership == Ownership::Borrowed && may_change
}

async fn look_at(cluster: &Cluster, node: &NodeHandle, progress: &dyn Progress) {
    let answer = timeout(ANSWERED_WITHIN, cluster.app().probe(node)).await;
    let wrong = match answer {
        Ok(Ok(Probe::Ready)) => None,
        Ok(Ok(Probe::NotYet(said))) => Some(said),
        Ok(Err(error)) => Some(in_one_line(&*error)),
        Err(_) => Some(format!("no answer within {ANSWERED_WITHIN:?}")),
    };
    let state = match &wrong {
        None => NodeState::Running,
        Some(_) => NodeState::Unreachable,
    };
    if let Some(why) = wrong.filter(|_| node.state != state) {
        progress.note(&format!("{node} is not ready any more: {why}"));
    }
    // It may have left in the meantime, and then there is nothing to record.
    let _ = cluster
        .inventory()
        .update(|nodes| nodes.set_state(node.name(), state));
}
