//! A store in memory that fails when it is told to: for tests of what becomes of views when storage does not do what it should.
//!
//! What keeps the bytes is redb, as on a disk, so transactions are real ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    EngineError, StorageError, ViewStore,
    kv::{Kv, KvRead, KvWrite},
    redb::Redb,
};

/// How a use of the store goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StorageFault {
    /// Nothing is written, and the next attempt may succeed.
    Transient,
    /// The process ends before anything is written.
    CrashBefore,
    /// The process ends after all is written, before anybody hears of it.
    CrashAfter,
}

/// What outlives a process: the bytes, and what is to go wrong with them.
pub(crate) struct FaultyDisk {
    kv: Redb,
    writes: AtomicU64,
    reads: AtomicU64,
    plan: Mutex<Plan>,
}

#[derive(Default)]
struct Plan {
    writes: BTreeMap<u64, StorageFault>,
    /// Reads that fail as a disk does.
    reads: BTreeSet<u64>,
    crashed: bool,
}

impl FaultyDisk {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            kv: Redb::in_memory().expect("memory is there"),
            writes: AtomicU64::default(),
            reads: AtomicU64::default(),
            plan: Mutex::default(),
        })
    }

    /// Lets the write go wrong that comes after `writes` others.
    pub(crate) fn fail_write_after(&self, writes: u64, fault: StorageFault) {
        let at = self.writes.load(Ordering::Relaxed) + writes;
        self.plan().writes.insert(at, fault);
    }

    /// Lets the read fail that comes after `reads` others.
    pub(crate) fn fail_read_after(&self, reads: u64) {
        let at = self.reads.load(Ordering::Relaxed) + reads;
        self.plan().reads.insert(at);
    }

    /// The store as a process finds it that has just been started.
    pub(crate) fn open(self: &Arc<Self>) -> Arc<ViewStore> {
        self.plan().crashed = false;
        Arc::new(ViewStore::over(Arc::new(Arc::clone(self))))
    }

    /// Nothing goes wrong any more.
    pub(crate) fn mend(&self) {
        *self.plan() = Plan::default();
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn disk() -> StorageError {
    StorageError::Disk {
        source: EngineError::new(io::Error::other("told to fail")),
    }
}

fn crash() -> StorageError {
    StorageError::Engine {
        operation: "live on",
        source: EngineError::new(io::Error::other("told to end")),
    }
}

impl Kv for Arc<FaultyDisk> {
    fn read(&self) -> Result<Box<dyn KvRead + '_>, StorageError> {
        let read = self.reads.fetch_add(1, Ordering::Relaxed);
        if self.plan().reads.remove(&read) {
            return Err(disk());
        }
        self.kv.read()
    }

    fn write(
        &self,
        change: &mut dyn FnMut(&mut dyn KvWrite) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let write = self.writes.fetch_add(1, Ordering::Relaxed);
        let fault = {
            let mut plan = self.plan();
            if plan.crashed {
                return Err(crash());
            }
            let fault = plan.writes.remove(&write);
            plan.crashed = matches!(
                fault,
                Some(StorageFault::CrashBefore | StorageFault::CrashAfter)
            );
            fault
        };
        match fault {
            None => self.kv.write(change),
            Some(StorageFault::Transient) => Err(disk()),
            Some(StorageFault::CrashBefore) => Err(crash()),
            Some(StorageFault::CrashAfter) => self.kv.write(change).and(Err(crash())),
        }
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.kv.sync()
    }

    fn used_bytes(&self) -> Result<u64, StorageError> {
        self.kv.used_bytes()
    }
}
