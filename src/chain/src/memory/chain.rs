//! Chain: the blocks that a memory node has, and which of them are on its chain.

use std::collections::HashMap;

use crate::{
    id::BlockId,
    model::{Block, BlockAnswer, Header, Transaction},
    source::AncestryEnd,
};

/// Slots between two blocks: some are empty, as they are on real chains.
const SLOTS_PER_BLOCK: u64 = 3;

/// A genesis block; each `salt` is another chain.
pub fn genesis(salt: u64) -> Block {
    let mut header = Header::new(id_of(None, salt), None);
    header.slot = Some(0);
    header.height = Some(0);
    Block::new(header, Vec::new())
}

/// A block on this one. The same `salt` makes the same block.
pub fn child_of(parent: &Header, salt: u64, transactions: Vec<Transaction>) -> Block {
    let mut header = Header::new(id_of(Some(parent.id), salt), Some(parent.id));
    header.slot = parent.slot.map(|slot| slot + SLOTS_PER_BLOCK);
    header.height = parent.height.map(|height| height + 1);
    Block::new(header, transactions)
}

/// An id that is as good as unique, without a real hash function.
fn id_of(parent: Option<BlockId>, salt: u64) -> BlockId {
    let parent = parent.map_or([0; 32], |parent| *parent.as_bytes());
    let mut state = salt ^ 0x9e37_79b9_7f4a_7c15;
    for word in parent.chunks_exact(8) {
        let word = word.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        state = mix(state ^ word);
    }
    let mut bytes = [0; 32];
    for word in bytes.chunks_exact_mut(8) {
        state = mix(state);
        word.copy_from_slice(&state.to_be_bytes());
    }
    BlockId::from_bytes(bytes)
}

/// Spreads every bit over all the others (multiply and shift, twice).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 32)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 30)
}

#[derive(Debug)]
struct Kept {
    block: Block,
    height: u64,
    has_body: bool,
}

#[derive(Debug)]
pub(super) struct Chain {
    blocks: HashMap<BlockId, Kept>,
    /// The chain of the tip, by height.
    main: Vec<BlockId>,
}

impl Chain {
    pub(super) fn new(genesis: Block) -> Self {
        let id = genesis.header.id;
        let kept = Kept {
            block: genesis,
            height: 0,
            has_body: true,
        };
        Self {
            blocks: HashMap::from([(id, kept)]),
            main: vec![id],
        }
    }

    pub(super) fn add(&mut self, block: Block) {
        let parent = block
            .header
            .parent
            .expect("only the first block has no parent");
        let height = self.blocks[&parent].height + 1;
        let kept = Kept {
            block,
            height,
            has_body: true,
        };
        self.blocks.entry(kept.block.header.id).or_insert(kept);
    }

    pub(super) fn set_tip(&mut self, tip: BlockId) {
        let mut path = Vec::new();
        let mut id = tip;
        let joined = loop {
            let kept = &self.blocks[&id];
            let height = usize::try_from(kept.height).expect("a chain that fits the memory");
            if self.main.get(height) == Some(&id) {
                break height;
            }
            path.push(id);
            let parent = kept.block.header.parent;
            id = parent.expect("all blocks have one genesis");
        };
        self.main.truncate(joined + 1);
        self.main.extend(path.into_iter().rev());
    }

    pub(super) fn genesis(&self) -> BlockId {
        self.main[0]
    }

    pub(super) fn height(&self) -> u64 {
        self.main.len() as u64 - 1
    }

    pub(super) fn tip(&self) -> &Block {
        self.at(self.height())
    }

    pub(super) fn at(&self, height: u64) -> &Block {
        let index = usize::try_from(height).expect("a chain that fits the memory");
        &self.blocks[&self.main[index]].block
    }

    pub(super) fn header(&self, id: &BlockId) -> Option<&Header> {
        self.blocks.get(id).map(|kept| &kept.block.header)
    }

    pub(super) fn answer(&self, id: &BlockId) -> BlockAnswer {
        match self.blocks.get(id) {
            Some(kept) if kept.has_body => BlockAnswer::Found(kept.block.clone()),
            Some(kept) => BlockAnswer::BodyUnavailable(kept.block.header.clone()),
            None => BlockAnswer::Unknown,
        }
    }

    pub(super) fn lose_body(&mut self, id: BlockId) {
        self.blocks
            .entry(id)
            .and_modify(|kept| kept.has_body = false);
    }

    pub(super) fn ancestry(&self, from: BlockId, end: AncestryEnd) -> Vec<Header> {
        let mut headers: Vec<Header> = Vec::new();
        let mut next = Some(from);
        while let Some(header) = next.and_then(|id| self.header(&id)) {
            let ended = headers
                .last()
                .is_some_and(|last| end.until == Some(last.id));
            if ended || headers.len() >= end.headers_max {
                break;
            }
            next = header.parent;
            headers.push(header.clone());
        }
        headers
    }

    pub(super) fn heights(&self, from: u64, to: u64) -> Vec<Block> {
        let end = to.min(self.height());
        (from..=end).map(|height| self.at(height).clone()).collect()
    }

    /// As nodes with slots do, it never serves genesis.
    pub(super) fn slots(&self, from: u64, to: u64, height_max: u64) -> Vec<Block> {
        let slot = |id: &BlockId| self.blocks[id].block.header.slot.unwrap_or_default();
        let first = self.main.partition_point(|id| slot(id) < from).max(1) as u64;
        let blocks = (first..=height_max).map(|height| self.at(height));
        let blocks = blocks.take_while(|block| slot(&block.header.id) <= to);
        blocks.cloned().collect()
    }

    /// The blocks of the main chain that `other` has not, oldest first.
    pub(super) fn missing_in(&self, other: &Self) -> Vec<Block> {
        let above = self.main.iter().rev();
        let missing = above.take_while(|id| !other.blocks.contains_key(*id));
        let mut missing: Vec<_> = missing.map(|id| self.blocks[id].block.clone()).collect();
        missing.reverse();
        missing
    }
}
