//! Folding: one projection, the events of a batch piece by piece, one part of what is committed.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::Arc,
};

use prometheus_client::metrics::histogram::Histogram;

use super::{
    decode::{Decoded, Verdict},
    lane::{Item, Lane},
    note,
    rules::{Halt, Rules},
    sort::{Sorted, Stray},
};
use crate::{
    manifest::Projection,
    metrics::Metrics,
    quarantine::{Fault, PoisonPolicy, Record},
    shards::Share,
    storage::{Part, Snapshot, StorageError, ViewStore},
    stream::BlockedReason,
    types::{Checkpoint, ViewKey},
};

/// How many views a batch changes at most, since nobody else writes while they are written.
pub(super) const CHANGED_MAX: usize = 50_000;

/// What folding may not exceed.
#[derive(Debug, Clone, Copy)]
pub(super) struct FoldLimits {
    pub(super) view_bytes_max: usize,
    pub(super) parked_keys_max: usize,
    pub(super) parked_events_max: usize,
    /// How many views a batch may have changed before it is written.
    pub(super) changed_max: usize,
    /// How much each lane remembers of views that are in the store.
    pub(super) held_bytes_max: usize,
    pub(super) lanes: usize,
    pub(super) share: Share,
}

impl FoldLimits {
    /// Refuses a view that another shard has, where its id tells: two shards would write halves of it.
    pub(super) fn admit(&self, key: &ViewKey) -> Result<(), Verdict> {
        let Share { layout, shard } = self.share;
        match layout.of_view(key.tenant(), key.id().as_str()) {
            Some(other) if other != shard => Err(Verdict {
                fault: Fault::Contract,
                reason: format!(
                    "the view {} is of shard {other} and its event of shard {shard}: with several shards the id of a view must be that of the aggregate",
                    key.id()
                ),
            }),
            _ => Ok(()),
        }
    }
}

/// A projection that goes on.
pub(super) struct Folder {
    pub(super) projection: Projection,
    pub(super) limits: FoldLimits,
    /// Whether a checkpoint is stored: the first batch of all finds none.
    stored: bool,
    checkpoint: Checkpoint,
    /// What was folded and is not on its way to the store. Its views are in the lanes.
    open: Option<Part>,
    pub(super) lanes: Vec<Lane>,
    blocked: Option<BlockedReason>,
    /// The event before which it stands for now, and why.
    held_up: Option<Halt>,
    metrics: Arc<Metrics>,
    gas: Histogram,
}

