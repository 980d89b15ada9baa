//! MDBX as an engine: the default.
//!
//! A handle of a table belongs to the transaction that opened it until that commits, and goes with it if it does not, under the feet of whoever else reads by it.
//! So handles are opened in transactions that are committed, and a reader uses those that were there before it began.
//!
//! Without the write map, because there a full disk is a signal that kills, and never without syncs of any kind, because that does not survive a crash.

mod named;

use std::{
    borrow::Cow,
    path::Path,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use signet_libmdbx::{
    Database, Environment, EnvironmentFlags, Geometry, MdbxError, Mode, ReadError, SyncMode,
    WriteFlags,
    tx::aliases::{RoCursorUnsync, RoTxUnsync, RwTxUnsync},
};

use self::named::Tables;
use super::{
    EngineError, StorageError, StoreOptions, Visit,
    kv::{Entries, Kv, KvRead, KvValues, KvWrite},
};
use crate::settings::Durability;

/// Three tables for each generation of each type of view that is kept, one for each of its indexes, and some of the store itself.
const TABLES_MAX: usize = 1_024;

pub(super) struct Mdbx {
    environment: Environment,
    /// Those that every transaction from now on may use. Whoever begins one holds it still, and so does a commit that changes it: no transaction has the tables of another moment.
    tables: RwLock<Arc<Tables>>,
    /// Another process writes, and gives tables other names meanwhile.
    only_reads: bool,
}

impl Mdbx {
    pub(super) fn open(folder: &Path, options: StoreOptions) -> Result<Self, StorageError> {
        let sync_mode = match options.durability {
            Durability::Commit => SyncMode::Durable,
            Durability::Interval(_) => SyncMode::SafeNoSync,
        };
        let mut builder = Environment::builder();
        builder.set_geometry(Geometry {
            size: Some(0..options.bytes_max),
            ..Geometry::default()
        });
        Self::build(&mut builder, folder, Mode::ReadWrite { sync_mode })
    }

    pub(super) fn open_to_read(folder: &Path) -> Result<Self, StorageError> {
        Self::build(&mut Environment::builder(), folder, Mode::ReadOnly)
    }

    fn build(
        builder: &mut signet_libmdbx::EnvironmentBuilder,
        folder: &Path,
        mode: Mode,
    ) -> Result<Self, StorageError> {
        // Views are read at random, so what lies beside them on the disk is not worth reading.
        let flags = EnvironmentFlags {
            mode,
            no_rdahead: true,
            ..EnvironmentFlags::default()
        };
        let opened = builder
            .set_max_dbs(TABLES_MAX)
            .set_flags(flags)
            .open(folder);
        let environment = opened.map_err(|error| classify("open", error))?;
        let failed = |error| classify("open a table", error);
        let transaction = environment.begin_ro_unsync().map_err(failed)?;
        let tables = Tables::open(&transaction)?;
        transaction.commit().map_err(failed)?;
        let only_reads = matches!(mode, Mode::ReadOnly);
        let store = Self {
            environment,
            tables: RwLock::new(Arc::new(tables)),
            only_reads,
        };
        if !only_reads {
            store.write_directory()?;
        }
        Ok(store)
    }

    /// Makes the directory of tables where there is none, so that whoever opens the store to read knows of it before the first name is noted there.
    fn write_directory(&self) -> Result<(), StorageError> {
        let mut tables = Tables::clone(&self.tables());
        if tables.has_directory() {
            return Ok(());
        }
        let failed = |error| classify("create a table", error);
        let transaction = self.environment.begin_rw_unsync().map_err(failed)?;
        tables.make_directory(&transaction)?;
        transaction.commit().map_err(failed)?;
        *self.tables.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tables);
        Ok(())
    }

    fn tables(&self) -> RwLockReadGuard<'_, Arc<Tables>> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kv for Mdbx {
    fn read(&self) -> Result<Box<dyn KvRead + '_>, StorageError> {
        let tables = self.tables();
        let transaction = self.environment.begin_ro_unsync();
        let transaction = transaction.map_err(|error| classify("begin to read", error))?;
        let tables = if self.only_reads {
            Arc::new(tables.as_in(&transaction)?)
        } else {
            Arc::clone(&tables)
        };
        Ok(Box::new(Read {
            transaction,
            tables,
        }))
    }

    fn write(
        &self,
        change: &mut dyn FnMut(&mut dyn KvWrite) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let transaction = self.environment.begin_rw_unsync();
        let transaction = transaction.map_err(|error| classify("begin to write", error))?;
        // There is one writer at a time, so nobody else changes the tables from here on.
        let mut write = Write {
            transaction,
            tables: Arc::clone(&self.tables()),
            changed: false,
        };
        // Dropped without a commit, the transaction is undone.
        change(&mut write)?;
        let Write {
            transaction,
            tables,
            changed,
        } = write;
        let mut of_all = changed.then(|| {
            let of_all = self.tables.write();
            of_all.unwrap_or_else(PoisonError::into_inner)
        });
        transaction
            .commit()
            .map_err(|error| classify("commit", error))?;
        if let Some(of_all) = &mut of_all {
            **of_all = tables;
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.environment
            .sync(true)
            .map(drop)
            .map_err(|error| classify("sync", error))
    }

    fn used_bytes(&self) -> Result<u64, StorageError> {
        let failed = |error| classify("say how large it is", error);
        let info = self.environment.info().map_err(failed)?;
        let page = self.environment.stat().map_err(failed)?.page_size();
        Ok((info.last_pgno() as u64 + 1) * u64::from(page))
    }
}

