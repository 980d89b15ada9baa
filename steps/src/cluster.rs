//! Cluster: phrases about which nodes a scenario wants, and whether they are there.

use cucumber::{given, then, when};
use trellis_domain::{NodeName, ReadinessPolicy};

use crate::{
    Count, Draft, NodeRef, StepError, StepResult, TrellisWorld, Within,
    effect::{Effect, StepEffects},
    world::shown_nodes,
};

pub(crate) const EFFECTS: &[StepEffects] = &[
    StepEffects {
        expression: "the application is {string}",
        of: |step| Ok(vec![Effect::Uses(step.get(0)?)]),
    },
    StepEffects {
        expression: "a cluster of {count} node(s)",
        of: |step| match step.get(0)? {
            0 => Err("a cluster has at least one node".to_owned()),
            count => Ok(vec![Effect::Founds(Draft::names(count).collect())]),
        },
    },
    StepEffects {
        expression: "I have a cluster with capacity of {int} nodes",
        of: |step| Ok(vec![Effect::Capacity(step.get(0)?)]),
    },
    StepEffects {
        expression: "{node} has user config override {string} as {string}",
        of: |step| match step.get(0)? {
            NodeRef::Named(name) => Ok(vec![Effect::Configures(name)]),
            role => Err(format!(
                "{role} is not known before the cluster runs; name the node"
            )),
        },
    },
];

/// What is wrong with configuring a node that is in the cluster already.
pub(crate) fn in_cluster_already(name: &NodeName) -> String {
    format!(
        "{name} is in the cluster already, with its configuration; say this before it starts, or restart it with the override"
    )
}

/// Chooses the application that the nodes run; without it, it is the first that the composition root registers. Must come before the cluster; an unknown name is a mistake that the check finds.
#[given(expr = "the application is {string}")]
#[when(expr = "the application is {string}")]
#[then(expr = "the application is {string}")]
fn application(world: &mut TrellisWorld, name: String) -> StepResult {
    let name = name.parse()?;
    world.suite.app(Some(&name))?;
    world.draft()?.app = Some(name);
    Ok(())
}

/// Sets how long the cluster may take to come up and how long a node that is started later may take to become ready; 30 seconds without it. Must come before the cluster.
#[given(expr = "nodes must be ready within {duration}")]
#[when(expr = "nodes must be ready within {duration}")]
#[then(expr = "nodes must be ready within {duration}")]
fn ready_within(world: &mut TrellisWorld, within: Within) -> StepResult {
    world.draft()?.ready_within = Some(*within);
    Ok(())
}

/// Lets the cluster count as ready when so many of its nodes are, instead of all. A node that ends before it is ready still fails the cluster. Must come before the cluster.
#[given(expr = "at least {count} node(s) must be ready")]
#[when(expr = "at least {count} node(s) must be ready")]
#[then(expr = "at least {count} node(s) must be ready")]
fn quorum(world: &mut TrellisWorld, count: Count) -> StepResult {
    world.draft()?.readiness = Some(ReadinessPolicy::Quorum(*count));
    Ok(())
}

/// Puts a YAML value at a dotted path into the generated configuration of every node that enters the cluster from now on; nodes that are in it keep theirs. A path that the configuration does not have fails the step that starts the node, which names the nearest path.
#[given(expr = "I have user config override {string} as {string}")]
#[when(expr = "I have user config override {string} as {string}")]
#[then(expr = "I have user config override {string} as {string}")]
fn override_all(world: &mut TrellisWorld, path: String, value: String) {
    // Nodes that are started later take it, too, so a running cluster is no obstacle.
    world.draft.overrides.insert(path, value);
}

/// Puts a YAML value at a dotted path into the generated configuration of one node, which must be named and enter the cluster later; it has no effect on one that is in it. It wins over an override for all nodes.
#[given(expr = "{node} has user config override {string} as {string}")]
#[when(expr = "{node} has user config override {string} as {string}")]
#[then(expr = "{node} has user config override {string} as {string}")]
fn override_one(
    world: &mut TrellisWorld,
    node: NodeRef,
    path: String,
    value: String,
) -> StepResult {
    let NodeRef::Named(name) = node else {
        return Err(StepError::new(format!(
            "{node} is not known before the cluster runs; name the node"
        )));
    };
    if world
        .cluster
        .as_ref()
        .is_some_and(|cluster| cluster.node(&name).is_ok())
    {
        return Err(StepError::new(in_cluster_already(&name)));
    }
    world
        .draft
        .node_overrides
        .entry(name)
        .or_default()
        .insert(path, value);
    Ok(())
}

/// Says how many nodes there may be, and starts none: each is started by name, the first one begins the cluster. Starting one more than that is refused.
#[given(expr = "I have a cluster with capacity of {int} nodes")]
#[when(expr = "I have a cluster with capacity of {int} nodes")]
#[then(expr = "I have a cluster with capacity of {int} nodes")]
fn with_capacity(world: &mut TrellisWorld, nodes: usize) -> StepResult {
    world.draft()?.capacity = Some(nodes);
    Ok(())
}

/// Starts the nodes `NODE_1`, `NODE_2` and so on as one cluster and waits until all of them are ready; whether they have a leader is another question. Fails at once when a node ends before that, and after 30 seconds unless another time was set.
#[given(expr = "a cluster of {count} node(s)")]
#[when(expr = "a cluster of {count} node(s)")]
#[then(expr = "a cluster of {count} node(s)")]
async fn cluster(world: &mut TrellisWorld, count: Count) -> StepResult {
    world.boot(Draft::names(*count)).await
}

/// Fails unless exactly so many nodes run at this moment. A node that is starting counts, one that is paused, stopped or has ended does not.
#[given(expr = "{count} node(s) is/are running")]
#[when(expr = "{count} node(s) is/are running")]
#[then(expr = "{count} node(s) is/are running")]
fn running(world: &mut TrellisWorld, count: Count) -> StepResult {
    let cluster = world.cluster()?;
    let running = cluster.running().len();
    if running == *count {
        return Ok(());
    }
    Err(StepError::new(format!(
        "{running} nodes are running, not {count}\n{}",
        shown_nodes(cluster)
    )))
}
