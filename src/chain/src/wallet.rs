//! Wallets: what an owner has on the chain, has already spent by transactions that wait, and can
//! still spend.
//!
//! What was on the chain after a block is the ledger's. Where to look (a node's head, the majority
//! head of a group, the last final block) is found by `view`.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    graph::{Entry, Graph, Place},
    id::{BlockId, OutputId, Owner, TxId},
    inclusion::{Inclusions, Vantage},
    ledger::{Account, Gap, GapReason, Ledger},
    model::Transaction,
};

/// Transactions that were handed in by those who ask, and the outputs that they spend. Mempools
/// list only ids, so that nobody else can know what is spent there.
#[derive(Clone, Debug, Default)]
pub struct Submitted {
    transactions: BTreeMap<TxId, Transaction>,
}

impl Submitted {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more.
    pub fn add(&mut self, transaction: Transaction) {
        self.transactions.insert(transaction.id, transaction);
    }

    /// No longer waited for: its inputs can be spent again.
    pub fn give_up(&mut self, id: &TxId) {
        self.transactions.remove(id);
    }

    /// Those that are not on the chain at this vantage, and so still spend their inputs.
    pub fn waiting<'a>(
        &'a self,
        graph: &'a Graph,
        inclusions: &'a Inclusions,
        vantage: Vantage<'a>,
    ) -> impl Iterator<Item = &'a Transaction> {
        let transactions = self.transactions.values();
        transactions.filter(move |tx| !inclusions.of(&tx.id, graph, vantage).is_included())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Transaction> {
        self.transactions.values()
    }
}

/// What an owner has at one block.
#[derive(Clone, Debug)]
pub struct Wallet {
    /// The block.
    pub at: Place,
    /// What is on the chain.
    pub on_chain: Account,
    /// Outputs on the chain that a waiting transaction spends.
    pub encumbered: BTreeSet<OutputId>,
}

impl Wallet {
    /// The wallet of `owner` after the block `at`, while `waiting` transactions spend what they
    /// name; or why it is not known.
    pub fn at<'a>(
        graph: &Graph,
        ledger: &Ledger,
        owner: &Owner,
        at: Place,
        waiting: impl IntoIterator<Item = &'a Transaction>,
    ) -> Result<Self, Gap> {
        let on_chain = account(graph, ledger, owner, at)?;
        let inputs = waiting
            .into_iter()
            .flat_map(|transaction| &transaction.inputs);
        let encumbered = inputs
            .filter(|input| on_chain.holds(input))
            .cloned()
            .collect();
        Ok(Self {
            at,
            on_chain,
            encumbered,
        })
    }

    /// The sum of all outputs on the chain.
    pub fn balance(&self) -> u128 {
        self.on_chain.balance()
    }

    /// Outputs that no waiting transaction spends, and their values.
    pub fn available(&self) -> impl Iterator<Item = (&OutputId, u64)> {
        let outputs = self.on_chain.outputs();
        outputs.filter(|(id, _)| !self.encumbered.contains(*id))
    }

    /// The sum of the outputs that no waiting transaction spends.
    pub fn available_balance(&self) -> u128 {
        self.available().map(|(_, value)| u128::from(value)).sum()
    }
}

fn account(graph: &Graph, ledger: &Ledger, owner: &Owner, at: Place) -> Result<Account, Gap> {
    if !ledger.watches(owner) {
        let reason = GapReason::NotWatched;
        return Err(Gap { since: at, reason });
    }
    match ledger.at(&at.id) {
        Some(holdings) => holdings.of(owner),
        None => Err(Gap {
            since: first_unfolded(graph, ledger, &at.id).unwrap_or(at),
            reason: GapReason::BlockUnavailable,
        }),
    }
}

/// The lowest block of the chain of `id` that the ledger could not fold in.
fn first_unfolded(graph: &Graph, ledger: &Ledger, id: &BlockId) -> Option<Place> {
    let chain = graph.chain(id);
    let unfolded = chain.take_while(|entry| ledger.at(&entry.header.id).is_none());
    unfolded.last().map(Entry::place)
}
