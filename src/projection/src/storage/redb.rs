//! redb as an engine: in Rust alone, and the second opinion in tests.
//!
//! After a failed write redb refuses everything until it is opened again, so this does that before the next write.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::{
    CommitError, Database, DatabaseError, ReadOnlyTable, ReadTransaction, ReadableDatabase,
    ReadableTable, StorageError as RedbError, TableDefinition, TableError, TransactionError,
    WriteTransaction,
};

use super::{
    EngineError, StorageError, StoreOptions, Visit,
    kv::{Entries, Kv, KvRead, KvValues, KvWrite},
};
use crate::settings::Durability;

const FILE: &str = "views.redb";

pub(super) struct Redb {
    file: PathBuf,
    durability: redb::Durability,
    /// `None` after a write failed, until it is opened again.
    database: Mutex<Option<Arc<Database>>>,
}

impl Redb {
    pub(super) fn open(folder: &Path, options: StoreOptions) -> Result<Self, StorageError> {
        let durability = match options.durability {
            Durability::Commit => redb::Durability::Immediate,
            Durability::Interval(_) => redb::Durability::None,
        };
        let store = Self {
            file: folder.join(FILE),
            durability,
            database: Mutex::default(),
        };
        store.database()?;
        Ok(store)
    }

    /// One that is gone when it is dropped.
    #[cfg(test)]
    pub(super) fn in_memory() -> Result<Self, StorageError> {
        let backend = redb::backends::InMemoryBackend::new();
        let mut builder = Database::builder();
        let created = builder
            .set_cache_size(64 << 10)
            .create_with_backend(backend);
        let database = created.map_err(|error| engine("open", error))?;
        Ok(Self {
            file: PathBuf::new(),
            durability: redb::Durability::Immediate,
            database: Mutex::new(Some(Arc::new(database))),
        })
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Database>>> {
        // The slot is whole even where a thread died with it: it is replaced in one step.
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn database(&self) -> Result<Arc<Database>, StorageError> {
        let mut slot = self.slot();
        if let Some(database) = &*slot {
            return Ok(Arc::clone(database));
        }
        let opened = Database::create(&self.file).map_err(|error| match error {
            DatabaseError::Storage(error) => classify("open", error),
            // What was let go because it failed is still in use, by a reader or by another writer, and that passes.
            error @ DatabaseError::DatabaseAlreadyOpen => StorageError::Disk {
                source: EngineError::new(error),
            },
            error => engine("open", error),
        })?;
        Ok(Arc::clone(slot.insert(Arc::new(opened))))
    }

    fn transaction(&self) -> Result<WriteTransaction, StorageError> {
        let begun = self.database()?.begin_write();
        let mut transaction = begun.map_err(|error| begin_failed("begin to write", error))?;
        let set = transaction.set_durability(self.durability);
        set.map_err(|error| engine("begin to write", error))?;
        Ok(transaction)
    }

    fn try_write(
        &self,
        change: &mut dyn FnMut(&mut dyn KvWrite) -> Result<(), StorageError>,
        durability: redb::Durability,
    ) -> Result<(), StorageError> {
        let mut transaction = self.transaction()?;
        let set = transaction.set_durability(durability);
        set.map_err(|error| engine("begin to write", error))?;
        change(&mut Write {
            transaction: &transaction,
        })?;
        transaction.commit().map_err(|error| match error {
            CommitError::Storage(error) => classify("commit", error),
            error => engine("commit", error),
        })
    }

    /// Lets go of a database that has failed, so that the next use opens it again.
    fn forget_failed<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        if result.as_ref().is_err_and(StorageError::is_transient) {
            *self.slot() = None;
        }
        result
    }
}

impl Kv for Redb {
    fn read(&self) -> Result<Box<dyn KvRead + '_>, StorageError> {
        let begun = self.database()?.begin_read();
        let transaction = begun.map_err(|error| begin_failed("begin to read", error))?;
        Ok(Box::new(Read { transaction }))
    }

    fn write(
        &self,
        change: &mut dyn FnMut(&mut dyn KvWrite) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        self.forget_failed(self.try_write(change, self.durability))
    }

    fn sync(&self) -> Result<(), StorageError> {
        // A commit that is brought to the disk brings those before it along.
        self.forget_failed(self.try_write(&mut |_| Ok(()), redb::Durability::Immediate))
    }

