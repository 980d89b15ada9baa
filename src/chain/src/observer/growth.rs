//! Growth: puts headers into the graph, and decides at which height what hangs in the air begins.
//!
//! Where the graph begins is what most of those say who tell of it, so that one node that boasts
//! moves nobody. What cannot be is held against who served it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use super::{
    branch::Headers,
    event::ChainEvent,
    floating::{Held, Wanted},
    state::{ChainState, Seen},
};
use crate::{
    agreement::majority_of,
    graph::{Grown, HEIGHT_MAX},
    id::BlockId,
    model::{Block, Header},
};

impl ChainState {
    /// Takes a block of which only the chain is known, not the height.
    pub(super) fn take(&mut self, header: Header, block: Option<Arc<Block>>, seen: &Seen) {
        let grown = self.orphans.grow(&mut self.graph, header, block);
        self.grown(grown, seen);
    }

    /// Takes a block at a height that is known otherwise.
    pub(super) fn anchor(
        &mut self,
        header: Header,
        block: Option<Arc<Block>>,
        height: u64,
        seen: &Seen,
    ) {
        let refused = self.graph.anchor(header.clone(), height).err();
        if let Some(refused) = refused {
            self.blamed(&seen.served_by, refused.to_string());
            return;
        }
        let place = self.graph.place(&header.id);
        if let Some(block) = block {
            self.graph.fill(block);
        }
        let mut grown = Grown::default();
        for (child, block) in self.orphans.adopt(&header.id) {
            let more = self.orphans.grow(&mut self.graph, child, block);
            grown.added.extend(more.added);
            grown.refused.extend(more.refused);
        }
        grown.added.splice(0..0, place);
        self.grown(grown, seen);
    }

    fn grown(&mut self, grown: Grown, seen: &Seen) {
        for refused in grown.refused {
            self.blamed(&seen.served_by, refused.to_string());
        }
        for block in grown.added {
            self.events.push(ChainEvent::BlockSeen {
                node: Arc::clone(&seen.node),
                block,
                at: seen.at,
                live: seen.live,
            });
            self.fold(&block.id);
        }
    }

    /// Keeps headers until it is known where they belong.
    pub(super) fn hold(&mut self, headers: Headers, served_by: &Arc<str>) {
        let mut block = headers.block;
        for header in headers.headers {
            if self.graph.contains(&header.id) {
                return;
            }
            self.floating.hold(Held {
                header,
                block: block.take(),
                served_by: Arc::clone(served_by),
            });
        }
    }

    /// Takes the blocks of a branch whose lowest one has its parent in the graph. Returns whether
    /// any was taken.
    pub(super) fn join(&mut self, wanted: &Wanted) -> bool {
        let path = self.floating.path(wanted.tip, wanted.headers_max);
        let mut joined = false;
        for id in path.into_iter().rev() {
            let Some(held) = self.floating.take(&id) else {
                break;
            };
            let seen = seen(wanted, &held);
            self.take(held.header, held.block, &seen);
            if !self.graph.contains(&id) {
                break;
            }
            joined = true;
        }
        joined
    }

    /// Anchors branches of which there is no more to be had, at the heights that most of `running`
    /// nodes give them; or, once `all_have_spoken`, most of those who said anything. Returns
    /// whether the graph has more than before.
    pub(super) fn anchor_ended(
        &mut self,
        ended: &[Wanted],
        running: usize,
        all_have_spoken: bool,
    ) -> bool {
        let mut roots: BTreeMap<BlockId, Votes> = BTreeMap::new();
        for wanted in ended {
            let path = self.floating.path(wanted.tip, wanted.headers_max);
            let Some((root, below)) = path.last().map(|root| (*root, path.len() as u64 - 1)) else {
                continue;
            };
            let new = || Votes::new(wanted.clone());
            let votes = roots.entry(root).or_insert_with(new);
            for (name, head) in &wanted.told {
                if head.height > HEIGHT_MAX {
                    self.blamed(name, format!("no chain has the height {}", head.height));
                } else if let Some(height) = head.height.checked_sub(below) {
                    votes.add(height, name);
                }
            }
        }
        let mut changed = false;
        for (root, mut votes) in roots {
            let Some(held) = self.floating.get(&root) else {
                continue;
            };
            let own = held.header.height.filter(|own| *own <= HEIGHT_MAX);
            if let Some(own) = own {
                votes.add(own, &held.served_by);
            }
            let Some((height, count)) = votes.most(own) else {
                continue;
            };
            if all_have_spoken || count >= majority_of(running) {
                changed |= self.anchor_root(root, height, &votes.wanted);
            }
        }
        changed
    }

