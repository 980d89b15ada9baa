//! Network: phrases about where the nodes' chains are - heights, convergence, finality - and with whom they are connected.

use std::{fmt::Write as _, time::Duration};

use cucumber::{given, then, when};
use trellis_chain::{ChainView, Mode, NodeView};
use trellis_domain::NodeName;

use super::{
    NodeMatter, peers,
    shown::{place, shown},
    watching::{await_all, await_chain, must_not_come},
};
use crate::{
    NodeRef, StepError, StepResult, TrellisWorld, Within,
    effect::{Effect, StepEffects},
};

macro_rules! mentions {
    ($expression:literal) => {
        StepEffects {
            expression: $expression,
            of: |step| Ok(vec![Effect::Mentions(step.get(0)?)]),
        }
    };
}

pub(crate) const EFFECTS: &[StepEffects] = &[
    mentions!("{node} has at least {int} peers within {duration}"),
    mentions!("{node} is at height {int} in {duration}"),
    mentions!("{node} is exactly at height {int}"),
    mentions!("{node} is online in {duration}"),
    mentions!("{node} is bootstrapping in {duration}"),
    mentions!("{node} has its LIB at or above height {int}"),
    mentions!("I record {node} height as {string}"),
    mentions!("{node} reaches {int} blocks beyond recorded height {string} in {duration}"),
];

/// Waits until the node is connected with so many others.
#[given(expr = "{node} has at least {int} peers within {duration}")]
#[when(expr = "{node} has at least {int} peers within {duration}")]
#[then(expr = "{node} has at least {int} peers within {duration}")]
async fn has_peers(
    world: &mut TrellisWorld,
    node: NodeRef,
    least: usize,
    within: Within,
) -> StepResult {
    let name = world.resolve(&node).await?;
    let chain = world.chain()?;
    let goal = format!("{name} to have {least} peers");
    let observed = chain.peers();
    let wait = observed.wait_fresh(goal.clone(), observed.mark(), *within, |view| {
        let answer = view.get(name.as_str());
        answer.is_some_and(|answer| answer.as_ref().is_ok_and(|found| found.count >= least))
    });
    let seen = || {
        observed
            .latest()
            .map_or_else(String::new, |seen| peers::shown(&seen.snapshot))
    };
    let waited = world.watched(&goal, *within, seen, wait).await?;
    waited.map_err(|error| StepError::new(error.describe_with(peers::shown)))?;
    Ok(())
}

/// Waits until every running node answers in one look. Nodes whose start was not waited for have to come up within the same time.
#[given(expr = "I wait for all nodes to be responsive in {duration}")]
#[when(expr = "I wait for all nodes to be responsive in {duration}")]
#[then(expr = "I wait for all nodes to be responsive in {duration}")]
async fn all_responsive(world: &mut TrellisWorld, within: Within) -> StepResult {
    let begun = std::time::Instant::now();
    super::starting::await_starting(world, *within).await?;
    let left = within.saturating_sub(begun.elapsed());
    let goal = "all nodes to answer";
    await_all(world, goal, left, |_| true).await
}

/// Waits until the node's chain has at least this height.
#[given(expr = "{node} is at height {int} in {duration}")]
#[when(expr = "{node} is at height {int} in {duration}")]
#[then(expr = "{node} is at height {int} in {duration}")]
async fn at_height(
    world: &mut TrellisWorld,
    node: NodeRef,
    height: u64,
    within: Within,
) -> StepResult {
    let name = world.resolve(&node).await?;
    await_height(world, &name, height, within).await
}

async fn await_height(
    world: &TrellisWorld,
    name: &NodeName,
    height: u64,
    within: Within,
) -> StepResult {
    let goal = format!("{name} to be at height {height} or more");
    await_chain(world, &goal, *within, |view| {
        height_of(view, name).is_some_and(|found| found >= height)
    })
    .await
}

fn height_of(view: &ChainView, name: &NodeName) -> Option<u64> {
    let node = view.node(name.as_str())?;
    node.is_running().then(|| node.height()).flatten()
}

