//! Lanes: a part of the keys of a projection, folded by one thread in the order of the stream.
//!
//! Each piece of a batch is folded into a draft first. Nothing of it counts before it is taken over, so that it can be folded again up to an event that must not be passed. What has changed is written once when the batch closes.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    decode::{Decoded, Verdict},
    rules::{Halt, Rules},
};
use crate::{
    program::{Meta, Outcome, ProgramError, depth, weight},
    quarantine::{Body, Fault, Record, RecordKey},
    storage::{Snapshot, StorageError},
    types::{Envelope, StoredView, ViewKey},
};

/// How much a lane remembers of views that are in the store.
pub(super) const CACHE_BYTES_MAX: usize = 64 << 20;
/// About what an entry takes beside its view.
const ENTRY_BYTES: usize = 200;

/// How deep a view may be: JSON of more than 127 levels is not read back.
const VIEW_DEPTH_MAX: usize = 100;

/// What is to be done with an event for one view.
pub(super) struct Item<'b> {
    pub(super) decoded: &'b Decoded,
    pub(super) event: &'b Envelope,
    pub(super) key: ViewKey,
}

/// A view as it is, or would be after a batch.
struct Held {
    view: Option<Value>,
    last_seq: u64,
    applied: u64,
    bytes: usize,
}

/// A key that the lane knows. One look-up finds all of it.
struct Entry {
    key: ViewKey,
    held: Held,
    /// The batch that changed it last; it must be held until that is in the store.
    batch: u64,
    /// The batch that looked at it last.
    used: u64,
    /// Whether the batch that is open has changed it.
    changed: bool,
    /// How many of its events are set aside.
    parked: usize,
    draft: Draft,
}

/// What a piece would do to a key.
#[derive(Default)]
struct Draft {
    touched: bool,
    changed: Option<Held>,
    parked: usize,
}

/// A part of the keys.
#[derive(Default)]
pub(super) struct Lane {
    positions: HashMap<ViewKey, usize>,
    entries: Vec<Entry>,
    held_bytes: usize,
    held_bytes_max: usize,
    /// The batch before which room was made last.
    room_made: u64,
    parked_keys: usize,
    parked_events: usize,
    /// Those that the piece that is folded now has a draft for, in the order of its events.
    touched: Vec<usize>,
    /// Those that the batch that is open has changed.
    changed: Vec<usize>,
    records: Vec<(RecordKey, Record)>,
}

impl Lane {
    /// A lane that remembers about `held_bytes_max` of views.
    pub(super) fn new(held_bytes_max: usize) -> Self {
        Self {
            held_bytes_max,
            ..Self::default()
        }
    }

    pub(super) fn park(
        &mut self,
        key: ViewKey,
        events: usize,
        snapshot: &Snapshot<'_>,
        rules: Rules<'_>,
    ) -> Result<(), StorageError> {
        let at = self.position(key, snapshot, rules)?;
        self.add_parked(at, events);
        Ok(())
    }

    fn add_parked(&mut self, at: usize, events: usize) {
        let parked = &mut self.entries[at].parked;
        self.parked_keys += usize::from(*parked == 0 && events > 0);
        *parked += events;
        self.parked_events += events;
    }

    pub(super) fn parked_events(&self) -> usize {
        self.parked_events
    }

    pub(super) fn parked_keys(&self) -> usize {
        self.parked_keys
    }

    /// How many views the batch that is open has changed.
    pub(super) fn changed(&self) -> usize {
        self.changed.len()
    }

    /// Whether it remembers as much as it may.
    pub(super) fn is_full(&self) -> bool {
        self.held_bytes > self.held_bytes_max
    }

    /// Forgets views that are in the store, when there are too many. Before a batch is begun, and before a snapshot is taken, so that it has them.
    ///
    /// First those that were not needed since the last time; all of them where that is not enough.
    pub(super) fn make_room(&mut self, committed: u64, batch: u64) {
        if !self.is_full() {
            return;
        }
        let since = std::mem::replace(&mut self.room_made, batch);
        self.forget(|entry| entry.batch <= committed && entry.used < since);
        if self.held_bytes > self.held_bytes_max / 2 {
            self.forget(|entry| entry.batch <= committed);
        }
        self.positions = (0..)
            .zip(&self.entries)
            .map(|(at, entry)| (entry.key.clone(), at))
            .collect();
    }

