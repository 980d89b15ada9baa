//! Catching up: old blocks in batches, several at a time, taken in their order.
//!
//! Works through positions (heights or slots) and knows nothing of heads; once it has come up to
//! what is final, the branches of the heads are fetched as always.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    config::{ChainObserverConfig, StartAt},
    look::Asked,
    round::Round,
    state::{ChainState, Seen},
};
use crate::{
    id::BlockId,
    model::{Block, Head, Header},
    source::RangeUnit,
};

/// A batch is never made longer than this many times what was configured.
const STRETCH_MAX: u64 = 64;
/// After how many rounds that were had longer batches are tried again.
const GOOD_ROUNDS: u32 = 8;

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
    /// Why the last batches were not had, when they were not.
    pub trouble: Option<Arc<str>>,
}

/// Catching up that is under way.
#[derive(Debug)]
pub(super) struct CatchUp {
    pub(super) next: u64,
    pub(super) goal: Option<u64>,
    pub(super) height: Option<u64>,
    pub(super) blocks: u64,
    began: Instant,
    /// Where it began is the beginning of the chain.
    pub(super) from_genesis: bool,
    pub(super) pace: Pace,
    pub(super) trouble: Option<Arc<str>>,
    /// How many rounds in a row brought nothing of what only one node says that it has.
    pub(super) lone_rounds: u32,
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
            from_genesis: next == 0,
            pace: Pace::default(),
            trouble: None,
            lone_rounds: 0,
        }
    }

    pub(super) fn progress(&self) -> CatchUpProgress {
        CatchUpProgress {
            height: self.height,
            next: self.next,
            goal: self.goal,
            blocks: self.blocks,
            since: self.began.elapsed(),
            trouble: self.trouble.clone(),
        }
    }
}

/// How many positions a batch has: more where most slots are empty, fewer where nodes have trouble
/// to serve so many.
#[derive(Debug)]
pub(super) struct Pace {
    span: Option<u64>,
    span_max: u64,
    /// How many rounds in a row were had.
    good: u32,
    /// Whether a round was begun whose end was not seen: the cycle was over before.
    open: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            span: None,
            span_max: u64::MAX,
            good: 0,
            open: false,
        }
    }
}

impl Pace {
    /// The span of the round that begins.
    pub(super) fn begin(&mut self, batch_blocks: u64) -> u64 {
        if std::mem::replace(&mut self.open, true) {
            self.failed();
            self.open = true;
        }
        *self.span.get_or_insert(batch_blocks.max(1))
    }

    pub(super) fn failed(&mut self) {
        self.open = false;
        self.good = 0;
        self.span = self.span.map(|span| (span / 2).max(1));
        self.span_max = self.span.unwrap_or(self.span_max);
    }

    /// The batch with the most blocks had `most`.
    pub(super) fn had(&mut self, most: u64, batch_blocks: u64) {
        self.open = false;
        self.good += 1;
        if self.good.is_multiple_of(GOOD_ROUNDS) {
            self.span_max = self.span_max.saturating_mul(2);
        }
        let span = self.span.unwrap_or(batch_blocks).max(1);
        let sparse = most < batch_blocks / 2 && span < batch_blocks.saturating_mul(STRETCH_MAX);
        let dense = most > batch_blocks;
        let next = match (sparse, dense) {
            (true, _) => span * 2,
            (_, true) => (span / 2).max(1),
            _ => span,
        };
        self.span = Some(next.min(self.span_max));
    }
}

/// Goes on with catching up, round by round, until it is done or this future is dropped.
pub(super) async fn go_on(state: &mut ChainState, nodes: &[Asked], config: &ChainObserverConfig) {
    while let Some(round) = Round::plan(state, nodes, config) {
        let taken = round.run(state, config).await;
        state.prune(config);
        if !taken {
            return;
        }
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

impl ChainState {
    /// Nothing more is to be caught up with. The graph then begins at genesis where that is known,
    /// so that what follows is fetched down to there.
    pub(super) fn caught_up(&mut self, node: &Arc<str>) {
        self.begin_at_genesis(node, None);
        if let Some(done) = self.catch_up.take() {
            self.caught_up_to = done.height.max(self.caught_up_to);
        }
    }

    /// Takes a batch of old blocks.
    pub(super) fn take_old(&mut self, unit: RangeUnit, node: &Arc<str>, blocks: Vec<Block>) {
        let seen = Seen::old(node);
        for block in blocks {
            let header = block.header.clone();
            let from_zero = unit == RangeUnit::Slot || header.height == Some(1);
            self.begin_at_genesis(node, header.parent.filter(|_| from_zero));
            let id = header.id;
            let height = header.height.filter(|_| self.graph.is_empty());
            let block = Some(Arc::new(block));
            match height {
                Some(height) => self.anchor(header, block, height, &seen),
                None => self.take(header, block, &seen),
            }
            let reached = self.graph.place(&id).map(|place| place.height);
            if let Some(catch_up) = &mut self.catch_up {
                catch_up.blocks += 1;
                catch_up.height = reached.or(catch_up.height);
            }
        }
    }

    /// Puts the genesis block into a graph that is empty and begins there. Few nodes serve it: most
    /// of them name it, and where nobody does, the first block does as its parent.
    fn begin_at_genesis(&mut self, node: &Arc<str>, parent_of_first: Option<BlockId>) {
        let from_genesis = self.catch_up.as_ref().is_some_and(|it| it.from_genesis);
        if !self.graph.is_empty() || !from_genesis {
            return;
        }
        if let Some(genesis) = self.genesis().or(parent_of_first) {
            self.take(Header::new(genesis, None), None, &Seen::old(node));
        }
    }
}
