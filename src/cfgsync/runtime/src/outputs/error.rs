//! Errors of outputs: why an artifact has no place to go to.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why an artifact has no place to go to.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OutputError {
    /// Its path is none that could be below a folder.
    #[error("the artifact {path:?} is refused: {problem}")]
    Path {
        /// The artifact.
        path: String,
        /// What is wrong with it.
        problem: PathProblem,
    },
    /// Its route ends at something that is no name of a file.
    #[error("the artifact {path:?} is refused: its route ends at {target:?}, and {problem}")]
    Route {
        /// The artifact.
        path: String,
        /// Where the route ends.
        target: PathBuf,
        /// What is wrong with that.
        problem: PathProblem,
    },
    /// No route maps it, and there is no folder for the rest.
    #[error(
        "the artifact {path:?} is refused: no route maps it, and there is no folder for artifacts without a route"
    )]
    Unrouted {
        /// The artifact.
        path: String,
    },
    /// Two routes map it.
    #[error(
        "the artifact {path:?} is refused: one route maps it to {target:?}, another to {other:?}"
    )]
    TwoRoutes {
        /// The artifact.
        path: String,
        /// Where the first one ends.
        target: PathBuf,
        /// Where the other one ends.
        other: PathBuf,
    },
    /// A link is in its way, or in its place.
    #[error(
        "the artifact {path:?} is refused: {link:?} is a link, and files are not written over links; remove it, or route the artifact to where it leads"
    )]
    Link {
        /// The artifact.
        path: String,
        /// The link.
        link: PathBuf,
    },
    /// A file is where a folder has to be.
    #[error("the artifact {path:?} is refused: {file:?} is not a folder")]
    NotAFolder {
        /// The artifact.
        path: String,
        /// The file.
        file: PathBuf,
    },
    /// Its place is taken by something that is no regular file.
    #[error(
        "the artifact {path:?} is refused: {target:?} is {kind}, and is not replaced by a file"
    )]
    Occupied {
        /// The artifact.
        path: String,
        /// Its place.
        target: PathBuf,
        /// What is there.
        kind: &'static str,
    },
    /// Another artifact has the same place.
    #[error("the artifact {path:?} is refused: it and {other:?} both belong to {target:?}")]
    Same {
        /// The artifact.
        path: String,
        /// The other one.
        other: String,
        /// Their place.
        target: PathBuf,
    },
    /// Another artifact is a file where this one needs a folder.
    #[error(
        "the artifact {path:?} is refused: it belongs into a folder whose place is that of the file {other:?}"
    )]
    Inside {
        /// The artifact.
        path: String,
        /// The other one.
        other: String,
    },
    /// What is at its place cannot be found out.
    #[error("the artifact {path:?} is refused: {at:?} cannot be looked at")]
    Unreadable {
        /// The artifact.
        path: String,
        /// What was looked at.
        at: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// What is wrong with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PathProblem {
    /// There is nothing in it.
    #[error("an empty path names nothing")]
    Empty,
    /// A NUL byte.
    #[error("a path cannot have a NUL byte in it")]
    Nul,
    /// It starts at the root of the file system.
    #[error("an absolute path is used only where a route maps it by name")]
    Absolute,
    /// A `..`.
    #[error(
        "\"..\" would leave a folder; what belongs elsewhere needs a route that maps it by name"
    )]
    Parent,
    /// It ends as the names of folders do, or is nothing but `.`.
    #[error("that is the name of a folder, and a file has to have one of its own")]
    Folder,
    /// A name that ours have.
    #[error("names that start with \".cfgsync-\" are kept for temporary files")]
    Reserved,
}
