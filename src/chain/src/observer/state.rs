//! Observer state: what has been seen, and the pure folds that bring it up to date.
//!
//! Every finding is written together with its event, with no await in between, so that a cycle that
//! is cut short loses nothing. Nobody is asked anything here.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::SystemTime,
};

use super::{
    branch::Branch, catch_up::CatchUp, config::ChainObserverConfig, event::ChainEvent,
    look::Looked, moves,
};
use crate::{
    agreement::agreed,
    graph::{Entry, Graph, Grown, Orphans, Place},
    id::BlockId,
    inclusion::{Inclusions, SettledOrder},
    ledger::Ledger,
    model::{Block, Header},
    view::{ChainView, NodeView},
};

/// How often a block that no node serves is asked for, before only its header counts.
const FILL_ATTEMPTS_MAX: u32 = 20;

/// What a chain observer remembers.
#[derive(Debug)]
pub struct ChainState {
    pub(super) graph: Graph,
    orphans: Orphans,
    pub(super) ledger: Option<Ledger>,
    inclusions: Inclusions,
    settled: SettledOrder,
    pub(super) nodes: BTreeMap<Arc<str>, NodeView>,
    pub(super) catch_up: Option<CatchUp>,
    /// Blocks in the graph of which only the header is known, and how often they were asked for.
    unfilled: HashMap<BlockId, u32>,
    common_final: Option<Place>,
    pub(super) events: Vec<ChainEvent>,
}

impl ChainState {
    pub(super) fn new(config: &ChainObserverConfig) -> Self {
        Self {
            graph: Graph::new(),
            orphans: Orphans::new(config.orphans_max),
            ledger: config.ledger.clone().map(Ledger::new),
            inclusions: Inclusions::new(),
            settled: SettledOrder::new(config.settled_transactions_max),
            nodes: BTreeMap::new(),
            catch_up: CatchUp::from_start(config.start),
            unfilled: HashMap::new(),
            common_final: None,
            events: Vec::new(),
        }
    }

    pub(super) fn view(&self) -> ChainView {
        ChainView {
            graph: self.graph.clone(),
            ledger: self.ledger.clone(),
            inclusions: self.inclusions.clone(),
            nodes: Arc::new(self.nodes.clone()),
            common_final: self.common_final,
            catch_up: self.catch_up.as_ref().map(CatchUp::progress),
        }
    }

    /// Only these are observed from now on.
    pub(super) fn list(&mut self, names: impl Iterator<Item = Arc<str>>) {
        for node in self.nodes.values_mut() {
            node.observed = false;
        }
        for name in names {
            let new = || NodeView::new(Arc::clone(&name));
            self.nodes
                .entry(Arc::clone(&name))
                .or_insert_with(new)
                .observed = true;
        }
    }

