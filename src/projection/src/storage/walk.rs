//! Walks: entries of one tenant in one table, in order or backwards.
//!
//! A walk knows keys without their tenant only, and the tenant is put before them here. So there is no walk that leaves its tenant, whatever its bounds are.

use std::ops::ControlFlow;

use super::{StorageError, Visit, kv::KvRead, tables};
use crate::types::{FieldPath, TenantScope, ViewTable};

/// Keys from `from` on and before `before`, without the tenant; `None` where the tenant ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct KeyRange {
    pub(crate) from: Vec<u8>,
    pub(crate) before: Option<Vec<u8>>,
}

/// What to walk through.
#[derive(Debug, Clone)]
pub(crate) struct Walk<'w> {
    pub(crate) table: &'w ViewTable,
    /// The index of this member, or the views themselves.
    pub(crate) index: Option<&'w FieldPath>,
    pub(crate) range: KeyRange,
    pub(crate) backwards: bool,
}

impl KeyRange {
    /// The keys that begin with `start`.
    pub(crate) fn starting_with(start: Vec<u8>) -> Self {
        Self {
            before: after_all(&start),
            from: start,
        }
    }

    /// What is left behind `key`.
    #[must_use]
    pub(crate) fn after(mut self, key: &[u8], backwards: bool) -> Self {
        if backwards {
            if self.before.as_ref().is_none_or(|before| &before[..] > key) {
                self.before = Some(key.to_vec());
            }
        } else if &self.from[..] <= key {
            // The least key behind it.
            self.from = [key, b"\0"].concat();
        }
        self
    }

    /// What there is up to `key`, with it.
    #[must_use]
    pub(crate) fn through(mut self, key: &[u8], backwards: bool) -> Self {
        if backwards {
            if &self.from[..] < key {
                self.from = key.to_vec();
            }
        } else if self.before.as_ref().is_none_or(|before| &before[..] > key) {
            self.before = Some([key, b"\0"].concat());
        }
        self
    }

    fn is_empty(&self) -> bool {
        self.before
            .as_ref()
            .is_some_and(|before| before <= &self.from)
    }
}

/// The least key that is greater than all that begin with `start`; `None` where there is none.
pub(crate) fn after_all(start: &[u8]) -> Option<Vec<u8>> {
    let last = start.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = start[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

pub(super) fn go(
    kv: &dyn KvRead,
    scope: &TenantScope,
    walk: &Walk<'_>,
    visit: Visit<'_>,
) -> Result<(), StorageError> {
    if walk.range.is_empty() {
        return Ok(());
    }
    let name = match walk.index {
        None => tables::views(walk.table),
        Some(field) => tables::index(walk.table, field),
    };
    let prefix = scope.prefix().as_bytes();
    let from = [prefix, &walk.range.from].concat();
    let before = match &walk.range.before {
        Some(before) => [prefix, before].concat(),
        None => after_all(prefix).expect("a prefix ends with a colon"),
    };
    let mut within = |key: &[u8], value: &[u8]| {
        if key < &from[..] || key >= &before[..] {
            return ControlFlow::Break(());
        }
        match key.strip_prefix(prefix) {
            Some(key) => visit(key, value),
            None => ControlFlow::Break(()),
        }
    };
    if walk.backwards {
        kv.range_back(&name, &before, &mut within)
    } else {
        kv.range(&name, &from, &mut within)
    }
}
