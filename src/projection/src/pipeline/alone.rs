//! One event by itself, without a session: how a projection stands before it, and whether what it makes of a view may be stored.

use std::sync::Arc;

use serde_json::Value;

use super::{decode::decode, fold::Folder, lane, shard::ShardOptions};
use crate::{
    manifest::Projection,
    program::{ProgramError, weight},
    storage::{StorageError, ViewStore},
    stream::{BlockedReason, Delivery},
    types::Checkpoint,
};

/// How a projection stands, as a session would find it.
pub(crate) struct Standing {
    /// How many keys are parked.
    pub(crate) parked_keys: usize,
    /// Why it does not go on, where it does not.
    pub(crate) blocked: Option<BlockedReason>,
}

impl ShardOptions {
    /// How `projection` stands at `checkpoint`, and whether it gets past the event behind it. Nothing is written.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn standing(
        &self,
        projection: &Projection,
        checkpoint: &Checkpoint,
        store: &ViewStore,
        next: Option<Delivery>,
    ) -> Result<Standing, StorageError> {
        let mut folder = Folder::new(
            projection.clone(),
            self.fold,
            checkpoint.clone(),
            true,
            store,
            &Arc::default(),
        )?;
        let parked_keys = folder.parked_keys();
        let Some(next) = next else {
            let blocked = folder.blocked().cloned();
            return Ok(Standing {
                parked_keys,
                blocked,
            });
        };
        let sequence = next.sequence;
        let batch = decode(vec![next], &self.tenancy, self.event_bytes_max, 1);
        folder.fold(&batch, 1, 0, store)?;
        let held_up = || {
            let reason = folder.waits_for()?;
            Some(BlockedReason::Poison { sequence, reason })
        };
        let blocked = folder.blocked().cloned().or_else(held_up);
        Ok(Standing {
            parked_keys,
            blocked,
        })
    }

    /// Refuses a view that no session would write.
    ///
    /// # Errors
    /// It is too large or too deep.
    pub(crate) fn admit(&self, view: &Value) -> Result<(), ProgramError> {
        lane::check(Some(view), weight(view), self.fold.view_bytes_max)
    }
}
