//! Bodies: of which blocks only the header is known, and what follows when a body comes.

use std::sync::Arc;

use super::state::ChainState;
use crate::{id::BlockId, model::Block};

/// How often all nodes may say that they have not what is in a block, before only its header
/// counts, until a node comes that may have it.
const REFUSALS_MAX: u32 = 20;

/// A block in the graph of which only the header is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unfilled {
    height: u64,
    /// How often all nodes said that they have it not.
    refused: u32,
}

impl ChainState {
    /// Brings ledger and inclusions up to a block that is new or was filled.
    pub(super) fn fold(&mut self, id: &BlockId) {
        let Some(entry) = self.graph.entry(id) else {
            return;
        };
        if let Some(block) = &entry.block {
            self.inclusions.add(block, entry.place());
        } else {
            let unfilled = Unfilled {
                height: entry.height,
                refused: 0,
            };
            self.unfilled.entry(*id).or_insert(unfilled);
        }
        if let Some(ledger) = &mut self.ledger {
            ledger.follow(&self.graph, id);
        }
    }

    /// Adds what is in a block whose header is known.
    pub(super) fn fill(&mut self, block: Block) {
        let id = block.header.id;
        self.unfilled.remove(&id);
        let is_genesis = block.header.parent.is_none();
        self.graph.fill(Arc::new(block));
        self.fold(&id);
        if let (true, Some(ledger)) = (is_genesis, &mut self.ledger) {
            ledger.fold_again(&self.graph, &id);
        }
    }

    /// At most `count` blocks whose bodies are to be asked for: those that were refused least,
    /// and of those the lowest, since wallets need them first.
    pub(super) fn unfilled(&self, count: usize, is_new: impl Fn(&BlockId) -> bool) -> Vec<BlockId> {
        let open = self.unfilled.iter();
        let open = open.filter(|(id, it)| it.refused < REFUSALS_MAX && is_new(id));
        let mut open: Vec<_> = open.map(|(id, it)| (it.refused, it.height, *id)).collect();
        open.sort_unstable();
        open.truncate(count);
        open.into_iter().map(|(.., id)| id).collect()
    }

    /// All nodes said that they have not what is in this block.
    pub(super) fn without(&mut self, id: &BlockId) {
        self.unfilled
            .entry(*id)
            .and_modify(|unfilled| unfilled.refused += 1);
    }

    /// There is a node that was not: it may have what the others have not.
    pub(super) fn ask_for_bodies_again(&mut self) {
        for unfilled in self.unfilled.values_mut() {
            unfilled.refused = 0;
        }
    }
}
