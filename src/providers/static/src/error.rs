//! Errors of a listing: what is wrong, with file, line and column. None of them shows a value that could be a secret.

use std::{fmt, io, path::PathBuf};

use thiserror::Error;
use trellis_domain::{EndpointError, NameError, NodeName};

/// Why a listing cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StaticError {
    /// The file cannot be read.
    #[error("the listing {} cannot be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The text is no listing.
    #[error("{place}: {problem}")]
    Malformed {
        /// Where.
        place: ListingPlace,
        /// What is wrong there, and what would be right.
        problem: String,
    },
    /// A text that is no name.
    #[error("{place}: the name cannot be used")]
    Name {
        /// Where.
        place: ListingPlace,
        /// Why.
        #[source]
        source: NameError,
    },
    /// A text that is no address.
    #[error("{place}: the address of {node} cannot be used")]
    Endpoint {
        /// Where.
        place: ListingPlace,
        /// The node.
        node: NodeName,
        /// Why.
        #[source]
        source: EndpointError,
    },
    /// A variable that has nothing in it.
    #[error("{place}: the variable {variable}, which should hold the {what}, is not set")]
    Unset {
        /// Where.
        place: ListingPlace,
        /// The variable.
        variable: String,
        /// Password or token.
        what: &'static str,
    },
    /// A file of a secret that cannot be read.
    #[error("{place}: {}, which should hold the {what}, cannot be read", file.display())]
    UnreadableSecret {
        /// Where.
        place: ListingPlace,
        /// The file.
        file: PathBuf,
        /// Password or token.
        what: &'static str,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A file of a secret that has nothing in it.
    #[error("{place}: {}, which should hold the {what}, is empty", file.display())]
    EmptySecret {
        /// Where.
        place: ListingPlace,
        /// The file.
        file: PathBuf,
        /// Password or token.
        what: &'static str,
    },
}

/// A place in a listing: `shop.yaml:3:7`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListingPlace {
    /// The file.
    pub file: PathBuf,
    /// Line and column, both from 1, where they are known.
    pub position: Option<(u64, u64)>,
}

impl fmt::Display for ListingPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match self.position {
            Some((line, column)) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}
