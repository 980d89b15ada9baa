//! Load: keeps publishing events in the background while a scenario does other things.
//!
//! How fast that is, whoever publishes decides: the next event waits for the one before.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{ProjectionSession, ledger::Keys};

/// A background publisher. An event counts when it is acknowledged, and none is given up.
pub(super) struct Load {
    stop: CancellationToken,
    done: watch::Receiver<u64>,
}

impl Load {
    /// Starts publishing, until it is stopped or the cluster is released.
    pub(super) fn start(session: &ProjectionSession, keys: Keys) -> Self {
        let tasks = session.cluster.tasks();
        let stop = tasks.token().child_token();
        let (progress, done) = watch::channel(0);
        let (session, stopping) = (session.clone(), stop.clone());
        let released = tasks.token().clone();
        tasks.spawn("load", async move {
            let publishing = publish(&session, keys, &stopping, progress);
            tokio::select! {
                () = publishing => {}
                () = released.cancelled() => {}
            }
        });
        Self { stop, done }
    }

    /// How many events were acknowledged; it wakes on each.
    pub(super) fn progress(&self) -> watch::Receiver<u64> {
        self.done.clone()
    }

    /// Stops when the event that is under way is acknowledged, and says how many were. Bounded by the caller.
    pub(super) async fn stop(mut self) -> u64 {
        self.stop.cancel();
        // The sender is dropped when the task has ended.
        while self.done.changed().await.is_ok() {}
        *self.done.borrow()
    }
}

async fn publish(
    session: &ProjectionSession,
    keys: Keys,
    stop: &CancellationToken,
    progress: watch::Sender<u64>,
) {
    while !stop.is_cancelled() {
        // It fails only where there is no server to publish to, which is for good.
        if session.publish_next(keys).await.is_err() {
            return;
        }
        progress.send_modify(|acknowledged| *acknowledged += 1);
    }
}
