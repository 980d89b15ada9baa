//! Errors of writing: what failed for which file, and what to try.

use std::{fmt, io, path::PathBuf};

use thiserror::Error;

use crate::OutputError;

/// Why artifacts were not written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// One of them has no place to go to; nothing was touched.
    #[error(transparent)]
    Refused(#[from] OutputError),
    /// The disk refused; everything is as it was.
    #[error(
        "the artifact {path:?} was not written to {target:?}, and none of the set was: {doing} failed{}",
        Hint(.source)
    )]
    Failed {
        /// The artifact.
        path: String,
        /// Its place.
        target: PathBuf,
        /// What failed.
        doing: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The disk refused, and then refused to put back what had been written.
    #[error("artifacts were written in part; {} could not be put back: {}", .left.len(), List(.left))]
    NotPutBack {
        /// What could not be put back.
        left: Vec<NotPutBack>,
        /// Why the set was not written.
        source: Box<WriteError>,
    },
}

/// A file that is not as it was before.
#[derive(Debug)]
#[non_exhaustive]
pub struct NotPutBack {
    /// The file.
    pub target: PathBuf,
    /// Where its old version is; none where there was no such file.
    pub old: Option<PathBuf>,
    /// Why it was not put back.
    pub cause: io::Error,
}

struct List<'a>(&'a [NotPutBack]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, left) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{} ({}", left.target.display(), left.cause)?;
            match &left.old {
                Some(old) => write!(f, "; its old version is {})", old.display())?,
                None => f.write_str("; there was none before)")?,
            }
        }
        Ok(())
    }
}

/// What to try, where the cause tells.
struct Hint<'a>(&'a io::Error);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = match self.0.kind() {
            io::ErrorKind::StorageFull => {
                "free space on that file system, or inodes (df -h, df -i)"
            }
            io::ErrorKind::QuotaExceeded => "free space in the quota of this user",
            io::ErrorKind::ReadOnlyFilesystem => {
                "mount that file system for writing, or send the files to a folder on another one"
            }
            io::ErrorKind::PermissionDenied => "let the user of this process write to that folder",
            io::ErrorKind::ResourceBusy => {
                "a file that is mounted by itself cannot be replaced; mount its folder instead"
            }
            io::ErrorKind::InvalidFilename => "shorten the name, or route the artifact to another",
            _ => return Ok(()),
        };
        write!(f, "; {hint}")
    }
}
