//! The names of tables, one place for all engines.

use crate::types::{FieldPath, ViewTable, escape};

/// `{type}@{generation}` to its checkpoint.
pub(super) const CHECKPOINTS: &str = "c";

/// What a store says of itself.
pub(super) const META: &str = "m";
/// In it: the last owner of the shard.
pub(super) const EPOCH: &[u8] = b"epoch";
/// `{type}@{generation}` to the indexes of its views.
pub(super) const INDEXES: &str = "x";

/// A type, escaped as keys are, to its generations.
pub(super) const GENERATIONS: &str = "a";

/// The hash of a program to its text.
pub(super) const PROGRAMS: &str = "s";

/// The tables of one generation, all but its checkpoint.
pub(super) fn all_of(table: &ViewTable) -> Vec<String> {
    vec![views(table), quarantine(table), progress(table)]
}

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

/// `{tenant}:{value}{id}` to nothing.
pub(super) fn index(table: &ViewTable, field: &FieldPath) -> String {
    let field = field.to_string();
    format!("i|{table}:{}", escape(&field)).replace('\0', "%00")
}

fn name(family: char, table: &ViewTable) -> String {
    // MDBX ends the name of a table at the first NUL.
    format!("{family}|{table}").replace('\0', "%00")
}
