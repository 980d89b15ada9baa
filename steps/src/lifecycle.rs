//! Lifecycle: phrases that start, stop, kill, pause and restart nodes, and that say in what state a node is.

use std::collections::BTreeMap;

use cucumber::{given, then, when};
use trellis_domain::{ManagedNode, NodeName, NodeState, Operation, start_waves};
use trellis_runtime::{Cluster, OperationError};

use crate::{
    NodeRef, StepError, StepResult, TrellisWorld, Within,
    chain::await_online,
    effect::{Effect, StepArguments, StepEffects},
};

/// What a phrase does that starts a node by name, whether it is in the cluster already or not.
fn starts(step: &StepArguments) -> Result<Vec<Effect>, String> {
    match step.get(0)? {
        NodeRef::Named(name) => Ok(vec![
            Effect::Starts(name.clone()),
            Effect::Does(Operation::Start, NodeRef::Named(name)),
        ]),
        role => Ok(vec![Effect::Does(Operation::Start, role)]),
    }
}

macro_rules! does {
    ($expression:literal, $operation:ident) => {
        StepEffects {
            expression: $expression,
            of: |step| Ok(vec![Effect::Does(Operation::$operation, step.get(0)?)]),
        }
    };
}

macro_rules! mentions {
    ($expression:literal) => {
        StepEffects {
            expression: $expression,
            of: |step| Ok(vec![Effect::Mentions(step.get(0)?)]),
        }
    };
}

macro_rules! does_to_all {
    ($expression:literal, $operation:ident) => {
        StepEffects {
            expression: $expression,
            of: |_| Ok(vec![Effect::DoesToAll(Operation::$operation)]),
        }
    };
}

pub(crate) const EFFECTS: &[StepEffects] = &[
    StepEffects {
        expression: "I start {node}",
        of: starts,
    },
    does!("I stop {node}", Stop),
    does!("I kill {node}", Kill),
    does!("I pause {node}", Pause),
    does!("I resume {node}", Resume),
    does!("I restart {node}", Restart),
    does!(
        "I restart {node} with user config override {string} as {string}",
        PatchConfig
    ),
    does_to_all!("I stop all nodes", Stop),
    does_to_all!("I stop a majority of the nodes", Stop),
    does_to_all!("I start the stopped nodes", Start),
    does_to_all!("I restart all nodes", Restart),
    does_to_all!("I restart all nodes one after the other", Restart),
    StepEffects {
        expression: "I create a snapshot {string} of {node}",
        of: |step| Ok(vec![Effect::Does(Operation::SaveData, step.get(1)?)]),
    },
    StepEffects {
        expression: "I restore {node} from snapshot {string} of {node}",
        of: |step| {
            Ok(vec![
                Effect::Does(Operation::RestoreData, step.get(0)?),
                Effect::Mentions(step.get(2)?),
            ])
        },
    },
    mentions!("{node} is running"),
    mentions!("{node} is stopped"),
    mentions!("{node} is paused"),
    mentions!("{node} ends by itself within {duration}"),
];

/// Starts a node and waits until it is ready: one that is down, on its data, or one that is new, which begins the cluster if there is none and joins it otherwise. Fails when the node ends, is not ready in time (30 seconds unless another time was set), or runs already.
#[given(expr = "I start {node}")]
#[when(expr = "I start {node}")]
#[then(expr = "I start {node}")]
async fn start(world: &mut TrellisWorld, node: NodeRef) -> StepResult {
    let NodeRef::Named(name) = &node else {
        return start_node(world, node).await;
    };
    let name = name.clone();
    start_node(world, node).await?;
    await_online(world, &name).await
}

/// Starts a node that is down, or one that the cluster does not have yet; the first one begins the cluster.
pub(crate) async fn start_node(world: &mut TrellisWorld, node: NodeRef) -> StepResult {
    let NodeRef::Named(name) = node else {
        let name = world.resolve(&node).await?;
        let cluster = world.cluster()?;
        world.interruptible(cluster.start(&name)).await??;
        return Ok(());
    };
    let Some(cluster) = world.cluster.clone() else {
        world.draft.check_capacity(0, &name)?;
        return world.boot([name]).await;
    };
    if cluster.node(&name).is_ok() {
        world.interruptible(cluster.start(&name)).await??;
        return Ok(());
    }
    world
        .draft
        .check_capacity(cluster.inventory().snapshot().len(), &name)?;
    let usual = cluster.spec().ready_within;
    let ready_within = world.draft.start_within.unwrap_or(usual);
    let node = world.draft.node(name);
    let data = world.draft.begin_from.as_ref();
    let data = data.map(|(label, source)| (label.as_str(), source));
    let join = cluster.join_with_data(&node, ready_within, data);
    world.interruptible(join).await??;
    Ok(())
}

