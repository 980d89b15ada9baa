//! Holding: requests that wait for their configuration, and how they are woken.
//!
//! A source may change with every registration, and ten thousand held requests that all look again at each of ten thousand changes would never be done.
//! So they do not watch the source: one task does, and wakes all of them at a pace that leaves time in between, in proportion to their number.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinHandle,
    time::sleep,
};

use crate::NodeConfigSource;

/// Pause between two rounds of waking for each held request: a few times what it costs to look again.
const PAUSE_EACH: Duration = Duration::from_micros(10);

/// The held requests of one server.
#[derive(Debug)]
pub(crate) struct Holding {
    held_max: usize,
    room: Arc<Semaphore>,
    wakes: Arc<watch::Sender<()>>,
    pacer: Mutex<Option<JoinHandle<()>>>,
}

/// The right to hold one request, and what wakes it. Letting go of it makes room for another one.
pub(crate) struct Hold {
    wakes: watch::Receiver<()>,
    _room: OwnedSemaphorePermit,
}

impl Holding {
    pub(crate) fn new(held_max: usize) -> Self {
        let held_max = held_max.min(Semaphore::MAX_PERMITS);
        Self {
            held_max,
            room: Arc::new(Semaphore::new(held_max)),
            wakes: Arc::default(),
            pacer: Mutex::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.held_max - self.room.available_permits()
    }

    /// Room for one more held request, if there is some. Every change of `source` after this call wakes it.
    pub(crate) fn hold(&self, source: &Arc<dyn NodeConfigSource>) -> Option<Hold> {
        let room = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let wakes = self.wakes.subscribe();
        self.keep_pace(source);
        Some(Hold { wakes, _room: room })
    }

    /// The task begins with the first held request: a state can be made outside of a runtime. It is begun again where the runtime of the last one is gone.
    fn keep_pace(&self, source: &Arc<dyn NodeConfigSource>) {
        let mut pacer = self.pacer.lock().unwrap_or_else(PoisonError::into_inner);
        if pacer.as_ref().is_none_or(JoinHandle::is_finished) {
            let wakes = Arc::downgrade(&self.wakes);
            *pacer = Some(tokio::spawn(pace(source.changes(), wakes)));
        }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let pacer = self.pacer.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = pacer.take() {
            task.abort();
        }
    }
}

async fn pace(mut changes: watch::Receiver<u64>, wakes: Weak<watch::Sender<()>>) {
    while changes.changed().await.is_ok() {
        let Some(wakes) = wakes.upgrade() else {
            return;
        };
        wakes.send_replace(());
        let held = u32::try_from(wakes.receiver_count()).unwrap_or(u32::MAX);
        let pause = PAUSE_EACH.saturating_mul(held);
        drop(wakes);
        // The timer is no finer than this.
        if pause >= Duration::from_millis(1) {
            sleep(pause).await;
        }
    }
}

impl Hold {
    /// Whatever was said until now has been heard.
    pub(crate) fn listen(&mut self) {
        self.wakes.mark_unchanged();
    }

    /// Until something may have changed since [`Hold::listen`].
    ///
    /// # Cancel safety
    /// Dropping loses nothing.
    pub(crate) async fn woken(&mut self) {
        if self.wakes.changed().await.is_err() {
            // Nothing will ever wake this request; its time ends it.
            std::future::pending::<()>().await;
        }
    }
}