    fn forget(&mut self, unneeded: impl Fn(&Entry) -> bool) {
        // Keys that are parked are known without asking the store.
        self.entries
            .retain(|entry| entry.parked > 0 || !unneeded(entry));
        self.held_bytes = self.entries.iter().map(|entry| entry.held.bytes).sum();
    }

    /// Folds `items` into drafts. The lane itself only learns what was in the store.
    pub(super) fn fold(
        &mut self,
        items: Vec<Item<'_>>,
        rules: Rules<'_>,
        snapshot: &Snapshot<'_>,
    ) -> Result<Result<(), Halt>, StorageError> {
        for Item {
            decoded,
            event,
            key,
        } in items
        {
            let at = self.position(key, snapshot, rules)?;
            let entry = &mut self.entries[at];
            if !entry.draft.touched {
                entry.draft.touched = true;
                entry.used = rules.batch;
                self.touched.push(at);
            }
            let verdict = if entry.parked + entry.draft.parked > 0 {
                Verdict {
                    fault: Fault::Waiting,
                    reason: "waits behind another event of its view".to_owned(),
                }
            } else {
                match entry.apply(decoded.delivery.sequence, event, rules) {
                    Ok(()) => continue,
                    Err(error) => match Verdict::of(&error) {
                        Some(verdict) => verdict,
                        None => return Ok(Err(Halt::until_it_passes(decoded, &error))),
                    },
                }
            };
            if rules.halts {
                return Ok(Err(Halt {
                    sequence: decoded.delivery.sequence,
                    reason: verdict.reason,
                    may_pass: false,
                }));
            }
            entry.draft.parked += usize::from(rules.parks);
            self.records.push(entry.record(decoded, verdict, rules));
        }
        Ok(Ok(()))
    }

    /// Where the entry of `key` is, which is read from the store where there was none.
    fn position(
        &mut self,
        key: ViewKey,
        snapshot: &Snapshot<'_>,
        rules: Rules<'_>,
    ) -> Result<usize, StorageError> {
        if let Some(at) = self.positions.get(&key) {
            return Ok(*at);
        }
        let held = Held::stored(snapshot.view(&rules.projection.table, &key)?);
        self.held_bytes += held.bytes;
        let at = self.entries.len();
        self.entries.push(Entry {
            key: key.clone(),
            held,
            batch: 0,
            used: rules.batch,
            changed: false,
            parked: 0,
            draft: Draft::default(),
        });
        self.positions.insert(key, at);
        Ok(at)
    }

    /// Forgets what the piece would have done.
    pub(super) fn discard(&mut self) {
        self.records.clear();
        for at in self.touched.drain(..) {
            self.entries[at].draft = Draft::default();
        }
    }

    /// Takes the drafts over. What was set aside by them is no business of the lane any more.
    pub(super) fn take_over(&mut self, batch: u64) -> Vec<(RecordKey, Record)> {
        let mut touched = std::mem::take(&mut self.touched);
        for at in touched.drain(..) {
            let entry = &mut self.entries[at];
            let draft = std::mem::take(&mut entry.draft);
            if let Some(changed) = draft.changed {
                self.held_bytes = self.held_bytes + changed.bytes - entry.held.bytes;
                entry.held = changed;
                entry.batch = batch;
                if !std::mem::replace(&mut entry.changed, true) {
                    self.changed.push(at);
                }
            }
            self.add_parked(at, draft.parked);
        }
        self.touched = touched;
        std::mem::take(&mut self.records)
    }