/// Starts several nodes, each after those that it is connected to, and waits for all: as one cluster where there is none yet.
pub(crate) async fn start_nodes(world: &mut TrellisWorld, names: &[NodeName]) -> StepResult {
    let Some(cluster) = world.cluster.clone() else {
        if let Some((place, name)) = names.iter().enumerate().next_back() {
            world.draft.check_capacity(place, name)?;
        }
        return world.boot(names.to_vec()).await;
    };
    let present = cluster.inventory().snapshot();
    let known: Vec<NodeName> = present.nodes().map(|node| node.name().clone()).collect();
    let new = names.iter().filter(|name| !known.contains(name));
    let new: Vec<ManagedNode> = new.map(|name| world.draft.node(name.clone())).collect();
    if let Some((place, node)) = new.iter().enumerate().next_back() {
        world
            .draft
            .check_capacity(known.len() + place, &node.name)?;
    }
    let ready_within = cluster.spec().ready_within;
    for wave in start_waves(&new, &known)? {
        let joins = wave
            .into_iter()
            .map(|node| cluster.join(node, ready_within));
        let joins = futures::future::try_join_all(joins);
        world.interruptible(joins).await??;
    }
    Ok(())
}

/// Copies the data of all our nodes under `label`, with all of them down at one time.
pub(crate) async fn save_all(world: &mut TrellisWorld, label: &str) -> StepResult {
    let cluster = world.cluster()?;
    let nodes = ours(cluster, |_| true);
    let running = ours(cluster, |state| !state.is_down());
    cluster.on_all(&running, stop_one).await?;
    let save = async |cluster: Cluster, node: NodeName| cluster.save_data(&node, label).await;
    cluster.on_all(&nodes, save).await?;
    let start = cluster.on_all(&running, start_one);
    world.interruptible(start).await??;
    Ok(())
}

/// Stops nodes at the same time, and saves their data where the scenario said so.
async fn stop_nodes(world: &TrellisWorld, nodes: &[NodeName]) -> StepResult {
    let cluster = world.cluster()?;
    cluster.on_all(nodes, stop_one).await?;
    if let Some(label) = &world.draft.save_when_stopping {
        let save = async |cluster: Cluster, node: NodeName| cluster.save_data(&node, label).await;
        cluster.on_all(nodes, save).await?;
    }
    Ok(())
}

/// Asks a node to end and waits until it has; after 5 seconds it is killed. A node that is down already is refused.
#[given(expr = "I stop {node}")]
#[when(expr = "I stop {node}")]
#[then(expr = "I stop {node}")]
async fn stop(world: &mut TrellisWorld, node: NodeRef) -> StepResult {
    let name = world.resolve(&node).await?;
    stop_nodes(world, &[name]).await
}

/// Ends a node without asking and waits until it is gone. A node that is down already is refused.
#[given(expr = "I kill {node}")]
#[when(expr = "I kill {node}")]
#[then(expr = "I kill {node}")]
async fn kill(world: &mut TrellisWorld, node: NodeRef) -> StepResult {
    let name = world.resolve(&node).await?;
    Ok(world.cluster()?.kill(&name).await?)
}

/// Freezes a running node: it keeps its connections and answers nothing. Waits until it is frozen.
#[given(expr = "I pause {node}")]
#[when(expr = "I pause {node}")]
#[then(expr = "I pause {node}")]
async fn pause(world: &mut TrellisWorld, node: NodeRef) -> StepResult {
    let name = world.resolve(&node).await?;
    Ok(world.cluster()?.pause(&name).await?)
}

/// Lets a paused node go on; any other is refused. Does not wait for the node to answer.
#[given(expr = "I resume {node}")]
#[when(expr = "I resume {node}")]
#[then(expr = "I resume {node}")]
async fn resume(world: &mut TrellisWorld, node: NodeRef) -> StepResult {
    let name = world.resolve(&node).await?;
    Ok(world.cluster()?.resume(&name).await?)
}

