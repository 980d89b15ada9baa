//! Leases: which node owns which shard, agreed on through a board that compares before it sets.
//!
//! A lease is a key that its owner writes again and again. Nobody's clock is compared with another's: a lease has run out for a node that has seen the same revision of it for as long as it is good, and its owner stops a margin before that, counted from the moment at which it *began* to write.
//! So keys are never removed by their age, and each new owner has a higher epoch than all before it, which its store keeps (see [`crate::storage::Fence`]).
//!
//! What is not here: what an owner does with its shard (see `cluster`).
//!
//! Suggested order of reading: `record`, `tenure`, `spread`, `keeper`, then the boards.

mod keeper;
mod kv;
mod memory;
mod record;
mod spread;
mod tenure;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

pub use keeper::{Keeper, KeeperOptions, Turn};
pub use kv::NatsBoard;
pub use memory::MemoryBoard;
pub use record::{Lease, Member, Owner, Owners, survey};
pub use tenure::Tenure;

/// Why the board did not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// Somebody else wrote the key since it was read.
    #[error("{key} was written by another node")]
    Moved {
        /// The key.
        key: String,
    },
    /// The board did not answer, so nobody knows whether it was done.
    #[error("the board of leases did not {operation}")]
    Unreachable {
        /// What it was asked.
        operation: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A key as it stands on the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The key.
    pub key: String,
    /// Which write of the board it is.
    pub revision: u64,
    /// What it says.
    pub value: Bytes,
}

/// Keys that all nodes see, each written only by whoever knows its last revision.
#[async_trait]
pub trait LeaseBoard: Send + Sync {
    /// All keys.
    ///
    /// # Errors
    /// The board does not answer.
    async fn read(&self) -> Result<Vec<Posted>, LeaseError>;

    /// Writes `key` if its revision is `revision` (`None` where there must be none), and says the new one.
    ///
    /// # Errors
    /// [`LeaseError::Moved`] where it is another one. After anything else it may have been written or not.
    async fn post(&self, key: &str, value: Bytes, revision: Option<u64>)
    -> Result<u64, LeaseError>;

    /// Removes `key`, of which no revision is needed any more.
    ///
    /// # Errors
    /// The board does not answer.
    async fn remove(&self, key: &str) -> Result<(), LeaseError>;
}
