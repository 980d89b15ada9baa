//! Folding: one projection, one batch of events, one part of what is committed.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    ops::ControlFlow,
    sync::Arc,
};

use prometheus_client::metrics::histogram::Histogram;

use super::{
    decode::{Decoded, Verdict},
    lane::{Halt, Item, Lane, Rules, record_of},
    note,
};
use crate::{
    manifest::Projection,
    metrics::Metrics,
    program::Meta,
    quarantine::{Fault, PoisonPolicy, Record, RecordKey},
    shards::Share,
    storage::{Part, Snapshot, StorageError, ViewStore},
    stream::BlockedReason,
    types::{Checkpoint, Envelope, ViewKey},
};

/// What folding may not exceed.
#[derive(Debug, Clone, Copy)]
pub(super) struct FoldLimits {
    pub(super) view_bytes_max: usize,
    pub(super) parked_keys_max: usize,
    pub(super) parked_events_max: usize,
    pub(super) lanes: usize,
    pub(super) share: Share,
}

impl FoldLimits {
    /// Refuses a view that another shard has, where its id tells: two shards would write halves of it.
    fn admit(&self, key: &ViewKey) -> Result<(), Verdict> {
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
    projection: Projection,
    limits: FoldLimits,
    /// Whether a checkpoint is stored: the first batch of all finds none.
    stored: bool,
    checkpoint: Checkpoint,
    lanes: Vec<Lane>,
    blocked: Option<BlockedReason>,
    metrics: Arc<Metrics>,
    gas: Histogram,
}

/// An event that could not be given to a lane.
type Stray = (u64, RecordKey, Record);

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
        let lanes = (0..limits.lanes.max(1)).map(|_| Lane::default()).collect();
        let mut folder = Self {
            projection,
            limits,
            stored,
            checkpoint,
            lanes,
            blocked: None,
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

    pub(super) fn parked_keys(&self) -> usize {
        self.lanes.iter().map(Lane::parked_keys).sum()
    }

    fn lane_of(&self, key: &ViewKey) -> usize {
        if self.lanes.len() == 1 {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        usize::try_from(hasher.finish() % self.lanes.len() as u64).expect("there are few lanes")
    }

    /// Folds the events of `batch` that are behind the checkpoint. `None` where there are none, or it is blocked.
    ///
    /// # Errors
    /// The store cannot be read. Then nothing of the batch counts, and it can be folded again.
    pub(super) fn fold(
        &mut self,
        batch: &[Decoded],
        number: u64,
        committed: u64,
        store: &ViewStore,
    ) -> Result<Option<Part>, StorageError> {
        if self.blocked.is_some() {
            return Ok(None);
        }
        self.lanes
            .iter_mut()
            .for_each(|lane| lane.make_room(committed, number));
        // In order and from the checkpoint on, so what is not behind it can only be a duplicate.
        let fresh =
            batch.partition_point(|decoded| decoded.delivery.sequence <= self.checkpoint.floor);
        let mut fresh = &batch[fresh..];
        loop {
            let Some(last) = fresh.last() else {
                return Ok(None);
            };
            let (items, strays) = self.sort(fresh);
            let drafted = self.draft(items, &strays, number, store);
            if !matches!(drafted, Ok(Ok(()))) {
                self.lanes.iter_mut().for_each(Lane::discard);
            }
            match drafted? {
                Ok(()) => {
                    let checkpoint = self
                        .checkpoint
                        .advanced(last.delivery.sequence, last.delivery.published);
                    return Ok(Some(self.part(fresh, number, strays, checkpoint)));
                }
                Err(halt) => {
                    let table = &self.projection.table;
                    note::halted(table, fresh, halt.sequence, &halt.reason);
                    // What is before the event goes in; the event and all behind it do not.
                    let before =
                        fresh.partition_point(|decoded| decoded.delivery.sequence < halt.sequence);
                    fresh = &fresh[..before];
                    self.blocked = Some(BlockedReason::Poison {
                        sequence: halt.sequence,
                        reason: halt.reason,
                    });
                }
            }
        }
    }

    /// Gives each event to the lanes of its keys.
    fn sort<'b>(&self, fresh: &'b [Decoded]) -> (Vec<Vec<Item<'b>>>, Vec<Stray>) {
        let mut items: Vec<Vec<Item<'b>>> = self.lanes.iter().map(|_| Vec::new()).collect();
        let mut strays = Vec::new();
        let mut keys = Vec::new();
        for decoded in fresh.iter().filter(|decoded| !decoded.foreign) {
            keys.clear();
            match self.keys(decoded, &mut keys) {
                Ok(event) => {
                    for key in keys.drain(..) {
                        items[self.lane_of(&key)].push(Item {
                            decoded,
                            event,
                            key,
                        });
                    }
                }
                Err(verdict) => {
                    let sequence = decoded.delivery.sequence;
                    let key = RecordKey {
                        sequence,
                        in_table: String::new(),
                    };
                    let record = record_of(decoded, verdict, self.projection.program.hash());
                    strays.push((sequence, key, record));
                }
            }
        }
        (items, strays)
    }

    /// Adds the views of an event to `keys`. All of them, or there is a verdict.
    fn keys<'b>(
        &self,
        decoded: &'b Decoded,
        keys: &mut Vec<ViewKey>,
    ) -> Result<&'b Envelope, Verdict> {
        let event = decoded.event.as_ref().map_err(Clone::clone)?;
        let view_type = &self.projection.table.view_type;
        let meta = Meta {
            stream_seq: decoded.delivery.sequence,
            tenant: &event.tenant_id,
            view_type,
            view_id: None,
        };
        let ids = self.projection.program.keys(event, &meta);
        let ids = ids.map_err(|error| Verdict {
            fault: error.fault(),
            reason: error.to_string(),
        })?;
        for id in ids {
            let key = ViewKey::new(event.tenant_id.clone(), view_type.clone(), id);
            keys.push(key.map_err(|error| Verdict {
                fault: Fault::Contract,
                reason: error.to_string(),
            })?);
        }
        for key in &*keys {
            self.limits.admit(key)?;
        }
        Ok(event)
    }

    fn draft(
        &mut self,
        mut items: Vec<Vec<Item<'_>>>,
        strays: &[Stray],
        number: u64,
        store: &ViewStore,
    ) -> Result<Result<(), Halt>, StorageError> {
        let rules = Rules::of(&self.projection, self.limits, &self.gas, number);
        let folded: Vec<_> = if let [lane] = &mut self.lanes[..] {
            let items = items.pop().unwrap_or_default();
            vec![lane.fold(items, rules, &store.snapshot()?)?]
        } else {
            fold_side_by_side(&mut self.lanes, items, rules, store)?
        };
        let stray = strays.first().filter(|_| rules.halts);
        let stray = stray.map(|(sequence, _, record)| Halt {
            sequence: *sequence,
            reason: record.reason.clone(),
        });
        let halts = folded.into_iter().filter_map(Result::err);
        match halts.chain(stray).min_by_key(|halt| halt.sequence) {
            Some(halt) => Ok(Err(halt)),
            None => Ok(Ok(())),
        }
    }

    fn part(
        &mut self,
        fresh: &[Decoded],
        number: u64,
        strays: Vec<Stray>,
        checkpoint: Checkpoint,
    ) -> Part {
        let expected = self.stored.then_some(self.checkpoint.floor);
        let mut part = Part::new(self.projection.table.clone(), expected, checkpoint.clone());
        for decoded in fresh.iter().filter(|decoded| !decoded.foreign) {
            if let Ok(event) = &decoded.event {
                part.note_progress(&event.tenant_id, decoded.delivery.sequence);
            }
        }
        let hash = self.projection.program.hash();
        for lane in &mut self.lanes {
            let records = lane.take_over(number, hash, |key, view| part.put(key, view));
            let noted = records.iter().map(|(key, record)| (key, record));
            note::set_aside(&self.projection.table, fresh, noted, &self.metrics);
            for (key, record) in &records {
                part.put_record(key, record);
            }
        }
        let noted = strays.iter().map(|(_, key, record)| (key, record));
        note::set_aside(&self.projection.table, fresh, noted, &self.metrics);
        for (_, key, record) in &strays {
            part.put_record(key, record);
        }
        self.checkpoint = checkpoint;
        self.stored = true;
        self.count_parked();
        part
    }
}

fn fold_side_by_side(
    lanes: &mut [Lane],
    items: Vec<Vec<Item<'_>>>,
    rules: Rules<'_>,
    store: &ViewStore,
) -> Result<Vec<Result<(), Halt>>, StorageError> {
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
