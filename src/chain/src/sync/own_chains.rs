//! Own chains: what each node itself says is below its tip.
//!
//! What one node says of a block proves nothing of the chain of another that has the same tip. So
//! each is asked for its own ancestry, and a block is on its chain when it named it there itself.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use tokio::time::timeout;

use crate::{
    id::BlockId,
    model::Header,
    source::{AncestryEnd, ChainSource},
    view::{ChainView, NodeView},
};

/// How many blocks below its tip a node is asked for at first.
const WINDOW: usize = 512;
/// How many of them are kept, and how far down two chains are compared.
const BLOCKS_MAX: usize = 1 << 15;

/// The chains of several nodes, by the names of their sources.
#[derive(Clone, Debug, Default)]
pub struct OwnChains(BTreeMap<Arc<str>, OwnChain>);

/// What one node said: its tip, and blocks below it without a gap.
#[derive(Clone, Debug)]
pub struct OwnChain {
    tip: Header,
    /// Oldest first.
    blocks: VecDeque<BlockId>,
    /// Where each block is; positions grow by one with every block and may be below zero.
    positions: HashMap<BlockId, i64>,
    /// The parent of the oldest, unless that is the first block of the chain.
    below: Option<BlockId>,
    /// The node names nothing further down.
    ends: bool,
}

impl OwnChain {
    /// A chain of these headers, newest first. `None` when they do not hang together.
    pub(super) fn new(headers: &[Header]) -> Option<Self> {
        let mut chain = Self {
            tip: headers.first()?.clone(),
            blocks: VecDeque::new(),
            positions: HashMap::new(),
            below: Some(headers.first()?.id),
            ends: false,
        };
        chain.extend_below(headers).then_some(chain)
    }

    pub(super) fn tip(&self) -> &Header {
        &self.tip
    }

    pub(super) fn newest_first(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.blocks.iter().rev().copied()
    }

    /// How many blocks are on top of `block`; `None` when it was not named.
    pub(super) fn above(&self, block: &BlockId) -> Option<u64> {
        let (tip, at) = (
            self.positions.get(&self.tip.id)?,
            self.positions.get(block)?,
        );
        u64::try_from(tip - at).ok()
    }

    /// Whether more can be asked for, below what is known.
    fn goes_deeper(&self) -> bool {
        self.below.is_some() && !self.ends && self.blocks.len() < BLOCKS_MAX
    }

    /// How high the tip is, when the node named every block down to the first one.
    pub(super) fn height(&self) -> Option<u64> {
        let whole = self.below.is_none();
        whole.then(|| self.blocks.len() as u64 - 1)
    }

    /// The same chain with a new tip, of which the node named `headers`, newest first. What it left
    /// is forgotten.
    fn moved_to(mut self, headers: &[Header]) -> Option<Self> {
        let new = Self::new(headers)?;
        let joint = headers
            .iter()
            .map(|header| header.id)
            .chain(new.below)
            .find(|id| self.positions.contains_key(id));
        let Some(joint) = joint else {
            return Some(new);
        };
        while let Some(left) = self.blocks.pop_back_if(|newest| *newest != joint) {
            self.positions.remove(&left);
        }
        let mut position = self.positions[&joint];
        let newer = headers.iter().take_while(|header| header.id != joint);
        let newer: Vec<BlockId> = newer.map(|header| header.id).collect();
        for id in newer.into_iter().rev() {
            position += 1;
            self.positions.insert(id, position);
            self.blocks.push_back(id);
        }
        while self.blocks.len() > BLOCKS_MAX {
            let oldest = self.blocks.pop_front()?;
            self.positions.remove(&oldest);
            self.below = Some(oldest);
        }
        self.tip = new.tip;
        Some(self)
    }

    /// Takes `headers`, newest first, that go on below; `false` when they do not.
    fn extend_below(&mut self, headers: &[Header]) -> bool {
        for header in headers {
            if self.below != Some(header.id) {
                return false;
            }
            let oldest = self.blocks.front().map(|oldest| self.positions[oldest]);
            let position = oldest.map_or(0, |oldest| oldest - 1);
            if self.positions.insert(header.id, position).is_some() {
                return false;
            }
            self.blocks.push_front(header.id);
            self.below = header.parent;
        }
        true
    }
}

impl OwnChains {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The chain of `node`, if it named one below the tip that it told last.
    pub(super) fn of(&self, node: &NodeView) -> Option<&OwnChain> {
        let chain = self.0.get(&node.name)?;
        let tip = node.reported.as_ref()?.tip;
        (chain.tip.id == tip).then_some(chain)
    }

    #[cfg(test)]
    pub(super) fn insert(&mut self, name: &str, chain: OwnChain) {
        self.0.insert(name.into(), chain);
    }

