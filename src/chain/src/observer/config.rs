//! Observer configuration: where to begin, how much to ask at once, and how much to keep.

use std::time::Duration;

use crate::ledger::LedgerConfig;

/// Where observation begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartAt {
    /// With the first block: right for chains of a test, and needed where wallets shall be known
    /// from blocks alone.
    Genesis,
    /// With the block at this height, where nodes can be asked by height. On chains that count in
    /// slots no node knows which slot that is, and it is the same as `Genesis`.
    Height(u64),
    /// With the last final blocks of the nodes that answer first.
    #[default]
    Lib,
}

/// The budgets of a chain observer, all of them with defaults. A cycle takes at most
/// `answer_within` and `fetch_within` together, which should be less than the `poll_timeout` of the
/// observation.
#[derive(Clone, Debug)]
#[must_use]
pub struct ChainObserverConfig {
    /// Where to begin.
    pub start: StartAt,
    /// On chains without finality: a block is taken for final when this many are above it.
    pub final_depth: u64,
    /// How many heights below the common last final block are kept.
    pub keep_below_final: u64,
    /// How many heights below the heads are kept at most, however far behind a node is. Branches
    /// that no node is on are forgotten when there are more blocks than this and, for each node,
    /// `branch_blocks_max`.
    pub window_blocks_max: u64,
    /// How many blocks wait for their parents at most.
    pub orphans_max: usize,
    /// Of how many transactions it is remembered that they are final, after their blocks are not
    /// kept any more.
    pub settled_transactions_max: usize,
    /// How long a node may take to say where it is. All nodes are asked at the same time.
    pub answer_within: Duration,
    /// How long a node may take to serve a block or a batch of blocks. Another is asked as well
    /// after a fifth of that.
    pub serve_within: Duration,
    /// How long one cycle may fetch blocks. What came until then is kept, and the next cycle goes on
    /// from there.
    pub fetch_within: Duration,
    /// How many blocks are asked for at the same time at most, and as many branches, and as many
    /// funds: none of these waits for the others.
    pub requests_max: usize,
    /// How many blocks a request of catching up asks for.
    pub batch_blocks: u64,
    /// How many blocks below a head are asked for before that branch is taken for one that begins
    /// there.
    pub branch_blocks_max: usize,
    /// Whether what is in blocks is fetched; without it there are no inclusions and no wallets.
    pub bodies: bool,
    /// Whether mempools are asked for in each cycle.
    pub mempools: bool,
    /// Whose funds are followed, if any.
    pub ledger: Option<LedgerConfig>,
}

impl Default for ChainObserverConfig {
    fn default() -> Self {
        Self {
            start: StartAt::default(),
            final_depth: 100,
            keep_below_final: 256,
            window_blocks_max: 20_000,
            orphans_max: 1_000,
            settled_transactions_max: 100_000,
            answer_within: Duration::from_millis(1_500),
            serve_within: Duration::from_secs(1),
            fetch_within: Duration::from_secs(3),
            requests_max: 16,
            batch_blocks: 100,
            branch_blocks_max: 2_000,
            bodies: true,
            mempools: false,
            ledger: None,
        }
    }
}

impl ChainObserverConfig {
    /// See [`start`](Self::start).
    pub fn with_start(mut self, start: StartAt) -> Self {
        self.start = start;
        self
    }

    /// See [`final_depth`](Self::final_depth).
    pub fn with_final_depth(mut self, blocks: u64) -> Self {
        self.final_depth = blocks;
        self
    }

    /// See [`ledger`](Self::ledger).
    pub fn with_ledger(mut self, ledger: LedgerConfig) -> Self {
        self.ledger = Some(ledger);
        self
    }

    /// See [`mempools`](Self::mempools).
    pub fn with_mempools(mut self) -> Self {
        self.mempools = true;
        self
    }

    /// Headers only; see [`bodies`](Self::bodies).
    pub fn headers_only(mut self) -> Self {
        self.bodies = false;
        self
    }
}
