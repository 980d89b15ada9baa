//! Nodes: phrases that start nodes of a chain - with wallets, with peers, without waiting - and that connect them.

use std::collections::{BTreeMap, BTreeSet};

use cucumber::{gherkin::Step, given, then, when};
use trellis_domain::{NodeHandle, NodeName, Operation};

use super::{
    AccountRef,
    genesis::named,
    starting::{await_online, start_connected, start_timed, start_unawaited},
    transactions::{NODES, node_names},
};
use crate::{
    NodeRef, StepError, StepResult, TrellisWorld,
    effect::{Effect, StepArguments, StepEffects},
    lifecycle::start_nodes,
    table::{cell, rows_in, rows_of},
};

const WALLETS: [&str; 4] = ["node_name", "account_index", "wallet_name", "connected_to"];

/// What a phrase does that starts the node which it names first.
fn starts(step: &StepArguments) -> Result<Vec<Effect>, String> {
    let name = named(&step.get(0)?)?;
    Ok(vec![
        Effect::Starts(name.clone()),
        Effect::Does(Operation::Start, NodeRef::Named(name)),
    ])
}

/// What a phrase does that starts a node beside others, which it names next.
fn starts_beside<const PEERS: usize>(step: &StepArguments) -> Result<Vec<Effect>, String> {
    let mut effects: Vec<Effect> = (1..=PEERS)
        .map(|peer| step.get(peer).map(Effect::Mentions))
        .collect::<Result<_, _>>()?;
    effects.extend(starts(step)?);
    Ok(effects)
}

fn starts_with_wallets(step: &StepArguments) -> Result<Vec<Effect>, String> {
    let nodes = wallet_nodes(&rows_in(step, WALLETS)?)?;
    Ok(vec![Effect::StartsAll(
        nodes.into_iter().map(|node| node.name).collect(),
    )])
}

macro_rules! starts {
    ($expression:literal, $of:expr) => {
        StepEffects {
            expression: $expression,
            of: $of,
        }
    };
}

pub(crate) const EFFECTS: &[StepEffects] = &[
    starts!("I immediate start {node}", starts),
    starts!(
        "I start {node} to be ready between {int} and {int} seconds",
        starts
    ),
    starts!(
        "I start peer {node} connected to {node}",
        starts_beside::<1>
    ),
    starts!(
        "I start peer {node} connected to {node} and {node}",
        starts_beside::<2>
    ),
    starts!(
        "I immediate start peer {node} connected to {node}",
        starts_beside::<1>
    ),
    starts!(
        "I immediate start peer {node} connected to {node} and {node}",
        starts_beside::<2>
    ),
    starts!(
        "I start peer {node} connected to {node} to be ready between {int} and {int} seconds",
        starts_beside::<1>
    ),
    starts!(
        "I start peer {node} connected to {node} and {node} to be ready between {int} and {int} seconds",
        starts_beside::<2>
    ),
    starts!("I start nodes with wallet resources:", starts_with_wallets),
    StepEffects {
        expression: "these nodes and the others refuse each other as peers:",
        of: |step| {
            let nodes = node_names(&rows_in(step, NODES)?)?;
            let submits = |node| Effect::Does(Operation::Submit, NodeRef::Named(node));
            Ok(nodes.into_iter().map(submits).collect())
        },
    },
    StepEffects {
        expression: "I connect {node} to {node} at runtime",
        of: |step| {
            Ok(vec![
                Effect::Does(Operation::Submit, step.get(0)?),
                Effect::Mentions(step.get(1)?),
            ])
        },
    },
    StepEffects {
        expression: "I create a snapshot {string} of all nodes",
        of: |_| Ok(vec![Effect::DoesToAll(Operation::SaveData)]),
    },
    StepEffects {
        expression: "I will create a snapshot {string} of all nodes when stopping",
        of: |_| Ok(vec![Effect::DoesToAll(Operation::SaveData)]),
    },
    StepEffects {
        expression: "I will initialize started nodes from snapshot {string} source {node}",
        of: |step| {
            named(&step.get(1)?).map(|source| vec![Effect::Mentions(NodeRef::Named(source))])
        },
    },
];

/// A row of a table of nodes with wallets.
struct WalletNode {
    name: NodeName,
    account: Option<u64>,
    wallet: String,
    connected_to: BTreeSet<NodeName>,
}

/// The nodes of a table, of which one may have several rows, a wallet each.
fn wallet_nodes(rows: &[[String; 4]]) -> Result<Vec<WalletNode>, String> {
    let row = |[name, account, wallet, connected]: &[String; 4]| {
        let peers = connected
            .split(',')
            .map(str::trim)
            .filter(|peer| !peer.is_empty());
        let peers = peers.map(|peer| cell(WALLETS[3], peer));
        let account = Some(account.as_str()).filter(|account| !account.is_empty());
        Ok(WalletNode {
            name: cell(WALLETS[0], name)?,
            account: account
                .map(|account| cell(WALLETS[1], account))
                .transpose()?,
            wallet: wallet.clone(),
            connected_to: peers.collect::<Result<_, String>>()?,
        })
    };
    rows.iter().map(row).collect()
}

