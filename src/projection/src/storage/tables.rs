//! The names of tables, one place for all engines.

use crate::types::ViewTable;

/// `{type}@{generation}` to its checkpoint.
pub(super) const CHECKPOINTS: &str = "c";

/// What the node notes for itself.
pub(super) const NODE: &str = "n";

/// `{tenant}:{id}` to its view.
pub(super) fn views(table: &ViewTable) -> String {
    name('v', table)
}

/// Sequence and view id to the record of an event that is not in the views.
pub(super) fn quarantine(table: &ViewTable) -> String {
    name('q', table)
}

/// `checkpoint:{tenant}:{type}` to the last sequence of that tenant.
pub(super) fn progress(table: &ViewTable) -> String {
    name('p', table)
}

fn name(family: char, table: &ViewTable) -> String {
    // MDBX ends the name of a table at the first NUL.
    format!("{family}|{table}").replace('\0', "%00")
}