/// Fails unless the node's chain has exactly this height now; it does not wait.
#[given(expr = "{node} is exactly at height {int}")]
#[when(expr = "{node} is exactly at height {int}")]
#[then(expr = "{node} is exactly at height {int}")]
async fn exactly_at_height(world: &mut TrellisWorld, node: NodeRef, height: u64) -> StepResult {
    let name = world.resolve(&node).await?;
    let view = world.chain()?.now().await?;
    match height_of(&view, &name) {
        Some(found) if found == height => Ok(()),
        Some(found) => Err(StepError::new(format!(
            "{name} is at height {found}, not {height}"
        ))),
        None => Err(StepError::new(format!(
            "{name} does not say at which height it is\n{}",
            shown(&view)
        ))),
    }
}

/// Waits until the node takes part in the chain: it has downloaded what there is, and makes and finalises blocks.
#[given(expr = "{node} is online in {duration}")]
#[when(expr = "{node} is online in {duration}")]
#[then(expr = "{node} is online in {duration}")]
async fn is_online(world: &mut TrellisWorld, node: NodeRef, within: Within) -> StepResult {
    await_mode(world, &node, &Mode::Online, within).await
}

/// Waits until the node says that it does not take part in the chain yet: it downloads, or waits after that.
#[given(expr = "{node} is bootstrapping in {duration}")]
#[when(expr = "{node} is bootstrapping in {duration}")]
#[then(expr = "{node} is bootstrapping in {duration}")]
async fn is_bootstrapping(world: &mut TrellisWorld, node: NodeRef, within: Within) -> StepResult {
    await_mode(world, &node, &Mode::Bootstrapping, within).await
}

async fn await_mode(
    world: &TrellisWorld,
    node: &NodeRef,
    mode: &Mode,
    within: Within,
) -> StepResult {
    let name = world.resolve(node).await?;
    let goal = format!("{name} to be {mode}");
    await_chain(world, &goal, *within, |view| {
        let node = view.node(name.as_str()).filter(|node| node.is_running());
        node.and_then(|node| node.mode()) == Some(mode)
    })
    .await
}

/// Notes at which height the node's chain is now, for steps that come later.
#[given(expr = "I record {node} height as {string}")]
#[when(expr = "I record {node} height as {string}")]
#[then(expr = "I record {node} height as {string}")]
async fn record_height(world: &mut TrellisWorld, node: NodeRef, label: String) -> StepResult {
    let name = world.resolve(&node).await?;
    let chain = world.chain()?;
    let view = chain.now().await?;
    let Some(height) = height_of(&view, &name) else {
        return Err(StepError::new(format!(
            "{name} does not say at which height it is\n{}",
            shown(&view)
        )));
    };
    chain.record_height(label, height);
    Ok(())
}

/// Waits until the node's chain is so many blocks higher than the height that was noted under this name, of whatever node.
#[given(expr = "{node} reaches {int} blocks beyond recorded height {string} in {duration}")]
#[when(expr = "{node} reaches {int} blocks beyond recorded height {string} in {duration}")]
#[then(expr = "{node} reaches {int} blocks beyond recorded height {string} in {duration}")]
async fn beyond_recorded(
    world: &mut TrellisWorld,
    node: NodeRef,
    blocks: u64,
    label: String,
    within: Within,
) -> StepResult {
    let name = world.resolve(&node).await?;
    let height = world.chain()?.recorded_height(&label)?;
    await_height(world, &name, height.saturating_add(blocks), within).await
}

/// Waits until the heads of all running nodes are on one chain, by ancestry, and none is more than so many blocks behind the best one. A running node that does not answer keeps the step waiting.
#[given(expr = "all nodes converged to within {int} blocks in {duration}")]
#[when(expr = "all nodes converged to within {int} blocks in {duration}")]
#[then(expr = "all nodes converged to within {int} blocks in {duration}")]
async fn converged(world: &mut TrellisWorld, blocks: u64, within: Within) -> StepResult {
    let goal = format!("all nodes to be on one chain within {blocks} blocks");
    await_all(world, &goal, *within, |view| view.converged(blocks)).await
}

