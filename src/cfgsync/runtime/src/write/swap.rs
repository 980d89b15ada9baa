//! The swap: staged files take their places one by one, and give them back when one of them cannot.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{NotPutBack, WriteError, staged::StagedFile, temporary::Purpose};
use crate::outputs::folder_of;

/// The places that were taken so far.
#[derive(Debug, Default)]
pub(super) struct Swap(Vec<Taken>);

/// A place, and where its old file is, if it had one.
#[derive(Debug)]
struct Taken {
    target: PathBuf,
    old: Option<PathBuf>,
}

impl Swap {
    /// Gives `file` its place. When it fails, what was in that place is there.
    pub(super) fn put(&mut self, file: StagedFile) -> Result<(), WriteError> {
        let old = keep_old(&file.target).map_err(file.failed("keeping its old version"))?;
        let taken = Taken {
            target: file.target.clone(),
            old,
        };
        let renamed = file.take_place();
        // Even one that failed: its old version may have stepped aside.
        if renamed.is_ok() || taken.old.is_some() {
            self.0.push(taken);
        }
        renamed.map_err(file.failed("renaming the temporary file to its place"))
    }

    /// Puts everything back, because of `error`, and gives what is to be said about it.
    pub(super) fn put_back(self, error: WriteError) -> WriteError {
        let back = self.0.into_iter().rev().filter_map(Taken::put_back);
        let left: Vec<NotPutBack> = back.collect();
        if left.is_empty() {
            return error;
        }
        WriteError::NotPutBack {
            left,
            source: Box::new(error),
        }
    }

    /// Gives the old versions up. One that cannot be removed waits for the next write.
    pub(super) fn finish(self) {
        for old in self.0.into_iter().filter_map(|taken| taken.old) {
            let _ = fs::remove_file(old);
        }
    }
}

impl Taken {
    fn put_back(self) -> Option<NotPutBack> {
        let done = match &self.old {
            None => fs::remove_file(&self.target),
            Some(old) => fs::rename(old, &self.target).map(|()| {
                // Where both names are links to one file, which has not been replaced, a rename leaves both.
                let _ = fs::remove_file(old);
            }),
        };
        done.err().map(|cause| NotPutBack {
            target: self.target,
            old: self.old,
            cause,
        })
    }
}

/// Gives the file at `target`, if there is one, a second name.
fn keep_old(target: &Path) -> io::Result<Option<PathBuf>> {
    match fs::symlink_metadata(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(found) if found.is_file() => {}
        Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => return Err(io::Error::other("it is no longer a regular file")),
    }
    let old = Purpose::Old.path_in(folder_of(target));
    // Where no link can be made (no hard links there, no inode left, another's file), the file itself steps aside.
    fs::hard_link(target, &old).or_else(|_| fs::rename(target, &old))?;
    Ok(Some(old))
}

#[cfg(test)]
mod tests {
    use cfgsync_artifacts::ArtifactFile;

    use super::*;

    #[test]
    fn a_place_that_was_taken_by_a_folder_meanwhile_gives_all_places_back() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("known"), "old").unwrap();
        let staged = ["known", "fresh", "taken"]
            .map(|name| StagedFile::write(&at(name), &ArtifactFile::new(name, "new")).unwrap());
        fs::create_dir(at("taken")).unwrap();

        let mut swap = Swap::default();
        let error = staged
            .into_iter()
            .try_for_each(|file| swap.put(file))
            .unwrap_err();
        assert_eq!(fs::read_to_string(at("known")).unwrap(), "new");
        assert_eq!(fs::read_to_string(at("fresh")).unwrap(), "new");
        let error = swap.put_back(error).to_string();

        assert!(error.contains("\"taken\""), "{error}");
        assert_eq!(fs::read_to_string(at("known")).unwrap(), "old");
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["known", "taken"]);
    }

    #[test]
    fn what_cannot_be_put_back_is_listed_with_where_its_old_version_is() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("config.yaml");
        fs::write(&target, "old").unwrap();
        let staged = StagedFile::write(&target, &ArtifactFile::new("config.yaml", "new")).unwrap();
        let failed = staged.failed("a test")(io::ErrorKind::StorageFull.into());
        let mut swap = Swap::default();
        swap.put(staged).unwrap();
        fs::remove_file(&target).unwrap();
        fs::create_dir(&target).unwrap();

        let error = swap.put_back(failed);
        let WriteError::NotPutBack { left, .. } = &error else {
            panic!("{error}");
        };
        let old = left[0].old.as_deref().unwrap();
        assert_eq!(fs::read_to_string(old).unwrap(), "old");
        let shown = old.display().to_string();
        assert!(error.to_string().contains(&shown), "{error}");
    }
}
