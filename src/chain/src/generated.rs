//! Generated trees of blocks, for the tests of several rooms: forks of all shapes, and transactions
//! in them, with a model that walks from parent to parent.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::{
    graph::{Graph, Inserted, Place},
    id::{BlockId, OutputId, Owner, TxId},
    model::{Block, Header, Output, Transaction},
};

/// A tree of `parents.len() + 1` blocks: block `n + 1` is a child of one of the blocks before it.
/// Small numbers of `parents` make long chains, as most blocks extend a recent one.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    parents: Vec<usize>,
    heights: Vec<u64>,
}

impl Tree {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let back = prop_oneof![6 => Just(0_usize), 2 => 0..4_usize, 1 => 0..60_usize];
        prop::collection::vec(back, 1..100).prop_map(|backs| {
            let indexed = backs.into_iter().enumerate();
            let parents = indexed.map(|(index, back)| index.saturating_sub(back));
            Self::of_parents(parents.collect::<Vec<_>>())
        })
    }

    pub(crate) fn chain_of(blocks: usize) -> Self {
        Self {
            parents: (0..blocks - 1).collect(),
            heights: (0..blocks as u64).collect(),
        }
    }

    /// Block `n + 1` is a child of `parents[n]`.
    pub(crate) fn of_parents(parents: impl Into<Vec<usize>>) -> Self {
        let parents = parents.into();
        let mut heights = vec![0];
        for parent in &parents {
            heights.push(heights[*parent] + 1);
        }
        Self { parents, heights }
    }

    pub(crate) fn len(&self) -> usize {
        self.parents.len() + 1
    }

    pub(crate) fn parent(&self, block: usize) -> Option<usize> {
        block.checked_sub(1).map(|index| self.parents[index])
    }

    pub(crate) fn header(&self, block: usize) -> Header {
        Header::new(id(block), self.parent(block).map(id))
    }

    /// From the block back to genesis.
    pub(crate) fn chain(&self, block: usize) -> Vec<usize> {
        std::iter::successors(Some(block), |block| self.parent(*block)).collect()
    }

    pub(crate) fn height(&self, block: usize) -> u64 {
        self.heights[block]
    }

    pub(crate) fn place(&self, block: usize) -> Place {
        let (height, id) = (self.height(block), id(block));
        Place { height, id }
    }

    pub(crate) fn common(&self, one: usize, other: usize) -> usize {
        let others: BTreeSet<_> = self.chain(other).into_iter().collect();
        let mut chain = self.chain(one).into_iter();
        chain.find(|block| others.contains(block)).unwrap()
    }

    pub(crate) fn graph(&self) -> Graph {
        let mut graph = Graph::new();
        for block in 0..self.len() {
            let inserted = graph.insert(self.header(block)).unwrap();
            assert_eq!(inserted, Inserted::Added(self.height(block)));
        }
        graph
    }
}

pub(crate) fn id(block: usize) -> BlockId {
    let mut bytes = [0; 32];
    bytes[12..20].copy_from_slice(&(block as u64).to_be_bytes());
    BlockId::from_bytes(bytes)
}

/// Which outputs a transaction spends and makes, by numbers that fit any state.
#[derive(Clone, Debug)]
pub(crate) struct Spending {
    pub(crate) inputs: Vec<usize>,
    pub(crate) outputs: Vec<(u8, u16)>,
}

/// A tree whose blocks have transactions that spend what their own chain has.
#[derive(Clone, Debug)]
pub(crate) struct Economy {
    pub(crate) tree: Tree,
    pub(crate) blocks: Vec<Block>,
    /// The outputs after each block: whose, and how much.
    pub(crate) holdings: Vec<BTreeMap<OutputId, (Owner, u64)>>,
}

impl Economy {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let spending = (
            prop::collection::vec(0..50_usize, 0..3),
            prop::collection::vec((0..6_u8, any::<u16>()), 0..4),
        );
        let spending = spending.prop_map(|(inputs, outputs)| Spending { inputs, outputs });
        let block = prop::collection::vec(spending, 0..4);
        Tree::any().prop_flat_map(move |tree| {
            let spendings = prop::collection::vec(block.clone(), tree.len());
            (Just(tree), spendings).prop_map(|(tree, spendings)| Self::of(tree, spendings))
        })
    }

    fn of(tree: Tree, spendings: Vec<Vec<Spending>>) -> Self {
        let mut economy = Self {
            tree,
            blocks: Vec::new(),
            holdings: Vec::new(),
        };
        for (block, spendings) in spendings.into_iter().enumerate() {
            economy.add(block, spendings);
        }
        economy
    }

    fn add(&mut self, block: usize, spendings: Vec<Spending>) {
        let parent = self.tree.parent(block);
        let mut held = parent.map(|p| self.holdings[p].clone()).unwrap_or_default();
        let mut transactions = Vec::new();
        for (index, spending) in spendings.into_iter().enumerate() {
            let ids: Vec<_> = held.keys().cloned().collect();
            let picked = spending.inputs.iter().filter_map(|n| ids.get(*n));
            let inputs: BTreeSet<_> = picked.cloned().collect();
            held.retain(|id, _| !inputs.contains(id));
            let outputs = spending.outputs.iter().enumerate();
            let outputs: Vec<_> = outputs
                .map(|(n, (owner, value))| Output {
                    operation: 0,
                    id: Some(format!("{block}.{index}.{n}").into()),
                    owner: owner_named(*owner),
                    value: u64::from(*value),
                })
                .collect();
            for output in &outputs {
                let id = output.id.clone().unwrap();
                held.insert(id, (output.owner.clone(), output.value));
            }
            transactions.push(Transaction {
                id: tx(block * 10 + index),
                inputs: inputs.into_iter().collect(),
                outputs,
            });
        }
        self.blocks
            .push(Block::new(self.tree.header(block), transactions));
        self.holdings.push(held);
    }
}

pub(crate) fn owner_named(number: u8) -> Owner {
    format!("owner-{number}").into()
}

pub(crate) fn tx(number: usize) -> TxId {
    TxId::from_bytes(*id(number).as_bytes())
}
