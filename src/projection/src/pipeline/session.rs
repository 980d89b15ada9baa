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
    pieces::{Closing, Next, OpenBatch},
    shard::ShardOptions,
    status::ShardStatus,
};
use crate::{
    metrics::Metrics,
    spans::spawn_blocking,
    storage::{Batch, StorageError, ViewStore},
    stream::{Delivery, EventSource, StreamError},
};

/// How many pieces may wait to be decoded. Few events at a time are many of them.
const QUEUED_MAX: usize = 256;
/// What the room of those is measured in.
const ROOM_BYTES: usize = 1 << 10;
/// How many pieces there may be at once that are not folded: one that is received, one that waits, one that is decoded and one that is folded.
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
    // Without room between them: what is decoded is large, and one piece ahead is enough.
    let (decoded, foldable) = sync_channel::<Piece>(0);
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
        piece_events: options.piece_events,
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
    let mut open = OpenBatch::default();
    loop {
        let batch = if pending > options.catch_up_lag {
            options.catch_up
        } else {
            options.batch
        };
        let limits = open.next_piece(batch, (options.piece_events, bytes_max), options.idle);
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
        if received.is_empty() && open.is_empty() && !events.is_closed() {
            continue;
        }
        let closes = open.take(&received, batch, &limits);
        // Where the threads are behind, this waits, and nothing more is pulled.
        tokio::select! {
            () = stop.cancelled() => return SessionEnd::Stopped,
            sent = queue(&events, received, closes, &room, room_max) => if sent.is_err() {
                return SessionEnd::Stopped;
            },
        }
    }
}

/// Messages that wait to be decoded, with the room that they take.
struct Queued {
    deliveries: Vec<Delivery>,
    /// Whether a batch ends with them.
    closes: bool,
    _room: OwnedSemaphorePermit,
}

async fn queue(
    events: &mpsc::Sender<Queued>,
    deliveries: Vec<Delivery>,
    closes: bool,
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
        closes,
        _room: taken,
    };
    events.send(queued).await
}

/// Events on their way to be folded.
struct Piece {
    decoded: Vec<Decoded>,
    /// Whether what was folded is written with them.
    closes: bool,
}

struct Decoding {
    tenancy: Tenancy,
    event_bytes_max: usize,
    threads: usize,
    piece_events: usize,
    events_max: usize,
}

impl Decoding {
    /// Decodes what comes until the sender is gone, or nobody wants it any more. Blocking.
    fn run(self, mut received: mpsc::Receiver<Queued>, decoded: &SyncSender<Piece>) {
        let mut closing = Closing::default();
        while let Some(queued) = received.blocking_recv() {
            let Queued {
                mut deliveries,
                mut closes,
                ..
            } = queued;
            let mut receptions = 1;
            while deliveries.len() < self.piece_events.min(self.events_max)
                && let Ok(more) = received.try_recv()
            {
                deliveries.extend(more.deliveries);
                closes |= more.closes;
                receptions += 1;
            }
            let next = Next {
                events: deliveries.len(),
                receptions,
                closes,
                waiting: received.len(),
            };
            let piece = Piece {
                closes: closing.closes(&next, self.events_max),
                decoded: decode(
                    deliveries,
                    &self.tenancy,
                    self.event_bytes_max,
                    self.threads,
                ),
            };
            if decoded.send(piece).is_err() {
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
    fn run(mut self, foldable: &Receiver<Piece>, batches: &SyncSender<Numbered>) -> FoldEnd {
        let (mut number, mut events) = (1, 0);
        while let Ok(Piece { decoded, closes }) = foldable.recv() {
            events += decoded.len();
            // The session ends, and the next one reads again.
            if let Err(error) = self.fold(&decoded, number) {
                return FoldEnd::Storage(error);
            }
            self.show();
            if closes || self.folders.iter().any(Folder::has_to_be_written) {
                self.metrics.batch(std::mem::take(&mut events));
                if !self.write(number, batches) {
                    return FoldEnd::Done;
                }
                number += 1;
            }
            if self.folders.iter().all(|folder| folder.blocked().is_some()) {
                return FoldEnd::AllBlocked;
            }
            // All are at the same place of the stream, so all of them are read again behind their checkpoints.
            if let Some(why) = self.folders.iter().find_map(Folder::waits_for) {
                return FoldEnd::HeldUp(why);
            }
        }
        self.write(number, batches);
        FoldEnd::Done
    }

    fn fold(&mut self, decoded: &[Decoded], number: u64) -> Result<(), StorageError> {
        let committed = self.committed.load(Ordering::Acquire);
        for folder in &mut self.folders {
            let begun = Instant::now();
            let floor = folder.floor();
            let folded = folder.fold(decoded, number, committed, &self.store);
            count(&self.metrics, folder, floor, decoded, begun.elapsed());
            folded?;
        }
        Ok(())
    }

    /// Gives what was folded to be written, as the batch `number`. Whether anybody is there who writes.
    fn write(&mut self, number: u64, batches: &SyncSender<Numbered>) -> bool {
        let mut batch = Batch::default();
        for part in self.folders.iter_mut().filter_map(Folder::close) {
            batch.push(part);
        }
        let floors = self.floors();
        let numbered = Numbered {
            number,
            batch,
            floors,
        };
        numbered.batch.is_empty() || batches.send(numbered).is_ok()
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

/// Notes what a projection took of a piece that began when it stood at `floor`.
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
