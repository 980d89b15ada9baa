//! The writer: keeps writing new keys in the background while a scenario does other things.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::KvSession;

/// A background writer. Each write has a new key, and counts when a node acknowledged it.
pub(crate) struct Writer {
    stop: CancellationToken,
    counts: Arc<Counts>,
    done: watch::Receiver<u64>,
}

#[derive(Default)]
struct Counts {
    refused: AtomicU64,
}

/// What a writer did.
pub(crate) struct Written {
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
}

impl Writer {
    /// Starts writing through `session`, until it is stopped or the cluster is released.
    pub(crate) fn start(session: &KvSession) -> Self {
        let stop = session.cluster.tasks().token().child_token();
        let counts = Arc::new(Counts::default());
        let (progress, done) = watch::channel(0);
        let task = write(session.clone(), stop.clone(), Arc::clone(&counts), progress);
        session.cluster.tasks().spawn("writer", task);
        Self { stop, counts, done }
    }

    /// A view of how many writes were acknowledged; it wakes on each.
    pub(crate) fn progress(&self) -> watch::Receiver<u64> {
        self.done.clone()
    }

    /// Stops after the write that is under way.
    pub(crate) async fn stop(mut self) -> Written {
        self.stop.cancel();
        // The sender is dropped when the task has ended.
        while self.done.changed().await.is_ok() {}
        let acknowledged = *self.done.borrow();
        Written {
            acknowledged,
            refused: self.counts.refused.load(Ordering::Relaxed),
        }
    }
}

async fn write(
    session: KvSession,
    stop: CancellationToken,
    counts: Arc<Counts>,
    progress: watch::Sender<u64>,
) {
    while !stop.is_cancelled() {
        let key = session.next_key();
        let value = format!("value of {key}");
        if session.put(&key, &value).await.is_ok() {
            progress.send_modify(|acknowledged| *acknowledged += 1);
            continue;
        }
        counts.refused.fetch_add(1, Ordering::Relaxed);
        tokio::select! {
            () = session.await_leader() => {}
            () = stop.cancelled() => {}
        }
    }
}
