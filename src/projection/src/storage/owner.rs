//! Ownership: the lock that keeps a second node away from a folder. It goes with its process, however that ends.

use std::{
    fs::{self, File, TryLockError},
    path::Path,
};

use super::StorageError;

const LOCK: &str = "owner.lock";

/// Held as long as the store is owned.
pub(super) struct Ownership {
    _lock: File,
}

impl Ownership {
    pub(super) fn take(folder: &Path) -> Result<Self, StorageError> {
        let unusable = |source| StorageError::Folder {
            folder: folder.to_owned(),
            source,
        };
        fs::create_dir_all(folder).map_err(unusable)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join(LOCK))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StorageError::Owned {
                folder: folder.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }
}
