//! Verdict: what is said about the sync of local nodes, each case by its own name.

use std::{fmt, sync::Arc, time::Duration};

use crate::{graph::Place, id::BlockId};

/// What was found at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncVerdict {
    /// The conclusion.
    pub verdict: Verdict,
    /// The target, when there is one.
    pub target: Option<Place>,
    /// Each peer.
    pub peers: Vec<PeerStatus>,
    /// Each local node.
    pub locals: Vec<LocalStatus>,
}

/// The conclusion.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// All local nodes are on the chain of the target, within the lag, at this one moment.
    Synced,
    /// There is a target, and not all local nodes follow it yet.
    NotYet,
    /// There is a target, and a local node is on a branch that leaves its chain.
    Forked,
    /// There is no target, so that nobody can be synced.
    NoTarget(NoTarget),
    /// A local node is on another network: no waiting will help.
    OtherNetwork {
        /// The node.
        node: Arc<str>,
        /// Its genesis block.
        its: BlockId,
        /// The genesis block of the peers.
        theirs: BlockId,
    },
}

/// Why there is no target.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoTarget {
    /// Nobody was configured to compare with.
    NoPeers,
    /// Fewer than a majority of the configured peers answer and can be believed.
    TooFew {
        /// How many do.
        usable: usize,
        /// How many have to.
        needed: usize,
    },
    /// Enough peers answer, and no majority is on one chain.
    Split {
        /// The heads of the branches, and how many peers are at or below each.
        branches: Vec<(Place, usize)>,
        /// The last block that a majority has.
        common: Option<Place>,
    },
    /// Enough peers answer, and a majority of them has had no new block for a long time.
    Stalled {
        /// The highest block that a majority has.
        at: Place,
        /// For how long.
        since: Duration,
    },
    /// Enough peers answer, and their blocks are not all fetched yet.
    Gathering,
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its name.
    pub name: Arc<str>,
    /// The height that it says it is at.
    pub height: Option<u64>,
    /// What it is to us.
    pub state: PeerState,
}

/// What a peer is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerState {
    /// It has the target on its chain.
    Agrees,
    /// It is before the target, on its chain.
    Behind {
        /// By how many blocks.
        blocks: u64,
    },
    /// It is on a branch that leaves the chain of the target.
    Elsewhere,
    /// It answers, and there is no target or its block is not fetched yet.
    Undecided,
    /// It has had no new block for this long, and others had.
    Stalled {
        /// For how long.
        since: Duration,
    },
    /// It cannot be reached.
    Unreachable {
        /// Why.
        why: Arc<str>,
    },
    /// What it says cannot be: it counts as if it could not be reached.
    Lying {
        /// What, and why not.
        why: Arc<str>,
    },
}

/// One local node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalStatus {
    /// Its name.
    pub name: Arc<str>,
    /// The height that it says it is at.
    pub height: Option<u64>,
    /// Where it is, seen from the target.
    pub state: LocalState,
}

/// Where a local node is, seen from the target.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalState {
    /// On its chain, this many blocks behind, which is within the lag.
    Synced {
        /// How many.
        behind: u64,
    },
    /// It has the target, and more on top of it than most peers have by now. Synced.
    Ahead {
        /// By how many blocks.
        blocks: u64,
    },
    /// On its chain or too far behind to know, and further behind than the lag.
    Behind {
        /// By how many blocks, as far as heights tell.
        blocks: u64,
    },
    /// On a branch that leaves its chain.
    Forked {
        /// The last block that both have.
        common: Place,
        /// How many blocks the node has to leave.
        depth: u64,
    },
    /// As high as the target, and its blocks are not fetched yet or join nowhere.
    Undecided,
    /// It cannot be asked.
    Unreachable {
        /// Why.
        why: Arc<str>,
    },
    /// There is no target.
    NoTarget,
}

impl SyncVerdict {
    /// Whether all local nodes are synced.
    pub fn is_synced(&self) -> bool {
        self.verdict == Verdict::Synced
    }

    /// Whether waiting can change nothing.
    pub fn is_final(&self) -> bool {
        let fatal = matches!(
            self.verdict,
            Verdict::OtherNetwork { .. } | Verdict::NoTarget(NoTarget::NoPeers)
        );
        fatal || self.is_synced()
    }
}

impl LocalState {
    /// Whether this counts as synced.
    pub fn is_synced(&self) -> bool {
        matches!(self, Self::Synced { .. } | Self::Ahead { .. })
    }
}

impl fmt::Display for SyncVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.verdict, &self.target) {
            (Verdict::Synced, Some(target)) => write!(f, "all nodes follow the chain of {target}")?,
            (Verdict::NotYet, Some(target)) => write!(f, "not all nodes are at {target} yet")?,
            (Verdict::Forked, Some(target)) => {
                write!(f, "a node is on a branch that leaves the chain of {target}")?;
            }
            (Verdict::NoTarget(why), _) => write!(f, "{why}")?,
            (Verdict::OtherNetwork { node, its, theirs }, _) => {
                let (its, theirs) = (its.short(), theirs.short());
                write!(
                    f,
                    "{node} is on another network: its genesis block is {its}, "
                )?;
                write!(f, "that of the peers is {theirs}")?;
            }
            (_, None) => f.write_str("there is nothing to follow")?,
        }
        for local in self.locals.iter().filter(|local| !local.state.is_synced()) {
            write!(f, "; {} is {}", local.name, local.state)?;
        }
        for peer in self
            .peers
            .iter()
            .filter(|peer| peer.state != PeerState::Agrees)
        {
            write!(f, "; {} {}", peer.name, peer.state)?;
        }
        Ok(())
    }
}

impl fmt::Display for NoTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPeers => f.write_str("no public peer is configured"),
            Self::TooFew { usable, needed } => {
                write!(
                    f,
                    "only {usable} peers answer and can be believed, {needed} have to"
                )
            }
            Self::Split { branches, common } => {
                f.write_str("the peers are split: ")?;
                for (head, count) in branches {
                    write!(f, "{count} at {head}, ")?;
                }
                match common {
                    Some(common) => write!(f, "after {common}"),
                    None => f.write_str("with nothing in common"),
                }
            }
            Self::Stalled { at, since } => write!(f, "the peers stall at {at}, for {since:.0?}"),
            Self::Gathering => f.write_str("the blocks of the peers are not all fetched yet"),
        }
    }
}

impl fmt::Display for PeerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agrees => f.write_str("agrees"),
            Self::Behind { blocks } => write!(f, "is {blocks} blocks behind"),
            Self::Elsewhere => f.write_str("is on another branch"),
            Self::Undecided => f.write_str("is not decided"),
            Self::Stalled { since } => write!(f, "has had no new block for {since:.0?}"),
            Self::Unreachable { why } => write!(f, "cannot be reached: {why}"),
            Self::Lying { why } => write!(f, "cannot be believed: {why}"),
        }
    }
}

impl fmt::Display for LocalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Synced { behind } => write!(f, "synced, {behind} behind"),
            Self::Ahead { blocks } => write!(f, "{blocks} blocks ahead"),
            Self::Behind { blocks } => write!(f, "{blocks} blocks behind"),
            Self::Forked { common, depth } => write!(f, "{depth} blocks away from {common}"),
            Self::Undecided => f.write_str("at blocks that join nowhere yet"),
            Self::Unreachable { why } => write!(f, "not reachable: {why}"),
            Self::NoTarget => f.write_str("without anything to follow"),
        }
    }
}
