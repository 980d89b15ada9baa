//! What can fail in storage, and which of it passes by itself.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::types::ViewTable;

/// Why storage did not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The folder cannot be used.
    #[error("the folder {} cannot be used", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another node works with the folder.
    #[error("the store in {} is owned by a running node; stop it first", folder.display())]
    Owned {
        /// The folder.
        folder: PathBuf,
    },
    /// The disk is full, or failed in the way that a full one does.
    #[error("the disk is full or failing")]
    Disk {
        /// Why.
        #[source]
        source: EngineError,
    },
    /// The store has reached the size that it may have.
    #[error("the store is full; raise storage_bytes_max")]
    Full {
        /// Why.
        #[source]
        source: EngineError,
    },
    /// The store may not be written.
    #[error("the store cannot be written")]
    ReadOnly {
        /// Why.
        #[source]
        source: EngineError,
    },
    /// Anything else that the engine says.
    #[error("the store failed to {operation}")]
    Engine {
        /// What it was doing.
        operation: &'static str,
        /// Why.
        #[source]
        source: EngineError,
    },
    /// The checkpoint is not where the batch begins: somebody else wrote.
    #[error(
        "the checkpoint of {table} stands at {found:?} and not at {expected:?}: another node wrote here"
    )]
    FloorMoved {
        /// Of which views.
        table: ViewTable,
        /// Where the batch begins.
        expected: Option<u64>,
        /// Where the checkpoint is.
        found: Option<u64>,
    },
    /// The shard is another node's by now, or may be.
    #[error("{}", fenced(*epoch, *stored))]
    Fenced {
        /// The owner that would write.
        epoch: u64,
        /// The later one that wrote; `None` where the lease has ended.
        stored: Option<u64>,
    },
    /// Views of it are being exchanged, and what is left of that would go over whatever is written now.
    #[error("views of {table} are being exchanged; wait until that is done")]
    Exchanging {
        /// Of which views.
        table: ViewTable,
    },
    /// Whoever made the change does not want it.
    #[error("the change was refused")]
    Refused,
    /// The store holds what this version cannot read.
    #[error("the store holds a {what} that cannot be read")]
    Undecodable {
        /// What it should be.
        what: &'static str,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
}

fn fenced(epoch: u64, stored: Option<u64>) -> String {
    match stored {
        Some(stored) => {
            format!("owner {epoch} of the shard is not its last one, which is {stored}")
        }
        None => format!("the lease of owner {epoch} has ended"),
    }
}

impl StorageError {
    /// Whether it may pass without anybody changing the node: then it is tried again, and never skipped.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Disk { .. } | Self::Full { .. } | Self::ReadOnly { .. }
        )
    }
}

/// What an engine says about itself.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct EngineError(Box<dyn std::error::Error + Send + Sync>);

impl EngineError {
    pub(crate) fn new(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::boxed(Box::new(source))
    }

    pub(crate) fn boxed(source: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self(source)
    }
}
