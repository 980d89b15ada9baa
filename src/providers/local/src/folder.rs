//! Folders: where a cluster and each of its nodes keep their files, and the mark by which a folder is known to be ours to remove.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use trellis_domain::{NodeName, RunId};

use crate::files::{At as _, FileError, remove_folder};

/// The file that makes a folder ours; its content is the run id.
const MARKER: &str = ".trellis-run";

/// The folder of one cluster: `nodes/<name>/` and `copies/<label>/<name>/`.
#[derive(Debug, Clone)]
pub(crate) struct ClusterFolder {
    root: PathBuf,
}

impl ClusterFolder {
    /// Creates the folder, or takes one that is empty, and marks it as the run's.
    pub(crate) fn create(root: PathBuf, run: &RunId) -> Result<Self, FileError> {
        fs::create_dir_all(&root).at(&root)?;
        if fs::read_dir(&root).at(&root)?.next().is_some() {
            let occupied = io::Error::new(
                io::ErrorKind::DirectoryNotEmpty,
                "a cluster needs an empty folder",
            );
            return Err(occupied).at(&root);
        }
        let marker = root.join(MARKER);
        fs::write(&marker, run.as_str()).at(&marker)?;
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn node(&self, name: &NodeName) -> NodeFolder {
        NodeFolder {
            root: self.root.join("nodes").join(name.as_str()),
        }
    }

    /// Where saved data is, a folder a label.
    pub(crate) fn copies(&self) -> PathBuf {
        self.root.join("copies")
    }
}

/// Lets go of a folder that could not be made ours. Gives whether it is not: one with our mark belongs to another cluster of the run.
pub(crate) fn disown(root: &Path, run: &RunId) -> bool {
    let is_ours = fs::read_to_string(root.join(MARKER)).is_ok_and(|owner| owner == run.as_str());
    if !is_ours {
        // Only when it is empty, so that nothing of anybody else is lost.
        let _ = fs::remove_dir(root);
    }
    !is_ours
}

/// Removes the folder `root` of `run`; gives whether there was one.
///
/// # Errors
/// A folder that has no mark of this run is left alone.
pub(crate) fn remove_marked(root: &Path, run: &RunId) -> Result<bool, FileError> {
    if !root.try_exists().at(root)? {
        return Ok(false);
    }
    match fs::read_to_string(root.join(MARKER)) {
        Ok(owner) if owner == run.as_str() => remove_folder(root)?,
        // Created, and not marked yet when the harness was killed.
        _ if fs::read_dir(root).at(root)?.next().is_none() => fs::remove_dir(root).at(root)?,
        _ => {
            let foreign = io::Error::other(format!(
                "it has no {MARKER} file of run {run}, so it is kept"
            ));
            return Err(foreign).at(root);
        }
    }
    Ok(true)
}

/// The folder of one node. It is the node's working directory and its home.
#[derive(Debug, Clone)]
pub(crate) struct NodeFolder {
    root: PathBuf,
}

impl NodeFolder {
    pub(crate) fn create(&self) -> Result<(), FileError> {
        fs::create_dir_all(&self.root).at(&self.root)?;
        for folder in [self.config(), self.data(), self.logs(), self.tmp()] {
            match fs::create_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other.at(&folder)?,
            }
        }
        Ok(())
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.root.join("config")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Standard output and error of all starts, in the order in which they were written.
    pub(crate) fn log_file(&self) -> PathBuf {
        self.logs().join("node.log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_folder_with_the_mark_of_the_run_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let (ours, other): (RunId, RunId) = ("run-1".parse().unwrap(), "run-2".parse().unwrap());
        let root = home.path().join("cluster");
        ClusterFolder::create(root.clone(), &ours).unwrap();
        let refused = remove_marked(&root, &other).unwrap_err();
        assert!(
            refused
                .in_words()
                .contains("no .trellis-run file of run run-2")
        );
        assert!(root.exists());
        assert!(remove_marked(&root, &ours).unwrap());
        assert!(!remove_marked(&root, &ours).unwrap());
    }

    #[test]
    fn a_folder_with_something_in_it_is_not_taken() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("thesis"), "").unwrap();
        let run = "run-1".parse().unwrap();
        ClusterFolder::create(home.path().to_owned(), &run).unwrap_err();
        remove_marked(home.path(), &run).unwrap_err();
        assert!(home.path().join("thesis").exists());
    }

    #[test]
    fn a_folder_that_was_not_marked_yet_is_removed_when_empty() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("cluster");
        fs::create_dir(&root).unwrap();
        assert!(remove_marked(&root, &"run-1".parse().unwrap()).unwrap());
    }
}
