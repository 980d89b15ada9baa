//! Observer: one look at all nodes after the other, for all who want to know about the chain.
//!
//! A cycle asks every node where it is, fetches what is below heads that are new, from whoever
//! knows it, and brings the state up to date. A node that fails or hangs costs its own freshness
//! and nobody else's. How often to look and how to wait is `trellis-observation`'s; what the
//! answers mean is `state`'s and `view`'s.

mod asking;
mod bodies;
mod branch;
mod catch_up;
mod config;
mod event;
mod fetching;
mod floating;
mod funds;
mod growth;
mod identities;
mod look;
mod moves;
mod pruning;
mod round;
mod state;

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use futures::future::{Either, select};
use tokio::time::{Instant, timeout, timeout_at};
use trellis_observation::{DynError, ObservedSource, Observer, PollFailure, poll_sources};

use self::{
    catch_up::CatchUp,
    fetching::Fetching,
    floating::Wanted,
    look::{Asked, in_one_line, look},
};
pub use self::{
    catch_up::CatchUpProgress,
    config::{ChainObserverConfig, StartAt},
    event::{ChainEvent, Reorg},
    state::ChainState,
};
use crate::{
    agreement::majority_of,
    id::BlockId,
    model::Head,
    source::{ChainSource, RangeUnit},
    view::{ChainView, NodeView},
};

/// How many nodes are asked where they are at the same time. A small question, to a node each.
const HEADS_AT_ONCE_MAX: usize = 1_024;

/// Watches the chain through nodes of any wire; a source's name is the node's name.
#[derive(Clone, Debug, Default)]
pub struct ChainObserver {
    config: Arc<ChainObserverConfig>,
}

impl ChainObserver {
    /// An observer with these budgets.
    pub fn new(config: ChainObserverConfig) -> Self {
        let config = Arc::new(config);
        Self { config }
    }

    /// Asks every node where it is. All at once, since nodes that hang would silence those that
    /// wait for their turn.
    async fn look(&self, nodes: &[Asked], state: &mut ChainState) {
        let asked: Vec<_> = nodes
            .iter()
            .map(|node| ObservedSource::new(&*node.name, node.clone()))
            .collect();
        let at_once = self.config.requests_max.max(HEADS_AT_ONCE_MAX);
        let polls = poll_sources(&asked, at_once, self.config.answer_within, look).await;
        let mut polls: Vec<_> = polls.into_iter().collect();
        // The quickest first: of nodes that tell of a block in one cycle, it counts as the first.
        polls.sort_by_key(|poll| poll.latency);
        for poll in polls {
            let answer = poll.result.map_err(|error| in_one_line(&error));
            state.hear(&poll.name, answer);
        }
    }

    /// Fetches what is not known yet. May be dropped at any time: what was had is in the state.
    async fn fetch(&self, nodes: &[Asked], state: &mut ChainState) {
        let began = Instant::now();
        let running = running(nodes, state);
        let asked = state.take_unsure(&running);
        let mut identities = pin!(identities::ask(asked, state.mail.clone()));
        let begins = state.catch_up.is_some() && state.graph.is_empty();
        // Catching up begins at the genesis block, which they name.
        let within = if begins {
            self.config.answer_within
        } else {
            Duration::ZERO
        };
        let had = timeout(within, &mut identities).await.is_ok();
        let blocks = pin!(self.fetch_blocks(nodes, state));
        if had {
            return blocks.await;
        }
        match select(identities, blocks).await {
            Either::Left(((), blocks)) => blocks.await,
            Either::Right(((), identities)) => {
                let _ = timeout_at(began + self.config.fetch_within, identities).await;
            }
        }
    }

    async fn fetch_blocks(&self, nodes: &[Asked], state: &mut ChainState) {
        state.read_mail();
        catch_up::go_on(state, nodes, &self.config).await;
        if state.catch_up.is_some() {
            return;
        }
        let running = running(nodes, state);
        let wanted = self.wanted(&running, state);
        if state.catch_up.is_none() {
            Fetching::new(&self.config, running, wanted)
                .run(state)
                .await;
        }
    }

    /// The branches to fetch: one for each head that the graph does not know, and one for each
    /// parent that a block waits for.
    fn wanted(&self, running: &[Asked], state: &mut ChainState) -> Vec<Wanted> {
        let mut tips: BTreeMap<BlockId, Vec<(Arc<str>, Head)>> = BTreeMap::new();
        for node in running {
            let Some(head) = state.nodes[&node.name].reported.clone() else {
                continue;
            };
            if head.height >= state.graph.floor() && !state.graph.contains(&head.tip) {
                let told = tips.entry(head.tip).or_default();
                told.push((Arc::clone(&node.name), head));
            }
        }
        if let Some(catch_up) = self.far_behind(running, &tips, state) {
            state.catch_up = Some(catch_up);
            return Vec::new();
        }
        let heads = tips
            .into_iter()
            .map(|(tip, told)| self.below(tip, told, state));
        let mut wanted: Vec<_> = heads.collect();
        wanted.extend(state.missing_parents().into_iter().map(|tip| Wanted {
            tip,
            told: Vec::new(),
            until: None,
            ends_there: false,
            headers_max: self.config.branch_blocks_max,
            at: SystemTime::now(),
        }));
        wanted
    }

