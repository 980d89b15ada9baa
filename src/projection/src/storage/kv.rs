//! The port to what keeps bytes: named tables of ordered keys, one writer, readers that see one moment.
//!
//! It knows nothing of views. A table exists as soon as something is put into it.

use super::{StorageError, Visit};

/// An engine.
pub(super) trait Kv: Send + Sync {
    /// Begins to read the store as it is now.
    fn read(&self) -> Result<Box<dyn KvRead + '_>, StorageError>;

    /// Runs `change` in one transaction, which is committed if it succeeds and leaves no trace if not.
    fn write(
        &self,
        change: &mut dyn FnMut(&mut dyn KvWrite) -> Result<(), StorageError>,
    ) -> Result<(), StorageError>;

    /// Brings what was committed to the disk.
    fn sync(&self) -> Result<(), StorageError>;

    /// How many bytes the store takes.
    fn used_bytes(&self) -> Result<u64, StorageError>;
}

/// The store at one moment.
pub(super) trait KvRead {
    /// The value of `key`.
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// The values of a table, for whoever wants many of them one after the other.
    fn values(&self, table: &str) -> Result<Box<dyn KvValues + '_>, StorageError>;

    /// Shows entries in order from `from` on, until `visit` has enough.
    fn range(&self, table: &str, from: &[u8], visit: Visit<'_>) -> Result<(), StorageError>;

    /// Shows entries in reverse order from the last one before `before`, until `visit` has enough.
    fn range_back(&self, table: &str, before: &[u8], visit: Visit<'_>) -> Result<(), StorageError>;
}

/// The values of one table.
pub(super) trait KvValues {
    /// Shows the value of `key` where it lies, if there is one.
    fn show(&mut self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<(), StorageError>;
}

/// Entries to put, or to remove where the value is `None`.
pub(super) type Entries<'a, 'b> = &'a mut dyn Iterator<Item = (&'b [u8], Option<&'b [u8]>)>;

/// A transaction that writes.
pub(super) trait KvWrite {
    /// The value of `key`.
    fn get(&mut self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// Puts or removes each of `entries`, which are quickest in order.
    fn put_all(&mut self, table: &str, entries: Entries<'_, '_>) -> Result<(), StorageError>;

    /// Removes everything from `table`.
    fn clear(&mut self, table: &str) -> Result<(), StorageError>;

    /// Removes `table` with everything in it: what it takes is there for another one.
    fn remove(&mut self, table: &str) -> Result<(), StorageError>;
}
