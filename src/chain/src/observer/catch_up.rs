//! Catching up: old blocks in batches, several at a time, taken in their order.
//!
//! Works through positions (heights or slots) and knows nothing of heads; once it has come up to
//! what is final, the branches of the heads are fetched as always.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::{StreamExt, stream};
use tokio::time::Instant;

use super::{
    config::{ChainObserverConfig, StartAt},
    look::Asked,
    state::{ChainState, Seen},
};
use crate::{
    model::{Block, Head, Header},
    source::RangeUnit,
    view::NodeView,
};

/// A batch is never made longer than this many times what was configured.
const STRETCH_MAX: u64 = 64;

/// How far catching up is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatchUpProgress {
    /// The height that was reached.
    pub height: Option<u64>,
    /// The next position to ask for, in heights or slots.
    pub next: u64,
    /// The last position to ask for, once a node told.
    pub goal: Option<u64>,
    /// How many blocks were taken.
    pub blocks: u64,
    /// How long it has taken by now.
    pub since: Duration,
}

/// Catching up that is under way.
#[derive(Debug)]
pub(super) struct CatchUp {
    next: u64,
    goal: Option<u64>,
    height: Option<u64>,
    blocks: u64,
    began: Instant,
    /// How many positions a batch has, as a multiple of what was configured: most slots are empty.
    stretch: u64,
}

impl CatchUp {
    pub(super) fn from_start(start: StartAt) -> Option<Self> {
        match start {
            StartAt::Lib => None,
            StartAt::Genesis => Some(Self::from_position(0)),
            StartAt::Height(height) => Some(Self::from_position(height)),
        }
    }

    pub(super) fn from_position(next: u64) -> Self {
        Self {
            next,
            goal: None,
            height: None,
            blocks: 0,
            began: Instant::now(),
            stretch: 1,
        }
    }

    pub(super) fn progress(&self) -> CatchUpProgress {
        CatchUpProgress {
            height: self.height,
            next: self.next,
            goal: self.goal,
            blocks: self.blocks,
            since: self.began.elapsed(),
        }
    }
}

/// Goes on with catching up, round by round, until it is done or this future is dropped.
pub(super) async fn go_on(state: &mut ChainState, nodes: &[Asked], config: &ChainObserverConfig) {
    loop {
        let Some(round) = Round::plan(state, nodes, config) else {
            return;
        };
        let taken = round.run(state, config).await;
        state.prune(config);
        if !taken {
            return;
        }
    }
}

/// Batches that are fetched at the same time, from nodes that count alike.
struct Round {
    unit: RangeUnit,
    nodes: Vec<Asked>,
    batches: Vec<(u64, u64)>,
    span: u64,
}

impl Round {
    /// `None` when there is nothing to catch up with, or nobody to ask. Ends catching up where it
    /// is done or cannot be.
    fn plan(state: &mut ChainState, nodes: &[Asked], config: &ChainObserverConfig) -> Option<Self> {
        let catch_up = state.catch_up.as_mut()?;
        let running = |node: &&Asked| {
            state
                .nodes
                .get(&node.name)
                .is_some_and(NodeView::is_running)
        };
        let running: Vec<&Asked> = nodes.iter().filter(running).collect();
        if running.is_empty() {
            return None;
        }
        let Some(unit) = running.iter().find_map(|node| node.source.range_unit()) else {
            tracing::info!("no node serves ranges of blocks: observation begins at the heads");
            state.catch_up = None;
            return None;
        };
        let alike = running
            .iter()
            .filter(|node| node.source.range_unit() == Some(unit));
        let alike: Vec<Asked> = alike.map(|node| (*node).clone()).collect();
        if unit == RangeUnit::Slot && catch_up.blocks == 0 && state.graph.is_empty() {
            catch_up.next = 0;
        }
        let heads = alike
            .iter()
            .filter_map(|node| state.nodes[&node.name].reported.as_ref());
        let goal = heads
            .filter_map(|head| goal(unit, head, config.final_depth))
            .max();
        catch_up.goal = goal;
        if goal.is_none_or(|goal| catch_up.next > goal) {
            state.catch_up = None;
            return None;
        }
        let goal = goal.unwrap_or_default();
        let span = config.batch_blocks.max(1) * catch_up.stretch;
        let starts = (0..config.requests_max as u64).map(|n| catch_up.next + n * span);
        let batches = starts.take_while(|from| *from <= goal);
        let batches = batches
            .map(|from| (from, goal.min(from + span - 1)))
            .collect();
        Some(Self {
            unit,
            nodes: alike,
            batches,
            span,
        })
    }

