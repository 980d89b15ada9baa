//! Genesis: phrases about the chain that the nodes shall keep, before the first of them starts.

use std::time::Duration;

use cucumber::{gherkin::Step, given, then, when};
use trellis_domain::NodeName;

use super::{SponsorWish, WalletResource};
use crate::{
    NodeRef, StepError, StepResult, TrellisWorld, Within,
    effect::{Effect, StepEffects},
    table::{cell, rows_in, rows_of},
};

const RESOURCES: [&str; 3] = ["account_index", "token_count", "token_amount"];
const GROUPS: [&str; 2] = ["group_name", "node_name"];

pub(crate) const EFFECTS: &[StepEffects] = &[
    StepEffects {
        expression: "I have a devnet cluster with capacity of {int} nodes",
        of: |step| Ok(vec![Effect::Capacity(step.get(0)?)]),
    },
    StepEffects {
        expression: "the genesis block has the following wallet resources:",
        of: |step| resources(&rows_in(step, RESOURCES)?).map(|_| Vec::new()),
    },
    StepEffects {
        expression: "I have IBD peers:",
        of: |step| ibd_peers(&rows_in(step, ["ibd_peer"])?).map(|_| Vec::new()),
    },
    StepEffects {
        expression: "I have initial peers:",
        of: |step| rows_in(step, ["initial_peer"]).map(|_| Vec::new()),
    },
    StepEffects {
        expression: "we will have distinct node groups to query wallet balances:",
        of: |step| groups(&rows_in(step, GROUPS)?).map(|_| Vec::new()),
    },
];

fn resources(rows: &[[String; 3]]) -> Result<Vec<WalletResource>, String> {
    let resource = |[account, count, amount]: &[String; 3]| {
        Ok(WalletResource {
            account_index: cell(RESOURCES[0], account)?,
            token_count: cell(RESOURCES[1], count)?,
            token_amount: cell(RESOURCES[2], amount)?,
        })
    };
    rows.iter().map(resource).collect()
}

fn ibd_peers(rows: &[[String; 1]]) -> Result<Vec<NodeName>, String> {
    rows.iter().map(|[peer]| cell("ibd_peer", peer)).collect()
}

fn groups(rows: &[[String; 2]]) -> Result<Vec<(String, NodeName)>, String> {
    let row = |[group, node]: &[String; 2]| Ok((group.clone(), cell(GROUPS[1], node)?));
    rows.iter().map(row).collect()
}

/// Says how many nodes there may be, and starts none, as for a cluster of our own; but the nodes join a chain that exists, and nothing of it is made here.
#[given(expr = "I have a devnet cluster with capacity of {int} nodes")]
#[when(expr = "I have a devnet cluster with capacity of {int} nodes")]
#[then(expr = "I have a devnet cluster with capacity of {int} nodes")]
fn devnet(world: &mut TrellisWorld, nodes: usize) -> StepResult {
    let draft = world.draft()?;
    draft.capacity = Some(nodes);
    draft.chain.joins_existing = true;
    Ok(())
}

/// Says that the nodes join a chain that exists: what all nodes share is the network's, not generated. Where nodes of the application say it themselves, the public peers and external nodes that the scenario lists are asked for it.
#[given(expr = "we join an external network")]
#[when(expr = "we join an external network")]
#[then(expr = "we join an external network")]
fn join_external(world: &mut TrellisWorld) -> StepResult {
    world.draft()?.chain.joins_existing = true;
    Ok(())
}

/// Puts outputs into the genesis block, in a table with the columns `account_index`, `token_count` and `token_amount`: so many outputs of so much each, for the account of this number. Several rows of one account add up. Must come before the first node.
#[given(expr = "the genesis block has the following wallet resources:")]
#[when(expr = "the genesis block has the following wallet resources:")]
#[then(expr = "the genesis block has the following wallet resources:")]
fn genesis_resources(world: &mut TrellisWorld, step: &Step) -> StepResult {
    let resources = rows_of(step, RESOURCES).and_then(|rows| resources(&rows));
    let resources = resources.map_err(StepError::new)?;
    world.draft()?.chain.resources.extend(resources);
    Ok(())
}

/// Puts an account into the genesis block that pays the fees of all transactions which steps make, so that wallets pay and get round sums. Must come before the first node.
#[given(expr = "we have a sponsored genesis fee account with {int} tokens of {int} value each")]
#[when(expr = "we have a sponsored genesis fee account with {int} tokens of {int} value each")]
#[then(expr = "we have a sponsored genesis fee account with {int} tokens of {int} value each")]
fn sponsor(world: &mut TrellisWorld, tokens: u64, value: u64) -> StepResult {
    world.draft()?.chain.sponsor = Some(SponsorWish { tokens, value });
    Ok(())
}

/// Lets the chain begin so many seconds after the first node is started; until then no block is made. Must come before the first node.
#[given(expr = "the chain starts {int} seconds from now")]
#[when(expr = "the chain starts {int} seconds from now")]
#[then(expr = "the chain starts {int} seconds from now")]
fn begins(world: &mut TrellisWorld, seconds: u64) -> StepResult {
    world.draft()?.chain.begins_in = Some(Duration::from_secs(seconds));
    Ok(())
}

