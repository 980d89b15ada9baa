//! Tenure: what an owner holds in its hand. It ends by itself, whoever is asleep.

use std::sync::Arc;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::storage::Fence;

/// The time for which a shard is one node's own, as that node must count it. Clones are the same tenure.
#[derive(Debug, Clone)]
pub struct Tenure {
    epoch: u64,
    until: Arc<watch::Sender<Instant>>,
    over: CancellationToken,
}

impl Tenure {
    pub(super) fn new(epoch: u64, until: Instant) -> Self {
        Self {
            epoch,
            until: Arc::new(watch::Sender::new(until)),
            over: CancellationToken::new(),
        }
    }

    /// Which owner of the shard this is, counted from the first.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether the shard is still this node's own.
    pub fn holds(&self) -> bool {
        !self.over.is_cancelled() && Instant::now() < *self.until.borrow()
    }

    /// Returns when it is not any more.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn ended(&self) {
        let mut until = self.until.subscribe();
        loop {
            let due = *until.borrow_and_update();
            tokio::select! {
                () = self.over.cancelled() => return,
                () = sleep_until(due) => return,
                // Renewed: it ends later. The sender is in this tenure, so it is never gone.
                _ = until.changed() => {}
            }
        }
    }

    /// What lets commits through as long as it holds.
    pub fn fence(&self) -> Fence {
        let tenure = self.clone();
        Fence::new(self.epoch, move || tenure.holds())
    }

    /// One that ended is not renewed: whoever worked under it has stopped. Says whether it was.
    pub(super) fn renew(&self, until: Instant) -> bool {
        let holds = self.holds();
        if holds {
            self.until.send_replace(until);
        } else {
            self.end();
        }
        holds
    }

    pub(super) fn end(&self) {
        self.over.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tenure_ends_by_itself_unless_it_is_renewed_and_never_comes_back() {
        let begun = Instant::now();
        let second = |seconds| begun + Duration::from_secs(seconds);
        let tenure = Tenure::new(1, second(5));
        let ended = tokio::spawn({
            let tenure = tenure.clone();
            async move {
                tenure.ended().await;
                Instant::now()
            }
        });
        tokio::time::sleep_until(second(4)).await;
        assert!(tenure.renew(second(9)));
        assert_eq!(ended.await.unwrap().duration_since(begun).as_secs(), 9);
        assert!(!tenure.holds());
        assert!(!tenure.renew(second(99)), "its shard has been stopped");
        assert!(!tenure.holds());
    }
}