/// Stops a node, if it is not down already, starts it on the same data and waits until it is ready, at most 30 seconds unless another time was set.
#[given(expr = "I restart {node}")]
#[when(expr = "I restart {node}")]
#[then(expr = "I restart {node}")]
async fn restart(world: &mut TrellisWorld, node: NodeRef) -> StepResult {
    let name = world.resolve(&node).await?;
    world
        .interruptible(world.cluster()?.restart(&name))
        .await??;
    Ok(())
}

/// Restarts a node with a YAML value put at a dotted path into its generated configuration; later starts keep it. A path that the configuration does not have is refused before the node is touched.
#[given(expr = "I restart {node} with user config override {string} as {string}")]
#[when(expr = "I restart {node} with user config override {string} as {string}")]
#[then(expr = "I restart {node} with user config override {string} as {string}")]
async fn restart_with(
    world: &mut TrellisWorld,
    node: NodeRef,
    path: String,
    value: String,
) -> StepResult {
    let name = world.resolve(&node).await?;
    let overrides = BTreeMap::from([(path, value)]);
    world
        .interruptible(world.cluster()?.restart_with(&name, &overrides))
        .await??;
    Ok(())
}

/// Stops all managed nodes that are not down at the same time, each as by `I stop {node}`. Fails when one of them does.
#[given(expr = "I stop all nodes")]
#[when(expr = "I stop all nodes")]
#[then(expr = "I stop all nodes")]
async fn stop_all(world: &mut TrellisWorld) -> StepResult {
    let cluster = world.cluster()?;
    let nodes = ours(cluster, |state| !state.is_down());
    stop_nodes(world, &nodes).await
}

/// Stops more than half of the managed nodes that are not down, the first ones by name, at the same time.
#[given(expr = "I stop a majority of the nodes")]
#[when(expr = "I stop a majority of the nodes")]
#[then(expr = "I stop a majority of the nodes")]
async fn stop_majority(world: &mut TrellisWorld) -> StepResult {
    let cluster = world.cluster()?;
    let mut nodes = ours(cluster, |state| !state.is_down());
    nodes.truncate(nodes.len() / 2 + 1);
    stop_nodes(world, &nodes).await
}

/// Starts all managed nodes that are down, also those that ended by themselves, at the same time, and waits until each is ready.
#[given(expr = "I start the stopped nodes")]
#[when(expr = "I start the stopped nodes")]
#[then(expr = "I start the stopped nodes")]
async fn start_stopped(world: &mut TrellisWorld) -> StepResult {
    let cluster = world.cluster()?;
    let nodes = ours(cluster, NodeState::is_down);
    world
        .interruptible(cluster.on_all(&nodes, start_one))
        .await??;
    Ok(())
}

/// Stops all managed nodes that are not down, then starts all managed nodes at the same time, and waits until each is ready. In between no node runs.
#[given(expr = "I restart all nodes")]
#[when(expr = "I restart all nodes")]
#[then(expr = "I restart all nodes")]
async fn restart_all(world: &mut TrellisWorld) -> StepResult {
    let cluster = world.cluster()?;
    let nodes = ours(cluster, |_| true);
    let running = ours(cluster, |state| !state.is_down());
    cluster.on_all(&running, stop_one).await?;
    world
        .interruptible(cluster.on_all(&nodes, start_one))
        .await??;
    Ok(())
}

/// Restarts the managed nodes in the order of their names; each must be ready before the next one is stopped. A node that is down is only started.
#[given(expr = "I restart all nodes one after the other")]
#[when(expr = "I restart all nodes one after the other")]
#[then(expr = "I restart all nodes one after the other")]
async fn rolling_restart(world: &mut TrellisWorld) -> StepResult {
    let cluster = world.cluster()?;
    for node in ours(cluster, |_| true) {
        world.interruptible(cluster.restart(&node)).await??;
    }
    Ok(())
}

/// Copies the data folder of a node under a label, which replaces an earlier copy of the same node and label. A node that is not down is stopped before and started again after.
#[given(expr = "I create a snapshot {string} of {node}")]
#[when(expr = "I create a snapshot {string} of {node}")]
#[then(expr = "I create a snapshot {string} of {node}")]
async fn save(world: &mut TrellisWorld, label: String, node: NodeRef) -> StepResult {
    let name = world.resolve(&node).await?;
    let cluster = world.cluster()?;
    // Data is never copied under a running node: it would be torn.
    let was_up = !cluster.node(&name)?.state.is_down();
    if was_up {
        cluster.stop(&name).await?;
    }
    cluster.save_data(&name, &label).await?;
    if was_up {
        world.interruptible(cluster.start(&name)).await??;
    }
    Ok(())
}

