//! Storage: views and the checkpoint that they stand at, written together or not at all.
//!
//! [`ViewStore`] holds the rules; what keeps bytes (see `kv`) is MDBX, or redb where no C may be linked.
//! Nothing else in this crate can write a view: a [`Batch`] has no views without a checkpoint, and a commit refuses a checkpoint that does not start where the stored one stands.

mod batch;
mod breaker;
mod error;
#[cfg(test)]
mod faulty;
mod kv;
mod mdbx;
mod owner;
mod redb;
mod snapshot;
mod tables;

use std::{ops::ControlFlow, path::Path};

use crate::{
    settings::{Durability, Engine},
    types::{Checkpoint, ViewTable},
};

pub use batch::{Batch, Part};
pub use breaker::Breaker;
pub use error::{EngineError, StorageError};
#[cfg(test)]
pub(crate) use faulty::{FaultyDisk, StorageFault};
pub use snapshot::{Scanned, Snapshot};

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
    kv: Box<dyn Kv>,
    /// Held so that no second node writes here; `None` in a store that only reads.
    _ownership: Option<Ownership>,
}

impl ViewStore {
    /// Opens the store in `folder` as its owner, and creates it where there is none.
    ///
    /// # Errors
    /// Somebody else owns it, or it cannot be opened.
    pub fn open(folder: &Path, options: StoreOptions) -> Result<Self, StorageError> {
        let ownership = Ownership::take(folder)?;
        let kv: Box<dyn Kv> = match options.engine {
            Engine::Mdbx => Box::new(mdbx::Mdbx::open(folder, options)?),
            Engine::Redb => Box::new(redb::Redb::open(folder, options)?),
        };
        Ok(Self {
            kv,
            _ownership: Some(ownership),
        })
    }

    /// Opens the MDBX store in `folder` to look into it, beside its owner.
    ///
    /// # Errors
    /// There is none, or it cannot be opened.
    pub fn open_to_read(folder: &Path) -> Result<Self, StorageError> {
        let kv = Box::new(mdbx::Mdbx::open_to_read(folder)?);
        Ok(Self {
            kv,
            _ownership: None,
        })
    }

    /// A store over bytes that are not in a folder.
    #[cfg(test)]
    fn over(kv: Box<dyn Kv>) -> Self {
        Self {
            kv,
            _ownership: None,
        }
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
    /// [`StorageError::FloorMoved`] where another writer was here since the batch was begun; else what failed.
    pub fn commit(&self, batch: &Batch) -> Result<(), StorageError> {
        self.kv.write(&mut |tables| {
            batch
                .parts()
                .iter()
                .try_for_each(|part| write_part(tables, part))
        })
    }

    /// Removes all that a generation of views holds, and its checkpoint, in one transaction.
    ///
    /// # Errors
    /// What failed; then everything is still there.
    pub fn clear(&self, table: &ViewTable) -> Result<(), StorageError> {
        self.kv.write(&mut |tables| {
            tables.clear(&tables::views(table))?;
            tables.clear(&tables::quarantine(table))?;
            tables.clear(&tables::progress(table))?;
            let key = table.to_string();
            tables.put_all(
                tables::CHECKPOINTS,
                &mut [(key.as_bytes(), None)].into_iter(),
            )
        })
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
    let found = found.map(|checkpoint| checkpoint.floor);
    if found != part.expected() {
        let (table, expected) = (part.table().clone(), part.expected());
        return Err(StorageError::FloorMoved {
            table,
            expected,
            found,
        });
    }
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
type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

#[cfg(test)]
mod tests;
