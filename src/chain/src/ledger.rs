//! Ledger: who held what after each block, on every branch.
//!
//! A fold over the graph: the holdings after a block are those after its parent and what the block
//! changes. They share all structure that did not change, so that a block costs its own size, a
//! fork costs its difference, and the number of owners costs nothing. What transactions wait, and
//! at which block somebody wants to know, is not here but in `wallet`.
//!
//! Where blocks do not tell all, the ledger says so: see [`Gap`].

mod config;
mod holdings;

use std::sync::Arc;

use rpds::HashTrieMapSync;

pub use self::{
    config::{LedgerConfig, OutputRule, Watch},
    holdings::{Account, Gap, GapReason, Holdings},
};
use crate::{
    graph::{Entry, Graph, Place},
    id::{BlockId, OutputId, Owner},
};

/// Holdings after each block of a graph.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    config: Arc<LedgerConfig>,
    states: HashTrieMapSync<BlockId, Holdings>,
}

impl Ledger {
    /// A ledger of no block yet.
    pub fn new(config: LedgerConfig) -> Self {
        Self {
            config: Arc::new(config),
            states: HashTrieMapSync::default(),
        }
    }

    /// Folds in the block `id` of `graph`, and after it the blocks above that waited for it. Does
    /// nothing when it is in already, when its parent is not, or when what is in it is not known:
    /// call it again once that changed.
    pub fn follow(&mut self, graph: &Graph, id: &BlockId) {
        let mut next = vec![*id];
        while let Some(id) = next.pop() {
            if self.states.contains_key(&id) {
                continue;
            }
            let Some(entry) = graph.entry(&id) else {
                continue;
            };
            if let Some(holdings) = self.after(graph, entry) {
                self.states.insert_mut(id, holdings);
                next.extend(children(graph, entry.place()));
            }
        }
    }

    fn after(&self, graph: &Graph, entry: &Entry) -> Option<Holdings> {
        let before = match &entry.header.parent {
            None => return Some(self.genesis(entry)),
            Some(parent) => match self.states.get(parent) {
                Some(before) => before.clone(),
                None if graph.contains(parent) => return None,
                None => Holdings::beginning_with(GapReason::StartedLater, entry.place()),
            },
        };
        let block = entry.block.as_ref()?;
        Some(before.after(block, entry.place(), &self.config))
    }

    fn genesis(&self, entry: &Entry) -> Holdings {
        let place = entry.place();
        match (&self.config.genesis, &entry.block) {
            (Some(outputs), _) => Holdings::default().with_minted(outputs, place, &self.config),
            (None, Some(block)) => Holdings::default().after(block, place, &self.config),
            (None, None) => Holdings::beginning_with(GapReason::GenesisUnknown, place),
        }
    }

    /// Takes from a node what `owner` holds after the block `at`: closes the gaps of this owner
    /// there, and folds the blocks above again. Returns whether the ledger has that block.
    pub fn learn(
        &mut self,
        graph: &Graph,
        at: &BlockId,
        owner: &Owner,
        outputs: &[(OutputId, u64)],
    ) -> bool {
        let Some(holdings) = self.states.get(at) else {
            return false;
        };
        let told = holdings.with_told(owner, outputs);
        self.states.insert_mut(*at, told);
        self.fold_above_again(graph, at);
        true
    }

    /// Folds in a block again, and all above it, because more is known of it than before: a genesis
    /// block that was served late.
    pub fn fold_again(&mut self, graph: &Graph, id: &BlockId) {
        self.states.remove_mut(id);
        self.follow(graph, id);
        self.fold_above_again(graph, id);
    }

    fn fold_above_again(&mut self, graph: &Graph, id: &BlockId) {
        let place = graph.place(id);
        let mut above = place
            .map(|place| children(graph, place))
            .unwrap_or_default();
        while let Some(id) = above.pop() {
            let Some(entry) = graph.entry(&id) else {
                continue;
            };
            self.states.remove_mut(&id);
            if let Some(holdings) = self.after(graph, entry) {
                self.states.insert_mut(id, holdings);
            }
            above.extend(children(graph, entry.place()));
        }
    }

    /// Forgets the holdings after this block; those after its children stay.
    pub fn forget(&mut self, id: &BlockId) {
        self.states.remove_mut(id);
    }

    /// All holdings after the block `at`; `None` when it is not folded in: the graph lacks it, or
    /// what is in it or in a block before it.
    pub fn at(&self, at: &BlockId) -> Option<&Holdings> {
        self.states.get(at)
    }

    /// How many blocks are folded in.
    pub fn len(&self) -> usize {
        self.states.size()
    }

    /// Whether no block is folded in.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// Whether the funds of this owner are followed at all.
    pub fn watches(&self, owner: &Owner) -> bool {
        self.config.watch.covers(owner)
    }
}

fn children(graph: &Graph, place: Place) -> Vec<BlockId> {
    let above = graph.at_height(place.height + 1).iter();
    let is_child = |id: &&BlockId| {
        let entry = graph.entry(id);
        entry.is_some_and(|entry| entry.header.parent == Some(place.id))
    };
    above.filter(is_child).copied().collect()
}

#[cfg(test)]
mod tests;