    /// Takes what a node answered, or why it did not.
    pub(super) fn hear(&mut self, name: &str, answer: Result<Looked, Arc<str>>) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        let name = Arc::clone(&node.name);
        let looked = match answer {
            Ok(looked) => looked,
            Err(why) => {
                if node.failing.is_none() {
                    let why = Arc::clone(&why);
                    self.events.push(ChainEvent::Lost { node: name, why });
                }
                node.failing = Some(why);
                return;
            }
        };
        if node.failing.take().is_some() {
            let node = Arc::clone(&name);
            self.events.push(ChainEvent::Found { node });
        }
        let from = node.mode().cloned();
        if from.as_ref() != Some(&looked.head.mode) {
            let (node, to) = (name, looked.head.mode.clone());
            self.events.push(ChainEvent::ModeChanged { node, from, to });
        }
        node.reported = Some(looked.head);
        node.shape = Some(looked.shape);
        node.identity = looked.identity.or(node.identity.take());
        node.mempool = looked.mempool;
    }

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
            self.contradicted(&seen.node, refused.to_string());
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
            self.contradicted(&seen.node, refused.to_string());
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

    /// Brings ledger and inclusions up to a block that is new or was filled.
    fn fold(&mut self, id: &BlockId) {
        let Some(entry) = self.graph.entry(id) else {
            return;
        };
        match &entry.block {
            Some(block) => self.inclusions.add(block, entry.place()),
            None => {
                self.unfilled.entry(*id).or_default();
            }
        }
        if let Some(ledger) = &mut self.ledger {
            ledger.follow(&self.graph, id);
        }
    }

    /// Adds what is in a block whose header is known.
    pub(super) fn fill(&mut self, block: Block) {
        let id = block.header.id;
        self.unfilled.remove(&id);
        let is_genesis = block.header.parent.is_none();
        self.graph.fill(Arc::new(block));
        self.fold(&id);
        if let (true, Some(ledger)) = (is_genesis, &mut self.ledger) {
            ledger.fold_again(&self.graph, &id);
        }
    }

    /// Blocks whose bodies are to be asked for, at most `count` of them, and counts the attempt.
    pub(super) fn take_unfilled(&mut self, count: usize) -> Vec<BlockId> {
        self.unfilled
            .retain(|id, attempts| *attempts < FILL_ATTEMPTS_MAX && self.graph.contains(id));
        let mut wanted: Vec<_> = self
            .unfilled
            .iter()
            .map(|(id, tries)| (*tries, *id))
            .collect();
        wanted.sort_unstable();
        wanted.truncate(count);
        for (_, id) in &wanted {
            self.unfilled
                .entry(*id)
                .and_modify(|attempts| *attempts += 1);
        }
        wanted.into_iter().map(|(_, id)| id).collect()
    }

    /// Parents that some block waits for.
    pub(super) fn missing_parents(&self) -> Vec<BlockId> {
        self.orphans.parents().copied().collect()
    }

    /// Takes the blocks below a head, down to where they join the graph or to where they end.
    pub(super) fn join(&mut self, branch: Branch) {
        let Branch {
            blocks,
            tip_height,
            seen,
        } = branch;
        let count = blocks.len() as u64;
        let oldest = blocks.last().map(|(header, _)| header.parent);
        let joins = oldest.is_none_or(|parent| parent.is_none_or(|id| self.graph.contains(&id)));
        let mut blocks = blocks.into_iter().rev();
        let bottom = tip_height.and_then(|height| (height + 1).checked_sub(count));
        if let (false, Some(1), Some(Some(genesis))) = (joins, bottom, oldest) {
            // Few nodes serve the genesis block: the first block that is served names it.
            self.take(Header::new(genesis, None), None, &seen);
        }
        if let (false, Some(height)) = (joins, bottom)
            && let Some((header, block)) = blocks.next()
        {
            self.anchor(header, block, height, &seen);
        }
        for (header, block) in blocks {
            self.take(header, block, &seen);
        }
    }

    /// Moves the heads and the last final blocks of nodes to where they said that they are, as far
    /// as the graph knows it by now, and forgets what is too old.
    pub(super) fn settle(&mut self, config: &ChainObserverConfig) {
        let mut contradictions = Vec::new();
        for node in self.nodes.values_mut().filter(|node| node.is_running()) {
            if let Some(why) = moves::impossible_height(&self.graph, node) {
                contradictions.push((Arc::clone(&node.name), why));
            }
            moves::move_head(&self.graph, node, &mut self.events);
            moves::move_final(&self.graph, node, config.final_depth, &mut self.events);
        }
        for (node, why) in contradictions {
            self.contradicted(&node, why);
        }
        self.common_final = self.find_common_final();
        self.prune(config);
    }

    fn contradicted(&mut self, name: &Arc<str>, why: String) {
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

    pub(super) fn common_final(&self) -> Option<Place> {
        self.common_final
    }

    fn find_common_final(&self) -> Option<Place> {
        let running = self.nodes.values().filter(|node| node.is_running());
        let finals: Option<Vec<_>> = running.map(|node| Some(node.finalised?.id)).collect();
        let finals = finals.filter(|finals| !finals.is_empty())?;
        agreed(&self.graph, &finals, finals.len())
    }

    /// Forgets what is below the common final block by a bound, or below the heads by a larger one.
    pub(super) fn prune(&mut self, config: &ChainObserverConfig) {
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
        let heads = self.nodes.values().filter_map(|node| node.head).max();
        let reference = self.common_final.or(heads);
        let kept = reference.and_then(|last| self.graph.ancestor_at(&last.id, floor));
        // Walked once, before it is gone: asking for each block would cost its distance.
        let below = kept.as_ref().map(|kept| self.graph.chain(&kept.id).skip(1));
        let on_chain: HashSet<BlockId> = below.into_iter().flatten().map(|e| e.header.id).collect();
        for entry in self.graph.prune_below(floor) {
            let is_final = kept.is_none() || on_chain.contains(&entry.header.id);
            self.forget(&entry, is_final);
        }
    }

    /// The height that half of the nodes that run have reached, so that no single node can say that
    /// all others are far behind; while catching up, the height reached.
    fn usual_height(&self) -> Option<u64> {
        if self.catch_up.is_some() {
            return self.graph.highest();
        }
        let running = self.nodes.values().filter(|node| node.is_running());
        let mut heights: Vec<u64> = running.filter_map(|node| Some(node.head?.height)).collect();
        heights.sort_unstable();
        heights.get(heights.len().saturating_sub(1) / 2).copied()
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

/// Who had a block first, and when.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) node: Arc<str>,
    pub(super) at: SystemTime,
    pub(super) live: bool,
}
