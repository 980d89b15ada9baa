//! Starting: what a phrase that starts a node of a chain waits for - nothing, its readiness, or that it takes part.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use trellis_chain::{ChainView, Mode};
use trellis_domain::NodeName;

use super::{genesis::named, watching::await_chain};
use crate::{NodeRef, StepError, StepResult, TrellisWorld, lifecycle::start_node};

/// Starts a node and waits until it is ready, and takes part in the chain where that was asked for.
pub(super) async fn start_connected(
    world: &mut TrellisWorld,
    node: &NodeRef,
    peers: &[NodeRef],
) -> StepResult {
    let name = told_of(world, node, peers)?;
    start_node(world, NodeRef::Named(name.clone())).await?;
    await_online(world, &name).await
}

pub(super) async fn start_timed(
    world: &mut TrellisWorld,
    node: &NodeRef,
    peers: &[NodeRef],
    least: u64,
    most: u64,
) -> StepResult {
    let (least, most) = (Duration::from_secs(least), Duration::from_secs(most));
    let name = told_of(world, node, peers)?;
    let begun = Instant::now();
    world.draft.start_within = Some(most);
    let started = start_node(world, NodeRef::Named(name.clone())).await;
    world.draft.start_within = None;
    started?;
    let left = most.saturating_sub(begun.elapsed());
    let goal = format!("{name} to be online");
    await_chain(world, &goal, left, |view| is_online(view, &name)).await?;
    let took = begun.elapsed();
    if took < least {
        return Err(StepError::new(format!(
            "{name} was ready after {took:.1?}, which is less than {least:?}"
        )));
    }
    Ok(())
}

pub(super) async fn start_unawaited(
    world: &mut TrellisWorld,
    node: &NodeRef,
    peers: &[NodeRef],
) -> StepResult {
    let name = told_of(world, node, peers)?;
    let Some(cluster) = world.cluster.clone() else {
        return start_node(world, NodeRef::Named(name)).await;
    };
    let present = cluster.inventory().snapshot().len();
    if cluster.node(&name).is_err() {
        world.draft.check_capacity(present, &name)?;
    }
    let ready_within = cluster.spec().ready_within;
    let node = world.draft.node(name.clone());
    let begun = cluster.begin_start(&node, ready_within);
    world.starting.push((name, begun));
    Ok(())
}

/// Waits for the nodes whose start was not waited for.
pub(super) async fn await_starting(world: &mut TrellisWorld, within: Duration) -> StepResult {
    let starting = std::mem::take(&mut world.starting);
    let deadline = Instant::now() + within;
    for (name, start) in starting {
        let left = deadline.saturating_duration_since(Instant::now());
        let goal = format!("{name} to come up");
        let seen = || format!("{name} is starting");
        let wait = tokio::time::timeout(left, start);
        match world.watched(&goal, within, seen, wait).await? {
            Ok(started) => started.map_err(StepError::from)??,
            Err(_) => {
                return Err(StepError::new(format!(
                    "{name} did not come up within {within:?}"
                )));
            }
        };
    }
    Ok(())
}

/// Takes down of which nodes one that is about to start shall be told.
fn told_of(world: &mut TrellisWorld, node: &NodeRef, peers: &[NodeRef]) -> StepResult<NodeName> {
    let name = named(node).map_err(StepError::new)?;
    let peers: BTreeSet<NodeName> = peers
        .iter()
        .map(named)
        .collect::<Result<_, _>>()
        .map_err(StepError::new)?;
    if !peers.is_empty() {
        world.draft.connections.insert(name.clone(), peers);
    }
    Ok(name)
}

/// Waits until the node takes part in the chain, where the scenario said that each start waits for that.
pub(crate) async fn await_online(world: &TrellisWorld, name: &NodeName) -> StepResult {
    let Some(within) = world.draft.online_within else {
        return Ok(());
    };
    let goal = format!("{name} to be online");
    await_chain(world, &goal, within, |view| is_online(view, name)).await
}

fn is_online(view: &ChainView, name: &NodeName) -> bool {
    let node = view.node(name.as_str()).filter(|node| node.is_running());
    node.and_then(|node| node.mode()) == Some(&Mode::Online)
}