/// Replaces the data folder of the first node by what the second one saved under this label. The first node must be down and stays down; an unknown label is answered with the known ones.
#[given(expr = "I restore {node} from snapshot {string} of {node}")]
#[when(expr = "I restore {node} from snapshot {string} of {node}")]
#[then(expr = "I restore {node} from snapshot {string} of {node}")]
async fn restore(
    world: &mut TrellisWorld,
    node: NodeRef,
    label: String,
    source: NodeRef,
) -> StepResult {
    let name = world.resolve(&node).await?;
    let source = world.resolve(&source).await?;
    Ok(world
        .cluster()?
        .restore_data(&name, &label, &source)
        .await?)
}

/// Fails unless the node runs at this moment; it does not wait. A node whose readiness was not awaited is starting, and fails it.
#[given(expr = "{node} is running")]
#[when(expr = "{node} is running")]
#[then(expr = "{node} is running")]
async fn is_running(world: &mut TrellisWorld, node: NodeRef) -> StepResult {
    expect_state(world, &node, &NodeState::Running).await
}

/// Fails unless a step stopped or killed the node and did not start it again; it does not wait. A node that ended by itself is not stopped.
#[given(expr = "{node} is stopped")]
#[when(expr = "{node} is stopped")]
#[then(expr = "{node} is stopped")]
async fn is_stopped(world: &mut TrellisWorld, node: NodeRef) -> StepResult {
    expect_state(world, &node, &NodeState::Stopped).await
}

/// Fails unless a step paused the node and did not resume it; it does not wait.
#[given(expr = "{node} is paused")]
#[when(expr = "{node} is paused")]
#[then(expr = "{node} is paused")]
async fn is_paused(world: &mut TrellisWorld, node: NodeRef) -> StepResult {
    expect_state(world, &node, &NodeState::Paused).await
}

/// Waits until the node's process has ended without the harness having told it to, also when it has already. A node that a step stopped or killed does not count.
#[given(expr = "{node} ends by itself within {duration}")]
#[when(expr = "{node} ends by itself within {duration}")]
#[then(expr = "{node} ends by itself within {duration}")]
async fn ends(world: &mut TrellisWorld, node: NodeRef, within: Within) -> StepResult {
    let name = world.resolve(&node).await?;
    let inventory = world.cluster()?.inventory().clone();
    let mut changes = inventory.watch();
    let ended = changes.wait_for(|nodes| {
        nodes
            .node(&name)
            .is_ok_and(|node| matches!(node.state, NodeState::Exited(_)))
    });
    let seen = || trellis_report::inventory_table(&inventory.snapshot());
    let goal = format!("{name} to end by itself");
    let wait = tokio::time::timeout(*within, ended);
    if world.watched(&goal, *within, seen, wait).await?.is_err() {
        return Err(StepError::new(format!(
            "waited {within} for {goal}; last seen:\n{}",
            seen()
        )));
    }
    Ok(())
}

async fn expect_state(world: &TrellisWorld, node: &NodeRef, expected: &NodeState) -> StepResult {
    let name = world.resolve(node).await?;
    let state = world.cluster()?.node(&name)?.state.clone();
    if state == *expected {
        return Ok(());
    }
    Err(StepError::new(format!("{name} is {state}, not {expected}")))
}

/// The nodes that we started and whose state is as wanted, in order.
fn ours(cluster: &Cluster, wanted: impl Fn(&NodeState) -> bool) -> Vec<NodeName> {
    let inventory = cluster.inventory().snapshot();
    let ours = inventory
        .nodes()
        .filter(|node| node.is_managed() && wanted(&node.state));
    ours.map(|node| node.name().clone()).collect()
}

async fn stop_one(cluster: Cluster, node: NodeName) -> Result<(), OperationError> {
    cluster.stop(&node).await.map(drop)
}

async fn start_one(cluster: Cluster, node: NodeName) -> Result<(), OperationError> {
    cluster.start(&node).await.map(drop)
}
