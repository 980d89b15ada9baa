//! Committing: one thread writes batches in their order, and waits where storage fails. It never skips one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{runtime::Handle, sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use super::status::ShardStatus;
use crate::{
    metrics::Metrics,
    settings::Durability,
    storage::{Batch, Breaker, StorageError, ViewStore},
    types::ViewTable,
};

/// A batch on its way to the store.
pub(super) struct Numbered {
    pub(super) number: u64,
    pub(super) batch: Batch,
    pub(super) floors: Floors,
}

/// Where projections are when a batch is in the store.
pub(super) struct Floors {
    pub(super) each: Vec<(ViewTable, u64)>,
    /// What nobody will read again.
    pub(super) through: u64,
}

/// How long the committer waits for a batch before it shows that it lives.
const BEAT: Duration = Duration::from_secs(1);

/// Why committing ended before its batches did.
pub(super) enum CommitEnd {
    /// All was written.
    Done,
    /// The node was told to stop while storage failed. What was not written will be delivered again.
    Stopped,
    /// What no waiting mends.
    Failed(StorageError),
}

pub(super) struct Committer {
    pub(super) store: Arc<ViewStore>,
    pub(super) durability: Durability,
    pub(super) breaker_pause: Duration,
    pub(super) committed: Arc<AtomicU64>,
    /// What is on the disk and may be acknowledged.
    pub(super) durable: watch::Sender<u64>,
    pub(super) status: watch::Sender<ShardStatus>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stop: CancellationToken,
}

impl Committer {
    /// Writes what comes until the sender is gone. Blocking.
    pub(super) fn run(self, batches: &Receiver<Numbered>) -> CommitEnd {
        let end = self.commit_all(batches);
        self.metrics.beat(None);
        end
    }

    fn commit_all(&self, batches: &Receiver<Numbered>) -> CommitEnd {
        let mut breaker = Breaker::new(self.breaker_pause);
        let mut unsynced: Option<(Instant, Floors)> = None;
        loop {
            self.metrics.beat(Some(Instant::now()));
            let wait = unsynced
                .as_ref()
                .map(|(due, _)| due.saturating_duration_since(Instant::now()));
            let numbered = match receive(batches, wait) {
                Ok(numbered) => Some(numbered),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if let Some(Numbered {
                number,
                batch,
                floors,
            }) = numbered
            {
                let begun = Instant::now();
                if let Err(end) = self.persist(&mut breaker, || self.store.commit(&batch)) {
                    return end;
                }
                self.committed.store(number, Ordering::Release);
                self.count(&batch, begun.elapsed());
                match self.durability {
                    Durability::Commit => self.publish(&floors),
                    Durability::Interval(interval) => {
                        let due =
                            unsynced.map_or_else(|| Instant::now() + interval, |(due, _)| due);
                        unsynced = Some((due, floors));
                    }
                }
            }
            if let Some((_, floors)) = unsynced.take_if(|(due, _)| *due <= Instant::now()) {
                if let Err(end) = self.persist(&mut breaker, || self.store.sync()) {
                    return end;
                }
                self.publish(&floors);
            }
        }
        if let Some((_, floors)) = unsynced {
            if let Err(end) = self.persist(&mut breaker, || self.store.sync()) {
                return end;
            }
            self.publish(&floors);
        }
        CommitEnd::Done
    }

    /// Tries until it succeeds, with pauses; gives up only when told to stop, or where waiting does not help.
    fn persist(
        &self,
        breaker: &mut Breaker,
        attempt: impl Fn() -> Result<(), StorageError>,
    ) -> Result<(), CommitEnd> {
        loop {
            match attempt() {
                Ok(()) => {
                    if breaker.is_open() {
                        self.status
                            .send_modify(|status| status.storage_trouble = None);
                        breaker.succeeded();
                    }
                    return Ok(());
                }
                Err(error) if error.is_transient() => {
                    self.metrics.beat(Some(Instant::now()));
                    self.metrics.commit_failed();
                    breaker.failed(Instant::now());
                    tracing::warn!(%error, "storage fails; nothing is taken in until it does not");
                    let trouble = Some(error.to_string());
                    self.status
                        .send_modify(|status| status.storage_trouble = trouble);
                }
                Err(error) => return Err(CommitEnd::Failed(error)),
            }
            let pause = breaker.wait(Instant::now()).unwrap_or_default();
            let stopped = Handle::current().block_on(timeout(pause, self.stop.cancelled()));
            if stopped.is_ok() {
                return Err(CommitEnd::Stopped);
            }
        }
    }

    /// Notes what a commit wrote, and how old its last events are now.
    fn count(&self, batch: &Batch, took: Duration) {
        let (views, bytes) = batch.size();
        self.metrics.committed(views, bytes, took);
        for (table, checkpoint) in batch.checkpoints() {
            if let Some(published) = checkpoint.published {
                self.metrics.visible(table, since(published));
            }
        }
        self.status.send_modify(|status| {
            for (table, checkpoint) in batch.checkpoints() {
                let state = status.projections.entry(table.clone()).or_default();
                state.published = checkpoint.published;
            }
        });
    }

    fn publish(&self, floors: &Floors) {
        self.durable.send_replace(floors.through);
        self.status.send_modify(|status| {
            for (table, floor) in &floors.each {
                status.projections.entry(table.clone()).or_default().floor = *floor;
            }
        });
    }
}

fn receive(
    batches: &Receiver<Numbered>,
    wait: Option<Duration>,
) -> Result<Numbered, RecvTimeoutError> {
    batches.recv_timeout(wait.unwrap_or(BEAT).min(BEAT))
}

/// How long ago something was published, by the clock of this machine.
pub(crate) fn since(published: i128) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let published = Duration::from_nanos(u64::try_from(published).unwrap_or(0));
    now.unwrap_or_default().saturating_sub(published)
}
