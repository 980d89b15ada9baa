//! Fate: phrases about what becomes of transactions that have a name.

use cucumber::{gherkin::Step, given, then, when};
use trellis_chain::{ChainView, TxId};
use trellis_domain::NodeName;

use super::{NODES, node_names};
use crate::{
    NodeRef, StepError, StepResult, TrellisWorld, Within,
    chain::{
        shown::shown,
        watching::{all_answer, await_all, await_chain, must_not_come},
    },
    table::rows_of,
};

/// Waits until the transaction is in a block on the chain that the node has. Being in its mempool, or in a block of another branch, does not count.
#[given(expr = "transaction {string} is included on {node} in {duration}")]
#[when(expr = "transaction {string} is included on {node} in {duration}")]
#[then(expr = "transaction {string} is included on {node} in {duration}")]
async fn included(
    world: &mut TrellisWorld,
    alias: String,
    node: NodeRef,
    within: Within,
) -> StepResult {
    let name = world.resolve(&node).await?;
    let id = id_of(world, &alias)?;
    let goal = format!("{alias:?} to be in a block on {name}'s chain");
    let waited = await_chain(world, &goal, *within, |view| is_included(view, &id, &name)).await;
    waited.map_err(|error| with_fate(world, error, &alias, &id))
}

/// Watches for so long that the transaction comes into no block on the chain of any running node. All of them must answer after that time.
#[given(expr = "transaction {string} is not included in {duration}")]
#[when(expr = "transaction {string} is not included in {duration}")]
#[then(expr = "transaction {string} is not included in {duration}")]
async fn not_included(world: &mut TrellisWorld, alias: String, within: Within) -> StepResult {
    let id = id_of(world, &alias)?;
    let included = |view: &ChainView| included_anywhere(view, &id);
    let what = format!("{alias:?} staying out of all chains");
    must_not_come(world, &what, *within, all_heads_known, included)
        .await
        .map_err(|error| with_fate(world, error, &alias, &id))
}

/// Watches until the best chain is so many blocks higher, within so many seconds, that the transaction comes into no block on the chain of any running node meanwhile.
#[given(expr = "transaction {string} is not included for {int} blocks in {duration}")]
#[when(expr = "transaction {string} is not included for {int} blocks in {duration}")]
#[then(expr = "transaction {string} is not included for {int} blocks in {duration}")]
async fn not_included_for(
    world: &mut TrellisWorld,
    alias: String,
    blocks: u64,
    within: Within,
) -> StepResult {
    let not = Not {
        what: "came into a block",
        told: all_heads_known,
        breach: included_anywhere,
    };
    for_blocks(world, &alias, blocks, within, not).await
}

/// Waits until the transaction is in the mempool of each node in a table with the column `node_name`, in one look.
#[given(expr = "transaction {string} is pending in mempool of nodes in {duration}:")]
#[when(expr = "transaction {string} is pending in mempool of nodes in {duration}:")]
#[then(expr = "transaction {string} is pending in mempool of nodes in {duration}:")]
async fn pending(
    world: &mut TrellisWorld,
    alias: String,
    within: Within,
    step: &Step,
) -> StepResult {
    let nodes = rows_of(step, NODES).and_then(|rows| node_names(&rows));
    let nodes = nodes.map_err(StepError::new)?;
    let id = id_of(world, &alias)?;
    let goal = format!("{alias:?} to be in the mempools");
    let waited = await_chain(world, &goal, *within, |view| {
        nodes
            .iter()
            .all(|node| is_pending(view, &id, node.as_str()))
    })
    .await;
    waited.map_err(|error| with_fate(world, error, &alias, &id))
}

/// Waits until no running node has the transaction in its mempool.
#[given(expr = "transaction {string} is not pending in mempool of all nodes in {duration}")]
#[when(expr = "transaction {string} is not pending in mempool of all nodes in {duration}")]
#[then(expr = "transaction {string} is not pending in mempool of all nodes in {duration}")]
async fn not_pending(world: &mut TrellisWorld, alias: String, within: Within) -> StepResult {
    let id = id_of(world, &alias)?;
    let goal = format!("{alias:?} to be in no mempool");
    let waited = await_all(world, &goal, *within, |view| {
        all_told(view) && !pending_anywhere(view, &id)
    })
    .await;
    waited.map_err(|error| with_fate(world, error, &alias, &id))
}

