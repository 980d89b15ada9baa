//! Snapshots: reading the store as it was at one moment.

use std::ops::ControlFlow;

use super::{
    Index, StorageError, Visit, Walk, decode_checkpoint, index,
    kv::{KvRead, KvValues},
    tables, walk,
};
use crate::{
    quarantine::{Record, RecordKey},
    types::{Checkpoint, CheckpointKey, StoredView, TenantScope, ViewId, ViewKey, ViewTable},
};

/// The store at one moment.
pub struct Snapshot<'s> {
    read: Box<dyn KvRead + 's>,
}

/// A view that a scan came by.
#[derive(Debug)]
pub struct Scanned<'v> {
    /// Which.
    pub id: ViewId,
    /// Its stored bytes (see [`StoredView`]).
    pub bytes: &'v [u8],
}

/// Views of one tenant, found by their keys.
pub(crate) struct Views<'s> {
    values: Box<dyn KvValues + 's>,
    prefix: &'s [u8],
    /// Where keys are put together.
    key: Vec<u8>,
}

impl Views<'_> {
    /// Shows the stored bytes of the view whose key without the tenant is `key`, if there is one.
    pub(crate) fn show(
        &mut self,
        key: &[u8],
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<(), StorageError> {
        self.key.clear();
        self.key.extend(self.prefix);
        self.key.extend(key);
        self.values.show(&self.key, visit)
    }
}

impl<'s> Snapshot<'s> {
    pub(super) fn new(read: Box<dyn KvRead + 's>) -> Self {
        Self { read }
    }

    pub(super) fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.read.get(table, key)
    }

    pub(super) fn range(
        &self,
        table: &str,
        from: &[u8],
        visit: super::Visit<'_>,
    ) -> Result<(), StorageError> {
        self.read.range(table, from, visit)
    }

    /// The stored bytes of a view.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn view_bytes(
        &self,
        table: &ViewTable,
        key: &ViewKey,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        if key.view_type() != &table.view_type {
            return Ok(None);
        }
        self.read
            .get(&tables::views(table), key.in_table().as_bytes())
    }

    /// A view.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn view(
        &self,
        table: &ViewTable,
        key: &ViewKey,
    ) -> Result<Option<StoredView>, StorageError> {
        let bytes = self.view_bytes(table, key)?;
        let decode = |bytes: Vec<u8>| StoredView::decode(&bytes);
        let view = bytes.map(decode).transpose();
        view.map_err(|source| StorageError::Undecodable {
            what: "view",
            source,
        })
    }

    /// Shows the views of one tenant in the order of their keys, behind `after`, until `visit` has enough.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn scan(
        &self,
        table: &ViewTable,
        scope: &TenantScope,
        after: Option<&ViewId>,
        visit: &mut dyn FnMut(Scanned<'_>) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let mut from = after.map_or_else(|| scope.prefix().to_owned(), |id| scope.in_table(id));
        if after.is_some() {
            // The least key that is behind it.
            from.push('\0');
        }
        self.read.range(
            &tables::views(table),
            from.as_bytes(),
            &mut |key, bytes| match scope.id_of(key) {
                Some(id) => visit(Scanned { id, bytes }),
                None => ControlFlow::Break(()),
            },
        )
    }

    /// Shows every stored entry of a generation, of all tenants, as bytes: for comparing stores.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn entries(
        &self,
        table: &ViewTable,
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        self.entries_from(table, &[], visit)
    }

    /// The same from the entry `from` on.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn entries_from(
        &self,
        table: &ViewTable,
        from: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        self.read.range(&tables::views(table), from, &mut visit)
    }

    /// The indexes of `table`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn indexes(&self, table: &ViewTable) -> Result<Vec<Index>, StorageError> {
        index::read(&*self.read, table)
    }

    /// Shows what of a tenant is on a walk, by keys without the tenant, until `visit` has enough.
    pub(crate) fn walk(
        &self,
        scope: &TenantScope,
        walk: &Walk<'_>,
        visit: Visit<'_>,
    ) -> Result<(), StorageError> {
        walk::go(&*self.read, scope, walk, visit)
    }

    /// The stored bytes of views of one tenant, for whoever wants many of them.
    pub(crate) fn views<'v>(
        &'v self,
        table: &ViewTable,
        scope: &'v TenantScope,
    ) -> Result<Views<'v>, StorageError> {
        Ok(Views {
            values: self.read.values(&tables::views(table))?,
            prefix: scope.prefix().as_bytes(),
            key: Vec::new(),
        })
    }

    /// Shows the keys of records without what they hold, in the order of the stream, until `visit` has enough.
    pub(crate) fn record_keys(
        &self,
        table: &ViewTable,
        mut visit: impl FnMut(RecordKey) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let table = tables::quarantine(table);
        let mut decode = |key: &[u8], _: &[u8]| visit(RecordKey::decode(key));
        self.read.range(&table, &[], &mut decode)
    }

    /// Shows records as they are stored, in the order of the stream, until `visit` has enough.
    pub(crate) fn each_record(
        &self,
        table: &ViewTable,
        mut visit: impl FnMut(RecordKey, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let table = tables::quarantine(table);
        let mut decode = |key: &[u8], bytes: &[u8]| visit(RecordKey::decode(key), bytes);
        self.read.range(&table, &[], &mut decode)
    }

    /// How far the views of `table` have come.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn checkpoint(&self, table: &ViewTable) -> Result<Option<Checkpoint>, StorageError> {
        let bytes = self
            .read
            .get(tables::CHECKPOINTS, table.to_string().as_bytes())?;
        bytes.map(|bytes| decode_checkpoint(&bytes)).transpose()
    }

    /// The last event of a tenant that is in the views of `table`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn progress(
        &self,
        table: &ViewTable,
        key: &CheckpointKey,
    ) -> Result<Option<u64>, StorageError> {
        let bytes = self
            .read
            .get(&tables::progress(table), key.to_string().as_bytes())?;
        Ok(bytes.and_then(|bytes| Some(u64::from_be_bytes(bytes.try_into().ok()?))))
    }

    /// How many events are not in the views of `table`, and the first of them.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn quarantined(&self, table: &ViewTable) -> Result<(usize, Option<Record>), StorageError> {
        let (mut events, mut first) = (0, None);
        self.read
            .range(&tables::quarantine(table), &[], &mut |_, bytes| {
                if events == 0 {
                    first = Record::decode(bytes).ok();
                }
                events += 1;
                ControlFlow::Continue(())
            })?;
        Ok((events, first))
    }

    /// The events that are not in the views of `table`, in the order of the stream.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn records(&self, table: &ViewTable) -> Result<Vec<(RecordKey, Record)>, StorageError> {
        let undecodable = |source| StorageError::Undecodable {
            what: "quarantine record",
            source,
        };
        let mut raw = Vec::new();
        self.read
            .range(&tables::quarantine(table), &[], &mut |key, bytes| {
                raw.push((key.to_vec(), bytes.to_vec()));
                ControlFlow::Continue(())
            })?;
        let decoded = raw.into_iter().map(|(key, bytes)| {
            let record = Record::decode(&bytes).map_err(undecodable)?;
            Ok((RecordKey::decode(&key), record))
        });
        decoded.collect()
    }
}
