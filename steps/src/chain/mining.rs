//! Mining: phrases that have a node make blocks, on chains that wait to be told.

use cucumber::{given, then, when};
use trellis_chain::Owner;
use trellis_domain::Operation;

use super::book::funding_wallet;
use crate::{
    NodeRef, StepError, StepResult, TrellisWorld,
    effect::{Effect, StepEffects},
};

pub(crate) const EFFECTS: &[StepEffects] = &[
    StepEffects {
        expression: "I mine {int} blocks on {node}",
        of: |step| Ok(vec![Effect::Does(Operation::Submit, step.get(1)?)]),
    },
    StepEffects {
        expression: "I mine {int} blocks on {node} for wallet {string}",
        of: |step| Ok(vec![Effect::Does(Operation::Submit, step.get(1)?)]),
    },
];

/// Has the node make so many blocks on top of its head, one after the other, whose reward its funding wallet gets. Only for chains whose nodes make blocks when they are told to; on others blocks come by themselves.
#[given(expr = "I mine {int} blocks on {node}")]
#[when(expr = "I mine {int} blocks on {node}")]
#[then(expr = "I mine {int} blocks on {node}")]
async fn mine(world: &mut TrellisWorld, blocks: u32, node: NodeRef) -> StepResult {
    let name = world.resolve(&node).await?;
    let wallet = funding_wallet(&name).name;
    mine_for(world, blocks, &node, &wallet).await
}

/// As `I mine {int} blocks on {node}`, but this wallet gets the reward. A chain may want more blocks on top of one before its reward can be spent.
#[given(expr = "I mine {int} blocks on {node} for wallet {string}")]
#[when(expr = "I mine {int} blocks on {node} for wallet {string}")]
#[then(expr = "I mine {int} blocks on {node} for wallet {string}")]
async fn mine_for_wallet(
    world: &mut TrellisWorld,
    blocks: u32,
    node: NodeRef,
    wallet: String,
) -> StepResult {
    mine_for(world, blocks, &node, &wallet).await
}

async fn mine_for(
    world: &mut TrellisWorld,
    blocks: u32,
    node: &NodeRef,
    wallet: &str,
) -> StepResult {
    let name = world.resolve(node).await?;
    let chain = world.chain()?;
    let miner = chain.cluster.node(&name)?;
    if !miner.state.is_running() {
        return Err(StepError::new(format!("{name} is {}", miner.state)));
    }
    let owner: Owner = world.interruptible(chain.purse(wallet)).await??.owner;
    let mined = chain.deployment.mine(&miner, blocks, &owner);
    world.interruptible(mined).await?
}
