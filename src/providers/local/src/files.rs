//! Files: errors that name their path, and folders that are copied, replaced and removed as a whole.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use thiserror::Error;
use trellis_bootstrap::{Doing, ProviderError};
use trellis_domain::NodeName;

/// A file or folder that could not be used.
#[derive(Debug, Error)]
#[error("{} failed", path.display())]
pub(crate) struct FileError {
    pub(crate) path: PathBuf,
    #[source]
    pub(crate) source: io::Error,
}

impl FileError {
    /// As the failure to do something to a node.
    pub(crate) fn of(self, doing: Doing, node: &NodeName) -> ProviderError {
        ProviderError::File {
            doing,
            node: node.clone(),
            path: self.path,
            source: self.source,
        }
    }

    /// With its cause, where no error can carry it.
    pub(crate) fn in_words(&self) -> String {
        format!("{}: {}", self.path.display(), self.source)
    }
}

/// Adds the path to an I/O result.
pub(crate) trait At<T> {
    fn at(self, path: &Path) -> Result<T, FileError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, FileError> {
        self.map_err(|source| FileError {
            path: path.to_owned(),
            source,
        })
    }
}

/// Copies a folder with the permissions of everything in it.
///
/// Symbolic links are copied as links. Sockets, pipes and devices are left out: they mean nothing without the process that made them.
pub(crate) fn copy_folder(from: &Path, to: &Path) -> Result<(), FileError> {
    copy_chosen(from, to, |_| true)
}

/// Like [`copy_folder`], without files that only their owner may read: those hold secrets.
pub(crate) fn copy_public(from: &Path, to: &Path) -> Result<(), FileError> {
    const READ_BY_OTHERS: u32 = 0o044;
    copy_chosen(from, to, |file| file.mode() & READ_BY_OTHERS != 0)
}

fn copy_chosen(from: &Path, to: &Path, chosen: fn(&Metadata) -> bool) -> Result<(), FileError> {
    fs::create_dir_all(to).at(to)?;
    for entry in fs::read_dir(from).at(from)? {
        let entry = entry.at(from)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().at(&source)?;
        if kind.is_dir() {
            copy_chosen(&source, &target, chosen)?;
        } else if kind.is_symlink() {
            let link = fs::read_link(&source).at(&source)?;
            std::os::unix::fs::symlink(link, &target).at(&target)?;
        } else if kind.is_file() && chosen(&entry.metadata().at(&source)?) {
            // Which of the two failed is not told apart; a full disk is the target's.
            fs::copy(&source, &target).at(&target)?;
        }
    }
    // Last, since a folder that is read-only takes no files.
    let permissions = fs::metadata(from).at(from)?.permissions();
    fs::set_permissions(to, permissions).at(to)
}

/// Puts what `make` makes in the place of the folder `target`, or leaves `target` as it was.
///
/// It is made beside the target and renamed when it is whole.
pub(crate) fn replace_folder(
    target: &Path,
    make: impl FnOnce(&Path) -> Result<(), FileError>,
) -> Result<(), FileError> {
    // Names of nodes and labels do not begin with a dot, so these are nobody's.
    let (fresh, stale) = (beside(target, ".new-"), beside(target, ".old-"));
    remove_folder(&fresh)?;
    remove_folder(&stale)?;
    let made = make(&fresh).and_then(|()| swap(&fresh, target, &stale));
    if made.is_err() {
        // The first failure is the one to tell.
        let _ = remove_folder(&fresh);
    }
    made
}

fn swap(fresh: &Path, target: &Path, stale: &Path) -> Result<(), FileError> {
    // The kernel lets a folder take the place of one that is empty, as a new node's is, or of none.
    if fs::rename(fresh, target).is_ok() {
        return Ok(());
    }
    fs::rename(target, stale).at(target)?;
    if let Err(error) = fs::rename(fresh, target).at(target) {
        fs::rename(stale, target).at(target)?;
        return Err(error);
    }
    remove_folder(stale)
}

fn beside(target: &Path, prefix: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(prefix);
    name.push(target.file_name().unwrap_or_default());
    target.with_file_name(name)
}

/// Removes a folder with everything in it, read-only folders included; one that is not there is removed already.
pub(crate) fn remove_folder(path: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_folders(path);
            fs::remove_dir_all(path).at(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.at(path),
    }
}

/// Makes every folder below `path` writable, as far as that is ours to do.
fn open_folders(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_folders(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_copy_keeps_permissions_and_links_and_leaves_sockets_out() {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::write(from.join("sub/key"), "secret").unwrap();
        fs::set_permissions(from.join("sub/key"), fs::Permissions::from_mode(0o400)).unwrap();
        fs::set_permissions(from.join("sub"), fs::Permissions::from_mode(0o500)).unwrap();
        symlink("sub/key", from.join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap();
        copy_folder(&from, &to).unwrap();
        let mode = |path: &str| fs::metadata(to.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("sub"), mode("sub/key")), (0o500, 0o400));
        assert_eq!(
            fs::read_link(to.join("link")).unwrap(),
            Path::new("sub/key")
        );
        assert_eq!(fs::read(to.join("link")).unwrap(), b"secret");
        assert!(!to.join("socket").exists());
        remove_folder(&to).unwrap();
        assert!(!to.exists());
        remove_folder(&to).unwrap();
    }

    #[test]
    fn a_replacement_that_fails_leaves_what_was_there() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("target");
        let write = |text: &'static str| {
            move |folder: &Path| {
                fs::create_dir(folder).at(folder)?;
                let file = folder.join("file");
                fs::write(&file, text).at(&file)
            }
        };
        replace_folder(&target, write("one")).unwrap();
        replace_folder(&target, write("two")).unwrap();
        let failed = replace_folder(&target, |folder| {
            write("three")(folder)?;
            Err(io::Error::other("disk full")).at(folder)
        });
        failed.unwrap_err();
        assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "two");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }
}