/// Watches until the best chain is so many blocks higher, within so many seconds, that no running node has the transaction in its mempool meanwhile.
#[given(
    expr = "transaction {string} remains not pending in mempool of all nodes for {int} blocks in {duration}"
)]
#[when(
    expr = "transaction {string} remains not pending in mempool of all nodes for {int} blocks in {duration}"
)]
#[then(
    expr = "transaction {string} remains not pending in mempool of all nodes for {int} blocks in {duration}"
)]
async fn remains_not_pending(
    world: &mut TrellisWorld,
    alias: String,
    blocks: u64,
    within: Within,
) -> StepResult {
    let not = Not {
        what: "came into a mempool",
        told: all_told,
        breach: pending_anywhere,
    };
    for_blocks(world, &alias, blocks, within, not).await
}

/// What must not become of a transaction.
struct Not {
    /// What it is called when it did.
    what: &'static str,
    /// Whether a look could have shown it.
    told: fn(&ChainView) -> bool,
    /// Whether a look shows it.
    breach: fn(&ChainView, &TxId) -> bool,
}

/// Watches until the best chain is so many blocks higher.
async fn for_blocks(
    world: &TrellisWorld,
    alias: &str,
    blocks: u64,
    within: Within,
    not: Not,
) -> StepResult {
    let id = id_of(world, alias)?;
    let chain = world.chain()?;
    chain.check_all_observed()?;
    let begun = chain.now().await?;
    let height = |view: &ChainView| view.best_head().map_or(0, |best| best.height);
    let wanted = height(&begun).saturating_add(blocks);
    let goal = format!("height {wanted}, while {alias:?} never {}", not.what);
    let mut breach = None;
    // Looks that not all nodes answered show nothing, so the last one must be whole.
    let over = |view: &ChainView| {
        if (not.breach)(view, &id) {
            breach = Some(shown(view));
        }
        let is_whole = all_answer(view) && (not.told)(view);
        breach.is_some() || (is_whole && height(view) >= wanted)
    };
    let waited = await_chain(world, &goal, *within, over).await;
    let waited = waited.and_then(|()| match breach {
        None => Ok(()),
        Some(seen) => Err(StepError::new(format!("{alias:?} {}\n{seen}", not.what))),
    });
    waited.map_err(|error| with_fate(world, error, alias, &id))
}

fn id_of(world: &TrellisWorld, alias: &str) -> StepResult<TxId> {
    let made = world.chain()?.with_book(|book| book.made(alias))?;
    Ok(made.built.effect.id)
}

fn is_included(view: &ChainView, id: &TxId, node: &NodeName) -> bool {
    let inclusion = view.inclusion(id, node.as_str());
    inclusion.is_some_and(|inclusion| inclusion.is_included())
}

fn is_pending(view: &ChainView, id: &TxId, node: &str) -> bool {
    view.node(node).is_some_and(|node| node.has_pending(id))
}

fn included_anywhere(view: &ChainView, id: &TxId) -> bool {
    let mut running = view.running();
    running.any(|node| {
        let inclusion = view.inclusion(id, &node.name);
        inclusion.is_some_and(|inclusion| inclusion.is_included())
    })
}

/// Whether of every running node the chain that it has now is known, and not only one that it had.
fn all_heads_known(view: &ChainView) -> bool {
    let mut running = view.running();
    running.all(|node| node.current_tip().is_some())
}

fn pending_anywhere(view: &ChainView, id: &TxId) -> bool {
    let mut running = view.running();
    running.any(|node| node.has_pending(id))
}

/// Whether every running node told what is in its mempool.
fn all_told(view: &ChainView) -> bool {
    let mut running = view.running();
    running.all(|node| node.mempool.is_some())
}

/// What each node says of a transaction, below what went wrong with it.
fn with_fate(world: &TrellisWorld, error: StepError, alias: &str, id: &TxId) -> StepError {
    let seen = world.chain().ok().and_then(|chain| chain.watch.latest());
    let Some(seen) = seen else { return error };
    let view = &seen.snapshot;
    let lines = view.running().map(|node| {
        let inclusion = view.inclusion(id, &node.name);
        let inclusion = inclusion.map_or_else(|| "not known".to_owned(), |found| found.to_string());
        format!("\n  on {}: {inclusion}", node.name)
    });
    let lines: String = lines.collect();
    StepError::new(format!("{error}\n{alias:?} ({id}):{lines}"))
}
