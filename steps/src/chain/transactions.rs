//! Transactions: phrases that make, sign and hand in transactions of the scenario's wallets.
//!
//! What becomes of them is in `fate`.

mod fate;

use cucumber::{gherkin::Step, given, then, when};
use trellis_chain::Owner;
use trellis_domain::{NodeName, Operation};

use super::{
    BuiltTransaction, ChainSession, Defect,
    book::Made,
    money::{COINS_WITHIN, Order, Purse},
};
use crate::{
    NodeRef, StepError, StepResult, TrellisWorld,
    effect::{Effect, StepEffects},
    table::{cell, rows_in, rows_of},
};

/// The column of a table of nodes.
pub(super) const NODES: [&str; 1] = ["node_name"];
/// How many bytes a KiB has.
const KIB: usize = 1024;

pub(crate) const EFFECTS: &[StepEffects] = &[
    StepEffects {
        expression: "I submit prepared transaction {string} to nodes:",
        of: |step| {
            let nodes = node_names(&rows_in(step, NODES)?)?;
            let submits = |node| Effect::Does(Operation::Submit, NodeRef::Named(node));
            Ok(nodes.into_iter().map(submits).collect())
        },
    },
    StepEffects {
        expression: "I submit invalid transfer transaction {string} to {node}",
        of: |step| Ok(vec![Effect::Does(Operation::Submit, step.get(1)?)]),
    },
    StepEffects {
        expression: "I try to submit invalid transaction {string} to {node}",
        of: |step| Ok(vec![Effect::Does(Operation::Submit, step.get(1)?)]),
    },
    StepEffects {
        expression: "transaction {string} is included on {node} in {duration}",
        of: |step| Ok(vec![Effect::Mentions(step.get(1)?)]),
    },
    StepEffects {
        expression: "transaction {string} is pending in mempool of nodes in {duration}:",
        of: |step| {
            let nodes = node_names(&rows_in(step, NODES)?)?;
            let mentions = |node| Effect::Mentions(NodeRef::Named(node));
            Ok(nodes.into_iter().map(mentions).collect())
        },
    },
];

/// The nodes of a table of nodes.
pub(super) fn node_names(rows: &[[String; 1]]) -> Result<Vec<NodeName>, String> {
    rows.iter().map(|[node]| cell(NODES[0], node)).collect()
}

/// Makes and hands in so many transactions, one after the other, that each pay so much. One whose coins are not there yet waits for change that is on its way, at most 60 seconds.
#[given(
    expr = "I send {int} transactions of {int} LGO each from wallet {string} to wallet {string}"
)]
#[when(
    expr = "I send {int} transactions of {int} LGO each from wallet {string} to wallet {string}"
)]
#[then(
    expr = "I send {int} transactions of {int} LGO each from wallet {string} to wallet {string}"
)]
async fn send(
    world: &mut TrellisWorld,
    count: usize,
    value: u64,
    from: String,
    to: String,
) -> StepResult {
    let (chain, purse) = purse(world, &from).await?;
    let to = owner(world, &to).await?;
    for number in 1..=count {
        let outputs = [(to.clone(), value)];
        let sent = pay(world, &chain, &purse, &outputs).await;
        sent.map_err(|error| error.within(format!("transaction {number} of {count}")))?;
    }
    Ok(())
}

/// Makes and hands in one transaction that pays so many outputs of so much each.
#[given(
    expr = "I send one transaction with {int} outputs of {int} LGO each from wallet {string} to wallet {string}"
)]
#[when(
    expr = "I send one transaction with {int} outputs of {int} LGO each from wallet {string} to wallet {string}"
)]
#[then(
    expr = "I send one transaction with {int} outputs of {int} LGO each from wallet {string} to wallet {string}"
)]
async fn send_outputs(
    world: &mut TrellisWorld,
    outputs: usize,
    value: u64,
    from: String,
    to: String,
) -> StepResult {
    let (chain, purse) = purse(world, &from).await?;
    let to = owner(world, &to).await?;
    pay(world, &chain, &purse, &vec![(to, value); outputs]).await
}

/// Makes and hands in one transaction by which a wallet pays itself so many outputs of so much each.
#[given(expr = "I do a coin split for {string} of {int} UTXOs valued at {int} LGO tokens each")]
#[when(expr = "I do a coin split for {string} of {int} UTXOs valued at {int} LGO tokens each")]
#[then(expr = "I do a coin split for {string} of {int} UTXOs valued at {int} LGO tokens each")]
async fn split(world: &mut TrellisWorld, name: String, outputs: usize, value: u64) -> StepResult {
    let (chain, purse) = purse(world, &name).await?;
    let own = purse.owner.clone();
    pay(world, &chain, &purse, &vec![(own, value); outputs]).await
}