    fn below(&self, tip: BlockId, told: Vec<(Arc<str>, Head)>, state: &ChainState) -> Wanted {
        let finalised = told.iter().find_map(|(_, head)| head.finalised);
        let without_finality = usize::try_from(self.config.final_depth).unwrap_or(usize::MAX);
        let headers_max = if state.graph.is_empty() && finalised.is_none() {
            without_finality
                .saturating_add(1)
                .min(self.config.branch_blocks_max)
        } else {
            self.config.branch_blocks_max
        };
        Wanted {
            tip,
            told,
            until: finalised.map(|finalised| finalised.id),
            ends_there: state.graph.is_empty(),
            headers_max,
            at: SystemTime::now(),
        }
    }

    /// Where to catch up from, when the graph is so far behind most nodes that ranges are better
    /// than going down from heads, as after a long time without any node.
    fn far_behind(
        &self,
        running: &[Asked],
        tips: &BTreeMap<BlockId, Vec<(Arc<str>, Head)>>,
        state: &ChainState,
    ) -> Option<CatchUp> {
        let graph = &state.graph;
        let reached = state.reached()?;
        let gap = self.config.branch_blocks_max as u64;
        let new = tips.values().flatten();
        let far = new.filter(|(_, head)| head.height > reached.saturating_add(gap));
        let far: Vec<&Head> = far.map(|(_, head)| head).collect();
        let unit = running.iter().find_map(|node| node.source.range_unit())?;
        let top = graph.at_height(reached).first()?;
        let sure = state
            .common_final()
            .unwrap_or(graph.chain(top).last()?.place());
        let from = match unit {
            RangeUnit::Height => sure.height,
            RangeUnit::Slot => graph.entry(&sure.id)?.header.slot?,
        };
        let depth = self.config.final_depth;
        let mut goals = far
            .iter()
            .filter_map(|head| catch_up::goal(unit, head, depth));
        let helps = goals.any(|goal| goal > from);
        let behind = far.len() >= majority_of(running.len());
        (behind && helps).then(|| CatchUp::from_position(from + 1))
    }

    fn asked(
        &self,
        sources: &[ObservedSource<Arc<dyn ChainSource>>],
        state: &ChainState,
    ) -> Vec<Asked> {
        // Less than the node has for its head, so that this cannot cost it that.
        let mempool_within = self.config.answer_within * 3 / 4;
        let asked = sources.iter().map(|ObservedSource { name, source }| {
            let known = state.nodes.get(name.as_str());
            Asked {
                name: known.map_or_else(|| name.as_str().into(), |node| Arc::clone(&node.name)),
                source: Arc::clone(source),
                mempool_within: self.config.mempools.then_some(mempool_within),
                within: self.config.serve_within,
            }
        });
        asked.collect()
    }
}

fn running(nodes: &[Asked], state: &ChainState) -> Vec<Asked> {
    let is_running = |node: &&Asked| {
        state
            .nodes
            .get(&node.name)
            .is_some_and(NodeView::is_running)
    };
    nodes.iter().filter(is_running).cloned().collect()
}

#[async_trait]
impl Observer for ChainObserver {
    type Source = Arc<dyn ChainSource>;
    type State = ChainState;
    type Snapshot = ChainView;
    type Event = ChainEvent;

    async fn init(&self, _: &[ObservedSource<Self::Source>]) -> Result<ChainState, DynError> {
        Ok(ChainState::new(&self.config))
    }

    async fn poll(
        &self,
        sources: &[ObservedSource<Self::Source>],
        state: &mut ChainState,
    ) -> Result<Vec<ChainEvent>, PollFailure<ChainEvent>> {
        let nodes = self.asked(sources, state);
        state.list(nodes.iter().map(|node| Arc::clone(&node.name)));
        self.look(&nodes, state).await;
        let fetched = timeout(self.config.fetch_within, self.fetch(&nodes, state)).await;
        if fetched.is_err() {
            tracing::debug!("fetching goes on in the next cycle");
        }
        state.settle(&self.config);
        Ok(std::mem::take(&mut state.events))
    }

    fn snapshot(&self, state: &ChainState) -> ChainView {
        state.view()
    }
}

#[cfg(test)]
mod tests;
