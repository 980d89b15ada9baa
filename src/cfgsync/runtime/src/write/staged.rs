//! A staged file: written whole, on the disk, and not in its place yet.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use cfgsync_artifacts::{ArtifactFile, FileMode};

use super::{WriteError, temporary::Purpose};
use crate::outputs::folder_of;

/// A temporary file in the folder of its target; it is removed when it is dropped.
#[derive(Debug)]
pub(super) struct StagedFile {
    pub(super) artifact: String,
    pub(super) target: PathBuf,
    temporary: PathBuf,
}

impl StagedFile {
    pub(super) fn write(target: &Path, artifact: &ArtifactFile) -> Result<Self, WriteError> {
        let temporary = Purpose::New.path_in(folder_of(target));
        let staged = Self {
            artifact: artifact.path.clone(),
            target: target.to_path_buf(),
            temporary,
        };
        let mut file = create(&staged.temporary)
            .map_err(staged.failed("creating a temporary file in its folder"))?;
        file.write_all(artifact.content.as_bytes())
            .map_err(staged.failed("writing the content to a temporary file"))?;
        let mode = artifact.mode.unwrap_or(FileMode::PUBLIC);
        file.set_permissions(Permissions::from_mode(mode.bits()))
            .map_err(staged.failed("setting the mode of a temporary file"))?;
        file.sync_all()
            .map_err(staged.failed("bringing a temporary file to the disk"))?;
        Ok(staged)
    }

    /// Takes the place of the target.
    pub(super) fn take_place(&self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.target)
    }

    pub(super) fn failed(&self, doing: &'static str) -> impl FnOnce(io::Error) -> WriteError {
        move |source| WriteError::Failed {
            path: self.artifact.clone(),
            target: self.target.clone(),
            doing,
            source,
        }
    }
}

/// After it has taken its place, there is nothing to remove.
impl Drop for StagedFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.temporary);
    }
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    options.mode(FileMode::PRIVATE.bits()).open(path)
}
