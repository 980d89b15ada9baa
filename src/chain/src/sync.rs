//! Sync: whether local nodes follow the public chain, judged so that no single peer can fool it.
//!
//! The target is the highest block that a majority of the *configured* peers have on their chains,
//! by ancestry: a peer that is a block ahead agrees, one that cannot be reached agrees with
//! nothing, and fewer than a majority is no target and never a success. A peer speaks for its own
//! chain only (`own_chains`): what it says of a block that another has too proves nothing there.
//! What is found is a verdict (`judge`, a pure function over one view, which counts `claims`), what
//! happens over time is `history`, and `check` looks again and again until a verdict is final or
//! the time is up.

mod check;
mod claims;
mod history;
mod judge;
mod own_chains;
mod verdict;

use std::time::Duration;

pub use self::{
    check::{SyncCheck, SyncReport, watch},
    history::{Pace, SyncHistory, SyncProgress},
    judge::judge,
    own_chains::{OwnChain, OwnChains},
    verdict::{LocalState, LocalStatus, NoTarget, PeerState, PeerStatus, SyncVerdict, Verdict},
};
use crate::{agreement::majority_of, id::BlockId};

/// Who shall follow whom, and how closely.
#[derive(Clone, Debug)]
pub struct SyncSpec {
    /// The public peers, by the names of their sources. The majority is of these, reachable or not.
    pub public: Vec<String>,
    /// The nodes that shall follow.
    pub local: Vec<String>,
    /// How many blocks a node may be behind the target.
    pub lag_max: u64,
    /// Peers stall when none of a majority has had a new block for this long; `None` on chains
    /// whose blocks are too rare to say.
    pub stall_after: Option<Duration>,
    /// The genesis block of the network, when it is known otherwise than from the peers.
    pub genesis: Option<BlockId>,
}

impl SyncSpec {
    /// These nodes shall follow these peers, at most two blocks behind.
    pub fn new<L: Into<String>, P: Into<String>>(
        local: impl IntoIterator<Item = L>,
        public: impl IntoIterator<Item = P>,
    ) -> Self {
        Self {
            public: public.into_iter().map(Into::into).collect(),
            local: local.into_iter().map(Into::into).collect(),
            lag_max: 2,
            stall_after: Some(Duration::from_mins(1)),
            genesis: None,
        }
    }

    /// How many peers have to agree.
    pub fn quorum(&self) -> usize {
        majority_of(self.public.len())
    }
}

#[cfg(test)]
mod tests;
