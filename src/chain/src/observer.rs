//! Observer: one look at all nodes after the other, for all who want to know about the chain.
//!
//! A cycle asks every node where it is, fetches what is below heads that are new, from whoever
//! knows it, and brings the state up to date. A node that fails or hangs costs its own freshness
//! and nobody else's. How often to look and how to wait is `trellis-observation`'s; what the
//! answers mean is `state`'s and `view`'s.

mod branch;
mod catch_up;
mod config;
mod event;
mod funds;
mod look;
mod moves;
mod state;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use tokio::time::timeout;
use trellis_observation::{DynError, ObservedSource, Observer, PollFailure, poll_sources};

use self::{
    branch::Wanted,
    catch_up::CatchUp,
    look::{Asked, in_one_line, look},
};
pub use self::{
    catch_up::CatchUpProgress,
    config::{ChainObserverConfig, StartAt},
    event::{ChainEvent, Reorg},
    state::ChainState,
};
use crate::{
    id::BlockId,
    model::Head,
    source::{ChainSource, RangeUnit},
    view::{ChainView, NodeView},
};

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

    /// Asks every node where it is.
    async fn look(&self, nodes: &[Asked], state: &mut ChainState) {
        let asked: Vec<_> = nodes
            .iter()
            .map(|node| ObservedSource::new(&*node.name, node.clone()))
            .collect();
        let config = &self.config;
        let polls = poll_sources(&asked, config.requests_max, config.answer_within, look).await;
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
        catch_up::go_on(state, nodes, &self.config).await;
        if state.catch_up.is_some() {
            return;
        }
        let wanted = self.wanted(nodes, state);
        let graph = state.graph.clone();
        let branches = wanted.into_iter().map(|wanted| {
            let (graph, config) = (graph.clone(), Arc::clone(&self.config));
            async move { branch::fetch(wanted, graph, &config).await }
        });
        let branches: Vec<_> = branches.collect();
        let mut branches = stream::iter(branches).buffer_unordered(self.config.requests_max.max(1));
        while let Some(branch) = branches.next().await {
            if let Some(branch) = branch {
                state.join(branch);
            }
        }
        if self.config.bodies {
            self.fill(nodes, state).await;
            let running = running(nodes, state);
            funds::ask(state, &running, &self.config).await;
        }
    }

    async fn fill(&self, nodes: &[Asked], state: &mut ChainState) {
        let wanted = state.take_unfilled(self.config.requests_max);
        if wanted.is_empty() {
            return;
        }
        let running = running(nodes, state);
        let blocks = branch::fetch_blocks(wanted, &running, self.config.requests_max).await;
        for block in blocks.into_iter().flatten() {
            state.fill(Arc::unwrap_or_clone(block));
        }
    }

    /// The branches to fetch: one for each head that the graph does not know, and one for each
    /// parent that a block waits for.
    fn wanted(&self, nodes: &[Asked], state: &mut ChainState) -> Vec<Wanted> {
        let running = running(nodes, state);
        let mut tips: BTreeMap<BlockId, (Head, Vec<Asked>)> = BTreeMap::new();
        for node in &running {
            let Some(head) = state.nodes[&node.name].reported.clone() else {
                continue;
            };
            if head.height >= state.graph.floor() && !state.graph.contains(&head.tip) {
                let (_, who) = tips.entry(head.tip).or_insert_with(|| (head, Vec::new()));
                who.push(node.clone());
            }
        }
        if let Some(catch_up) = self.far_behind(&running, &tips, state) {
            state.catch_up = Some(catch_up);
            return Vec::new();
        }
        let heads = tips
            .into_values()
            .map(|(head, who)| self.below(&head, who, &running, state));
        let mut wanted: Vec<_> = heads.collect();
        wanted.extend(state.missing_parents().into_iter().map(|tip| Wanted {
            tip,
            tip_height: None,
            until: None,
            headers_max: self.config.branch_blocks_max,
            nodes: running.clone(),
        }));
        wanted
    }

    fn below(
        &self,
        head: &Head,
        mut who: Vec<Asked>,
        running: &[Asked],
        state: &ChainState,
    ) -> Wanted {
        let told: BTreeSet<Arc<str>> = who.iter().map(|node| Arc::clone(&node.name)).collect();
        let others = running.iter().filter(|node| !told.contains(&node.name));
        who.extend(others.cloned());
        let without_finality = usize::try_from(self.config.final_depth).unwrap_or(usize::MAX);
        let first = state.graph.is_empty() && head.finalised.is_none();
        let headers_max = if first {
            without_finality
                .saturating_add(1)
                .min(self.config.branch_blocks_max)
        } else {
            self.config.branch_blocks_max
        };
        Wanted {
            tip: head.tip,
            tip_height: Some(head.height),
            until: head.finalised.map(|finalised| finalised.id),
            headers_max,
            nodes: who,
        }
    }

    /// Where to catch up from, when the graph is so far behind all nodes that ranges are better
    /// than going down from heads, as after a long time without any node.
    fn far_behind(
        &self,
        running: &[Asked],
        tips: &BTreeMap<BlockId, (Head, Vec<Asked>)>,
        state: &ChainState,
    ) -> Option<CatchUp> {
        let graph = &state.graph;
        let highest = graph.highest()?;
        let lowest_tip = tips.values().map(|(head, _)| head.height).min()?;
        let gap = self.config.branch_blocks_max as u64;
        let behind = tips.len() == running.len() && lowest_tip > highest.saturating_add(gap);
        let unit = running.iter().find_map(|node| node.source.range_unit())?;
        let top = graph.at_height(highest).first()?;
        let sure = state
            .common_final()
            .unwrap_or(graph.chain(top).last()?.place());
        let from = match unit {
            RangeUnit::Height => sure.height,
            RangeUnit::Slot => graph.entry(&sure.id)?.header.slot?,
        };
        let depth = self.config.final_depth;
        let mut goals = tips
            .values()
            .filter_map(|(head, _)| catch_up::goal(unit, head, depth));
        let helps = goals.any(|goal| goal > from);
        (behind && helps).then(|| CatchUp::from_position(from + 1))
    }

    fn asked(
        &self,
        sources: &[ObservedSource<Arc<dyn ChainSource>>],
        state: &ChainState,
    ) -> Vec<Asked> {
        let asked = sources.iter().map(|ObservedSource { name, source }| {
            let known = state.nodes.get(name.as_str());
            // A node that comes back may be another one, with another chain.
            let sure = known.is_some_and(|node| node.identity.is_some() && node.is_running());
            Asked {
                name: known.map_or_else(|| name.as_str().into(), |node| Arc::clone(&node.name)),
                source: Arc::clone(source),
                identity: !sure,
                mempool: self.config.mempools,
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