struct Read {
    transaction: RoTxUnsync,
    tables: Arc<Tables>,
}

impl KvRead for Read {
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let Some(table) = self.tables.get(table) else {
            return Ok(None);
        };
        self.transaction.get(table.dbi(), key).map_err(unreadable)
    }

    fn values(&self, table: &str) -> Result<Box<dyn KvValues + '_>, StorageError> {
        let table = self.tables.get(table);
        let cursor = table.map(|table| self.transaction.cursor(table));
        let cursor = cursor.transpose();
        Ok(Box::new(Values {
            cursor: cursor.map_err(|error| classify("read", error))?,
        }))
    }

    fn range(&self, table: &str, from: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        let Some(table) = self.tables.get(table) else {
            return Ok(());
        };
        let cursor = self.transaction.cursor(table);
        let mut cursor = cursor.map_err(|error| classify("read", error))?;
        let entries = cursor.iter_from::<Cow<'_, [u8]>, Cow<'_, [u8]>>(from);
        let mut entries = entries.map_err(unreadable)?;
        while let Some((key, value)) = entries.borrow_next().map_err(unreadable)? {
            if visit(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn range_back(&self, table: &str, before: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        let Some(table) = self.tables.get(table) else {
            return Ok(());
        };
        let cursor = self.transaction.cursor(table);
        let mut cursor = cursor.map_err(|error| classify("read", error))?;
        let behind: Entry<'_> = cursor.set_range(before).map_err(unreadable)?;
        let mut entry: Entry<'_> = match behind {
            Some(_) => cursor.prev().map_err(unreadable)?,
            None => cursor.last().map_err(unreadable)?,
        };
        while let Some((key, value)) = entry {
            if visit(&key, &value).is_break() {
                break;
            }
            entry = cursor.prev().map_err(unreadable)?;
        }
        Ok(())
    }
}

/// A cursor, which finds what lies beside the last key without going down the tree again.
struct Values<'t> {
    cursor: Option<RoCursorUnsync<'t>>,
}

impl KvValues for Values<'_> {
    fn show(&mut self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<(), StorageError> {
        let Some(cursor) = &mut self.cursor else {
            return Ok(());
        };
        let value: Option<Cow<'_, [u8]>> = cursor.set(key).map_err(unreadable)?;
        if let Some(value) = value {
            visit(&value);
        }
        Ok(())
    }
}

type Entry<'t> = Option<(Cow<'t, [u8]>, Cow<'t, [u8]>)>;

struct Write {
    transaction: RwTxUnsync,
    tables: Arc<Tables>,
    /// Whether the tables are others than those of all.
    changed: bool,
}

impl Write {
    fn table(&self, name: &str) -> Option<Database> {
        self.tables.get(name)
    }

    fn table_or_new(&mut self, name: &str) -> Result<Database, StorageError> {
        if let Some(table) = self.table(name) {
            return Ok(table);
        }
        self.changed = true;
        Arc::make_mut(&mut self.tables).make(&self.transaction, name)
    }
}

impl KvWrite for Write {
    fn get(&mut self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let Some(table) = self.table(table) else {
            return Ok(None);
        };
        self.transaction.get(table.dbi(), key).map_err(unreadable)
    }

    fn put_all(&mut self, table: &str, entries: Entries<'_, '_>) -> Result<(), StorageError> {
        let mut entries = entries.peekable();
        if entries.peek().is_none() {
            return Ok(());
        }
        let table = self.table_or_new(table)?;
        for (key, value) in entries {
            let written = match value {
                Some(value) => self.transaction.put(table, key, value, WriteFlags::UPSERT),
                None => self.transaction.del(table, key, None).map(drop),
            };
            written.map_err(|error| classify("write", error))?;
        }
        Ok(())
    }

    fn remove(&mut self, table: &str) -> Result<(), StorageError> {
        if self.table(table).is_none() {
            return Ok(());
        }
        self.changed = true;
        Arc::make_mut(&mut self.tables).remove(&self.transaction, table)
    }

    fn clear(&mut self, table: &str) -> Result<(), StorageError> {
        let Some(table) = self.table(table) else {
            return Ok(());
        };
        self.transaction
            .clear_db(table)
            .map_err(|error| classify("clear a table", error))
    }
}

fn unreadable(error: ReadError) -> StorageError {
    match error {
        ReadError::Mdbx(error) => classify("read", error),
        ReadError::Decoding(source) => StorageError::Engine {
            operation: "read",
            source: EngineError::boxed(source),
        },
    }
}

/// What MDBX passes on from the system, by its numbers on Linux.
mod system {
    pub(super) const EIO: i32 = 5;
    pub(super) const ENOSPC: i32 = 28;
    pub(super) const EROFS: i32 = 30;
    pub(super) const EDQUOT: i32 = 122;
}

fn classify(operation: &'static str, error: MdbxError) -> StorageError {
    let source = EngineError::new(error);
    match error {
        MdbxError::MapFull | MdbxError::UnableExtendMapSize => StorageError::Full { source },
        MdbxError::Other(system::EIO | system::ENOSPC | system::EDQUOT) => {
            StorageError::Disk { source }
        }
        MdbxError::Other(system::EROFS)
        | MdbxError::Access
        | MdbxError::Permission
        | MdbxError::WriteTransactionUnsupportedInReadOnlyMode => StorageError::ReadOnly { source },
        _ => StorageError::Engine { operation, source },
    }
}

#[cfg(test)]
mod tests;
