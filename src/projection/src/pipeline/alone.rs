//! One event by itself, without a session: whether it is poison, and whether what it makes of a view may be stored.

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

impl ShardOptions {
    /// Why `projection`, which halts before poison, cannot apply the event behind `checkpoint`; `None` where it can. Nothing is written.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn poison(
        &self,
        projection: &Projection,
        checkpoint: &Checkpoint,
        store: &ViewStore,
        delivery: Delivery,
    ) -> Result<Option<String>, StorageError> {
        let batch = decode(vec![delivery], &self.tenancy, self.event_bytes_max, 1);
        let mut folder = Folder::new(
            projection.clone(),
            self.fold,
            checkpoint.clone(),
            true,
            store,
            &Arc::default(),
        )?;
        folder.fold(&batch, 1, 0, store)?;
        Ok(match folder.blocked() {
            Some(BlockedReason::Poison { reason, .. }) => Some(reason.clone()),
            _ => None,
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
