//! Graph: the headers that were seen, on all branches, each with its height.
//!
//! Heights are counted forward, from genesis or from an anchor whose height is known, so that no
//! node has to be believed for each block. A header whose parent is not here is not taken: it
//! waits in `orphans`. Questions of ancestry are in `ancestry`. Who is at which block is not here
//! but in `view`.
//!
//! A clone shares all of its structure with what it was cloned from: a snapshot costs nothing, and
//! a block costs itself.

mod ancestry;
mod orphans;

use std::{fmt, sync::Arc};

use rpds::{HashTrieMapSync, HashTrieSetSync, RedBlackTreeMapSync};
use thiserror::Error;

pub use self::{
    ancestry::Relation,
    orphans::{Grown, Orphan, Orphans},
};
use crate::{
    id::BlockId,
    model::{Block, Header},
};

/// No chain is higher: what is above is made up, and counting on from it must not overflow.
pub(crate) const HEIGHT_MAX: u64 = 1 << 48;

/// A block and its height.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// How many blocks are before it.
    pub height: u64,
    /// The block.
    pub id: BlockId,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { height, id } = self;
        write!(f, "{} (height {height})", id.short())
    }
}

/// A header in the graph.
#[derive(Debug)]
pub struct Entry {
    /// As the source gave it.
    pub header: Header,
    /// Counted from the anchor.
    pub height: u64,
    /// What is in the block, once a source gave it.
    pub block: Option<Arc<Block>>,
    /// An ancestor far away, by which ancestry is faster than parent by parent.
    jump: Place,
}

impl Entry {
    /// Where it is.
    pub fn place(&self) -> Place {
        Place {
            height: self.height,
            id: self.header.id,
        }
    }
}

/// What became of a header that was given to the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Inserted {
    /// It is in, at this height.
    Added(u64),
    /// It was in already.
    Known,
    /// Its parent is not in the graph.
    Orphan,
    /// It is below what the graph still holds.
    Below,
}

/// Why a header cannot be where its source says that it is.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum GraphError {
    /// The height that came with it does not follow from its parent's.
    #[error("block {id} is said to be at height {claimed}, and its parent makes it {counted}")]
    ImpossibleHeight {
        /// The block.
        id: BlockId,
        /// What the source said.
        claimed: u64,
        /// What the graph counted.
        counted: u64,
    },
    /// It would join two parts of the graph whose heights do not fit.
    #[error("block {id} at height {height} is the parent of an anchor at height {anchor}")]
    AnchorsDisagree {
        /// The block.
        id: BlockId,
        /// Its height.
        height: u64,
        /// The height that its child was anchored at.
        anchor: u64,
    },
    /// No chain is that long.
    #[error("block {id} is said to be at height {height}, which no chain has")]
    TooHigh {
        /// The block.
        id: BlockId,
        /// What the source said.
        height: u64,
    },
}

/// Headers of all branches, within the bound that [`prune_below`](Self::prune_below) keeps.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    entries: HashTrieMapSync<BlockId, Arc<Entry>>,
    at_height: RedBlackTreeMapSync<u64, Vec<BlockId>>,
    leaves: HashTrieSetSync<BlockId>,
    /// Parents of anchors that are not in the graph, and the heights of those anchors.
    missing: HashTrieMapSync<BlockId, u64>,
    floor: u64,
}

impl Graph {
    /// A graph with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a header whose parent is in the graph, or that is a genesis block.
    pub fn insert(&mut self, header: Header) -> Result<Inserted, GraphError> {
        self.insert_with(header, None)
    }

    /// Like [`insert`](Self::insert), with what is in the block.
    pub fn insert_with(
        &mut self,
        header: Header,
        block: Option<Arc<Block>>,
    ) -> Result<Inserted, GraphError> {
        if self.contains(&header.id) {
            if let Some(block) = block {
                self.fill(block);
            }
            return Ok(Inserted::Known);
        }
        let parent = header.parent.map(|parent| self.entry(&parent).cloned());
        let (height, jump) = match parent {
            None => (0, None),
            Some(None) => {
                let below = header.height.is_some_and(|height| height < self.floor);
                return Ok(if below {
                    Inserted::Below
                } else {
                    Inserted::Orphan
                });
            }
            Some(Some(parent)) => (parent.height + 1, Some(self.jump_over(&parent))),
        };
        self.put(header, height, jump, block)
    }

    /// Takes a header whose parent need not be in the graph, at a height that is known otherwise:
    /// where the graph begins.
    pub fn anchor(&mut self, header: Header, height: u64) -> Result<Inserted, GraphError> {
        let linked = header.parent.is_none_or(|parent| self.contains(&parent));
        if linked || self.contains(&header.id) {
            return self.insert(header);
        }
        let parent = header.parent;
        let inserted = self.put(header, height, None, None)?;
        if let (Some(parent), Inserted::Added(_)) = (parent, inserted) {
            self.missing.insert_mut(parent, height);
        }
        Ok(inserted)
    }

