//! Lanes: a part of the keys of a projection, folded by one thread in the order of the stream.
//!
//! A batch is folded into a draft first. Nothing of it counts before it is taken over, so that a batch can be folded again up to an event that must not be passed.

use std::collections::HashMap;

use serde_json::Value;

use super::decode::{Decoded, Verdict};
use crate::{
    manifest::Projection,
    program::{Meta, Outcome, ProgramError, depth, weight},
    quarantine::{Body, Fault, Record, RecordKey},
    storage::{Snapshot, StorageError},
    types::{Envelope, StoredView, ViewKey},
};

/// How much a lane remembers of views that are in the store.
const CACHE_BYTES_MAX: usize = 64 << 20;
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

#[derive(Clone)]
struct Held {
    view: Option<Value>,
    last_seq: u64,
    applied: u64,
    bytes: usize,
    /// The batch that changed it last; it must be held until that is in the store.
    batch: u64,
}

/// A part of the keys.
#[derive(Default)]
pub(super) struct Lane {
    held: HashMap<ViewKey, Held>,
    held_bytes: usize,
    /// Keys that are parked, by how many events.
    parked: HashMap<ViewKey, usize>,
}

/// What a batch would do to a lane.
#[derive(Default)]
pub(super) struct Draft {
    changed: HashMap<ViewKey, Held>,
    parked: HashMap<ViewKey, usize>,
    pub(super) records: Vec<(RecordKey, Record)>,
}

/// The first event that a batch could not get past, under the policy to halt.
#[derive(Debug, Clone)]
pub(super) struct Halt {
    pub(super) sequence: u64,
    pub(super) reason: String,
}

/// How a projection folds.
#[derive(Clone, Copy)]
pub(super) struct Rules<'r> {
    pub(super) projection: &'r Projection,
    pub(super) view_bytes_max: usize,
    pub(super) batch: u64,
    pub(super) halts: bool,
    pub(super) parks: bool,
}

impl Lane {
    pub(super) fn park(&mut self, key: ViewKey) {
        *self.parked.entry(key).or_default() += 1;
    }

    pub(super) fn parked_keys(&self) -> usize {
        self.parked.len()
    }

    /// Forgets views that are in the store, when there are too many. Before a snapshot is taken, so that it has them.
    pub(super) fn make_room(&mut self, committed: u64) {
        if self.held_bytes > CACHE_BYTES_MAX {
            self.held.retain(|_, held| held.batch > committed);
            self.held_bytes = self.held.values().map(|held| held.bytes).sum();
        }
    }

