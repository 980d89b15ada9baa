//! Indexes: declared members of views, in order, written in the transaction that writes the views.
//!
//! The store itself keeps which indexes there are, so nothing that writes views can forget them. An entry is `{tenant}:{value}{id}` and says nothing else: the view is in its own table.
//! Each view has one entry in each index of its table, also where the member is absent, so an index can be walked instead of the views.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::{
    Part, StorageError, ViewStore,
    kv::{KvRead, KvWrite},
    tables,
};
use crate::types::{FieldPath, ViewTable, datum::Datum, pick::Picker};

/// How many views are entered in one transaction when an index is made, so that nobody waits for long.
const BUILT_AT_ONCE: usize = 5_000;

/// A declared index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The member that it is of.
    pub field: FieldPath,
    /// Whether all views are in it.
    pub ready: bool,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    field: String,
    ready: bool,
}

impl ViewStore {
    /// Makes `fields` the indexes of `table`: removes others, and makes those that are new, from the views that are there.
    ///
    /// Views may be written meanwhile. A crash leaves an index that is not ready, and the next call makes it again.
    ///
    /// # Errors
    /// What failed.
    pub fn declare_indexes(
        &self,
        table: &ViewTable,
        fields: &[FieldPath],
    ) -> Result<(), StorageError> {
        let found = self.snapshot()?.indexes(table)?;
        let wanted = fields.iter();
        if found.iter().all(|index| index.ready)
            && found.iter().map(|index| &index.field).eq(wanted)
        {
            return Ok(());
        }
        self.write(&mut |kv| {
            let mut indexes = Vec::new();
            for field in fields {
                let known = found
                    .iter()
                    .find(|index| index.ready && &index.field == field);
                if known.is_none() {
                    kv.clear(&tables::index(table, field))?;
                }
                indexes.push(Index {
                    field: field.clone(),
                    ready: known.is_some(),
                });
            }
            for index in found.iter().filter(|index| !fields.contains(&index.field)) {
                kv.remove(&tables::index(table, &index.field))?;
            }
            declare(kv, table, &indexes)
        })?;
        self.enter_all(table)?;
        self.write(&mut |kv| {
            let mut indexes = declared(kv, table)?;
            for index in &mut indexes {
                index.ready = true;
            }
            declare(kv, table, &indexes)
        })
    }

