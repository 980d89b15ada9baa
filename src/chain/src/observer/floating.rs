//! Floating: headers that were fetched from the top and do not hang together with the graph yet.
//!
//! They are kept from cycle to cycle, so that a branch that is too long for one of them comes in
//! over several. Each is remembered with who served it, so that nobody else is blamed for it.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use crate::{
    graph::Graph,
    id::BlockId,
    model::{Block, Head, Header},
};

/// A header that waits, and who served it.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) header: Header,
    pub(super) block: Option<Arc<Block>>,
    pub(super) served_by: Arc<str>,
}

/// A block whose branch is wanted in the graph.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) tip: BlockId,
    /// Who has it as its head, and what each of them says of it.
    pub(super) told: Vec<(Arc<str>, Head)>,
    /// One request goes no further than to this block.
    pub(super) until: Option<BlockId>,
    /// Nor do all of them: nothing is known yet that is below.
    pub(super) ends_there: bool,
    pub(super) headers_max: usize,
    /// When it was told.
    pub(super) at: SystemTime,
}

/// What comes next for a branch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is in the graph.
    Known,
    /// This block is to be asked for.
    Ask(BlockId),
    /// Its lowest block has its parent in the graph, or needs none.
    Join,
    /// There is no more of it to be had: its lowest block needs a height.
    Ended,
}

/// All that floats.
#[derive(Debug, Default)]
pub(super) struct Floating {
    held: HashMap<BlockId, Held>,
}

impl Floating {
    pub(super) fn hold(&mut self, held: Held) {
        self.held.entry(held.header.id).or_insert(held);
    }

    pub(super) fn take(&mut self, id: &BlockId) -> Option<Held> {
        self.held.remove(id)
    }

    pub(super) fn get(&self, id: &BlockId) -> Option<&Held> {
        self.held.get(id)
    }

    /// Forgets what this node served: nothing of it is to be believed.
    pub(super) fn forget_of(&mut self, node: &str) {
        self.held.retain(|_, held| &*held.served_by != node);
    }

    /// The blocks that are held from `tip` downwards, newest first, and at most `count_max`: what
    /// was made up may go round in a circle.
    pub(super) fn path(&self, tip: BlockId, count_max: usize) -> Vec<BlockId> {
        let first = self.held.get(&tip);
        let down = std::iter::successors(first, |held| self.held.get(&held.header.parent?));
        down.take(count_max).map(|held| held.header.id).collect()
    }

    /// What comes next for `wanted`; `nobody_has` says of which blocks there is no hope.
    pub(super) fn next(
        &self,
        wanted: &Wanted,
        graph: &Graph,
        nobody_has: impl Fn(&BlockId) -> bool,
    ) -> Next {
        if graph.contains(&wanted.tip) {
            return Next::Known;
        }
        let path = self.path(wanted.tip, wanted.headers_max);
        let Some(oldest) = path.last().and_then(|id| self.held.get(id)) else {
            return Next::Ask(wanted.tip);
        };
        let Some(parent) = oldest.header.parent else {
            return Next::Join;
        };
        let at_end = wanted.ends_there && wanted.until == Some(oldest.header.id);
        if graph.contains(&parent) {
            Next::Join
        } else if at_end || path.len() >= wanted.headers_max || nobody_has(&parent) {
            Next::Ended
        } else {
            Next::Ask(parent)
        }
    }

    /// Keeps no more than `count_max`, and rather what is below these tips.
    pub(super) fn bound(&mut self, tips: impl Iterator<Item = BlockId>, count_max: usize) {
        if self.held.len() <= count_max {
            return;
        }
        let mut kept = HashMap::new();
        for tip in tips {
            for id in self.path(tip, count_max) {
                if let Some(held) = self.held.get(&id).filter(|_| kept.len() < count_max) {
                    kept.insert(id, held.clone());
                }
            }
        }
        self.held = kept;
    }
}