    /// Shows each view that the batch has changed with its bytes. Then the batch is not open any more.
    pub(super) fn write(
        &mut self,
        program_hash: &str,
        mut put: impl FnMut(&ViewKey, Option<Vec<u8>>),
    ) {
        for at in self.changed.drain(..) {
            let entry = &mut self.entries[at];
            entry.changed = false;
            put(&entry.key, entry.held.encode(program_hash));
        }
    }
}

impl Entry {
    fn apply(
        &mut self,
        sequence: u64,
        event: &Envelope,
        rules: Rules<'_>,
    ) -> Result<(), ProgramError> {
        let held = self.draft.changed.as_ref().unwrap_or(&self.held);
        let meta = Meta {
            stream_seq: sequence,
            tenant: self.key.tenant(),
            view_type: self.key.view_type(),
            view_id: Some(self.key.id()),
        };
        let program = &rules.projection.program;
        let (projected, gas) = program.measured(held.view.as_ref(), event, &meta);
        if let Some(gas) = gas {
            rules.gas.observe(gas_as_float(gas));
        }
        let view = match projected? {
            Outcome::Unchanged => return Ok(()),
            Outcome::Delete => None,
            Outcome::View(view) => Some(view),
        };
        let bytes = view.as_ref().map_or(0, weight);
        check(view.as_ref(), bytes, rules.view_bytes_max)?;
        // A view that was removed and comes again begins anew, as it would in a rebuild.
        let applied = if held.view.is_none() {
            1
        } else {
            held.applied + 1
        };
        self.draft.changed = Some(Held {
            view,
            last_seq: sequence,
            applied,
            bytes: bytes + ENTRY_BYTES,
        });
        Ok(())
    }

    fn record(&self, decoded: &Decoded, verdict: Verdict, rules: Rules<'_>) -> (RecordKey, Record) {
        let mut record = record_of(decoded, verdict, rules.projection.program.hash());
        record.tenant = Some(self.key.tenant().to_string());
        record.view = Some(self.key.id().clone());
        let key = RecordKey {
            sequence: decoded.delivery.sequence,
            in_table: self.key.in_table(),
        };
        (key, record)
    }
}

/// What is too large or too deep would be written, and never read back.
pub(super) fn check(
    view: Option<&Value>,
    bytes: usize,
    bytes_max: usize,
) -> Result<(), ProgramError> {
    if bytes > bytes_max {
        return Err(ProgramError::Size {
            what: "the view",
            bytes,
            bytes_max,
        });
    }
    if view.is_some_and(|view| depth(view) > VIEW_DEPTH_MAX) {
        return Err(ProgramError::Contract {
            node: "view".to_owned(),
            what: format!("lists and objects stand in each other more than {VIEW_DEPTH_MAX} deep"),
        });
    }
    Ok(())
}

impl Held {
    fn stored(stored: Option<StoredView>) -> Self {
        let Some(stored) = stored else {
            return Self {
                view: None,
                last_seq: 0,
                applied: 0,
                bytes: ENTRY_BYTES,
            };
        };
        let bytes = weight(&stored.view) + ENTRY_BYTES;
        Self {
            view: Some(stored.view),
            last_seq: stored.last_seq,
            applied: stored.applied,
            bytes,
        }
    }

    fn encode(&self, program_hash: &str) -> Option<Vec<u8>> {
        let view = self.view.as_ref()?;
        Some(StoredView::encode_parts(
            view,
            self.last_seq,
            self.applied,
            program_hash,
        ))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a histogram is far coarser")]
fn gas_as_float(gas: u64) -> f64 {
    gas as f64
}

/// The record of an event that is not applied.
pub(super) fn record_of(decoded: &Decoded, verdict: Verdict, program: &str) -> Record {
    let delivery = &decoded.delivery;
    let tenant = decoded
        .event
        .as_ref()
        .ok()
        .map(|event| event.tenant_id.to_string());
    Record {
        attempts: u32::from(verdict.fault != Fault::Waiting),
        fault: verdict.fault,
        reason: verdict.reason,
        subject: delivery.subject.to_string(),
        published: delivery.published,
        tenant,
        view: None,
        program: program.to_owned(),
        body: Body::keep(&delivery.payload),
    }
}