/// Has every node fetch the chain from others before it takes part, also those that begin the cluster, which else fetch from nobody: from the nodes that `I have IBD peers:` names, before or after this, or else from all that it is told of. It waits until it has reached one of them. Must come before the first node.
#[given(expr = "we use IBD peers")]
#[when(expr = "we use IBD peers")]
#[then(expr = "we use IBD peers")]
fn use_ibd_peers(world: &mut TrellisWorld) -> StepResult {
    world.draft()?.chain.uses_ibd = true;
    Ok(())
}

/// Has every node fetch the chain from these nodes before it takes part, in a table with the column `ibd_peer`, as far as it is told of them; several tables add up. Must come before the first node.
#[given(expr = "I have IBD peers:")]
#[when(expr = "I have IBD peers:")]
#[then(expr = "I have IBD peers:")]
fn have_ibd_peers(world: &mut TrellisWorld, step: &Step) -> StepResult {
    let peers = rows_of(step, ["ibd_peer"]).and_then(|rows| ibd_peers(&rows));
    let peers = peers.map_err(StepError::new)?;
    let wish = &mut world.draft()?.chain;
    wish.uses_ibd = true;
    wish.ibd_peers.extend(peers);
    Ok(())
}

/// Gives the nodes peers outside the cluster, in a table with the column `initial_peer`: their addresses in the application's own form, such as a multiaddr, or `env(NAME)` for a variable. Must come before the first node.
#[given(expr = "I have initial peers:")]
#[when(expr = "I have initial peers:")]
#[then(expr = "I have initial peers:")]
fn initial_peers(world: &mut TrellisWorld, step: &Step) -> StepResult {
    let rows = rows_of(step, ["initial_peer"]).map_err(StepError::new)?;
    let settings = &world.suite.settings;
    let peers = rows.iter().map(|[peer]| settings.cell(peer));
    let peers = peers.map(|peer| Ok(peer?.text().to_owned()));
    let peers: Vec<String> = peers.collect::<StepResult<_>>()?;
    world.draft()?.chain.initial_peers.extend(peers);
    Ok(())
}

/// Waits after each start of a node until it takes part in the chain, which must be so within this time; without it a node counts as started when it answers.
#[given(expr = "all peers must be mode online after startup in {duration}")]
#[when(expr = "all peers must be mode online after startup in {duration}")]
#[then(expr = "all peers must be mode online after startup in {duration}")]
fn must_be_online(world: &mut TrellisWorld, within: Within) {
    world.draft.online_within = Some(*within);
}

/// Puts a YAML value at a dotted path (numbers index lists) into what all nodes share, such as the genesis. A path that it does not have is refused, with the nearest one. Must come before the first node.
#[given(expr = "I have deployment config override {string} as {string}")]
#[when(expr = "I have deployment config override {string} as {string}")]
#[then(expr = "I have deployment config override {string} as {string}")]
fn deployment_override(world: &mut TrellisWorld, path: String, value: String) -> StepResult {
    let overrides = &mut world.draft()?.chain.deployment_overrides;
    overrides.insert(path, value);
    Ok(())
}

/// Sets k: a block that has so many blocks above it on its chain is final. Must come before the first node.
#[given(expr = "the cluster uses cryptarchia security parameter {int}")]
#[when(expr = "the cluster uses cryptarchia security parameter {int}")]
#[then(expr = "the cluster uses cryptarchia security parameter {int}")]
fn security_parameter(world: &mut TrellisWorld, k: u32) -> StepResult {
    world.draft()?.chain.security_parameter = Some(k);
    Ok(())
}

/// Lets a node wait so long after its initial download before it takes part. Must come before the first node.
#[given(expr = "the cluster uses prolonged bootstrap period of {int} seconds")]
#[when(expr = "the cluster uses prolonged bootstrap period of {int} seconds")]
#[then(expr = "the cluster uses prolonged bootstrap period of {int} seconds")]
fn prolonged_bootstrap(world: &mut TrellisWorld, seconds: u64) -> StepResult {
    world.draft()?.chain.prolonged_bootstrap = Some(Duration::from_secs(seconds));
    Ok(())
}

/// Says whose chain counts for which wallets, in a table with the columns `group_name` and `node_name`: a wallet is read from the chain that a majority of the group of its node has.
#[given(expr = "we will have distinct node groups to query wallet balances:")]
#[when(expr = "we will have distinct node groups to query wallet balances:")]
#[then(expr = "we will have distinct node groups to query wallet balances:")]
fn node_groups(world: &mut TrellisWorld, step: &Step) -> StepResult {
    let groups = rows_of(step, GROUPS).and_then(|rows| groups(&rows));
    let groups = groups.map_err(StepError::new)?;
    world.with_wallets(|book| {
        for (group, node) in groups {
            book.group(group, node);
        }
    });
    Ok(())
}

/// The node that a phrase of this room names.
pub(super) fn named(node: &NodeRef) -> Result<NodeName, String> {
    match node {
        NodeRef::Named(name) => Ok(name.clone()),
        role => Err(format!("{role} is not known before it runs; name the node")),
    }
}
