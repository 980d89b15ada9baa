//! Storage: views and the checkpoint that they stand at, written together or not at all.
//!
//! [`ViewStore`] holds the rules; what keeps bytes (see `kv`) is MDBX, or redb where no C may be linked.
//! Nothing else in this crate can write a view: a [`Batch`] has no views without a checkpoint, and a commit refuses a checkpoint that does not start where the stored one stands.

mod batch;
mod breaker;
mod error;
#[cfg(test)]
mod faulty;
mod fence;
mod generations;
mod index;
mod kv;
mod mdbx;
mod owner;
mod redb;
mod snapshot;
mod tables;
mod walk;

use std::{ops::ControlFlow, path::Path, sync::Arc};

use crate::{
    settings::{Durability, Engine},
    types::{Checkpoint, ViewTable},
};

pub use batch::{Batch, Part};
pub use breaker::Breaker;
pub use error::{EngineError, StorageError};
#[cfg(test)]
pub(crate) use faulty::{FaultyDisk, StorageFault};
pub use fence::Fence;
pub use generations::GenerationChange;
pub use index::Index;
pub(crate) use snapshot::Views;
pub use snapshot::{Scanned, Snapshot};
pub(crate) use walk::{KeyRange, Walk};

use self::{
    kv::{Kv, KvWrite},
    owner::Ownership,
};

/// How a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOptions {
    /// What keeps the bytes.
    pub engine: Engine,
    /// How large it may grow.
    pub bytes_max: usize,
    /// When a commit is on the disk.
    pub durability: Durability,
}

/// Views, checkpoints and quarantined events, in one folder.
pub struct ViewStore {
    kv: Arc<dyn Kv>,
    /// Held so that no second node writes here; `None` in a store that only reads.
    ownership: Option<Arc<Ownership>>,
    /// Whose writes these are, where the shard can get another owner.
    fence: Option<Fence>,
}

impl ViewStore {
    /// Opens the store in `folder` as its owner, and creates it where there is none.
    ///
    /// # Errors
    /// Somebody else owns it, or it cannot be opened.
    pub fn open(folder: &Path, options: StoreOptions) -> Result<Self, StorageError> {
        let ownership = Ownership::take(folder)?;
        let kv: Arc<dyn Kv> = match options.engine {
            Engine::Mdbx => Arc::new(mdbx::Mdbx::open(folder, options)?),
            Engine::Redb => Arc::new(redb::Redb::open(folder, options)?),
        };
        Ok(Self {
            kv,
            ownership: Some(Arc::new(ownership)),
            fence: None,
        })
    }

    /// Opens the MDBX store in `folder` to look into it, beside its owner.
    ///
    /// # Errors
    /// There is none, or it cannot be opened.
    pub fn open_to_read(folder: &Path) -> Result<Self, StorageError> {
        Ok(Self::over(Arc::new(mdbx::Mdbx::open_to_read(folder)?)))
    }

    fn over(kv: Arc<dyn Kv>) -> Self {
        Self {
            kv,
            ownership: None,
            fence: None,
        }
    }

    /// The same store for one owner of the shard: from now on earlier owners write nothing, and this one nothing when it is not the owner any more. That holds for all that can be written: commits, flips of what is served, exchanges, and what is cleared.
    ///
    /// # Errors
    /// [`StorageError::Fenced`] where a later owner wrote, or the lease has ended; else what failed.
    pub fn behind(&self, fence: Fence) -> Result<Self, StorageError> {
        let behind = Self {
            kv: Arc::clone(&self.kv),
            ownership: self.ownership.clone(),
            fence: Some(fence),
        };
        behind.write(&mut |_| Ok(()))?;
        Ok(behind)
    }

    /// Everything that is written goes through here, so that no change can forget the fence.
    fn write(
        &self,
        change: &mut dyn FnMut(&mut dyn KvWrite) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let Some(fence) = &self.fence else {
            return self.kv.write(change);
        };
        self.kv.write(&mut |tables| {
            fence.enter(tables)?;
            change(tables)?;
            fence.leave()
        })
    }