/// Waits until both hold in one look: the chain of every running node has at least so many blocks above genesis, and all are on one chain, as in `all nodes converged to within {int} blocks in {duration}`.
#[given(
    expr = "all nodes have at least {int} blocks and converged to within {int} blocks in {duration}"
)]
#[when(
    expr = "all nodes have at least {int} blocks and converged to within {int} blocks in {duration}"
)]
#[then(
    expr = "all nodes have at least {int} blocks and converged to within {int} blocks in {duration}"
)]
async fn high_and_converged(
    world: &mut TrellisWorld,
    height: u64,
    blocks: u64,
    within: Within,
) -> StepResult {
    let goal =
        format!("all nodes to have {height} blocks and to be on one chain within {blocks} blocks");
    await_all(world, &goal, *within, |view| {
        let high = |node: &NodeView| node.height().is_some_and(|found| found >= height);
        view.running().all(high) && view.converged(blocks)
    })
    .await
}

/// Waits until all running nodes have the same last irreversible block (LIB), and it is not the genesis block.
#[given(expr = "all nodes agree on LIB in {duration}")]
#[when(expr = "all nodes agree on LIB in {duration}")]
#[then(expr = "all nodes agree on LIB in {duration}")]
async fn agree_on_lib(world: &mut TrellisWorld, within: Within) -> StepResult {
    await_lib(world, 1, within).await
}

/// Waits until all running nodes have the same last irreversible block (LIB), and it has at least this height.
#[given(expr = "all nodes share the same LIB at or above height {int} in {duration}")]
#[when(expr = "all nodes share the same LIB at or above height {int} in {duration}")]
#[then(expr = "all nodes share the same LIB at or above height {int} in {duration}")]
async fn share_lib(world: &mut TrellisWorld, height: u64, within: Within) -> StepResult {
    await_lib(world, height, within).await
}

async fn await_lib(world: &TrellisWorld, height: u64, within: Within) -> StepResult {
    let goal = format!("all nodes to have one final block at height {height} or more");
    await_all(world, &goal, *within, |view| {
        let shared = view.shared_final();
        shared.is_some_and(|shared| shared.height >= height)
    })
    .await
}

/// Asks all running nodes where their chain is and notes the answers in the journal, in our words and in theirs.
#[given(expr = "I query cryptarchia info for all nodes")]
#[when(expr = "I query cryptarchia info for all nodes")]
#[then(expr = "I query cryptarchia info for all nodes")]
async fn query_info(world: &mut TrellisWorld) -> StepResult {
    let chain = world.chain()?;
    chain.check_all_observed()?;
    let view = chain.now().await?;
    let mut text = shown(&view);
    for node in chain.cluster.running() {
        let detail = chain.deployment.detail(&node, NodeMatter::ChainInfo);
        if let Some(detail) = world.interruptible(detail).await?? {
            write!(text, "\n  {} says {detail}", node.name()).expect("a String takes any text");
        }
    }
    world.suite.progress.note(&text);
    world.journal.note(text);
    Ok(())
}

/// Fails if the chain begins before so many seconds from the beginning of this step have gone by, or a node makes a block meanwhile; watches until then.
#[given(expr = "the configured genesis time has not passed for {int} seconds")]
#[when(expr = "the configured genesis time has not passed for {int} seconds")]
#[then(expr = "the configured genesis time has not passed for {int} seconds")]
async fn genesis_not_passed(world: &mut TrellisWorld, seconds: u64) -> StepResult {
    let within = Duration::from_secs(seconds);
    let begun = |view: &ChainView| {
        let mut nodes = view.running();
        nodes.any(|node| node.mode() != Some(&Mode::Waiting) || node.height() > Some(0))
    };
    let what = format!("{seconds} seconds before the beginning of the chain");
    must_not_come(world, &what, within, |_| true, begun).await
}

/// Fails unless the node's last irreversible block is at or above this height; it does not wait.
#[given(expr = "{node} has its LIB at or above height {int}")]
#[when(expr = "{node} has its LIB at or above height {int}")]
#[then(expr = "{node} has its LIB at or above height {int}")]
async fn lib_of(world: &mut TrellisWorld, node: NodeRef, height: u64) -> StepResult {
    let name = world.resolve(&node).await?;
    let view = world.chain()?.now().await?;
    let last = view.node(name.as_str()).and_then(|node| node.finalised);
    match last {
        Some(last) if last.height >= height => Ok(()),
        Some(last) => Err(StepError::new(format!(
            "the LIB of {name} is {}, below {height}",
            place(&last)
        ))),
        None => Err(StepError::new(format!(
            "nothing is known to be final for {name}\n{}",
            shown(&view)
        ))),
    }
}