    /// Folds `items`. The lane itself only learns what was in the store.
    pub(super) fn fold(
        &mut self,
        items: &[Item<'_>],
        rules: Rules<'_>,
        snapshot: &Snapshot<'_>,
    ) -> Result<Result<Draft, Halt>, StorageError> {
        let mut draft = Draft::default();
        for item in items {
            let parked =
                self.parked.contains_key(&item.key) || draft.parked.contains_key(&item.key);
            if parked && rules.parks {
                let waits = Verdict {
                    fault: Fault::Waiting,
                    reason: "waits behind another event of its view".to_owned(),
                };
                draft.set_aside(item, rules, waits);
                continue;
            }
            if let Err(error) = self.apply(item, rules, snapshot, &mut draft)? {
                let verdict = Verdict {
                    fault: error.fault(),
                    reason: error.to_string(),
                };
                if rules.halts {
                    let sequence = item.decoded.delivery.sequence;
                    return Ok(Err(Halt {
                        sequence,
                        reason: verdict.reason,
                    }));
                }
                draft.set_aside(item, rules, verdict);
            }
        }
        Ok(Ok(draft))
    }

    fn apply(
        &mut self,
        item: &Item<'_>,
        rules: Rules<'_>,
        snapshot: &Snapshot<'_>,
        draft: &mut Draft,
    ) -> Result<Result<(), ProgramError>, StorageError> {
        if !draft.changed.contains_key(&item.key) && !self.held.contains_key(&item.key) {
            let stored = snapshot.view(&rules.projection.table, &item.key)?;
            self.hold(item.key.clone(), Held::stored(stored));
        }
        let held = draft
            .changed
            .get(&item.key)
            .or_else(|| self.held.get(&item.key));
        let held = held.expect("it was looked up just now");
        let meta = Meta {
            stream_seq: item.decoded.delivery.sequence,
            tenant: item.key.tenant(),
            view_type: item.key.view_type(),
            view_id: Some(item.key.id()),
        };
        let projected = rules
            .projection
            .program
            .project(held.view.as_ref(), item.event, &meta);
        let view = match projected {
            Ok(Outcome::Unchanged) => return Ok(Ok(())),
            Ok(Outcome::Delete) => None,
            Ok(Outcome::View(view)) => Some(view),
            Err(error) => return Ok(Err(error)),
        };
        let bytes = view.as_ref().map_or(0, weight);
        if bytes > rules.view_bytes_max {
            let bytes_max = rules.view_bytes_max;
            return Ok(Err(ProgramError::Size {
                what: "the view",
                bytes,
                bytes_max,
            }));
        }
        if view
            .as_ref()
            .is_some_and(|view| depth(view) > VIEW_DEPTH_MAX)
        {
            return Ok(Err(ProgramError::Contract {
                node: "view".to_owned(),
                what: format!(
                    "lists and objects stand in each other more than {VIEW_DEPTH_MAX} deep"
                ),
            }));
        }
        // A view that was removed and comes again begins anew, as it would in a rebuild.
        let applied = if held.view.is_none() {
            1
        } else {
            held.applied + 1
        };
        let changed = Held {
            view,
            last_seq: meta.stream_seq,
            applied,
            bytes: bytes + ENTRY_BYTES,
            batch: rules.batch,
        };
        match draft.changed.get_mut(&item.key) {
            Some(before) => *before = changed,
            None => {
                draft.changed.insert(item.key.clone(), changed);
            }
        }
        Ok(Ok(()))
    }

    fn hold(&mut self, key: ViewKey, held: Held) {
        self.held_bytes += held.bytes;
        if let Some(before) = self.held.insert(key, held) {
            self.held_bytes -= before.bytes;
        }
    }

    /// Takes a draft over, and shows each view that it changed with its bytes.
    pub(super) fn take_over(
        &mut self,
        draft: Draft,
        program_hash: &str,
        mut put: impl FnMut(&ViewKey, Option<Vec<u8>>),
    ) -> Vec<(RecordKey, Record)> {
        for (key, held) in draft.changed {
            let view = held.view.as_ref();
            put(
                &key,
                view.map(|view| {
                    StoredView::encode_parts(view, held.last_seq, held.applied, program_hash)
                }),
            );
            self.hold(key, held);
        }
        for (key, events) in draft.parked {
            *self.parked.entry(key).or_default() += events;
        }
        draft.records
    }
}

impl Held {
    fn stored(stored: Option<StoredView>) -> Self {
        let Some(stored) = stored else {
            return Self {
                view: None,
                last_seq: 0,
                applied: 0,
                bytes: ENTRY_BYTES,
                batch: 0,
            };
        };
        let bytes = weight(&stored.view) + ENTRY_BYTES;
        Self {
            view: Some(stored.view),
            last_seq: stored.last_seq,
            applied: stored.applied,
            bytes,
            batch: 0,
        }
    }
}

impl Draft {
    fn set_aside(&mut self, item: &Item<'_>, rules: Rules<'_>, verdict: Verdict) {
        if rules.parks {
            *self.parked.entry(item.key.clone()).or_default() += 1;
        }
        let mut record = record_of(item.decoded, verdict, rules.projection.program.hash());
        record.tenant = Some(item.key.tenant().to_string());
        record.view = Some(item.key.id().clone());
        let key = RecordKey {
            sequence: item.decoded.delivery.sequence,
            in_table: item.key.in_table(),
        };
        self.records.push((key, record));
    }
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
