//! What a shard is doing, for whoever asks: it never stops in silence.

use std::collections::BTreeMap;

use crate::{
    stream::{BlockedReason, Interruption},
    types::ViewTable,
};

/// A shard as it is now.
#[derive(Debug, Clone, Default)]
pub struct ShardStatus {
    /// What it does.
    pub state: ShardState,
    /// Each projection.
    pub projections: BTreeMap<ViewTable, ProjectionState>,
    /// How often delivery was started again, by the reason.
    pub restarts: BTreeMap<Interruption, u64>,
    /// How many events were received.
    pub received: u64,
    /// How many events are behind the last one that was received.
    pub pending: u64,
    /// What storage said last, while it fails.
    pub storage_trouble: Option<String>,
}

/// What a shard does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ShardState {
    /// It looks at the stream and its checkpoints.
    #[default]
    Starting,
    /// It folds what comes.
    Running,
    /// It waits for something that may pass by itself.
    Waiting {
        /// For what.
        why: String,
    },
    /// No projection goes on.
    Blocked,
    /// It has ended.
    Stopped,
}

/// How far a projection is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProjectionState {
    /// The stored checkpoint.
    pub floor: u64,
    /// When the event at the checkpoint was published, in nanoseconds since 1970; `None` where that is not known.
    pub published: Option<i128>,
    /// Why it does not go on.
    pub blocked: Option<BlockedReason>,
    /// How many keys are parked.
    pub parked_keys: usize,
}

impl ShardStatus {
    /// Whether all projections are at `sequence` or further.
    pub fn has_reached(&self, sequence: u64) -> bool {
        !self.projections.is_empty()
            && self
                .projections
                .values()
                .all(|state| state.floor >= sequence)
    }
}
