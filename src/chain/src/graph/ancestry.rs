//! Ancestry: how two blocks of the graph are related, in steps that grow with the logarithm of
//! their distance.
//!
//! Each entry knows one ancestor far away, chosen so that from any block any height is reached in
//! logarithmic steps (the jump pointers of a skew-binary list). What was pruned or never fetched
//! makes an answer unknown, and unknown is never taken for "no".

use super::{Entry, Graph, Place};
use crate::id::BlockId;

/// How two blocks are related.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// They are one block.
    Same,
    /// The first is this many blocks before the second, on its chain.
    Before(u64),
    /// The first is this many blocks after the second, on one chain.
    After(u64),
    /// They are on two branches that part after this block.
    Forked(Place),
    /// The graph does not reach back to where they would meet, or lacks one of them.
    Unknown,
}

impl Graph {
    /// The jump of a child of `parent`.
    pub(super) fn jump_over(&self, parent: &Entry) -> Place {
        let near = parent.jump;
        let far = self.entry(&near.id).map(|entry| entry.jump);
        match far {
            Some(far) if parent.height - near.height == near.height - far.height => far,
            _ => parent.place(),
        }
    }

    /// The block at `height` on the chain that ends with `id`.
    pub fn ancestor_at(&self, id: &BlockId, height: u64) -> Option<Place> {
        let mut entry = self.entry(id)?;
        while entry.height > height {
            let jump = entry.jump;
            let far = (jump.height >= height && jump.height < entry.height)
                .then(|| self.entry(&jump.id))
                .flatten();
            entry = match far {
                Some(far) => far,
                None => self.entry(entry.header.parent.as_ref()?)?,
            };
        }
        (entry.height == height).then(|| entry.place())
    }

    /// Whether `ancestor` is `id` or before it on its chain; `None` when the graph cannot tell.
    pub fn is_on_chain_of(&self, ancestor: &BlockId, id: &BlockId) -> Option<bool> {
        if ancestor == id {
            return self.contains(id).then_some(true);
        }
        let (ancestor, entry) = (self.entry(ancestor)?, self.entry(id)?);
        if ancestor.height >= entry.height {
            return Some(false);
        }
        let there = self.ancestor_at(id, ancestor.height)?;
        Some(there.id == ancestor.header.id)
    }

    /// The last block that both chains have; `None` when the graph does not reach back to it.
    pub fn common_ancestor(&self, one: &BlockId, other: &BlockId) -> Option<Place> {
        let level = self.entry(one)?.height.min(self.entry(other)?.height);
        let mut a = self.entry(&self.ancestor_at(one, level)?.id)?;
        let mut b = self.entry(&self.ancestor_at(other, level)?.id)?;
        while a.header.id != b.header.id {
            let apart = a.jump.height == b.jump.height
                && a.jump.height < a.height
                && a.jump.id != b.jump.id;
            let jumped = apart
                .then(|| Some((self.entry(&a.jump.id)?, self.entry(&b.jump.id)?)))
                .flatten();
            (a, b) = match jumped {
                Some(far) => far,
                None => (
                    self.entry(a.header.parent.as_ref()?)?,
                    self.entry(b.header.parent.as_ref()?)?,
                ),
            };
        }
        Some(a.place())
    }

    /// How `one` is related to `other`.
    pub fn relation(&self, one: &BlockId, other: &BlockId) -> Relation {
        let (Some(a), Some(b)) = (self.place(one), self.place(other)) else {
            return Relation::Unknown;
        };
        match self.common_ancestor(one, other) {
            _ if one == other => Relation::Same,
            Some(common) if common == a => Relation::Before(b.height - a.height),
            Some(common) if common == b => Relation::After(a.height - b.height),
            Some(common) => Relation::Forked(common),
            None => Relation::Unknown,
        }
    }

    /// How many blocks a node on `from` has to leave to get to `to`: 0 when it is on its chain.
    pub fn fork_depth(&self, from: &BlockId, to: &BlockId) -> Option<u64> {
        let common = self.common_ancestor(from, to)?;
        Some(self.place(from)?.height - common.height)
    }

    /// The blocks after `ancestor` up to `tip`, oldest first; `None` when `ancestor` is not on the
    /// chain of `tip`, or the graph cannot tell.
    pub fn path(&self, ancestor: &BlockId, tip: &BlockId) -> Option<Vec<BlockId>> {
        let below = self.entry(ancestor)?.height;
        let mut path = Vec::new();
        let mut entry = self.entry(tip)?;
        while entry.height > below {
            path.push(entry.header.id);
            entry = self.entry(entry.header.parent.as_ref()?)?;
        }
        path.reverse();
        (entry.header.id == *ancestor).then_some(path)
    }

    /// The entries from `tip` back to where the graph begins, newest first.
    pub fn chain(&self, tip: &BlockId) -> impl Iterator<Item = &Entry> {
        let first = self.entry(tip);
        std::iter::successors(first, |entry| self.entry(entry.header.parent.as_ref()?))
            .map(AsRef::as_ref)
    }
}