    /// Whether all batches were had.
    async fn run(self, state: &mut ChainState, config: &ChainObserverConfig) -> bool {
        let nodes = &self.nodes;
        let requests = self
            .batches
            .into_iter()
            .enumerate()
            .map(|(turn, (from, to))| {
                let nodes = nodes.clone();
                async move { (to, ask(nodes, turn, from, to).await) }
            });
        let requests: Vec<_> = requests.collect();
        let mut answers = stream::iter(requests).buffered(config.requests_max.max(1));
        let mut most = 0;
        while let Some((to, answer)) = answers.next().await {
            let Some((node, blocks)) = answer else {
                return false;
            };
            most = most.max(blocks.len() as u64);
            take(state, self.unit, &node, blocks);
            if let Some(catch_up) = &mut state.catch_up {
                catch_up.next = to + 1;
            }
        }
        if let Some(catch_up) = &mut state.catch_up {
            let sparse = most < config.batch_blocks / 2
                && self.span / config.batch_blocks.max(1) < STRETCH_MAX;
            let dense = most > config.batch_blocks;
            catch_up.stretch = match (sparse, dense) {
                (true, _) => catch_up.stretch * 2,
                (_, true) => (catch_up.stretch / 2).max(1),
                _ => catch_up.stretch,
            };
        }
        true
    }
}

/// The last position that will not change any more.
pub(super) fn goal(unit: RangeUnit, head: &Head, final_depth: u64) -> Option<u64> {
    match (unit, &head.finalised) {
        (RangeUnit::Slot, finalised) => finalised.as_ref()?.slot,
        (RangeUnit::Height, Some(finalised)) => finalised.height,
        (RangeUnit::Height, None) => Some(head.height.saturating_sub(final_depth)),
    }
}

/// One batch, from whichever node has it; batches begin with different nodes.
async fn ask(nodes: Vec<Asked>, turn: usize, from: u64, to: u64) -> Option<(Asked, Vec<Block>)> {
    let count = nodes.len();
    for index in 0..count {
        let node = &nodes[(turn + index) % count];
        if let Ok(blocks) = node.range(from, to).await {
            return Some((node.clone(), blocks));
        }
    }
    None
}

fn take(state: &mut ChainState, unit: RangeUnit, node: &Asked, blocks: Vec<Block>) {
    let seen = Seen {
        node: Arc::clone(&node.name),
        at: SystemTime::now(),
        live: false,
    };
    for block in blocks {
        let header = block.header.clone();
        if state.graph.is_empty() {
            begin(state, unit, &header, &seen);
        }
        let id = header.id;
        let height = header.height.filter(|_| state.graph.is_empty());
        let block = Some(Arc::new(block));
        match height {
            Some(height) => state.anchor(header, block, height, &seen),
            None => state.take(header, block, &seen),
        }
        let reached = state.graph.place(&id).map(|place| place.height);
        if let Some(catch_up) = &mut state.catch_up {
            catch_up.blocks += 1;
            catch_up.height = reached.or(catch_up.height);
        }
    }
}

/// The genesis block is served by few nodes: the first block that is names it as its parent.
fn begin(state: &mut ChainState, unit: RangeUnit, first: &Header, seen: &Seen) {
    let identity = state
        .nodes
        .get(&seen.node)
        .and_then(|node| node.identity.clone());
    let genesis = identity.and_then(|identity| identity.genesis);
    let from_zero = unit == RangeUnit::Slot || first.height == Some(1);
    if let Some(parent) = first
        .parent
        .filter(|parent| from_zero || genesis == Some(*parent))
    {
        state.take(Header::new(parent, None), None, seen);
    }
}