/// Starts a node and goes on at once, without waiting for it to be ready. The first node of a cluster is waited for until it answers, since a cluster needs one. A node that does not come up fails the next step that waits for all nodes, and the scenario.
#[given(expr = "I immediate start {node}")]
#[when(expr = "I immediate start {node}")]
#[then(expr = "I immediate start {node}")]
async fn start_at_once(world: &mut TrellisWorld, node: NodeRef) -> StepResult {
    start_unawaited(world, &node, &[]).await
}

/// Starts a node and waits until it is ready. Fails when that takes less than the first number of seconds or more than the second.
#[given(expr = "I start {node} to be ready between {int} and {int} seconds")]
#[when(expr = "I start {node} to be ready between {int} and {int} seconds")]
#[then(expr = "I start {node} to be ready between {int} and {int} seconds")]
async fn start_between(
    world: &mut TrellisWorld,
    node: NodeRef,
    least: u64,
    most: u64,
) -> StepResult {
    start_timed(world, &node, &[], least, most).await
}

/// Starts a node that is told of one other node only, and waits until it is ready.
#[given(expr = "I start peer {node} connected to {node}")]
#[when(expr = "I start peer {node} connected to {node}")]
#[then(expr = "I start peer {node} connected to {node}")]
async fn start_peer(world: &mut TrellisWorld, node: NodeRef, peer: NodeRef) -> StepResult {
    start_connected(world, &node, &[peer]).await
}

/// Starts a node that is told of two other nodes only, and waits until it is ready.
#[given(expr = "I start peer {node} connected to {node} and {node}")]
#[when(expr = "I start peer {node} connected to {node} and {node}")]
#[then(expr = "I start peer {node} connected to {node} and {node}")]
async fn start_peer_of_two(
    world: &mut TrellisWorld,
    node: NodeRef,
    one: NodeRef,
    other: NodeRef,
) -> StepResult {
    start_connected(world, &node, &[one, other]).await
}

/// Starts a node that is told of one other node only, and goes on at once.
#[given(expr = "I immediate start peer {node} connected to {node}")]
#[when(expr = "I immediate start peer {node} connected to {node}")]
#[then(expr = "I immediate start peer {node} connected to {node}")]
async fn start_peer_at_once(world: &mut TrellisWorld, node: NodeRef, peer: NodeRef) -> StepResult {
    start_unawaited(world, &node, &[peer]).await
}

/// Starts a node that is told of two other nodes only, and goes on at once.
#[given(expr = "I immediate start peer {node} connected to {node} and {node}")]
#[when(expr = "I immediate start peer {node} connected to {node} and {node}")]
#[then(expr = "I immediate start peer {node} connected to {node} and {node}")]
async fn start_peer_of_two_at_once(
    world: &mut TrellisWorld,
    node: NodeRef,
    one: NodeRef,
    other: NodeRef,
) -> StepResult {
    start_unawaited(world, &node, &[one, other]).await
}

/// Starts a node that is told of one other node only, and waits until it is ready, which must take no less and no more than these seconds.
#[given(
    expr = "I start peer {node} connected to {node} to be ready between {int} and {int} seconds"
)]
#[when(
    expr = "I start peer {node} connected to {node} to be ready between {int} and {int} seconds"
)]
#[then(
    expr = "I start peer {node} connected to {node} to be ready between {int} and {int} seconds"
)]
async fn start_peer_between(
    world: &mut TrellisWorld,
    node: NodeRef,
    peer: NodeRef,
    least: u64,
    most: u64,
) -> StepResult {
    start_timed(world, &node, &[peer], least, most).await
}

/// Starts a node that is told of two other nodes only, and waits until it is ready, which must take no less and no more than these seconds.
#[given(
    expr = "I start peer {node} connected to {node} and {node} to be ready between {int} and {int} seconds"
)]
#[when(
    expr = "I start peer {node} connected to {node} and {node} to be ready between {int} and {int} seconds"
)]
#[then(
    expr = "I start peer {node} connected to {node} and {node} to be ready between {int} and {int} seconds"
)]
async fn start_peer_of_two_between(
    world: &mut TrellisWorld,
    node: NodeRef,
    one: NodeRef,
    other: NodeRef,
    least: u64,
    most: u64,
) -> StepResult {
    start_timed(world, &node, &[one, other], least, most).await
}

