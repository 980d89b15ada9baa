//! Writing: artifacts become files, all of them or none.
//!
//! Where each of them belongs is the business of `outputs`.

mod error;
mod folders;
mod staged;
mod swap;
mod temporary;

use std::path::PathBuf;

use cfgsync_artifacts::ArtifactSet;

use self::{folders::Folders, staged::StagedFile, swap::Swap};
use crate::ArtifactOutputMap;

pub use error::{NotPutBack, WriteError};

/// Writes `files` to where `outputs` sends them, all or none, and says where that is, in their order.
///
/// Blocking: it waits for the disk, and for whoever else is writing to one of the folders; in async code it belongs into `spawn_blocking`.
///
/// Every file is written whole to a temporary file in the folder of its target (readable by its owner only, until it has its own mode, or [`FileMode::PUBLIC`](cfgsync_artifacts::FileMode::PUBLIC) where it has none), and is on the disk before the first target is touched.
/// Then each takes its place by a rename, and the folders are brought to the disk as well.
/// Missing folders are created.
///
/// # What holds when it is interrupted
/// - When it fails, everything is as it was before: targets, folders, and no temporary file.
///   The one exception is a disk that refuses to put something back, and then [`WriteError::NotPutBack`] lists it.
/// - When the process is killed or the power fails, each *file* is whole: the old one or the new one.
///   The *set* may then be a mixture of old and new files, because no file system renames two files at once; and temporary files, whose names start with `.cfgsync-`, may be left.
///   The next write to the same folders removes these, where the file system has locks for folders (others may hold files that a living writer needs).
///   A node must therefore not start before its write has succeeded once since the last interruption; `cfgsync-client` run before the node gives that.
/// - Without hard links (some network and FAT file systems) the old file steps aside for a moment, and a process killed in that moment leaves it under a name that starts with `.cfgsync-old-`; the next successful write removes that.
///
/// Two writers to one folder take turns, by such a lock.
///
/// # Errors
/// A path that is refused, in which case nothing was touched; or what failed for which file, and what to try.
pub fn write_artifacts(
    files: &ArtifactSet,
    outputs: &ArtifactOutputMap,
) -> Result<Vec<PathBuf>, WriteError> {
    let resolved = outputs.resolve(files)?;
    // Dropped last of all: the folders that were created can go only when they are empty again.
    let mut folders = Folders::prepare(&resolved)?;
    let staged = resolved
        .iter()
        .map(|(target, file)| StagedFile::write(target, file))
        .collect::<Result<Vec<_>, _>>()?;

    let mut swap = Swap::default();
    let swapped = staged.into_iter().try_for_each(|file| swap.put(file));
    if let Err(error) = swapped.and_then(|()| folders.sync()) {
        return Err(swap.put_back(error));
    }
    swap.finish();
    folders.keep();
    Ok(resolved.into_iter().map(|(target, _)| target).collect())
}