    fn anchor_root(&mut self, root: BlockId, height: u64, wanted: &Wanted) -> bool {
        let Some(held) = self.floating.take(&root) else {
            return false;
        };
        let seen = seen(wanted, &held);
        if let (1, Some(parent)) = (height, held.header.parent)
            && self.is_genesis(&parent)
        {
            // Few nodes serve the genesis block: the first block that is served names it.
            self.take(Header::new(parent, None), None, &seen);
            self.take(held.header, held.block, &seen);
        } else {
            self.anchor(held.header, held.block, height, &seen);
        }
        self.graph.contains(&root)
    }

    /// The genesis block, as most of the nodes that run have it.
    pub(super) fn genesis(&self) -> Option<BlockId> {
        let mut votes: BTreeMap<BlockId, usize> = BTreeMap::new();
        let running = self.nodes.values().filter(|node| node.is_running());
        for genesis in running.filter_map(|node| node.identity.as_ref()?.genesis) {
            *votes.entry(genesis).or_default() += 1;
        }
        let most = votes.into_iter().max_by_key(|(_, count)| *count);
        most.map(|(genesis, _)| genesis)
    }

    /// Whether this may be the genesis block: nobody says that it is another one.
    pub(super) fn is_genesis(&self, id: &BlockId) -> bool {
        self.genesis().is_none_or(|genesis| genesis == *id)
    }

    /// Holds against a node what it served, and believes nothing else of it that waits.
    fn blamed(&mut self, name: &Arc<str>, why: String) {
        self.blamed.insert(Arc::clone(name));
        self.floating.forget_of(name);
        self.contradicted(name, why);
    }

    pub(super) fn contradicted(&mut self, name: &Arc<str>, why: String) {
        let why: Arc<str> = why.into();
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        if node.contradiction.as_ref() != Some(&why) {
            node.contradiction = Some(Arc::clone(&why));
            let node = Arc::clone(name);
            self.events.push(ChainEvent::Contradiction { node, why });
        }
    }
}

/// Which height each node gives to the lowest block of some branches.
struct Votes {
    by_height: BTreeMap<u64, BTreeSet<Arc<str>>>,
    wanted: Wanted,
}

impl Votes {
    fn new(wanted: Wanted) -> Self {
        let by_height = BTreeMap::new();
        Self { by_height, wanted }
    }

    fn add(&mut self, height: u64, name: &Arc<str>) {
        let who = self.by_height.entry(height).or_default();
        who.insert(Arc::clone(name));
    }

    /// The height with the most votes, and how many. Of two with as many it is the one that came
    /// with the header, and else the lower one: what is too low holds nothing back.
    fn most(&self, own: Option<u64>) -> Option<(u64, usize)> {
        let votes = self
            .by_height
            .iter()
            .map(|(height, who)| (*height, who.len()));
        votes.max_by_key(|(height, count)| (*count, own == Some(*height), Reverse(*height)))
    }
}

fn seen(wanted: &Wanted, held: &Held) -> Seen {
    let teller = wanted.told.first().map(|(name, _)| name);
    Seen {
        node: Arc::clone(teller.unwrap_or(&held.served_by)),
        served_by: Arc::clone(&held.served_by),
        at: wanted.at,
        live: true,
    }
}

impl Seen {
    /// Blocks that were old when this node served them.
    pub(super) fn old(node: &Arc<str>) -> Self {
        Self {
            node: Arc::clone(node),
            served_by: Arc::clone(node),
            at: SystemTime::now(),
            live: false,
        }
    }
}