    /// What the store holds at this moment. It pins what it sees, so it must be short-lived.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot<'_>, StorageError> {
        Ok(Snapshot::new(self.kv.read()?))
    }

    /// Writes all of `batch`, or nothing of it. When this returns, it is on the disk, unless the store syncs by interval.
    ///
    /// # Errors
    /// [`StorageError::FloorMoved`] where another writer was here since the batch was begun, [`StorageError::Exchanging`] where views of it are being exchanged, [`StorageError::Fenced`] where the shard has another owner; else what failed.
    pub fn commit(&self, batch: &Batch) -> Result<(), StorageError> {
        self.write(&mut |tables| {
            let mut parts = batch.parts().iter();
            parts.try_for_each(|part| {
                generations::refuse_exchanging(tables, part.table())?;
                write_part(tables, part)
            })
        })
    }

    /// Which owner of the shard has written last, counted from the first; 0 where leases were never used.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn epoch(&self) -> Result<u64, StorageError> {
        let stored = self.kv.read()?.get(tables::META, tables::EPOCH)?;
        Ok(stored.map_or(0, |bytes| fence::epoch_in(&bytes)))
    }

    /// Removes all that a generation of views holds, and its checkpoint, in one transaction.
    ///
    /// # Errors
    /// What failed; then everything is still there.
    pub fn clear(&self, table: &ViewTable) -> Result<(), StorageError> {
        self.write(&mut |tables| {
            for name in tables::all_of(table) {
                tables.clear(&name)?;
            }
            index::clear(tables, table)?;
            let key = table.to_string();
            tables.put_all(
                tables::CHECKPOINTS,
                &mut [(key.as_bytes(), None)].into_iter(),
            )
        })
    }

    /// Whether the store can be written now, by writing a note that means nothing else. It waits for a commit that is being written.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn probe(&self) -> Result<(), StorageError> {
        self.write(&mut |tables| {
            tables.put_all(
                tables::NODE,
                &mut [(&b"probe"[..], Some(&b""[..]))].into_iter(),
            )
        })
    }

    /// How many bytes the store takes, with those that it will use again.
    ///
    /// # Errors
    /// It does not say.
    pub fn used_bytes(&self) -> Result<u64, StorageError> {
        self.kv.used_bytes()
    }

    /// Brings everything that was committed to the disk.
    ///
    /// # Errors
    /// What failed; then nothing since the last success may be acknowledged.
    pub fn sync(&self) -> Result<(), StorageError> {
        self.kv.sync()
    }
}

fn write_part(tables: &mut dyn KvWrite, part: &Part) -> Result<(), StorageError> {
    let key = part.table().to_string();
    let stored = tables.get(tables::CHECKPOINTS, key.as_bytes())?;
    let found = stored.map(|bytes| decode_checkpoint(&bytes)).transpose()?;
    let program = &part.checkpoint().program_hash;
    let same_program = found
        .as_ref()
        .is_some_and(|found| found.program_hash == *program);
    let found = found.map(|checkpoint| checkpoint.floor);
    if found != part.expected() {
        let (table, expected) = (part.table().clone(), part.expected());
        return Err(StorageError::FloorMoved {
            table,
            expected,
            found,
        });
    }
    if !same_program {
        generations::note_generation(tables, part.table(), program)?;
    }
    index::maintain(tables, part)?;
    let views = part
        .views()
        .iter()
        .map(|(key, view)| (key.as_bytes(), view.as_deref()));
    tables.put_all(&tables::views(part.table()), &mut { views })?;
    let records = part
        .records()
        .iter()
        .map(|(key, record)| (&key[..], record.as_deref()));
    tables.put_all(&tables::quarantine(part.table()), &mut { records })?;
    let progress = part
        .progress()
        .map(|(key, floor)| (key, floor.to_be_bytes()));
    let progress: Vec<_> = progress.collect();
    let progress = progress
        .iter()
        .map(|(key, floor)| (key.as_bytes(), Some(&floor[..])));
    tables.put_all(&tables::progress(part.table()), &mut { progress })?;
    let checkpoint = part.checkpoint().encode();
    tables.put_all(
        tables::CHECKPOINTS,
        &mut [(key.as_bytes(), Some(&checkpoint[..]))].into_iter(),
    )
}

fn decode_checkpoint(bytes: &[u8]) -> Result<Checkpoint, StorageError> {
    Checkpoint::decode(bytes).map_err(|source| StorageError::Undecodable {
        what: "checkpoint",
        source,
    })
}

/// What a visitor of entries says: whether it wants more.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

#[cfg(test)]
mod tests;
