//! Stale views: those whose later events wait in quarantine, so that they do not show them.

use std::{collections::BTreeSet, ops::ControlFlow};

use super::Row;
use crate::{
    storage::{Snapshot, StorageError},
    types::{TenantScope, ViewTable},
};

/// Marks the rows whose keys have events in quarantine.
pub(super) fn mark_stale(
    rows: &mut [Row],
    keys: &[Vec<u8>],
    snapshot: &Snapshot<'_>,
    table: &ViewTable,
    scope: &TenantScope,
) -> Result<(), StorageError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut parked = BTreeSet::new();
    snapshot.record_keys(table, |record| {
        if let Some(key) = record.in_table.strip_prefix(scope.prefix()) {
            parked.insert(key.as_bytes().to_vec());
        }
        ControlFlow::Continue(())
    })?;
    for (row, key) in rows.iter_mut().zip(keys) {
        row.stale = parked.contains(key);
    }
    Ok(())
}
