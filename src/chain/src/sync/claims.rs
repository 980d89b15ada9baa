//! Claims: which blocks enough peers say that they have, and at which height. Pure.

use std::{collections::BTreeMap, sync::Arc};

use super::own_chains::{OwnChain, OwnChains};
use crate::{graph::Place, id::BlockId, view::NodeView};

/// What one peer says of its own chain.
#[derive(Clone, Copy)]
pub(super) struct Claim<'a> {
    pub(super) node: &'a NodeView,
    pub(super) chain: &'a OwnChain,
}

impl Claim<'_> {
    /// Where its tip is.
    pub(super) fn head(&self) -> Place {
        Place {
            height: self.node.height().unwrap_or_default(),
            id: self.chain.tip().id,
        }
    }

    /// At which height `block` is, going by the height of the tip. Below zero where that cannot be.
    fn height_of(&self, block: &BlockId) -> Option<i128> {
        let above = self.chain.above(block)?;
        Some(i128::from(self.node.height()?) - i128::from(above))
    }

    pub(super) fn has(&self, block: &BlockId) -> bool {
        self.chain.above(block).is_some()
    }
}

/// The claims of several peers, of which `quorum` have to agree.
pub(super) struct Claims<'a> {
    pub(super) all: Vec<Claim<'a>>,
    pub(super) quorum: usize,
}

impl<'a> Claims<'a> {
    /// What those of `nodes` say that named what is below their tips.
    pub(super) fn of(nodes: &[&'a NodeView], chains: &'a OwnChains, quorum: usize) -> Self {
        let claims = nodes.iter().filter_map(|node| {
            let chain = chains.of(node)?;
            Some(Claim { node, chain })
        });
        Self {
            all: claims.collect(),
            quorum: quorum.max(1),
        }
    }

    /// Whether enough have `block` on their chains.
    pub(super) fn vouch_for(&self, block: &BlockId) -> bool {
        self.all.iter().filter(|claim| claim.has(block)).count() >= self.quorum
    }

    /// The highest block for which enough vouch.
    pub(super) fn agreed(&self) -> Option<Place> {
        let tops = self.all.iter().filter_map(|claim| {
            let mut chain = claim.chain.newest_first();
            chain.find(|block| self.vouch_for(block))
        });
        let top = tops.reduce(|best, other| {
            if self.is_newer(&other, &best) {
                other
            } else {
                best
            }
        })?;
        Some(self.place(top))
    }

    /// Whether most of those who have both say that `one` is on top of `other`.
    fn is_newer(&self, one: &BlockId, other: &BlockId) -> bool {
        let both = self.all.iter().filter_map(|claim| {
            let (one, other) = (claim.chain.above(one)?, claim.chain.above(other)?);
            Some(one < other)
        });
        let (newer, older): (Vec<bool>, Vec<bool>) = both.partition(|newer| *newer);
        newer.len() > older.len()
    }

    /// A block at the height at which most have it.
    pub(super) fn place(&self, id: BlockId) -> Place {
        let heights = self.heights(&id);
        let most = heights.into_iter().max_by_key(|(_, count)| *count);
        let height = most.and_then(|(height, _)| u64::try_from(height).ok());
        Place {
            height: height.unwrap_or_default(),
            id,
        }
    }

    fn heights(&self, block: &BlockId) -> BTreeMap<i128, usize> {
        let mut heights = BTreeMap::new();
        for height in self.all.iter().filter_map(|claim| claim.height_of(block)) {
            *heights.entry(height).or_default() += 1;
        }
        heights
    }

    /// Why the height that a peer tells cannot be: enough others put a block of its chain elsewhere,
    /// or no two agree where.
    pub(super) fn impossible_height(&self, claim: &Claim<'_>) -> Option<Arc<str>> {
        let told = claim.node.height()?;
        if let Some(height) = claim.chain.height().filter(|height| *height != told) {
            let why = format!("it says that it is at height {told}, and has {height} blocks");
            return Some(why.into());
        }
        let mut disputed = None;
        let vouched = |block: &BlockId| self.vouch_for(block);
        for block in claim.chain.newest_first().filter(vouched) {
            let heights = self.heights(&block);
            let told = claim.height_of(&block)?;
            let most = heights.iter().find(|(_, count)| **count >= self.quorum);
            if let Some((height, _)) = most {
                let why = || {
                    let short = block.short();
                    format!("it puts block {short} at height {told}, and most peers at {height}")
                };
                return (*height != told).then(|| why().into());
            }
            disputed.get_or_insert(block);
        }
        let block = disputed?.short();
        Some(format!("the peers do not agree at which height block {block} is").into())
    }
}
