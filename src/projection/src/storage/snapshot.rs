//! Snapshots: reading the store as it was at one moment.

use std::ops::ControlFlow;

use super::{StorageError, decode_checkpoint, kv::KvRead, tables};
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

impl<'s> Snapshot<'s> {
    pub(super) fn new(read: Box<dyn KvRead + 's>) -> Self {
        Self { read }
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
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        self.read.range(&tables::views(table), &[], &mut visit)
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
