//! Named tables: which table of MDBX is which of ours.
//!
//! MDBX has room for so many tables, and one that was made stays. So a table that is not used any more is emptied and kept for the next one that is made, and a directory says under which name a table goes by now. What is not in it goes by the name that it was made with.

use std::{borrow::Cow, collections::HashMap};

use signet_libmdbx::{
    Database, DatabaseFlags, WriteFlags,
    tx::aliases::{RoTxUnsync, RwTxUnsync},
};

use super::{classify, unreadable};
use crate::storage::StorageError;

/// The name that a table was made with to the one that it goes by; to nothing where it goes by none.
const DIRECTORY: &str = "d";

/// One table.
#[derive(Debug, Clone)]
struct Table {
    /// What it was made with.
    made_as: String,
    handle: Database,
}

/// The tables of a store at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Tables {
    by_name: HashMap<String, Table>,
    free: Vec<Table>,
    directory: Option<Database>,
}

impl Tables {
    /// Opens every table that is there.
    pub(super) fn open(transaction: &RoTxUnsync) -> Result<Self, StorageError> {
        let failed = |error| classify("open a table", error);
        // The names of tables are the keys of the table without a name.
        let root = transaction.open_db_no_cache(None).map_err(failed)?;
        let mut all = Vec::new();
        let mut directory = None;
        for (made_as, _) in entries(transaction, root)? {
            let table = transaction.open_db_no_cache(Some(&made_as));
            let handle = table.map_err(failed)?;
            if made_as == DIRECTORY {
                directory = Some(handle);
            } else {
                all.push(Table { made_as, handle });
            }
        }
        Self::arranged(transaction, all, directory)
    }

    /// The same tables by the names that they go by in `transaction`.
    pub(super) fn as_in(&self, transaction: &RoTxUnsync) -> Result<Self, StorageError> {
        let all = self.by_name.values().chain(&self.free).cloned();
        Self::arranged(transaction, all.collect(), self.directory)
    }

    fn arranged(
        transaction: &RoTxUnsync,
        all: Vec<Table>,
        directory: Option<Database>,
    ) -> Result<Self, StorageError> {
        let mut names = HashMap::new();
        if let Some(directory) = directory {
            names.extend(entries(transaction, directory)?);
        }
        let mut tables = Self {
            directory,
            ..Self::default()
        };
        for table in all {
            let name = names.remove(&table.made_as);
            match name.unwrap_or_else(|| table.made_as.clone()) {
                none if none.is_empty() => tables.free.push(table),
                name => {
                    tables.by_name.insert(name, table);
                }
            }
        }
        Ok(tables)
    }

    pub(super) fn get(&self, name: &str) -> Option<Database> {
        self.by_name.get(name).map(|table| table.handle)
    }

    /// Makes the table `name`, of one that is not used any more where there is one.
    pub(super) fn make(
        &mut self,
        transaction: &RwTxUnsync,
        name: &str,
    ) -> Result<Database, StorageError> {
        let table = if let Some(table) = self.free.pop() {
            table
        } else {
            let made_as = self.new_name(name);
            let handle = create(transaction, &made_as)?;
            Table { made_as, handle }
        };
        self.note(transaction, &table.made_as, name)?;
        let handle = table.handle;
        self.by_name.insert(name.to_owned(), table);
        Ok(handle)
    }

    /// Empties the table `name`, and keeps it for another one.
    pub(super) fn remove(
        &mut self,
        transaction: &RwTxUnsync,
        name: &str,
    ) -> Result<(), StorageError> {
        let Some(table) = self.by_name.remove(name) else {
            return Ok(());
        };
        let cleared = transaction.clear_db(table.handle);
        cleared.map_err(|error| classify("clear a table", error))?;
        self.note(transaction, &table.made_as, "")?;
        self.free.push(table);
        Ok(())
    }

    /// `name`, or one like it where a table was made with that and goes by another.
    fn new_name(&self, name: &str) -> String {
        let is_taken = |made_as: &str| self.by_name.values().any(|table| table.made_as == made_as);
        if !is_taken(name) {
            return name.to_owned();
        }
        let mut others = (2..).map(|number: u32| format!("{name}#{number}"));
        let other = others.find(|other| !is_taken(other));
        other.expect("there are fewer tables than numbers")
    }

    /// Notes that the table that was made as `made_as` goes by `name`.
    fn note(
        &mut self,
        transaction: &RwTxUnsync,
        made_as: &str,
        name: &str,
    ) -> Result<(), StorageError> {
        let directory = self.make_directory(transaction)?;
        let noted = if made_as == name {
            transaction.del(directory, made_as, None).map(drop)
        } else {
            transaction.put(directory, made_as, name, WriteFlags::UPSERT)
        };
        noted.map_err(|error| classify("write", error))
    }

    pub(super) fn has_directory(&self) -> bool {
        self.directory.is_some()
    }

    /// Makes the directory where there is none.
    pub(super) fn make_directory(
        &mut self,
        transaction: &RwTxUnsync,
    ) -> Result<Database, StorageError> {
        if let Some(directory) = self.directory {
            return Ok(directory);
        }
        let directory = create(transaction, DIRECTORY)?;
        self.directory = Some(directory);
        Ok(directory)
    }

    /// How many there are, used or not.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.by_name.len() + self.free.len()
    }
}

fn create(transaction: &RwTxUnsync, made_as: &str) -> Result<Database, StorageError> {
    let created = transaction.create_db(Some(made_as), DatabaseFlags::empty());
    created.map_err(|error| classify("create a table", error))
}

fn entries(
    transaction: &RoTxUnsync,
    table: Database,
) -> Result<Vec<(String, String)>, StorageError> {
    let cursor = transaction.cursor(table);
    let mut cursor = cursor.map_err(|error| classify("open a table", error))?;
    let mut found = cursor
        .iter_start::<Cow<'_, [u8]>, Cow<'_, [u8]>>()
        .map_err(unreadable)?;
    let text = |bytes: Cow<'_, [u8]>| String::from_utf8_lossy(&bytes).into_owned();
    let mut all = Vec::new();
    while let Some((key, value)) = found.borrow_next().map_err(unreadable)? {
        all.push((text(key), text(value)));
    }
    Ok(all)
}