    /// Enters every view into the indexes that are not ready. Views that are written from now on are entered by who writes them.
    fn enter_all(&self, table: &ViewTable) -> Result<(), StorageError> {
        let mut from = Vec::new();
        loop {
            let mut keys = Vec::new();
            let read = self.kv.read()?;
            read.range(&tables::views(table), &from, &mut |key, _| {
                keys.push(key.to_vec());
                if keys.len() < BUILT_AT_ONCE {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
            drop(read);
            let Some(last) = keys.last() else {
                return Ok(());
            };
            from = [&last[..], b"\0"].concat();
            self.write(&mut |kv| {
                let mut entries = Entries::new(declared(kv, table)?, |index| !index.ready);
                for key in &keys {
                    // As it is now, and not as it was when its key was read.
                    if let Some(view) = kv.get(&tables::views(table), key)? {
                        entries.change(key, None, Some(&view));
                    }
                }
                entries.write(kv, table)
            })?;
        }
    }
}

/// Brings the indexes of a part's table to what the part writes. Before the views are written.
pub(super) fn maintain(kv: &mut dyn KvWrite, part: &Part) -> Result<(), StorageError> {
    let indexes = declared(kv, part.table())?;
    if indexes.is_empty() {
        return Ok(());
    }
    let views = tables::views(part.table());
    let mut entries = Entries::new(indexes, |_| true);
    for (key, new) in part.views() {
        let old = kv.get(&views, key.as_bytes())?;
        entries.change(key.as_bytes(), old.as_deref(), new.as_deref());
    }
    entries.write(kv, part.table())
}

/// Empties the indexes of a table whose views are removed. They stay declared.
pub(super) fn clear(kv: &mut dyn KvWrite, table: &ViewTable) -> Result<(), StorageError> {
    for index in declared(kv, table)? {
        kv.clear(&tables::index(table, &index.field))?;
    }
    Ok(())
}

/// Lets a table, whose views are removed, have no indexes any more.
pub(super) fn forget(kv: &mut dyn KvWrite, table: &ViewTable) -> Result<(), StorageError> {
    for index in declared(kv, table)? {
        kv.remove(&tables::index(table, &index.field))?;
    }
    declare(kv, table, &[])
}

/// The indexes of a table, for readers.
pub(super) fn read(kv: &dyn KvRead, table: &ViewTable) -> Result<Vec<Index>, StorageError> {
    decode(kv.get(tables::INDEXES, table.to_string().as_bytes())?)
}

fn declared(kv: &mut dyn KvWrite, table: &ViewTable) -> Result<Vec<Index>, StorageError> {
    decode(kv.get(tables::INDEXES, table.to_string().as_bytes())?)
}

fn decode(bytes: Option<Vec<u8>>) -> Result<Vec<Index>, StorageError> {
    let undecodable = |source| StorageError::Undecodable {
        what: "list of indexes",
        source,
    };
    let Some(bytes) = bytes else {
        return Ok(Vec::new());
    };
    let stored: Vec<Stored> = serde_json::from_slice(&bytes).map_err(undecodable)?;
    let indexes = stored.into_iter().map(|stored| {
        let field = stored.field.parse();
        let field = field.map_err(|error| undecodable(serde::de::Error::custom(error)))?;
        Ok(Index {
            field,
            ready: stored.ready,
        })
    });
    indexes.collect()
}

fn declare(kv: &mut dyn KvWrite, table: &ViewTable, indexes: &[Index]) -> Result<(), StorageError> {
    let stored: Vec<_> = indexes
        .iter()
        .map(|index| Stored {
            field: index.field.to_string(),
            ready: index.ready,
        })
        .collect();
    let stored = serde_json::to_vec(&stored).expect("text and flags are always JSON");
    let stored = (!indexes.is_empty()).then_some(&stored[..]);
    let key = table.to_string();
    kv.put_all(tables::INDEXES, &mut [(key.as_bytes(), stored)].into_iter())
}

/// Entries, and whether each is to be there.
type Changes = Vec<(Vec<u8>, bool)>;

/// What changes in some indexes of a table.
struct Entries {
    indexes: Vec<(Index, Changes)>,
    picker: Picker,
}

impl Entries {
    fn new(indexes: Vec<Index>, concerned: impl Fn(&Index) -> bool) -> Self {
        let mut picker = Picker::default();
        let concerned = indexes.into_iter().filter(|index| concerned(index));
        let indexes: Vec<_> = concerned.map(|index| (index, Changes::new())).collect();
        for (index, _) in &indexes {
            picker.slot(&index.field);
        }
        Self { indexes, picker }
    }

    /// Notes that the view at `key` becomes `new`, and was `old`.
    fn change(&mut self, key: &[u8], old: Option<&[u8]>, new: Option<&[u8]>) {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        // What is no JSON has no members, and is entered as that.
        if let Some(old) = old {
            let _ = self.picker.pick(old, &mut before);
        }
        if let Some(new) = new {
            let _ = self.picker.pick(new, &mut after);
        }
        for (slot, (_, changes)) in self.indexes.iter_mut().enumerate() {
            let gone = before.get(slot).and_then(|datum| entry(key, datum));
            let come = after.get(slot).and_then(|datum| entry(key, datum));
            if gone != come {
                changes.extend(gone.map(|entry| (entry, false)));
                changes.extend(come.map(|entry| (entry, true)));
            }
        }
    }

    fn write(self, kv: &mut dyn KvWrite, table: &ViewTable) -> Result<(), StorageError> {
        for (index, mut changes) in self.indexes {
            changes.sort_unstable();
            let changes = changes
                .iter()
                .map(|(entry, there)| (&entry[..], there.then_some(&[][..])));
            kv.put_all(&tables::index(table, &index.field), &mut { changes })?;
        }
        Ok(())
    }
}

/// The entry of the view at `key`, whose member is `datum`.
fn entry(key: &[u8], datum: &Datum<'_>) -> Option<Vec<u8>> {
    // The tenant's part is escaped, so the first colon ends it.
    let id = key.iter().position(|byte| *byte == b':')? + 1;
    let mut entry = Vec::with_capacity(key.len() + 16);
    entry.extend(&key[..id]);
    datum.encode(&mut entry);
    entry.extend(&key[id..]);
    Some(entry)
}
