//! The fence: keeps a node from writing that does not own the shard any more, and does not know it.
//!
//! A lease can end between any two instructions, so asking before a write is not enough. The store keeps the epoch of the last owner that wrote, and compares in the transaction of each write.

use std::{fmt, sync::Arc};

use super::{StorageError, kv::KvWrite, tables};

/// What each write must pass.
#[derive(Clone)]
pub struct Fence {
    epoch: u64,
    holds: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Fence {
    /// The fence of the owner `epoch`, which has the shard as long as `holds` says so.
    pub fn new(epoch: u64, holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self {
            epoch,
            holds: Arc::new(holds),
        }
    }

    /// Refuses where a later owner wrote; else writes down that this one did.
    pub(super) fn enter(&self, tables: &mut dyn KvWrite) -> Result<(), StorageError> {
        let stored = tables.get(tables::META, tables::EPOCH)?;
        let stored = stored.map_or(0, |bytes| epoch_in(&bytes));
        if stored > self.epoch {
            return Err(StorageError::Fenced {
                epoch: self.epoch,
                stored: Some(stored),
            });
        }
        if stored < self.epoch {
            let epoch = self.epoch.to_be_bytes();
            tables.put_all(
                tables::META,
                &mut [(tables::EPOCH, Some(&epoch[..]))].into_iter(),
            )?;
        }
        Ok(())
    }

    /// Refuses where the lease ended while the transaction was made: it is undone then.
    pub(super) fn leave(&self) -> Result<(), StorageError> {
        if (self.holds)() {
            Ok(())
        } else {
            Err(StorageError::Fenced {
                epoch: self.epoch,
                stored: None,
            })
        }
    }
}

pub(super) fn epoch_in(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_be_bytes)
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fence")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}
