//! Ownership: the lock that keeps a second node away from a folder. It goes with its process, however that ends.

use std::{
    fs::{self, File, TryLockError},
    path::Path,
};

use super::StorageError;

const LOCK: &str = "owner.lock";

/// Held as long as the store is owned.
pub(super) struct Ownership {
    lock: File,
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
            Ok(()) => Ok(Self { lock }),
            Err(TryLockError::WouldBlock) => Err(StorageError::Owned {
                folder: folder.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        // Closing is not enough: a child that another thread is just starting has a copy of the file until it runs its own program, and would hold the lock that long.
        let _ = self.lock.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_free_when_its_owner_is_gone_even_while_a_copy_of_the_lock_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let owner = Ownership::take(folder.path()).unwrap();
        // What a child has between its start and its program.
        let copy = owner.lock.try_clone().unwrap();
        assert!(matches!(
            Ownership::take(folder.path()),
            Err(StorageError::Owned { .. })
        ));
        drop(owner);
        Ownership::take(folder.path()).unwrap();
        drop(copy);
    }
}
