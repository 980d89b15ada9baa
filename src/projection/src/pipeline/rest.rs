//! Rest: a shard that holds still for a moment, so that somebody else may change its store.
//!
//! What a session remembers of views and parked keys would be wrong after that, so the session ends first, with everything committed, and a new one begins behind.

use tokio::sync::{Mutex, mpsc, oneshot};

/// Held as long as the shard is to hold still. It goes on when this is dropped.
#[must_use]
pub struct Rest {
    _over: oneshot::Sender<()>,
}

/// Somebody who wants the shard to hold still.
pub(super) struct Wanted {
    begun: oneshot::Sender<()>,
    over: oneshot::Receiver<()>,
}

impl Wanted {
    /// Lets whoever asked do what they want to. If they are gone already, nothing is waited for.
    pub(super) async fn hold(self) {
        if self.begun.send(()).is_ok() {
            // Nothing is ever sent: it ends when the other half is dropped.
            let _ = self.over.await;
        }
    }
}

/// Where those are that want it.
pub(super) struct Door {
    asked: mpsc::Sender<Wanted>,
    wanted: Mutex<mpsc::Receiver<Wanted>>,
}

impl Default for Door {
    fn default() -> Self {
        let (asked, wanted) = mpsc::channel(1);
        Self {
            asked,
            wanted: Mutex::new(wanted),
        }
    }
}

impl Door {
    /// Waits until the shard holds still.
    pub(super) async fn rest(&self) -> Rest {
        let (begun, holds_still) = oneshot::channel();
        let (over, until) = oneshot::channel();
        let wanted = Wanted { begun, over: until };
        // Where nothing runs any more nothing has to hold still.
        if self.asked.send(wanted).await.is_ok() {
            let _ = holds_still.await;
        }
        Rest { _over: over }
    }

    /// The next one who wants it.
    pub(super) async fn next(&self) -> Wanted {
        let next = self.wanted.lock().await.recv().await;
        next.expect("the other half is beside it")
    }
}
