//! A board in memory, which can be cut off from a node: for tests of everything behind the port.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{LeaseBoard, LeaseError, Posted};

/// One node's sight of a board.
#[derive(Debug, Default)]
pub struct MemoryBoard {
    shared: Arc<Mutex<Shared>>,
    cut: AtomicBool,
    /// How often this node has asked while it was cut off.
    in_vain: AtomicU64,
    /// The next write is done, and nobody says so.
    silent: AtomicBool,
    /// This node may not remove keys.
    keeps: AtomicBool,
}

#[derive(Debug, Default)]
struct Shared {
    keys: BTreeMap<String, (u64, Bytes)>,
    revision: u64,
}

impl MemoryBoard {
    /// The same board as another node sees it.
    #[must_use]
    pub fn for_another(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            ..Self::default()
        }
    }

    /// Cuts this node off, or lets it back.
    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }

    /// How often this node has asked while it was cut off.
    pub fn asked_in_vain(&self) -> u64 {
        self.in_vain.load(Ordering::Relaxed)
    }

    /// Loses the answer to the next write.
    pub fn lose_next_answer(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// Lets this node remove no keys, as a server does whose user may not purge.
    pub fn keep_keys(&self) {
        self.keeps.store(true, Ordering::Relaxed);
    }

    fn shared(&self, operation: &'static str) -> Result<MutexGuard<'_, Shared>, LeaseError> {
        if self.cut.load(Ordering::Relaxed) {
            self.in_vain.fetch_add(1, Ordering::Relaxed);
            return Err(unreachable(operation));
        }
        Ok(self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn unreachable(operation: &'static str) -> LeaseError {
    LeaseError::Unreachable {
        operation,
        source: "it is cut off".into(),
    }
}

#[async_trait]
impl LeaseBoard for MemoryBoard {
    async fn read(&self) -> Result<Vec<Posted>, LeaseError> {
        let shared = self.shared("show its keys")?;
        let posted = shared.keys.iter().map(|(key, (revision, value))| Posted {
            key: key.clone(),
            revision: *revision,
            value: value.clone(),
        });
        Ok(posted.collect())
    }

    async fn post(
        &self,
        key: &str,
        value: Bytes,
        revision: Option<u64>,
    ) -> Result<u64, LeaseError> {
        let mut shared = self.shared("take a key")?;
        if shared.keys.get(key).map(|(revision, _)| *revision) != revision {
            let key = key.to_owned();
            return Err(LeaseError::Moved { key });
        }
        shared.revision += 1;
        let revision = shared.revision;
        shared.keys.insert(key.to_owned(), (revision, value));
        if self.silent.swap(false, Ordering::Relaxed) {
            return Err(unreachable("take a key"));
        }
        Ok(revision)
    }

    async fn remove(&self, key: &str) -> Result<(), LeaseError> {
        let mut shared = self.shared("remove a key")?;
        if self.keeps.load(Ordering::Relaxed) {
            return Err(unreachable("remove a key"));
        }
        shared.keys.remove(key);
        Ok(())
    }
}
