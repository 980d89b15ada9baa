//! Batches: what is written at once. There is no way to put a view into one without the checkpoint that it belongs to.

use std::collections::BTreeMap;

use crate::{
    quarantine::{Record, RecordKey},
    types::{Checkpoint, CheckpointKey, TenantId, ViewKey, ViewTable},
};

/// What some events did to the views of some projections, each with its checkpoint.
#[derive(Debug, Default)]
pub struct Batch {
    parts: Vec<Part>,
}

impl Batch {
    /// Adds what the events did to one projection.
    pub fn push(&mut self, mut part: Part) {
        // In order, pages are found and filled once.
        part.views.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        self.parts.push(part);
    }

    /// Whether it would change nothing.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// How many views it writes or removes, and how many bytes of views and records it writes.
    pub fn size(&self) -> (usize, usize) {
        let bytes = |entry: Option<&Vec<u8>>| entry.map_or(0, Vec::len);
        self.parts.iter().fold((0, 0), |(views, all), part| {
            let of_views = part.views.iter().map(|(_, view)| bytes(view.as_ref()));
            let of_records = part
                .records
                .iter()
                .map(|(_, record)| bytes(record.as_ref()));
            let all = all + of_views.sum::<usize>() + of_records.sum::<usize>();
            (views + part.views.len(), all)
        })
    }

    /// Where each projection is when it is in the store.
    pub fn checkpoints(&self) -> impl Iterator<Item = (&ViewTable, &Checkpoint)> {
        self.parts
            .iter()
            .map(|part| (&part.table, &part.checkpoint))
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }
}

impl From<Part> for Batch {
    fn from(part: Part) -> Self {
        let mut batch = Self::default();
        batch.push(part);
        batch
    }
}

/// What some events did to the views of one projection.
#[derive(Debug)]
pub struct Part {
    table: ViewTable,
    expected: Option<u64>,
    checkpoint: Checkpoint,
    views: Vec<(String, Option<Vec<u8>>)>,
    progress: BTreeMap<TenantId, u64>,
    records: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Part {
    /// Begins what leads from the stored floor `expected` (`None` where nothing is stored) to `checkpoint`.
    ///
    /// # Panics
    /// The checkpoint would go back.
    pub fn new(table: ViewTable, expected: Option<u64>, checkpoint: Checkpoint) -> Self {
        assert!(
            expected.is_none_or(|floor| floor <= checkpoint.floor),
            "a checkpoint never goes back"
        );
        Self {
            table,
            expected,
            checkpoint,
            views: Vec::new(),
            progress: BTreeMap::new(),
            records: Vec::new(),
        }
    }

    /// Leads on to `checkpoint`.
    ///
    /// # Panics
    /// The checkpoint would go back.
    pub fn advance(&mut self, checkpoint: Checkpoint) {
        assert!(
            self.checkpoint.floor <= checkpoint.floor,
            "a checkpoint never goes back"
        );
        self.checkpoint = checkpoint;
    }

    /// Writes the bytes of the view `key`; `None` removes it. Each view once.
    ///
    /// # Panics
    /// The view is of another type than the table.
    pub fn put(&mut self, key: &ViewKey, view: Option<Vec<u8>>) {
        assert_eq!(
            key.view_type(),
            &self.table.view_type,
            "a view is in the table of its type"
        );
        self.views.push((key.in_table(), view));
    }

    /// Notes that the events of `tenant` are in the views up to `sequence`.
    pub fn note_progress(&mut self, tenant: &TenantId, sequence: u64) {
        match self.progress.get_mut(tenant) {
            Some(last) => *last = sequence,
            None => {
                self.progress.insert(tenant.clone(), sequence);
            }
        }
    }

    /// Writes a record of an event that is not in the views.
    pub fn put_record(&mut self, key: &RecordKey, record: &Record) {
        self.records.push((key.encode(), Some(record.encode())));
    }

    /// Removes a record.
    pub fn remove_record(&mut self, key: &RecordKey) {
        self.records.push((key.encode(), None));
    }

    /// Where the views are.
    pub fn table(&self) -> &ViewTable {
        &self.table
    }

    /// The checkpoint that the views will stand at.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The floor that must be stored now.
    pub(super) fn expected(&self) -> Option<u64> {
        self.expected
    }

    pub(super) fn views(&self) -> &[(String, Option<Vec<u8>>)] {
        &self.views
    }

    pub(super) fn records(&self) -> &[(Vec<u8>, Option<Vec<u8>>)] {
        &self.records
    }

    /// The keys and last sequences of the tenants that had events. A tenant whose name makes no key has no progress of its own.
    pub(super) fn progress(&self) -> impl Iterator<Item = (String, u64)> {
        self.progress.iter().filter_map(|(tenant, floor)| {
            let key = CheckpointKey::new(tenant.clone(), self.table.view_type.clone()).ok()?;
            Some((key.to_string(), *floor))
        })
    }
}
