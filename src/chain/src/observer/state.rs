//! Observer state: what has been seen, and the pure folds that bring it up to date.
//!
//! Every finding is written together with its event, with no await in between, so that a cycle that
//! is cut short loses nothing. Nobody is asked anything here. How the graph grows is in `growth`, what is
//! forgotten in `pruning`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::SystemTime,
};

use super::{
    bodies::Unfilled,
    catch_up::CatchUp,
    config::ChainObserverConfig,
    event::ChainEvent,
    floating::Floating,
    identities::{Mail, Unsure},
    look::Looked,
    moves,
};
use crate::{
    agreement::agreed,
    graph::{Graph, Orphans, Place},
    id::BlockId,
    inclusion::{Inclusions, SettledOrder},
    ledger::Ledger,
    view::{ChainView, NodeView},
};

/// What a chain observer remembers.
#[derive(Debug)]
pub struct ChainState {
    pub(super) graph: Graph,
    pub(super) orphans: Orphans,
    pub(super) floating: Floating,
    pub(super) ledger: Option<Ledger>,
    pub(super) inclusions: Inclusions,
    pub(super) settled: SettledOrder,
    pub(super) nodes: BTreeMap<Arc<str>, NodeView>,
    pub(super) catch_up: Option<CatchUp>,
    /// The height at which catching up last ended.
    pub(super) caught_up_to: Option<u64>,
    pub(super) unfilled: HashMap<BlockId, Unfilled>,
    pub(super) common_final: Option<Place>,
    /// Who was asked and did not answer in time, and has not answered first since.
    pub(super) slow: BTreeSet<Arc<str>>,
    /// Who served in this cycle what cannot be.
    pub(super) blamed: BTreeSet<Arc<str>>,
    pub(super) unsure: Unsure,
    pub(super) mail: Mail,
    pub(super) events: Vec<ChainEvent>,
}

impl ChainState {
    pub(super) fn new(config: &ChainObserverConfig) -> Self {
        Self {
            graph: Graph::new(),
            orphans: Orphans::new(config.orphans_max),
            floating: Floating::default(),
            ledger: config.ledger.clone().map(Ledger::new),
            inclusions: Inclusions::new(),
            settled: SettledOrder::new(config.settled_transactions_max),
            nodes: BTreeMap::new(),
            catch_up: CatchUp::from_start(config.start),
            caught_up_to: None,
            unfilled: HashMap::new(),
            common_final: None,
            slow: BTreeSet::new(),
            blamed: BTreeSet::new(),
            unsure: Unsure::default(),
            mail: Mail::default(),
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
        let mut observed = BTreeSet::new();
        for node in self.nodes.values_mut() {
            if std::mem::take(&mut node.observed) {
                observed.insert(Arc::clone(&node.name));
            }
        }
        for name in names {
            let new = || NodeView::new(Arc::clone(&name));
            let node = self.nodes.entry(Arc::clone(&name)).or_insert_with(new);
            let was_away = !observed.contains(&name);
            node.observed = true;
            if was_away {
                self.doubt(&name);
            }
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
                    let (node, why) = (Arc::clone(&name), Arc::clone(&why));
                    self.events.push(ChainEvent::Lost { node, why });
                }
                node.failing = Some(why);
                self.doubt(&name);
                return;
            }
        };
        let is_new = node.reported.is_none() || node.failing.is_some();
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
        node.mempool = looked.mempool;
        if is_new {
            self.ask_for_bodies_again();
        }
    }

    /// Moves the heads and the last final blocks of nodes to where they said that they are, as far
    /// as the graph knows it by now, and forgets what is too old.
    pub(super) fn settle(&mut self, config: &ChainObserverConfig) {
        self.read_mail();
        let blamed = std::mem::take(&mut self.blamed);
        let mut contradictions = Vec::new();
        for node in self.nodes.values_mut().filter(|node| node.is_running()) {
            if let Some(why) = moves::impossible_height(&self.graph, node) {
                contradictions.push((Arc::clone(&node.name), why));
            } else if moves::fits(&self.graph, node) && !blamed.contains(&node.name) {
                node.contradiction = None;
            }
            moves::move_head(&self.graph, node, &mut self.events);
            moves::move_final(&self.graph, node, config.final_depth, &mut self.events);
        }
        for (node, why) in contradictions {
            self.contradicted(&node, why);
        }
        self.common_final = self.find_common_final();
        self.prune(config);
        let tips = self.nodes.values().filter(|node| node.observed);
        let tips = tips.filter_map(|node| Some(node.reported.as_ref()?.tip));
        let branches_max = self.nodes.len() + 1;
        let floating_max = config.branch_blocks_max.saturating_mul(branches_max);
        self.floating.bound(tips, floating_max);
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

    /// Parents that some block waits for.
    pub(super) fn missing_parents(&self) -> Vec<BlockId> {
        self.orphans.parents().copied().collect()
    }
}

/// Who had a block first and when, and of whom it was got.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) node: Arc<str>,
    /// Who is to be blamed when it cannot be.
    pub(super) served_by: Arc<str>,
    pub(super) at: SystemTime,
    pub(super) live: bool,
}
