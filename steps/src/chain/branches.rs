//! Branches: phrases about which blocks are on whose chain, and which were left for others.

use std::time::Duration;

use cucumber::{given, then, when};
use trellis_chain::{ChainView, Place, Reorg};
use trellis_domain::NodeName;

use super::{
    shown::{place, shown, shown_reorg},
    watching::await_chain,
};
use crate::{
    NodeRef, StepError, StepResult, TrellisWorld, Within,
    effect::{Effect, StepEffects},
};

/// How long a node may take to tell a block that is to be recorded, and to have one that is not genesis.
const RECORDED_WITHIN: Duration = Duration::from_secs(30);

macro_rules! mentions {
    ($expression:literal) => {
        StepEffects {
            expression: $expression,
            of: |step| Ok(vec![Effect::Mentions(step.get(0)?)]),
        }
    };
}

pub(crate) const EFFECTS: &[StepEffects] = &[
    StepEffects {
        expression: "{node} and {node} are on branches of at least {int} blocks in {duration}",
        of: |step| {
            Ok(vec![
                Effect::Mentions(step.get(0)?),
                Effect::Mentions(step.get(1)?),
            ])
        },
    },
    mentions!("I record the tip of {node} as {string}"),
    mentions!("I record the LIB of {node} as {string}"),
    mentions!("{node} has the recorded block {string} on its chain in {duration}"),
    mentions!("{node} has not the recorded block {string} on its chain"),
    mentions!(
        "{node} leaves the recorded block {string} in a reorg of at least {int} blocks in {duration}"
    ),
];

/// Notes which block the node has as its head now, for steps that come later. While that is the genesis block, which everybody has, it waits, 30 seconds at most.
#[given(expr = "I record the tip of {node} as {string}")]
#[when(expr = "I record the tip of {node} as {string}")]
#[then(expr = "I record the tip of {node} as {string}")]
async fn record_tip(world: &mut TrellisWorld, node: NodeRef, label: String) -> StepResult {
    let name = world.resolve(&node).await?;
    record(world, &name, label, |view| {
        let node = view.node(name.as_str()).filter(|node| node.is_running())?;
        node.current_tip().and(node.head)
    })
    .await
}

/// Notes which block is the last irreversible one (LIB) of the node now, for steps that come later. While that is the genesis block, which everybody has, it waits, 30 seconds at most.
#[given(expr = "I record the LIB of {node} as {string}")]
#[when(expr = "I record the LIB of {node} as {string}")]
#[then(expr = "I record the LIB of {node} as {string}")]
async fn record_lib(world: &mut TrellisWorld, node: NodeRef, label: String) -> StepResult {
    let name = world.resolve(&node).await?;
    record(world, &name, label, |view| {
        let node = view.node(name.as_str()).filter(|node| node.is_running())?;
        node.finalised
    })
    .await
}

async fn record(
    world: &TrellisWorld,
    name: &NodeName,
    label: String,
    block: impl Fn(&ChainView) -> Option<Place>,
) -> StepResult {
    let goal = format!("{name} to tell the block that is recorded as {label:?}");
    let mut found = None;
    await_chain(world, &goal, RECORDED_WITHIN, |view| {
        found = block(view).filter(|block| block.height > 0);
        found.is_some()
    })
    .await?;
    let found = found.expect("the wait was for it");
    let note = format!("{label:?} is block {} of {name}", place(&found));
    world.journal.note(note);
    world.chain()?.record_block(label, found);
    Ok(())
}

/// Waits until the block that was recorded under this name, of whatever node, is on the chain that the node has.
#[given(expr = "{node} has the recorded block {string} on its chain in {duration}")]
#[when(expr = "{node} has the recorded block {string} on its chain in {duration}")]
#[then(expr = "{node} has the recorded block {string} on its chain in {duration}")]
async fn has_recorded(
    world: &mut TrellisWorld,
    node: NodeRef,
    label: String,
    within: Within,
) -> StepResult {
    let name = world.resolve(&node).await?;
    let block = world.chain()?.recorded_block(&label)?;
    let goal = format!(
        "{name} to have {label:?}, block {}, on its chain",
        place(&block)
    );
    await_chain(world, &goal, *within, |view| {
        is_on_chain(view, &name, &block) == Some(true)
    })
    .await
}

