//! Rest: a node that holds still for a moment, so that somebody else may change its store.
//!
//! What a session remembers of views and parked keys would be wrong after that, so all sessions end first, with everything committed, and new ones begin behind.

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{Node, NodeHandle, Request, Work};
use crate::{pipeline::ShardState, rebuild::RebuildError};

/// Held as long as the node is to hold still. It goes on when this is dropped.
#[must_use]
pub struct Rest {
    _over: oneshot::Sender<()>,
}

/// Somebody who wants the node to hold still.
pub(super) struct Wanted {
    begun: oneshot::Sender<()>,
    over: oneshot::Receiver<()>,
}

impl NodeHandle {
    /// Waits until nothing is written, which stays so until what this returns is dropped: the store may be changed then.
    ///
    /// # Errors
    /// The node has ended.
    pub async fn rest(&self) -> Result<Rest, RebuildError> {
        let (begun, holds_still) = oneshot::channel();
        let (over, until) = oneshot::channel();
        let wanted = Request::Rest(Wanted { begun, over: until });
        let sent = self.requests.send(wanted).await;
        sent.map_err(|_| RebuildError::NodeEnded)?;
        holds_still.await.map_err(|_| RebuildError::NodeEnded)?;
        Ok(Rest { _over: over })
    }
}

impl Node {
    /// Writes nothing until whoever wanted that is done, or `stop` is cancelled.
    pub(super) async fn hold_still(
        &self,
        work: &mut Work,
        wanted: Wanted,
        stop: &CancellationToken,
    ) {
        work.pause_beside().await;
        work.pause_served().await;
        let why = "an operator changes the store".to_owned();
        self.status
            .send_modify(|status| status.state = ShardState::Waiting { why });
        // If they are gone already, nothing is waited for. Nothing is ever sent: it ends when the other half is dropped.
        if wanted.begun.send(()).is_ok() {
            tokio::select! {
                _ = wanted.over => {}
                () = stop.cancelled() => {}
            }
        }
        self.served_options.metrics().changed();
        work.stale = true;
    }
}
