//! Runtime: owns the task of one observation, from start to stop.
//!
//! What the task does is in `cycle`, what it shows in `handle`.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    config::ObservationConfig,
    cycle::Cycles,
    handle::ObservationHandle,
    observer::Observer,
    shared::{Shared, SharedOf},
    source::SourceProvider,
    status::StopReason,
};

/// How long a stopped loop may take to let go. A cycle is dropped at its next await point, so only
/// one that blocks its thread needs more, and nothing can end that.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(1);

/// A running observation. Dropping it stops the loop; [`shutdown`](Self::shutdown) also waits
/// until it has ended.
#[must_use = "dropping the runtime stops the observation"]
pub struct ObservationRuntime<O: Observer> {
    handle: ObservationHandle<O>,
    shared: Arc<SharedOf<O>>,
    cancel: CancellationToken,
    /// `None` once `shutdown` waits for it.
    task: Option<JoinHandle<()>>,
}

impl<O: Observer> ObservationRuntime<O> {
    /// Starts a task that observes until it is stopped.
    ///
    /// Returns at once: the observer's `init` is part of the first cycle, so that one that hangs
    /// or fails shows as [`Failing`](crate::ObservationStatus::Failing) and is tried again.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(
        observer: O,
        provider: impl SourceProvider<O::Source>,
        config: ObservationConfig,
    ) -> Self {
        let cancel = config.cancel.child_token();
        let name = config.name.clone();
        let shared = Arc::new(Shared::new(name, config.history_entries_max));
        let handle = ObservationHandle::new(Arc::clone(&shared), config.cycle_within());
        let cycles = Cycles::new(observer, provider, config, Arc::clone(&shared));
        let task = tokio::spawn(cycles.run(cancel.clone()));
        Self {
            handle,
            shared,
            cancel,
            task: Some(task),
        }
    }

    /// The read side, for as many readers as like.
    pub fn handle(&self) -> ObservationHandle<O> {
        self.handle.clone()
    }

    /// Stops the loop, wakes all who wait on it, and returns when its task has ended, within about
    /// a second. The handles stay readable.
    ///
    /// # Cancel safety
    /// The loop is stopped in any case; dropping this only gives up waiting for it.
    pub async fn shutdown(mut self) {
        self.stop(StopReason::Shutdown);
        let Some(mut task) = self.task.take() else {
            return;
        };
        if timeout(SHUTDOWN_WITHIN, &mut task).await.is_err() {
            task.abort();
            let observation = self.shared.name.as_str();
            tracing::warn!(
                observation,
                "observation blocks its thread and was left to it"
            );
        }
    }

    fn stop(&self, reason: StopReason) {
        self.shared.stop(reason);
        self.cancel.cancel();
    }
}

impl<O: Observer> Drop for ObservationRuntime<O> {
    fn drop(&mut self) {
        self.stop(StopReason::Dropped);
    }
}

impl<O: Observer> fmt::Debug for ObservationRuntime<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservationRuntime")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}
