//! Sessions: one uninterrupted delivery, from its start after the checkpoints to whatever ends it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    commit::{CommitEnd, Committer, Floors, Numbered},
    decode::{Decoded, Tenancy, decode},
    fold::{Folder, lowest_floor},
    shard::ShardOptions,
    status::ShardStatus,
};
use crate::{
    metrics::Metrics,
    spans::spawn_blocking,
    storage::{Batch, StorageError, ViewStore},
    stream::{Delivery, EventSource, ReceiveLimits, StreamError},
};

/// How many receptions may wait to be decoded. Few events at a time are many of them.
const QUEUED_MAX: usize = 256;
/// What the room of those is measured in.
const ROOM_BYTES: usize = 1 << 10;
/// How many batches there may be at once that are not folded: one that is received, one that waits, one that is decoded and one that is folded.
const IN_FLIGHT: usize = 4;

/// Why a session ended.
pub(super) enum SessionEnd {
    /// It was told to.
    Stopped,
    /// The stream has to be looked at again.
    Stream(StreamError),
    /// The store does not take any more.
    Storage(StorageError),
    /// A projection does not get past an event for now.
    HeldUp(String),
    /// No projection goes on.
    AllBlocked,
}

/// The projections that a delivery was started for.
pub(super) struct Ready {
    pub(super) folders: Vec<Folder>,
    pub(super) drops_what_was_read: bool,
}

enum FoldEnd {
    Done,
    AllBlocked,
    HeldUp(String),
    Storage(StorageError),
}

/// Runs a delivery that was started, until it ends. Then all that was received is in the store, or was never acknowledged.
pub(super) async fn run(
    source: &mut dyn EventSource,
    ready: Ready,
    store: &Arc<ViewStore>,
    options: &ShardOptions,
    status: &watch::Sender<ShardStatus>,
    stop: &CancellationToken,
) -> SessionEnd {
    let floor = lowest_floor(&ready.folders).unwrap_or(0);
    let (durable, mut acknowledgeable) = watch::channel(floor);
    let (events, received) = mpsc::channel::<Queued>(QUEUED_MAX);
    // Without room between them: what is decoded is large, and one batch ahead is enough.
    let (decoded, foldable) = sync_channel::<Vec<Decoded>>(0);
    let (batches, folded) = sync_channel::<Numbered>(1);
    let committed = Arc::new(AtomicU64::new(0));
    let committer = Committer {
        store: Arc::clone(store),
        durability: options.durability,
        breaker_pause: options.breaker_pause,
        committed: Arc::clone(&committed),
        durable,
        status: status.clone(),
        metrics: Arc::clone(&options.metrics),
        stop: stop.clone(),
    };
    let committing = spawn_blocking(move || committer.run(&folded));
    let folding = Folding {
        drops_what_was_read: ready.drops_what_was_read,
        folders: ready.folders,
        store: Arc::clone(store),
        committed,
        status: status.clone(),
        metrics: Arc::clone(&options.metrics),
    };
    let folding = spawn_blocking(move || folding.run(&foldable, &batches));
    let decoding = Decoding {
        tenancy: options.tenancy.clone(),
        event_bytes_max: options.event_bytes_max,
        threads: options.fold.lanes,
        events_max: options.batch.events_max,
    };
    let decoding = spawn_blocking(move || decoding.run(received, &decoded));

    let mut end = receive(source, events, &mut acknowledgeable, options, status, stop).await;
    decoding.await.expect("decoding does not panic");
    let (fold_end, commit_end) = join(folding, committing).await;
    // Whatever ended the reception, what the threads say is nearer to the cause.
    end = match (commit_end, fold_end) {
        (CommitEnd::Failed(error), _) | (_, FoldEnd::Storage(error)) => SessionEnd::Storage(error),
        (CommitEnd::Stopped, _) => SessionEnd::Stopped,
        (_, FoldEnd::AllBlocked) => SessionEnd::AllBlocked,
        (_, FoldEnd::HeldUp(why)) => SessionEnd::HeldUp(why),
        _ => end,
    };
    let through = *acknowledgeable.borrow();
    if let Err(error) = source.acknowledge(through).await {
        tracing::debug!(%error, "the last acknowledgement was not taken; the stream delivers again");
    }
    end
}