impl Folder {
    /// Goes on from `checkpoint`, which is in the store if `stored`, with the keys parked that have records there.
    pub(super) fn new(
        projection: Projection,
        limits: FoldLimits,
        checkpoint: Checkpoint,
        stored: bool,
        store: &ViewStore,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, StorageError> {
        let gas = metrics.gas(&projection.table);
        let lanes = (0..limits.lanes.max(1)).map(|_| Lane::new(limits.held_bytes_max));
        let mut folder = Self {
            projection,
            limits,
            stored,
            checkpoint,
            open: None,
            lanes: lanes.collect(),
            blocked: None,
            held_up: None,
            metrics: Arc::clone(metrics),
            gas,
        };
        folder.park(&store.snapshot()?)?;
        Ok(folder)
    }

    /// Parks the keys whose events wait in the store.
    fn park(&mut self, snapshot: &Snapshot<'_>) -> Result<(), StorageError> {
        let parks = self.projection.policy == PoisonPolicy::ParkKey;
        let mut events: BTreeMap<String, usize> = BTreeMap::new();
        // What waits already goes before what comes, also where the policy is another one by now.
        snapshot.each_record(&self.projection.table, |key, bytes| {
            if parks || Record::waits(bytes) {
                *events.entry(key.in_table).or_default() += 1;
            }
            ControlFlow::Continue(())
        })?;
        let view_type = self.projection.table.view_type.clone();
        for (in_table, events) in events {
            // Those without a view hold up nobody.
            let Some(key) = ViewKey::from_table(&view_type, &in_table) else {
                continue;
            };
            let lane = self.lane_of(&key);
            let rules = Rules::of(&self.projection, self.limits, &self.gas, 0);
            self.lanes[lane].park(key, events, snapshot, rules)?;
        }
        self.count_parked();
        Ok(())
    }

    /// Blocks where more is parked than may be.
    fn count_parked(&mut self) {
        let keys = self.parked_keys();
        let events = self.lanes.iter().map(Lane::parked_events).sum();
        let too_many = keys > self.limits.parked_keys_max || events > self.limits.parked_events_max;
        if too_many && self.blocked.is_none() {
            self.blocked = Some(BlockedReason::TooManyParked { keys, events });
        }
    }

    pub(super) fn projection(&self) -> &Projection {
        &self.projection
    }

    pub(super) fn floor(&self) -> u64 {
        self.checkpoint.floor
    }

    pub(super) fn blocked(&self) -> Option<&BlockedReason> {
        self.blocked.as_ref()
    }

    /// What it waits for, where an event could not be folded for reasons that may pass.
    pub(super) fn waits_for(&self) -> Option<String> {
        let Halt {
            sequence, reason, ..
        } = self.held_up.as_ref()?;
        let table = &self.projection.table;
        Some(format!(
            "{table} does not get past event {sequence}: {reason}"
        ))
    }

    pub(super) fn parked_keys(&self) -> usize {
        self.lanes.iter().map(Lane::parked_keys).sum()
    }

    /// Whether what was folded is as much as others may wait for, or nothing comes behind it.
    pub(super) fn has_to_be_written(&self) -> bool {
        let ends = self.blocked.is_some() || self.held_up.is_some();
        let changed: usize = self.lanes.iter().map(Lane::changed).sum();
        let is_full = changed >= self.limits.changed_max || self.lanes.iter().any(Lane::is_full);
        self.open.is_some() && (ends || is_full)
    }

    /// What was folded since the last time, with all that changed by it; `None` where nothing was.
    pub(super) fn close(&mut self) -> Option<Part> {
        let mut part = self.open.take()?;
        let hash = self.projection.program.hash();
        for lane in &mut self.lanes {
            lane.write(hash, |key, view| part.put(key, view));
        }
        self.stored = true;
        Some(part)
    }

    /// Folds the events of `piece` that are behind the checkpoint, as a part of the batch `number`; none where it is blocked.
    ///
    /// # Errors
    /// The store cannot be read. Then nothing of the piece counts, and it can be folded again.
    pub(super) fn fold(
        &mut self,
        piece: &[Decoded],
        number: u64,
        committed: u64,
        store: &ViewStore,
    ) -> Result<(), StorageError> {
        if self.blocked.is_some() {
            return Ok(());
        }
        if self.open.is_none() {
            self.lanes
                .iter_mut()
                .for_each(|lane| lane.make_room(committed, number));
        }
        // In order and from the checkpoint on, so what is not behind it can only be a duplicate.
        let fresh =
            piece.partition_point(|decoded| decoded.delivery.sequence <= self.checkpoint.floor);
        let mut fresh = &piece[fresh..];
        loop {
            let Some(last) = fresh.last() else {
                return Ok(());
            };
            let sorted = self.sort(fresh);
            let (strays, drafted) = self.draft(sorted, number, store);
            if !matches!(drafted, Ok(Ok(()))) {
                self.lanes.iter_mut().for_each(Lane::discard);
            }
            match drafted? {
                Ok(()) => {
                    let checkpoint = self
                        .checkpoint
                        .advanced(last.delivery.sequence, last.delivery.published);
                    self.take_over(fresh, number, strays, checkpoint);
                    return Ok(());
                }
                Err(halt) => {
                    let read = fresh;
                    // What is before the event goes in; the event and all behind it do not.
                    let before =
                        fresh.partition_point(|decoded| decoded.delivery.sequence < halt.sequence);
                    fresh = &fresh[..before];
                    self.halt(read, halt);
                }
            }
        }
    }

    fn halt(&mut self, read: &[Decoded], halt: Halt) {
        if halt.may_pass {
            self.held_up = Some(halt);
            return;
        }
        note::halted(&self.projection.table, read, halt.sequence, &halt.reason);
        self.blocked = Some(BlockedReason::Poison {
            sequence: halt.sequence,
            reason: halt.reason,
        });
        // It is further on.
        self.held_up = None;
    }

    /// What the lanes make of a piece, which counts once it is taken over; or the first event that it cannot get past.
    fn draft(
        &mut self,
        sorted: Sorted<'_>,
        number: u64,
        store: &ViewStore,
    ) -> (Vec<Stray>, Result<Result<(), Halt>, StorageError>) {
        let Sorted {
            items,
            strays,
            held_up,
        } = sorted;
        let rules = Rules::of(&self.projection, self.limits, &self.gas, number);
        let folded = match fold_in_lanes(&mut self.lanes, items, rules, store) {
            Ok(folded) => folded,
            Err(error) => return (strays, Err(error)),
        };
        let stray = strays.first().filter(|_| rules.halts);
        let stray = stray.map(|(sequence, _, record)| Halt {
            sequence: *sequence,
            reason: record.reason.clone(),
            may_pass: false,
        });
        let halts = folded.into_iter().filter_map(Result::err);
        let first = halts
            .chain(stray)
            .chain(held_up)
            .min_by_key(|halt| halt.sequence);
        (strays, Ok(first.map_or(Ok(()), Err)))
    }

    /// Adds what the lanes have made of `fresh` to what is open.
    fn take_over(
        &mut self,
        fresh: &[Decoded],
        number: u64,
        strays: Vec<Stray>,
        checkpoint: Checkpoint,
    ) {
        let table = &self.projection.table;
        let part = self.open.get_or_insert_with(|| {
            let expected = self.stored.then_some(self.checkpoint.floor);
            Part::new(table.clone(), expected, self.checkpoint.clone())
        });
        part.advance(checkpoint.clone());
        self.checkpoint = checkpoint;
        for decoded in fresh.iter().filter(|decoded| !decoded.foreign) {
            if let Ok(event) = &decoded.event {
                part.note_progress(&event.tenant_id, decoded.delivery.sequence);
            }
        }
        let mut aside: Vec<_> = strays
            .into_iter()
            .map(|(_, key, record)| (key, record))
            .collect();
        for lane in &mut self.lanes {
            aside.extend(lane.take_over(number));
        }
        let noted = aside.iter().map(|(key, record)| (key, record));
        note::set_aside(table, fresh, noted, &self.metrics);
        for (key, record) in &aside {
            part.put_record(key, record);
        }
        self.count_parked();
    }
}

fn fold_in_lanes(
    lanes: &mut [Lane],
    mut items: Vec<Vec<Item<'_>>>,
    rules: Rules<'_>,
    store: &ViewStore,
) -> Result<Vec<Result<(), Halt>>, StorageError> {
    if let [lane] = lanes {
        let items = items.pop().unwrap_or_default();
        return Ok(vec![lane.fold(items, rules, &store.snapshot()?)?]);
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = lanes
            .iter_mut()
            .zip(items)
            .map(|(lane, items)| {
                // Taken by the thread that reads through it.
                scope.spawn(move || {
                    let snapshot: Snapshot<'_> = store.snapshot()?;
                    lane.fold(items, rules, &snapshot)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("folding does not panic"))
            .collect()
    })
}

/// The lowest floor of those that go on; `None` where none does.
pub(super) fn lowest_floor<'f>(folders: impl IntoIterator<Item = &'f Folder>) -> Option<u64> {
    let floors: BTreeSet<u64> = folders
        .into_iter()
        .filter(|folder| folder.blocked().is_none())
        .map(Folder::floor)
        .collect();
    floors.first().copied()
}