    fn used_bytes(&self) -> Result<u64, StorageError> {
        let found = std::fs::metadata(&self.file);
        let found = found.map_err(|source| StorageError::Folder {
            folder: self.file.clone(),
            source,
        })?;
        Ok(found.len())
    }
}

type BytesTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

struct Read {
    transaction: ReadTransaction,
}

impl Read {
    fn table(&self, name: &str) -> Result<Option<BytesTable>, StorageError> {
        match self.transaction.open_table(definition(name)) {
            Ok(table) => Ok(Some(table)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(table_failed(error)),
        }
    }
}

impl KvRead for Read {
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let Some(table) = self.table(table)? else {
            return Ok(None);
        };
        let value = table.get(key).map_err(|error| classify("read", error))?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    fn values(&self, table: &str) -> Result<Box<dyn KvValues + '_>, StorageError> {
        let table = self.table(table)?;
        Ok(Box::new(Values { table }))
    }

    fn range(&self, table: &str, from: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        let Some(table) = self.table(table)? else {
            return Ok(());
        };
        let entries = table
            .range(from..)
            .map_err(|error| classify("read", error))?;
        for entry in entries {
            let (key, value) = entry.map_err(|error| classify("read", error))?;
            if visit(key.value(), value.value()).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn range_back(&self, table: &str, before: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        let Some(table) = self.table(table)? else {
            return Ok(());
        };
        let entries = table
            .range(..before)
            .map_err(|error| classify("read", error))?;
        for entry in entries.rev() {
            let (key, value) = entry.map_err(|error| classify("read", error))?;
            if visit(key.value(), value.value()).is_break() {
                break;
            }
        }
        Ok(())
    }
}

struct Values {
    table: Option<BytesTable>,
}

impl KvValues for Values {
    fn show(&mut self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<(), StorageError> {
        let Some(table) = &self.table else {
            return Ok(());
        };
        let value = table.get(key).map_err(|error| classify("read", error))?;
        if let Some(value) = value {
            visit(value.value());
        }
        Ok(())
    }
}

struct Write<'t> {
    transaction: &'t WriteTransaction,
}

impl KvWrite for Write<'_> {
    fn get(&mut self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let table = self
            .transaction
            .open_table(definition(table))
            .map_err(table_failed)?;
        let value = table.get(key).map_err(|error| classify("read", error))?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    fn put_all(&mut self, table: &str, entries: Entries<'_, '_>) -> Result<(), StorageError> {
        let mut entries = entries.peekable();
        if entries.peek().is_none() {
            return Ok(());
        }
        let mut table = self
            .transaction
            .open_table(definition(table))
            .map_err(table_failed)?;
        for (key, value) in entries {
            let written = match value {
                Some(value) => table.insert(key, value).map(drop),
                None => table.remove(key).map(drop),
            };
            written.map_err(|error| classify("write", error))?;
        }
        Ok(())
    }

    fn remove(&mut self, table: &str) -> Result<(), StorageError> {
        self.clear(table)
    }

    fn clear(&mut self, table: &str) -> Result<(), StorageError> {
        self.transaction
            .delete_table(definition(table))
            .map(drop)
            .map_err(table_failed)
    }
}

fn definition(name: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(name)
}

fn begin_failed(operation: &'static str, error: TransactionError) -> StorageError {
    match error {
        TransactionError::Storage(error) => classify(operation, error),
        error => engine(operation, error),
    }
}

fn table_failed(error: TableError) -> StorageError {
    match error {
        TableError::Storage(error) => classify("open a table", error),
        error => engine("open a table", error),
    }
}

fn engine(
    operation: &'static str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> StorageError {
    StorageError::Engine {
        operation,
        source: EngineError::new(error),
    }
}

fn classify(operation: &'static str, error: RedbError) -> StorageError {
    match error {
        RedbError::Io(ref cause) if cause.kind() == std::io::ErrorKind::ReadOnlyFilesystem => {
            StorageError::ReadOnly {
                source: EngineError::new(error),
            }
        }
        RedbError::Io(_) | RedbError::PreviousIo | RedbError::DatabaseClosed => {
            StorageError::Disk {
                source: EngineError::new(error),
            }
        }
        error => engine(operation, error),
    }
}