    fn put(
        &mut self,
        header: Header,
        height: u64,
        jump: Option<Place>,
        block: Option<Arc<Block>>,
    ) -> Result<Inserted, GraphError> {
        let id = header.id;
        if let Some(claimed) = header.height.filter(|claimed| *claimed != height) {
            return Err(GraphError::ImpossibleHeight {
                id,
                claimed,
                counted: height,
            });
        }
        if height > HEIGHT_MAX {
            return Err(GraphError::TooHigh { id, height });
        }
        if height < self.floor {
            return Ok(Inserted::Below);
        }
        let joins = self.missing.get(&id).copied();
        if let Some(anchor) = joins.filter(|anchor| *anchor != height + 1) {
            return Err(GraphError::AnchorsDisagree { id, height, anchor });
        }
        if joins.is_some() {
            self.missing.remove_mut(&id);
        } else {
            self.leaves.insert_mut(id);
        }
        if let Some(parent) = &header.parent {
            self.leaves.remove_mut(parent);
        }
        let mut level = self.at_height.get(&height).cloned().unwrap_or_default();
        level.push(id);
        self.at_height.insert_mut(height, level);
        let entry = Entry {
            header,
            height,
            block,
            jump: jump.unwrap_or(Place { height, id }),
        };
        self.entries.insert_mut(id, Arc::new(entry));
        Ok(Inserted::Added(height))
    }

    /// Adds what is in the block to its header. Does nothing when the header is not here.
    pub fn fill(&mut self, block: Arc<Block>) {
        let Some(entry) = self.entries.get(&block.header.id) else {
            return;
        };
        if entry.block.is_some() {
            return;
        }
        let filled = Entry {
            header: entry.header.clone(),
            height: entry.height,
            jump: entry.jump,
            block: Some(block),
        };
        self.entries.insert_mut(filled.header.id, Arc::new(filled));
    }

    /// Whether this block's header is here.
    pub fn contains(&self, id: &BlockId) -> bool {
        self.entries.contains_key(id)
    }

    /// The header with this id.
    pub fn entry(&self, id: &BlockId) -> Option<&Arc<Entry>> {
        self.entries.get(id)
    }

    /// Where this block is.
    pub fn place(&self, id: &BlockId) -> Option<Place> {
        self.entry(id).map(|entry| entry.place())
    }

    /// All blocks at this height, on all branches, in the order in which they came.
    pub fn at_height(&self, height: u64) -> &[BlockId] {
        self.at_height.get(&height).map_or(&[], Vec::as_slice)
    }

    /// The last block of each branch, the highest first.
    pub fn branches(&self) -> Vec<Place> {
        let mut tips: Vec<_> = self.leaves.iter().filter_map(|id| self.place(id)).collect();
        tips.sort_unstable_by(|a, b| b.cmp(a));
        tips
    }

    /// How many headers are here.
    pub fn len(&self) -> usize {
        self.entries.size()
    }

    /// Whether no header is here.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The height of the highest block, `None` when there is none.
    pub fn highest(&self) -> Option<u64> {
        self.at_height.last().map(|(height, _)| *height)
    }

    /// The height below which nothing is held.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Forgets all that is below `floor`, and returns it, the lowest first. Costs what it forgets.
    /// A floor never sinks.
    pub fn prune_below(&mut self, floor: u64) -> Vec<Arc<Entry>> {
        let mut pruned = Vec::new();
        self.floor = self.floor.max(floor);
        while let Some((&height, level)) = self.at_height.first() {
            if height >= self.floor {
                break;
            }
            let level = level.clone();
            self.at_height.remove_mut(&height);
            for id in level {
                pruned.extend(self.forget(&id));
            }
        }
        pruned
    }

    /// Forgets the branch that ends with `leaf`, down to where another one parts from it or to a
    /// block that is to be kept, and returns it.
    pub(crate) fn forget_branch(
        &mut self,
        leaf: &BlockId,
        keep: impl Fn(&BlockId) -> bool,
    ) -> Vec<Arc<Entry>> {
        let mut forgotten = Vec::new();
        let mut next = Some(*leaf);
        while let Some(id) = next.filter(|id| self.leaves.contains(id) && !keep(id)) {
            let Some(entry) = self.forget(&id) else {
                break;
            };
            let mut level = self.at_height(entry.height).to_vec();
            level.retain(|other| *other != id);
            if level.is_empty() {
                self.at_height.remove_mut(&entry.height);
            } else {
                self.at_height.insert_mut(entry.height, level);
            }
            next = entry.header.parent.filter(|parent| self.contains(parent));
            if let Some(parent) = next.filter(|parent| !self.has_child(parent, entry.height)) {
                self.leaves.insert_mut(parent);
            }
            forgotten.push(entry);
        }
        forgotten
    }

    fn has_child(&self, parent: &BlockId, height: u64) -> bool {
        let above = self.at_height(height).iter();
        let mut above = above.filter_map(|id| self.entry(id));
        above.any(|entry| entry.header.parent == Some(*parent))
    }

    fn forget(&mut self, id: &BlockId) -> Option<Arc<Entry>> {
        let entry = self.entries.get(id).cloned()?;
        self.entries.remove_mut(id);
        self.leaves.remove_mut(id);
        if let Some(parent) = &entry.header.parent {
            self.missing.remove_mut(parent);
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests;
