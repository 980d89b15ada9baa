//! The folders of a set: created where missing, locked against other writers, brought to the disk.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use cfgsync_artifacts::ArtifactFile;

use super::{WriteError, temporary::Purpose};
use crate::outputs::folder_of;

/// The folders in which targets are; those that were created are removed when it is dropped, unless they are to be kept.
#[derive(Debug)]
pub(super) struct Folders {
    created: Vec<PathBuf>,
    /// Folders that got a new folder in them, each with the first file for which that was.
    grown: BTreeMap<PathBuf, Cause>,
    /// By device and inode: one order for all writers, by whatever paths they come, so that no two wait for each other.
    open: BTreeMap<(u64, u64), Folder>,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    handle: File,
    locked: bool,
    cause: Cause,
}

/// The file for which something is done, for errors.
#[derive(Debug, Clone)]
struct Cause {
    artifact: String,
    target: PathBuf,
}

impl Folders {
    /// Creates and locks the folders of `files`, and removes what crashed writers have left in them.
    pub(super) fn prepare(files: &[(PathBuf, &ArtifactFile)]) -> Result<Self, WriteError> {
        let mut folders = Self {
            created: Vec::new(),
            grown: BTreeMap::new(),
            open: BTreeMap::new(),
        };
        for (target, artifact) in files {
            let cause = Cause {
                artifact: artifact.path.clone(),
                target: target.clone(),
            };
            folders.create(&cause)?;
            let path = folder_of(target);
            let (identity, handle) = open(path).map_err(cause.failed("opening its folder"))?;
            folders.open.entry(identity).or_insert_with(|| Folder {
                path: path.to_path_buf(),
                handle,
                locked: false,
                cause,
            });
        }
        for folder in folders.open.values_mut() {
            // Some file systems have no locks for folders. Writers there do not take turns,
            // and remove nothing that may be another's.
            folder.locked = folder.handle.lock().is_ok();
            folder.clear(Purpose::New);
        }
        Ok(folders)
    }

    /// Brings the renames to the disk.
    pub(super) fn sync(&self) -> Result<(), WriteError> {
        for Folder { handle, cause, .. } in self.open.values() {
            let synced = handle.sync_all();
            synced.map_err(cause.failed("bringing its folder to the disk"))?;
        }
        for (path, cause) in &self.grown {
            let synced = File::open(path).and_then(|folder| folder.sync_all());
            synced.map_err(cause.failed("bringing a new folder to the disk"))?;
        }
        Ok(())
    }

    /// The set is written: what was created stays, and old versions that crashed writers left are of no use any more.
    pub(super) fn keep(&mut self) {
        self.created.clear();
        self.open
            .values()
            .for_each(|folder| folder.clear(Purpose::Old));
    }

    /// As `create_dir_all`, but knows what it has created.
    fn create(&mut self, cause: &Cause) -> Result<(), WriteError> {
        let missing: Vec<&Path> = folder_of(&cause.target)
            .ancestors()
            .take_while(|folder| *folder != Path::new("") && !folder.is_dir())
            .collect();
        for folder in missing.into_iter().rev() {
            match fs::create_dir(folder) {
                Ok(()) => {
                    self.created.push(folder.to_path_buf());
                    let above = folder_of(folder).to_path_buf();
                    self.grown.entry(above).or_insert_with(|| cause.clone());
                }
                // Another writer was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
                Err(error) => return Err(cause.failed("creating its folder")(error)),
            }
        }
        Ok(())
    }
}

/// Removes what was created, if nobody has put anything there.
impl Drop for Folders {
    fn drop(&mut self) {
        for folder in self.created.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

impl Folder {
    fn clear(&self, purpose: Purpose) {
        if self.locked {
            purpose.clear(&self.path);
        }
    }
}

fn open(path: &Path) -> io::Result<((u64, u64), File)> {
    let handle = File::open(path)?;
    let found = handle.metadata()?;
    Ok(((found.dev(), found.ino()), handle))
}

impl Cause {
    fn failed(&self, doing: &'static str) -> impl FnOnce(io::Error) -> WriteError {
        move |source| WriteError::Failed {
            path: self.artifact.clone(),
            target: self.target.clone(),
            doing,
            source,
        }
    }
}