async fn join(
    folding: JoinHandle<FoldEnd>,
    committing: JoinHandle<CommitEnd>,
) -> (FoldEnd, CommitEnd) {
    let folded = folding.await.expect("folding does not panic");
    let committed = committing.await.expect("committing does not panic");
    (folded, committed)
}

/// Receives until something ends it. Dropping `events` at its end lets the threads finish what they have.
async fn receive(
    source: &mut dyn EventSource,
    events: mpsc::Sender<Queued>,
    acknowledgeable: &mut watch::Receiver<u64>,
    options: &ShardOptions,
    status: &watch::Sender<ShardStatus>,
    stop: &CancellationToken,
) -> SessionEnd {
    let mut pending = 0;
    let bytes_max = options.queue_bytes_max / IN_FLIGHT;
    let room_max = u32::try_from(bytes_max / ROOM_BYTES)
        .unwrap_or(u32::MAX >> 3)
        .max(1);
    let room = Arc::new(Semaphore::new(room_max as usize));
    loop {
        let batch = if pending > options.catch_up_lag {
            options.catch_up
        } else {
            options.batch
        };
        let limits = ReceiveLimits {
            events_max: batch.events_max,
            bytes_max: batch.bytes_max.min(bytes_max),
            within: batch.within,
            idle: options.idle,
        };
        let received = tokio::select! {
            () = stop.cancelled() => return SessionEnd::Stopped,
            received = source.receive(&limits) => received,
        };
        let received = match received {
            Ok(received) => received,
            Err(error) => return SessionEnd::Stream(error),
        };
        if let Some(last) = received.last() {
            pending = last.pending;
            let count = received.len() as u64;
            options.metrics.received(count);
            status.send_modify(|status| {
                status.received += count;
                status.pending = pending;
            });
        }
        match acknowledgeable.has_changed() {
            Ok(false) => {}
            Ok(true) => {
                let through = *acknowledgeable.borrow_and_update();
                if let Err(error) = source.acknowledge(through).await {
                    return SessionEnd::Stream(error);
                }
            }
            // Committing has ended. Without new events nothing else would tell.
            Err(_) => return SessionEnd::Stopped,
        }
        if received.is_empty() && !events.is_closed() {
            continue;
        }
        // Where the threads are behind, this waits, and nothing more is pulled.
        tokio::select! {
            () = stop.cancelled() => return SessionEnd::Stopped,
            sent = queue(&events, received, &room, room_max) => if sent.is_err() {
                return SessionEnd::Stopped;
            },
        }
    }
}

/// Messages that wait to be decoded, with the room that they take.
struct Queued {
    deliveries: Vec<Delivery>,
    _room: OwnedSemaphorePermit,
}

async fn queue(
    events: &mpsc::Sender<Queued>,
    deliveries: Vec<Delivery>,
    room: &Arc<Semaphore>,
    room_max: u32,
) -> Result<(), mpsc::error::SendError<Queued>> {
    let bytes: usize = deliveries
        .iter()
        .map(|delivery| delivery.payload.len())
        .sum();
    let needed = u32::try_from(bytes / ROOM_BYTES + 1).unwrap_or(room_max);
    let acquired = Arc::clone(room).acquire_many_owned(needed.min(room_max));
    let taken = acquired.await.expect("nobody closes it");
    let queued = Queued {
        deliveries,
        _room: taken,
    };
    events.send(queued).await
}

struct Decoding {
    tenancy: Tenancy,
    event_bytes_max: usize,
    threads: usize,
    events_max: usize,
}