/// Fails if the block that was recorded under this name is on the chain that the node has now, or if that cannot be told.
#[given(expr = "{node} has not the recorded block {string} on its chain")]
#[when(expr = "{node} has not the recorded block {string} on its chain")]
#[then(expr = "{node} has not the recorded block {string} on its chain")]
async fn has_not_recorded(world: &mut TrellisWorld, node: NodeRef, label: String) -> StepResult {
    let name = world.resolve(&node).await?;
    let chain = world.chain()?;
    let block = chain.recorded_block(&label)?;
    let view = chain.now().await?;
    let what = match is_on_chain(&view, &name, &block) {
        Some(false) => return Ok(()),
        Some(true) => "is on the chain of",
        None => "cannot be told to be on or off the chain of",
    };
    Err(StepError::new(format!(
        "{label:?}, block {}, {what} {name}\n{}",
        place(&block),
        shown(&view)
    )))
}

/// Whether the node has `block` on its chain; `None` where its chain is not known so far.
fn is_on_chain(view: &ChainView, name: &NodeName, block: &Place) -> Option<bool> {
    let node = view.node(name.as_str()).filter(|node| node.is_running())?;
    view.graph.is_on_chain_of(&block.id, &node.current_tip()?)
}

/// Waits until some node has left so many blocks or more for another branch, at any time since the cluster came up; a node that was behind and caught up has left none.
#[given(expr = "a reorg of at least {int} blocks was seen in {duration}")]
#[when(expr = "a reorg of at least {int} blocks was seen in {duration}")]
#[then(expr = "a reorg of at least {int} blocks was seen in {duration}")]
async fn reorg_seen(world: &mut TrellisWorld, blocks: u64, within: Within) -> StepResult {
    let goal = format!("a reorg of {blocks} blocks or more");
    await_reorg(world, &goal, within, |reorg| reorg.depth() >= blocks).await
}

/// Waits until the node has left the block that was recorded under this name for another branch, and with it at least so many blocks, at any time since the block was there.
#[given(
    expr = "{node} leaves the recorded block {string} in a reorg of at least {int} blocks in {duration}"
)]
#[when(
    expr = "{node} leaves the recorded block {string} in a reorg of at least {int} blocks in {duration}"
)]
#[then(
    expr = "{node} leaves the recorded block {string} in a reorg of at least {int} blocks in {duration}"
)]
async fn leaves_recorded(
    world: &mut TrellisWorld,
    node: NodeRef,
    label: String,
    blocks: u64,
    within: Within,
) -> StepResult {
    let name = world.resolve(&node).await?;
    let block = world.chain()?.recorded_block(&label)?;
    let goal = format!(
        "{name} to leave {label:?}, block {}, in a reorg of {blocks} blocks or more",
        place(&block)
    );
    await_reorg(world, &goal, within, |reorg| {
        *reorg.node == *name.as_str()
            && reorg.depth() >= blocks
            && reorg.blocks_out.contains(&block.id)
    })
    .await
}

async fn await_reorg(
    world: &TrellisWorld,
    goal: &str,
    within: Within,
    predicate: impl Fn(&Reorg) -> bool,
) -> StepResult {
    let chain = world.chain()?;
    let wait = tokio::time::timeout(*within, chain.reorg(predicate));
    let seen = || chain.last_seen();
    match world.watched(goal, *within, seen, wait).await? {
        Ok(Some(reorg)) => {
            world.journal.note(shown_reorg(&reorg));
            Ok(())
        }
        Ok(None) => Err(StepError::new("the observation of the chain has ended")),
        Err(_) => Err(StepError::new(format!(
            "waited {within} for {goal}; {}\n{}",
            chain.reorgs_seen(),
            chain.last_seen()
        ))),
    }
}

/// Waits until the chains of two nodes have grown apart: the head of neither is on the chain of the other, and the fork is at least so many blocks below the higher one.
#[given(expr = "{node} and {node} are on branches of at least {int} blocks in {duration}")]
#[when(expr = "{node} and {node} are on branches of at least {int} blocks in {duration}")]
#[then(expr = "{node} and {node} are on branches of at least {int} blocks in {duration}")]
async fn grown_apart(
    world: &mut TrellisWorld,
    one: NodeRef,
    other: NodeRef,
    blocks: u64,
    within: Within,
) -> StepResult {
    let (one, other) = (world.resolve(&one).await?, world.resolve(&other).await?);
    let goal = format!("{one} and {other} to be on branches of {blocks} blocks");
    await_chain(world, &goal, *within, |view| {
        let head = |name: &NodeName| view.node(name.as_str())?.head;
        let Some((left, right)) = head(&one).zip(head(&other)) else {
            return false;
        };
        let common = view.graph.common_ancestor(&left.id, &right.id);
        common.is_some_and(|common| {
            let depths = [left, right].map(|head| head.height - common.height);
            depths.into_iter().min() > Some(0) && depths.into_iter().max() >= Some(blocks)
        })
    })
    .await
}