/// Makes and hands in so many coin splits for every wallet that the scenario named, each of so many outputs of so much each.
#[given(
    expr = "I perform {int} coin split transactions for each user wallet with {int} outputs of {int} LGO each"
)]
#[when(
    expr = "I perform {int} coin split transactions for each user wallet with {int} outputs of {int} LGO each"
)]
#[then(
    expr = "I perform {int} coin split transactions for each user wallet with {int} outputs of {int} LGO each"
)]
async fn split_all(
    world: &mut TrellisWorld,
    count: usize,
    outputs: usize,
    value: u64,
) -> StepResult {
    let chain = world.chain()?.clone();
    let purses = world.interruptible(chain.purses(true, false)).await??;
    if purses.is_empty() {
        return Err(StepError::new("the scenario has named no wallet"));
    }
    for _ in 0..count {
        for purse in &purses {
            let own = purse.owner.clone();
            pay(world, &chain, purse, &vec![(own, value); outputs]).await?;
        }
    }
    Ok(())
}

/// Writes so many KiB into the chain, paid for by the wallet or by the account that pays fees. The transaction has this name in later steps; what is written begins with the name.
#[given(expr = "I submit inscription transaction {string} of {int} KiB from wallet {string}")]
#[when(expr = "I submit inscription transaction {string} of {int} KiB from wallet {string}")]
#[then(expr = "I submit inscription transaction {string} of {int} KiB from wallet {string}")]
async fn inscribe(world: &mut TrellisWorld, alias: String, kib: usize, from: String) -> StepResult {
    let (chain, purse) = purse(world, &from).await?;
    let bytes: Vec<u8> = alias.bytes().cycle().take(kib * KIB).collect();
    let order = Order::Inscribe(&bytes);
    let built = world
        .interruptible(chain.build(&purse, order, COINS_WITHIN))
        .await??;
    name(&chain, alias, &built, Some(from))?;
    hand_in_at_home(world, &chain, &purse, &built).await
}

/// Makes and hands in a payment that has this name in later steps.
#[given(
    expr = "I submit funded transfer transaction {string} of {int} LGO from wallet {string} to wallet {string}"
)]
#[when(
    expr = "I submit funded transfer transaction {string} of {int} LGO from wallet {string} to wallet {string}"
)]
#[then(
    expr = "I submit funded transfer transaction {string} of {int} LGO from wallet {string} to wallet {string}"
)]
async fn submit_named(
    world: &mut TrellisWorld,
    alias: String,
    value: u64,
    from: String,
    to: String,
) -> StepResult {
    let (chain, purse, built) = prepared(world, alias, value, from, &to).await?;
    hand_in_at_home(world, &chain, &purse, &built).await
}

/// Makes and signs a payment that has this name in later steps, and hands it in nowhere. What it spends is not spent by other transactions of the scenario.
#[given(
    expr = "I prepare transfer transaction {string} of {int} LGO from wallet {string} to wallet {string}"
)]
#[when(
    expr = "I prepare transfer transaction {string} of {int} LGO from wallet {string} to wallet {string}"
)]
#[then(
    expr = "I prepare transfer transaction {string} of {int} LGO from wallet {string} to wallet {string}"
)]
async fn prepare(
    world: &mut TrellisWorld,
    alias: String,
    value: u64,
    from: String,
    to: String,
) -> StepResult {
    prepared(world, alias, value, from, &to).await.map(drop)
}

/// Hands in the same signed bytes at each node in a table with the column `node_name`. All of them must take it.
#[given(expr = "I submit prepared transaction {string} to nodes:")]
#[when(expr = "I submit prepared transaction {string} to nodes:")]
#[then(expr = "I submit prepared transaction {string} to nodes:")]
async fn submit_prepared(world: &mut TrellisWorld, alias: String, step: &Step) -> StepResult {
    let nodes = rows_of(step, NODES).and_then(|rows| node_names(&rows));
    let nodes = nodes.map_err(StepError::new)?;
    let chain = world.chain()?.clone();
    let made = chain.with_book(|book| book.made(&alias))?;
    let mut noted = false;
    for node in nodes {
        let source = chain.source(&node)?;
        let submitted = source.submit(&made.built.signed);
        let submitted = world.interruptible(submitted).await?;
        submitted.map_err(|error| {
            StepError::from(error).within(format!("{node} did not take {alias:?}"))
        })?;
        if let (false, Some(wallet)) = (noted, &made.wallet) {
            chain.with_book(|book| book.sent(wallet, &made.built));
            noted = true;
        }
    }
    Ok(())
}

/// Makes a payment that is not valid (signed by somebody else than the owner of what it spends) and hands it in at the node. Whether the node refuses it or takes it and forgets it is noted in the journal; that it never comes to anything is for the steps that follow to say. A node that does not answer fails the step.
#[given(expr = "I submit invalid transfer transaction {string} to {node}")]
#[when(expr = "I submit invalid transfer transaction {string} to {node}")]
#[then(expr = "I submit invalid transfer transaction {string} to {node}")]
async fn submit_invalid(world: &mut TrellisWorld, alias: String, node: NodeRef) -> StepResult {
    let name = world.resolve(&node).await?;
    match try_invalid(world, &alias, &name).await? {
        Ok(()) => Ok(()),
        Err(error) if error.is_answer() => Ok(()),
        Err(error) => Err(StepError::from(error)),
    }
}

