//! Temporary names, and what is left of them after a crash.

use std::{
    fs,
    hash::{BuildHasher as _, RandomState},
    path::{Path, PathBuf},
};

use crate::outputs::TEMPORARY_PREFIX;

/// What a temporary file is for, which is in its name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// A file that has not taken its place.
    New,
    /// A file whose place was taken.
    Old,
}

impl Purpose {
    fn prefix(self) -> String {
        let word = match self {
            Self::New => "new",
            Self::Old => "old",
        };
        format!("{TEMPORARY_PREFIX}{word}-")
    }

    /// A path in `folder` that nobody else uses.
    pub(super) fn path_in(self, folder: &Path) -> PathBuf {
        // Each state has keys of its own: 64 bits that no other call, process or machine gives.
        let unique = RandomState::new().hash_one(std::process::id());
        folder.join(format!("{}{unique:016x}", self.prefix()))
    }

    /// Removes what crashed writers have left in `folder`. What cannot be removed stays: it is in nobody's way.
    pub(super) fn clear(self, folder: &Path) {
        let prefix = self.prefix();
        let Ok(entries) = fs::read_dir(folder) else {
            return;
        };
        for entry in entries.flatten() {
            if entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(prefix.as_bytes())
            {
                // A folder with such a name is not ours, and is not removed by this.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}
