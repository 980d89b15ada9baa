//! Pruning: what is forgotten, so that memory is bounded by the window whatever nodes say.

use std::collections::HashSet;

use super::{config::ChainObserverConfig, state::ChainState};
use crate::{
    graph::{Entry, Place},
    id::BlockId,
};

impl ChainState {
    /// Forgets what is below the common final block by a bound, or below the heads by a larger one,
    /// and branches that nobody is on when they are too many.
    pub(super) fn prune(&mut self, config: &ChainObserverConfig) {
        self.forget_strays(config);
        let top = self.usual_height();
        let by_window = top.map(|top| top.saturating_sub(config.window_blocks_max));
        let by_final = self.common_final.map(|place| place.height);
        let by_final = by_final.map(|height| height.saturating_sub(config.keep_below_final));
        let Some(floor) = by_window
            .max(by_final)
            .filter(|floor| *floor > self.graph.floor())
        else {
            return;
        };
        let kept = self.kept_at(floor);
        // Walked once, before it is gone: asking for each block would cost its distance.
        let below = kept.as_ref().map(|kept| self.graph.chain(&kept.id).skip(1));
        let on_chain: HashSet<BlockId> = below.into_iter().flatten().map(|e| e.header.id).collect();
        for entry in self.graph.prune_below(floor) {
            self.forget(&entry, on_chain.contains(&entry.header.id));
        }
    }

    /// The block at this height on the chain that counts: what is below it is final, and what is
    /// on other branches is not.
    fn kept_at(&self, floor: u64) -> Option<Place> {
        let caught_up = self.catch_up.as_ref();
        let highest = caught_up.and_then(|_| self.graph.branches().into_iter().next());
        let references = [self.common_final, self.usual_head(), highest];
        let mut references = references.into_iter().flatten();
        references.find_map(|last| self.graph.ancestor_at(&last.id, floor))
    }

    /// The head that half of the nodes that run have reached or passed, so that no single node can
    /// say that all others are far behind.
    fn usual_head(&self) -> Option<Place> {
        let running = self.nodes.values().filter(|node| node.is_running());
        let mut heads: Vec<Place> = running.filter_map(|node| node.head).collect();
        heads.sort_unstable();
        heads.get(heads.len().saturating_sub(1) / 2).copied()
    }

    /// How far the graph is on the chain of most nodes.
    pub(super) fn reached(&self) -> Option<u64> {
        let head = self.usual_head().map(|head| head.height);
        head.max(self.caught_up_to).or(self.graph.highest())
    }

    /// The height of the usual head; while catching up, the height reached.
    fn usual_height(&self) -> Option<u64> {
        if self.catch_up.is_some() {
            return self.graph.highest();
        }
        self.usual_head().map(|head| head.height)
    }

    /// Forgets branches without any node's head: those that hang in the air above all heads, and
    /// the lowest others when there are more than the window and the nodes account for.
    fn forget_strays(&mut self, config: &ChainObserverConfig) {
        let Some(usual) = self.usual_head().filter(|_| self.catch_up.is_none()) else {
            return;
        };
        let nodes = self.nodes.values().filter(|node| node.observed);
        let places = nodes.flat_map(|node| {
            let tip = node.reported.as_ref().map(|head| head.tip);
            let (head, last) = (node.head.map(|it| it.id), node.finalised.map(|it| it.id));
            [tip, head, last]
        });
        let held: HashSet<BlockId> = places.flatten().collect();
        let window = usize::try_from(config.window_blocks_max).unwrap_or(usize::MAX);
        let branches = config
            .branch_blocks_max
            .saturating_mul(self.nodes.len() + 1);
        let entries_max = window.saturating_add(branches);
        for leaf in self.graph.branches().into_iter().rev() {
            let too_many = self.graph.len() > entries_max;
            let in_the_air = leaf.height > usual.height
                && self.graph.common_ancestor(&leaf.id, &usual.id).is_none();
            if (too_many || in_the_air) && !held.contains(&leaf.id) {
                for entry in self.graph.forget_branch(&leaf.id, |id| held.contains(id)) {
                    self.forget(&entry, false);
                }
            }
        }
    }

    fn forget(&mut self, entry: &Entry, is_final: bool) {
        let id = entry.header.id;
        self.unfilled.remove(&id);
        if let Some(ledger) = &mut self.ledger {
            ledger.forget(&id);
        }
        if let Some(block) = &entry.block {
            self.inclusions
                .forget(block, entry.place(), is_final, &mut self.settled);
        }
        for node in self.nodes.values_mut() {
            node.left.remove_mut(&id);
        }
    }
}