/// As for an invalid transfer that is submitted, but a node that does not answer is only noted, too. A transaction that has this name already is handed in again.
#[given(expr = "I try to submit invalid transaction {string} to {node}")]
#[when(expr = "I try to submit invalid transaction {string} to {node}")]
#[then(expr = "I try to submit invalid transaction {string} to {node}")]
async fn try_submit_invalid(world: &mut TrellisWorld, alias: String, node: NodeRef) -> StepResult {
    let name = world.resolve(&node).await?;
    try_invalid(world, &alias, &name).await.map(drop)
}

async fn try_invalid(
    world: &TrellisWorld,
    alias: &str,
    node: &NodeName,
) -> StepResult<Result<(), trellis_chain::SourceError>> {
    let chain = world.chain()?.clone();
    let known = chain.with_book(|book| book.made(alias));
    let built = if let Ok(made) = known {
        made.built
    } else {
        let built = world.interruptible(invalid(&chain, node)).await??;
        name(&chain, alias.to_owned(), &built, None)?;
        built
    };
    let source = chain.source(node)?;
    let submitted = world.interruptible(source.submit(&built.signed)).await?;
    world.journal.note(match &submitted {
        Ok(id) => format!("{node} took the invalid transaction {alias:?} ({id})"),
        Err(error) => format!("{node} did not take the invalid transaction {alias:?}: {error}"),
    });
    Ok(submitted.map(drop))
}

/// A payment of a wallet's coin to the node's funding wallet, with somebody else's signature.
async fn invalid(chain: &ChainSession, node: &NodeName) -> StepResult<BuiltTransaction> {
    let mut purses = chain.purses(true, false).await?;
    let home = chain.purse(&super::book::funding_wallet(node).name).await?;
    let purse = if purses.is_empty() {
        home.clone()
    } else {
        purses.swap_remove(0)
    };
    let view = chain.now().await?;
    let submitted = chain.with_book(|book| book.submitted());
    let coins = purse.read(&view, &submitted).map(|wallet| {
        let coin = wallet.available().next();
        coin.map(|(id, value)| (id.clone(), value))
    });
    let coin = coins.ok().flatten();
    let defect = match coin {
        Some(_) => Defect::BadSignature,
        None => Defect::UnknownInput,
    };
    let desk = chain.desk(&purse)?;
    let coins: Vec<_> = coin.into_iter().collect();
    let signers = chain.signers()?;
    let account = &purse.wallet.account;
    signers
        .defective(account, &desk, &coins, &home.owner, defect)
        .await
}

/// The wallet that makes something.
async fn purse(world: &TrellisWorld, name: &str) -> StepResult<(ChainSession, Purse)> {
    let chain = world.chain()?.clone();
    let purse = world.interruptible(chain.purse(name)).await??;
    Ok((chain, purse))
}

/// Who the wallet called `name` is on the chain.
async fn owner(world: &TrellisWorld, name: &str) -> StepResult<Owner> {
    let (_, purse) = purse(world, name).await?;
    Ok(purse.owner)
}

async fn pay(
    world: &TrellisWorld,
    chain: &ChainSession,
    purse: &Purse,
    outputs: &[(Owner, u64)],
) -> StepResult {
    let built = chain.build(purse, Order::Pay(outputs), COINS_WITHIN);
    let goal = format!("coins of {}", purse.wallet.name);
    let seen = || chain.shown_purse(purse);
    let built = world.watched(&goal, COINS_WITHIN, seen, built).await??;
    hand_in_at_home(world, chain, purse, &built).await
}

async fn hand_in_at_home(
    world: &TrellisWorld,
    chain: &ChainSession,
    purse: &Purse,
    built: &BuiltTransaction,
) -> StepResult {
    let desk = chain.desk(purse)?;
    let handed_in = chain.hand_in(desk.name(), &purse.wallet.name, built);
    world.interruptible(handed_in).await?
}

async fn prepared(
    world: &TrellisWorld,
    alias: String,
    value: u64,
    from: String,
    to: &str,
) -> StepResult<(ChainSession, Purse, BuiltTransaction)> {
    let (chain, purse) = purse(world, &from).await?;
    let outputs = [(owner(world, to).await?, value)];
    let built = chain.build(&purse, Order::Pay(&outputs), COINS_WITHIN);
    let built = world.interruptible(built).await??;
    name(&chain, alias, &built, Some(from))?;
    Ok((chain, purse, built))
}

fn name(
    chain: &ChainSession,
    alias: String,
    built: &BuiltTransaction,
    wallet: Option<String>,
) -> StepResult {
    let built = built.clone();
    chain.with_book(|book| book.make(alias, Made { built, wallet }))
}
