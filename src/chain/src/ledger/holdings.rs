//! Holdings: what everybody holds after one block, and where that is not known.

use std::fmt;

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use super::config::LedgerConfig;
use crate::{
    graph::Place,
    id::{OutputId, Owner},
    model::{Block, Output},
};

/// Why, and since which block, it is not known what an owner holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first block after which it is not known.
    pub since: Place,
    /// What is missing.
    pub reason: GapReason,
}

/// What is missing in order to know what an owner holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapReason {
    /// Observation began after genesis, and what was held then was never told.
    StartedLater,
    /// No node serves the genesis block, and its outputs were not configured.
    GenesisUnknown,
    /// An output came without an id, so that nobody can see when it is spent.
    OutputWithoutId,
    /// The block changed the owner's funds in a way that it does not tell.
    Unaccounted,
    /// What is in this block, or in one before it, was not served by any node.
    BlockUnavailable,
    /// The funds of this owner are not followed.
    NotWatched,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { height, id } = &self.since;
        let why = match self.reason {
            GapReason::StartedLater => "observation began there",
            GapReason::GenesisUnknown => "no node serves the genesis block",
            GapReason::OutputWithoutId => "an output came without an id",
            GapReason::Unaccounted => "the block does not tell all that it changed",
            GapReason::BlockUnavailable => "no node serves the block",
            GapReason::NotWatched => "the funds of this owner are not followed",
        };
        let id = id.short();
        write!(f, "unknown since block {id} at height {height}: {why}")
    }
}

/// What one owner holds after a block.
#[derive(Clone, Debug, Default)]
pub struct Account {
    balance: u128,
    outputs: RedBlackTreeMapSync<OutputId, u64>,
    gap: Option<Gap>,
    /// A node told all that this owner holds, here or at a block before, so that a gap of everybody
    /// is none of this owner.
    told: bool,
}

impl Account {
    /// The sum of the outputs.
    pub fn balance(&self) -> u128 {
        self.balance
    }

    /// How many outputs there are.
    pub fn outputs_count(&self) -> usize {
        self.outputs.size()
    }

    /// Each output and its value, ordered by id.
    pub fn outputs(&self) -> impl Iterator<Item = (&OutputId, u64)> {
        self.outputs.iter().map(|(id, value)| (id, *value))
    }

    /// Whether it holds this output.
    pub fn holds(&self, output: &OutputId) -> bool {
        self.outputs.contains_key(output)
    }

    fn put(&mut self, id: OutputId, value: u64) {
        if !self.outputs.contains_key(&id) {
            self.balance += u128::from(value);
            self.outputs.insert_mut(id, value);
        }
    }

    fn take(&mut self, id: &OutputId) {
        if let Some(value) = self.outputs.get(id).copied() {
            self.balance -= u128::from(value);
            self.outputs.remove_mut(id);
        }
    }
}

/// What everybody holds after one block.
#[derive(Clone, Debug, Default)]
pub struct Holdings {
    owners: HashTrieMapSync<OutputId, Owner>,
    accounts: HashTrieMapSync<Owner, Account>,
    /// A gap of everybody of whom no node told.
    gap: Option<Gap>,
}

impl Holdings {
    pub(super) fn beginning_with(reason: GapReason, since: Place) -> Self {
        Self {
            gap: Some(Gap { since, reason }),
            ..Self::default()
        }
    }

    /// What `owner` holds, or why that is not known. An owner that never got anything holds
    /// nothing.
    pub fn of(&self, owner: &Owner) -> Result<Account, Gap> {
        let account = self.accounts.get(owner);
        let told = account.is_some_and(|account| account.told);
        let own = account.and_then(|account| account.gap);
        match own.or(self.gap.filter(|_| !told)) {
            Some(gap) => Err(gap),
            None => Ok(account.cloned().unwrap_or_default()),
        }
    }

    /// Who holds this output.
    pub fn owner(&self, output: &OutputId) -> Option<&Owner> {
        self.owners.get(output)
    }

    /// The value of this output.
    pub fn value(&self, output: &OutputId) -> Option<u64> {
        let account = self.accounts.get(self.owner(output)?)?;
        account.outputs.get(output).copied()
    }

    /// How many outputs there are.
    pub fn outputs_count(&self) -> usize {
        self.owners.size()
    }

    pub(super) fn after(mut self, block: &Block, place: Place, config: &LedgerConfig) -> Self {
        for transaction in &block.transactions {
            for input in &transaction.inputs {
                self.spend(input);
            }
            for (index, output) in transaction.outputs.iter().enumerate() {
                if config.watch.covers(&output.owner) {
                    let by_rule = || config.rule.as_ref()?.id(transaction, index);
                    let id = output.id.clone().or_else(by_rule);
                    self.make(id, output, place);
                }
            }
        }
        let mut next = self.with_minted(&block.minted, place, config);
        for owner in &block.unaccounted {
            next.lose_sight(owner, place, GapReason::Unaccounted);
        }
        next
    }

    pub(super) fn with_minted(
        mut self,
        outputs: &[Output],
        place: Place,
        config: &LedgerConfig,
    ) -> Self {
        let watched = outputs.iter().filter(|o| config.watch.covers(&o.owner));
        for output in watched {
            self.make(output.id.clone(), output, place);
        }
        self
    }

    fn make(&mut self, id: Option<OutputId>, output: &Output, place: Place) {
        let Some(id) = id else {
            self.lose_sight(&output.owner, place, GapReason::OutputWithoutId);
            return;
        };
        self.owners.insert_mut(id.clone(), output.owner.clone());
        let put = |account: &mut Account| account.put(id, output.value);
        self.change(&output.owner, put);
    }

    fn spend(&mut self, id: &OutputId) {
        if let Some(owner) = self.owners.get(id).cloned() {
            self.owners.remove_mut(id);
            self.change(&owner, |account| account.take(id));
        }
    }

    fn lose_sight(&mut self, owner: &Owner, since: Place, reason: GapReason) {
        self.change(owner, |account| {
            account.gap = account.gap.or(Some(Gap { since, reason }));
        });
    }

    fn change(&mut self, owner: &Owner, change: impl FnOnce(&mut Account)) {
        if let Some(account) = self.accounts.get_mut(owner) {
            change(account);
            return;
        }
        let mut account = Account::default();
        change(&mut account);
        self.accounts.insert_mut(owner.clone(), account);
    }

    pub(super) fn with_told(&self, owner: &Owner, outputs: &[(OutputId, u64)]) -> Self {
        let mut next = self.clone();
        let before = next.accounts.get(owner).cloned().unwrap_or_default();
        for (output, _) in before.outputs() {
            next.owners.remove_mut(output);
        }
        let mut account = Account {
            told: true,
            ..Account::default()
        };
        for (output, value) in outputs {
            account.put(output.clone(), *value);
            next.owners.insert_mut(output.clone(), owner.clone());
        }
        next.accounts.insert_mut(owner.clone(), account);
        next
    }
}