    /// Asks each of `sources` that runs for what is below its tip, where that is new. One that does
    /// not answer `within` has no chain until it does.
    pub(super) async fn gather(
        &mut self,
        view: &ChainView,
        sources: impl Iterator<Item = &Arc<dyn ChainSource>>,
        within: Duration,
    ) {
        let new = sources.filter_map(|source| {
            let node = view.node(source.name()).filter(|node| node.is_running())?;
            if self.of(node).is_some() {
                return None;
            }
            let tip = node.reported.as_ref()?.tip;
            let known = self.0.get(source.name()).map(|chain| chain.tip.id);
            Some((source, tip, known))
        });
        let asked = new.map(|(source, tip, until)| async move {
            let end = AncestryEnd {
                until,
                headers_max: WINDOW,
            };
            let answer = timeout(within, source.ancestry(tip, end)).await;
            (source, tip, answer)
        });
        for (source, tip, answer) in join_all(asked.collect::<Vec<_>>()).await {
            let Ok(Ok(headers)) = answer else {
                continue;
            };
            let old = self.0.remove(source.name());
            if headers.first().is_none_or(|header| header.id != tip) {
                continue;
            }
            let chain = match old {
                Some(old) => old.moved_to(&headers),
                None => OwnChain::new(&headers),
            };
            if let Some(chain) = chain {
                self.0.insert(source.name().into(), chain);
            }
        }
    }

    /// Asks each of `sources` for as many blocks again below those that it named. Says whether any
    /// chain became longer.
    pub(super) async fn deepen(
        &mut self,
        sources: impl Iterator<Item = &Arc<dyn ChainSource>>,
        within: Duration,
    ) -> bool {
        let deeper = sources.filter_map(|source| {
            let chain = self.0.get(source.name())?;
            let from = chain.below.filter(|_| chain.goes_deeper())?;
            Some((source, from, chain.blocks.len()))
        });
        let asked = deeper.map(|(source, from, headers_max)| async move {
            let end = AncestryEnd {
                until: None,
                headers_max,
            };
            (source, timeout(within, source.ancestry(from, end)).await)
        });
        let mut longer = false;
        for (source, answer) in join_all(asked.collect::<Vec<_>>()).await {
            if let (Ok(Ok(headers)), Some(chain)) = (answer, self.0.get_mut(source.name())) {
                let before = chain.blocks.len();
                // What does not hang together ends the chain where it did.
                chain.ends = !chain.extend_below(&headers) || headers.is_empty();
                longer |= chain.blocks.len() > before;
            }
        }
        longer
    }

    /// Whether blocks further down can be asked for.
    pub(super) fn goes_deeper(&self, node: &NodeView) -> bool {
        self.of(node).is_some_and(OwnChain::goes_deeper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generated::{Tree, id};

    fn headers(tree: &Tree, tip: usize, count: usize) -> Vec<Header> {
        let chain = tree.chain(tip).into_iter().take(count);
        chain.map(|block| tree.header(block)).collect()
    }

    fn named(chain: &OwnChain) -> Vec<BlockId> {
        chain.newest_first().collect()
    }

    #[test]
    fn a_chain_moves_with_its_tip_and_forgets_what_it_left() {
        // 0 - 1 - 2 - 3 - 4 - 5, and 6 - 7 on top of 3.
        let tree = Tree::of_parents([0, 1, 2, 3, 4, 3, 6]);
        let chain = OwnChain::new(&headers(&tree, 5, 4)).unwrap();
        assert_eq!(named(&chain), [5, 4, 3, 2].map(id));
        assert_eq!(chain.above(&id(3)), Some(2));

        let chain = chain.moved_to(&headers(&tree, 7, 3)).unwrap();
        assert_eq!(named(&chain), [7, 6, 3, 2].map(id));
        assert_eq!((chain.above(&id(2)), chain.above(&id(5))), (Some(3), None));
    }

    #[test]
    fn headers_that_do_not_hang_together_are_no_chain() {
        let tree = Tree::chain_of(6);
        let mut gap = headers(&tree, 5, 4);
        gap.remove(1);
        assert!(OwnChain::new(&gap).is_none());
        let round = [(5, 4), (4, 5), (5, 4)];
        let round = round.map(|(block, parent)| Header::new(id(block), Some(id(parent))));
        assert!(OwnChain::new(&round).is_none());
        assert!(OwnChain::new(&[]).is_none());
        let chain = OwnChain::new(&headers(&tree, 3, 2)).unwrap();
        let back = [Header::new(id(5), Some(id(2))), tree.header(2)];
        assert_eq!(named(&chain.moved_to(&back).unwrap()), [5, 2].map(id));
    }
}