impl Decoding {
    /// Decodes what comes until the sender is gone, or nobody wants it any more. Blocking.
    fn run(self, mut received: mpsc::Receiver<Queued>, decoded: &SyncSender<Vec<Decoded>>) {
        while let Some(Queued { mut deliveries, .. }) = received.blocking_recv() {
            // What came in small batches while the last one was written is written at once.
            while deliveries.len() < self.events_max
                && let Ok(more) = received.try_recv()
            {
                deliveries.extend(more.deliveries);
            }
            let batch = decode(
                deliveries,
                &self.tenancy,
                self.event_bytes_max,
                self.threads,
            );
            if decoded.send(batch).is_err() {
                return;
            }
        }
    }
}

struct Folding {
    folders: Vec<Folder>,
    store: Arc<ViewStore>,
    committed: Arc<AtomicU64>,
    status: watch::Sender<ShardStatus>,
    metrics: Arc<Metrics>,
    drops_what_was_read: bool,
}

impl Folding {
    /// Folds what comes until the sender is gone, or nothing goes on. Blocking.
    fn run(mut self, foldable: &Receiver<Vec<Decoded>>, batches: &SyncSender<Numbered>) -> FoldEnd {
        let mut number = 0;
        while let Ok(decoded) = foldable.recv() {
            number += 1;
            self.metrics.batch(decoded.len());
            let committed = self.committed.load(Ordering::Acquire);
            let mut batch = Batch::default();
            for folder in &mut self.folders {
                let begun = Instant::now();
                let floor = folder.floor();
                let folded = folder.fold(&decoded, number, committed, &self.store);
                count(&self.metrics, folder, floor, &decoded, begun.elapsed());
                match folded {
                    Ok(Some(part)) => batch.push(part),
                    Ok(None) => {}
                    // The session ends, and the next one reads again.
                    Err(error) => return FoldEnd::Storage(error),
                }
            }
            self.show();
            let floors = self.floors();
            if !batch.is_empty()
                && batches
                    .send(Numbered {
                        number,
                        batch,
                        floors,
                    })
                    .is_err()
            {
                return FoldEnd::Done;
            }
            if self.folders.iter().all(|folder| folder.blocked().is_some()) {
                return FoldEnd::AllBlocked;
            }
            // All are at the same place of the stream, so all of them are read again behind their checkpoints.
            if let Some(why) = self.folders.iter().find_map(Folder::waits_for) {
                return FoldEnd::HeldUp(why);
            }
        }
        FoldEnd::Done
    }

    fn floors(&self) -> Floors {
        let each = self
            .folders
            .iter()
            .map(|folder| (folder.projection().table.clone(), folder.floor()));
        // One that halted reads again from where it stands. A stream that drops what was read must keep that for it; any other does, and those that go on would wait for it for ever.
        let holds_up = |folder: &&Folder| self.drops_what_was_read || folder.blocked().is_none();
        let held_up = self
            .folders
            .iter()
            .filter(holds_up)
            .map(Folder::floor)
            .min();
        let through = held_up.or_else(|| self.folders.iter().map(Folder::floor).min());
        Floors {
            each: each.collect(),
            through: through.unwrap_or_default(),
        }
    }

    fn show(&self) {
        self.status.send_if_modified(|status| {
            let mut changed = false;
            for folder in &self.folders {
                let state = status
                    .projections
                    .entry(folder.projection().table.clone())
                    .or_default();
                let parked_keys = folder.parked_keys();
                changed |=
                    state.parked_keys != parked_keys || state.blocked.as_ref() != folder.blocked();
                state.parked_keys = parked_keys;
                state.blocked = folder.blocked().cloned();
            }
            changed
        });
    }
}

/// Notes what a projection took of a batch that began when it stood at `floor`.
fn count(metrics: &Metrics, folder: &Folder, floor: u64, batch: &[Decoded], took: Duration) {
    let until = |floor| batch.partition_point(|decoded| decoded.delivery.sequence <= floor);
    let (duplicates, through) = (until(floor), until(folder.floor()));
    metrics.folded(
        &folder.projection().table,
        (through - duplicates) as u64,
        duplicates as u64,
        took,
    );
}
