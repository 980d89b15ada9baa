//! Clusters of projection nodes: phrases that bring them up with their server, and about their disks.

use cucumber::{given, then, when};
use trellis_domain::NodeName;

use super::SERVER;
use crate::{
    Count, Draft, NodeRef, StepError, StepResult, TrellisWorld,
    cluster::in_cluster_already,
    effect::{Effect, StepEffects},
    lifecycle::start_nodes,
};

pub(crate) const EFFECTS: &[StepEffects] = &[
    StepEffects {
        expression: "a NATS server and {count} projection node(s)",
        of: |step| match step.get(0)? {
            0 => Err("a cluster has at least one projection node".to_owned()),
            count => {
                let nodes = [server()].into_iter().chain(Draft::names(count));
                Ok(vec![Effect::Founds(nodes.collect())])
            }
        },
    },
    StepEffects {
        expression: "{node} has a disk of {count} MiB",
        of: |step| match step.get(0)? {
            NodeRef::Named(name) => Ok(vec![Effect::Configures(name), Effect::MountsDisks]),
            role => Err(format!(
                "{role} is not known before the cluster runs; name the node"
            )),
        },
    },
    StepEffects {
        expression: "I fill the disk of {node}",
        of: |step| Ok(vec![Effect::Mentions(step.get(0)?)]),
    },
    StepEffects {
        expression: "I make room on the disk of {node}",
        of: |step| Ok(vec![Effect::Mentions(step.get(0)?)]),
    },
];

fn server() -> NodeName {
    SERVER.parse().expect("the name is a valid one")
}

/// Starts a server of events as the node `NATS`, makes a stream there, then starts the projection nodes `NODE_1`, `NODE_2` and so on, which read it, and waits until all are ready. One node has the stream to itself; several share it in six shards. All phrases about nodes work for `NATS` too.
#[given(expr = "a NATS server and {count} projection node(s)")]
#[when(expr = "a NATS server and {count} projection node(s)")]
#[then(expr = "a NATS server and {count} projection node(s)")]
async fn projection_nodes(world: &mut TrellisWorld, count: Count) -> StepResult {
    let nodes: Vec<NodeName> = Draft::names(*count).collect();
    let draft = world.draft()?;
    draft.projection.nodes = *count;
    for node in &nodes {
        let connections = draft.connections.entry(node.clone()).or_default();
        connections.insert(server());
    }
    world.boot([server()]).await?;
    // Nodes are not ready before there is a stream.
    let session = world.projection()?.clone();
    let server = session.server()?;
    let opened = session.deployment.open_stream(&server);
    world.interruptible(opened).await??;
    start_nodes(world, &nodes).await
}

/// Gives a node a disk of its own that holds so much, for its data; it is empty after each start. Must come before the node. A machine that does not let us mount skips the scenario.
#[given(expr = "{node} has a disk of {count} MiB")]
#[when(expr = "{node} has a disk of {count} MiB")]
#[then(expr = "{node} has a disk of {count} MiB")]
fn disk(world: &mut TrellisWorld, node: NodeRef, mib: Count) -> StepResult {
    let NodeRef::Named(name) = node else {
        return Err(StepError::new(format!(
            "{node} is not known before the cluster runs; name the node"
        )));
    };
    if world.cluster.is_some() {
        return Err(StepError::new(in_cluster_already(&name)));
    }
    world.draft()?.projection.disks.insert(name, *mib);
    Ok(())
}

/// Takes all room that is left on the disk of a node that has one of its own. What the node has written stays.
#[given(expr = "I fill the disk of {node}")]
#[when(expr = "I fill the disk of {node}")]
#[then(expr = "I fill the disk of {node}")]
async fn fill_disk(world: &mut TrellisWorld, node: NodeRef) -> StepResult {
    let name = world.resolve(&node).await?;
    let bytes = world.projection()?.deployment.fill_disk(&name)?;
    world
        .journal
        .note(format!("took the last {bytes} bytes on the disk of {name}"));
    Ok(())
}

/// Gives the room back that was taken on the disk of a node.
#[given(expr = "I make room on the disk of {node}")]
#[when(expr = "I make room on the disk of {node}")]
#[then(expr = "I make room on the disk of {node}")]
async fn make_room(world: &mut TrellisWorld, node: NodeRef) -> StepResult {
    let name = world.resolve(&node).await?;
    world.projection()?.deployment.make_room(&name)
}