/// Starts the nodes in a table with the columns `node_name`, `account_index`, `wallet_name` and `connected_to`, each after those that it is connected to (a name, several with commas, or none), at the same time where that allows, and waits until all are ready. Each row is a wallet of its node, too: that of the account with this number; a node may have several rows. A node without a wallet has neither number nor name.
#[given(expr = "I start nodes with wallet resources:")]
#[when(expr = "I start nodes with wallet resources:")]
#[then(expr = "I start nodes with wallet resources:")]
async fn start_with_wallets(world: &mut TrellisWorld, step: &Step) -> StepResult {
    let nodes = rows_of(step, WALLETS).and_then(|rows| wallet_nodes(&rows));
    let nodes = nodes.map_err(StepError::new)?;
    let mut connected: BTreeMap<NodeName, BTreeSet<NodeName>> = BTreeMap::new();
    for node in &nodes {
        let peers = connected.entry(node.name.clone()).or_default();
        peers.extend(node.connected_to.iter().cloned());
        if let Some(account) = node.account {
            let (wallet, home) = (node.wallet.clone(), node.name.clone());
            let account = AccountRef::Index(account);
            world.with_wallets(|book| book.open(wallet, account, home))?;
        }
    }
    let names: Vec<NodeName> = connected.keys().cloned().collect();
    world.draft.connections.extend(connected);
    start_nodes(world, &names).await?;
    for name in &names {
        await_online(world, name).await?;
    }
    Ok(())
}

/// Splits the nodes in two: those in the table with the column `node_name`, and all others that run. The nodes of one side drop those of the other as peers and refuse them until `all nodes accept each other as peers again`. Blocks and transactions go around between nodes of one side only.
#[given(expr = "these nodes and the others refuse each other as peers:")]
#[when(expr = "these nodes and the others refuse each other as peers:")]
#[then(expr = "these nodes and the others refuse each other as peers:")]
async fn split(world: &mut TrellisWorld, step: &Step) -> StepResult {
    let names = rows_of(step, NODES).and_then(|rows| node_names(&rows));
    let names = names.map_err(StepError::new)?;
    let chain = world.chain()?;
    let running = chain.cluster.running();
    let (ones, others): (Vec<NodeHandle>, Vec<NodeHandle>) = running
        .into_iter()
        .partition(|node| names.contains(node.name()));
    if ones.is_empty() || others.is_empty() {
        return Err(StepError::new("one of the two sides has no running node"));
    }
    for (side, opposite) in [(&ones, &others), (&others, &ones)] {
        for node in side {
            let refusal = chain.deployment.refuse_peers(node, opposite);
            world.interruptible(refusal).await??;
        }
    }
    Ok(())
}

/// Ends every refusal of peers: nodes connect to each other again as they did before.
#[given(expr = "all nodes accept each other as peers again")]
#[when(expr = "all nodes accept each other as peers again")]
#[then(expr = "all nodes accept each other as peers again")]
async fn join_again(world: &mut TrellisWorld) -> StepResult {
    let chain = world.chain()?;
    for node in chain.cluster.running() {
        let acceptance = chain.deployment.refuse_peers(&node, &[]);
        world.interruptible(acceptance).await??;
    }
    Ok(())
}

/// Tells a running node to connect to another one, at that one's address.
#[given(expr = "I connect {node} to {node} at runtime")]
#[when(expr = "I connect {node} to {node} at runtime")]
#[then(expr = "I connect {node} to {node} at runtime")]
async fn connect(world: &mut TrellisWorld, node: NodeRef, to: NodeRef) -> StepResult {
    let (node, to) = (world.resolve(&node).await?, world.resolve(&to).await?);
    let chain = world.chain()?;
    let address = chain.deployment.peer_address(&chain.cluster.node(&to)?)?;
    let source = chain.source(&node)?;
    let connect = source.connect(&address);
    world.interruptible(connect).await?.map_err(StepError::from)
}

/// Copies the data folders of all our nodes under one label, at one moment: those that run are stopped before and started again after, all at the same time.
#[given(expr = "I create a snapshot {string} of all nodes")]
#[when(expr = "I create a snapshot {string} of all nodes")]
#[then(expr = "I create a snapshot {string} of all nodes")]
async fn save_all(world: &mut TrellisWorld, label: String) -> StepResult {
    crate::lifecycle::save_all(world, &label).await
}

/// Copies the data folder of each of our nodes under this label whenever a step stops it from now on.
#[given(expr = "I will create a snapshot {string} of all nodes when stopping")]
#[when(expr = "I will create a snapshot {string} of all nodes when stopping")]
#[then(expr = "I will create a snapshot {string} of all nodes when stopping")]
fn save_when_stopping(world: &mut TrellisWorld, label: String) {
    world.draft.save_when_stopping = Some(label);
}

/// Lets nodes that start for the first time from now on begin with the data that one node saved under this label.
#[given(expr = "I will initialize started nodes from snapshot {string} source {node}")]
#[when(expr = "I will initialize started nodes from snapshot {string} source {node}")]
#[then(expr = "I will initialize started nodes from snapshot {string} source {node}")]
fn begin_from_snapshot(world: &mut TrellisWorld, label: String, source: NodeRef) -> StepResult {
    let source = named(&source).map_err(StepError::new)?;
    world.draft.begin_from = Some((label, source));
    Ok(())
}
