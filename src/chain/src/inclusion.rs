//! Inclusion: in which blocks a transaction is, and what that means from where a node stands.
//!
//! A fold over blocks: which block has which transaction. Included means that the block is on the
//! chain of the node's head; that a node once said so, or still lists a block, proves nothing.

use std::{collections::VecDeque, fmt};

use rpds::{HashTrieMapSync, HashTrieSetSync};

use crate::{
    graph::{Graph, Place},
    id::{BlockId, TxId},
    model::Block,
};

/// Which block has which transaction.
#[derive(Clone, Debug)]
pub struct Inclusions {
    places: HashTrieMapSync<TxId, Vec<Place>>,
    /// Transactions of blocks that are final and no longer in the graph.
    settled: HashTrieMapSync<TxId, Place>,
}

/// The order in which transactions were settled, so that only so many are kept. Not part of what
/// readers get.
#[derive(Debug)]
pub struct SettledOrder {
    order: VecDeque<TxId>,
    count_max: usize,
}

impl SettledOrder {
    /// Keeps at most `count_max`.
    pub fn new(count_max: usize) -> Self {
        let order = VecDeque::new();
        Self { order, count_max }
    }
}

/// Where a transaction is, from where a node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inclusion {
    /// Nobody knows it: never handed in, refused, or dropped from all mempools.
    Unseen,
    /// In the mempool of the node, and not on its chain.
    Pending {
        /// Blocks of other branches that have it.
        elsewhere: Vec<Place>,
    },
    /// In a block on the chain of the node's head, which may still be left.
    Included {
        /// That block.
        block: Place,
        /// How many blocks of the chain confirm it, that block included: 1 at the head.
        depth: u64,
    },
    /// In a block that the node will never leave.
    Finalised {
        /// That block.
        block: Place,
    },
    /// The node left the blocks that had it, and has it not in its mempool.
    Dropped {
        /// Those blocks.
        by_leaving: Vec<Place>,
    },
    /// Only in blocks that the node never had on its chain.
    Elsewhere {
        /// Those blocks.
        blocks: Vec<Place>,
    },
}

/// From where inclusion is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Vantage<'a> {
    /// The head.
    pub head: Place,
    /// The last final block.
    pub finalised: Option<Place>,
    /// Blocks that were on this chain and are not any more.
    pub left: &'a HashTrieSetSync<BlockId>,
    /// Whether the transaction is in the mempool there.
    pub pending: bool,
}

impl Inclusions {
    /// No transaction yet.
    pub fn new() -> Self {
        Self {
            places: HashTrieMapSync::default(),
            settled: HashTrieMapSync::default(),
        }
    }

    /// Folds in a block. Twice is once.
    pub fn add(&mut self, block: &Block, place: Place) {
        for transaction in &block.transactions {
            match self.places.get_mut(&transaction.id) {
                Some(places) if places.contains(&place) => {}
                Some(places) => places.push(place),
                None => self.places.insert_mut(transaction.id, vec![place]),
            }
        }
    }

    /// Forgets a block that leaves the graph; its transactions are settled when it is final.
    pub fn forget(
        &mut self,
        block: &Block,
        place: Place,
        is_final: bool,
        order: &mut SettledOrder,
    ) {
        for transaction in &block.transactions {
            let id = transaction.id;
            if let Some(places) = self.places.get_mut(&id) {
                places.retain(|known| *known != place);
                if places.is_empty() {
                    self.places.remove_mut(&id);
                }
            }
            if is_final {
                self.settled.insert_mut(id, place);
                order.order.push_back(id);
            }
        }
        while order.order.len() > order.count_max {
            if let Some(oldest) = order.order.pop_front() {
                self.settled.remove_mut(&oldest);
            }
        }
    }

    /// The blocks of the graph that have it, on all branches.
    pub fn blocks_with(&self, transaction: &TxId) -> &[Place] {
        self.places.get(transaction).map_or(&[], Vec::as_slice)
    }

    /// Where the transaction is, from this vantage.
    pub fn of(&self, transaction: &TxId, graph: &Graph, vantage: Vantage<'_>) -> Inclusion {
        let blocks = self.blocks_with(transaction);
        let on_chain =
            |block: &&Place| graph.is_on_chain_of(&block.id, &vantage.head.id) == Some(true);
        if let Some(&block) = blocks.iter().find(on_chain) {
            let is_final = |last: Place| graph.is_on_chain_of(&block.id, &last.id) == Some(true);
            return if vantage.finalised.is_some_and(is_final) {
                Inclusion::Finalised { block }
            } else {
                let depth = vantage.head.height - block.height + 1;
                Inclusion::Included { block, depth }
            };
        }
        if let Some(&block) = self.settled.get(transaction) {
            // Settled blocks are below the graph, where all the nodes that it is about agree. A
            // node that has not come that far has it still before it.
            return if block.height <= vantage.head.height {
                Inclusion::Finalised { block }
            } else {
                Inclusion::Elsewhere {
                    blocks: vec![block],
                }
            };
        }
        let blocks = blocks.to_vec();
        let left: Vec<_> = blocks
            .iter()
            .copied()
            .filter(|b| vantage.left.contains(&b.id))
            .collect();
        match (vantage.pending, blocks.is_empty(), left.is_empty()) {
            (true, _, _) => Inclusion::Pending { elsewhere: blocks },
            (false, true, _) => Inclusion::Unseen,
            (false, false, false) => Inclusion::Dropped { by_leaving: left },
            (false, false, true) => Inclusion::Elsewhere { blocks },
        }
    }
}

impl Default for Inclusions {
    fn default() -> Self {
        Self::new()
    }
}

impl Inclusion {
    /// Whether it is on the chain, final or not.
    pub fn is_included(&self) -> bool {
        matches!(self, Self::Included { .. } | Self::Finalised { .. })
    }
}

impl fmt::Display for Inclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unseen => f.write_str("in no block and in no mempool"),
            Self::Pending { .. } => f.write_str("pending"),
            Self::Included { block, depth } => write!(f, "in block {block} at depth {depth}"),
            Self::Finalised { block } => write!(f, "final in block {block}"),
            Self::Dropped { by_leaving } => {
                f.write_str("dropped by leaving")?;
                by_leaving
                    .iter()
                    .try_for_each(|block| write!(f, " {block}"))
            }
            Self::Elsewhere { blocks } => {
                f.write_str("only on other branches, in")?;
                blocks.iter().try_for_each(|block| write!(f, " {block}"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
