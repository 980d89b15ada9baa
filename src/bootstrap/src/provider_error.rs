//! Provider errors: what a backend could not do, to which node or file, and why.

use std::{io, path::PathBuf, time::Duration};

use thiserror::Error;
use trellis_domain::{NodeName, Operation};

use crate::{Doing, LedgerError};

/// What a deployer or its node control could not do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// A file or folder could not be used.
    #[error("cannot {doing} {node}: {path} failed", path = path.display())]
    File {
        /// What was being done.
        doing: Doing,
        /// The node.
        node: NodeName,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A program could not be run.
    #[error("cannot launch {node}: {program} did not run; {hint}", program = program.display())]
    Program {
        /// The node.
        node: NodeName,
        /// The program.
        program: PathBuf,
        /// What to try.
        hint: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The system refused something else.
    #[error("cannot {doing} {node}: {detail}")]
    System {
        /// What was being done.
        doing: Doing,
        /// The node.
        node: NodeName,
        /// Which call, on what.
        detail: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// No free port was found.
    #[error("cannot reserve a {endpoint} port for {node}: {detail}")]
    NoPort {
        /// The node.
        node: NodeName,
        /// What the port is for.
        endpoint: String,
        /// Which ports were tried and what to change.
        detail: String,
    },
    /// An artifact that would not be below the configuration folder.
    #[error("cannot configure {node}: artifact {path:?} would leave its configuration folder")]
    PathEscape {
        /// The node.
        node: NodeName,
        /// The refused path.
        path: String,
    },
    /// A node that would not end.
    #[error("{node} ({instance}) is still there {waited:?} after it was killed")]
    StillThere {
        /// The node.
        node: NodeName,
        /// What runs it.
        instance: String,
        /// How long was waited.
        waited: Duration,
    },
    /// A node that did not come to the state that was asked for.
    #[error("cannot {operation} {node}: {detail}")]
    Unfinished {
        /// The node.
        node: NodeName,
        /// What was to be done.
        operation: Operation,
        /// What was seen instead.
        detail: String,
    },
    /// A data copy that does not exist.
    #[error("{source_node} has no data saved as {label:?}; {known}")]
    UnknownCopy {
        /// The node whose copy was wanted.
        source_node: NodeName,
        /// The label.
        label: String,
        /// The copies that there are, in words.
        known: String,
    },
    /// A node that this control does not have, or not in the needed state.
    #[error("cannot {doing} {node}: {detail}")]
    Misplaced {
        /// What was being done.
        doing: Doing,
        /// The node.
        node: NodeName,
        /// What is wrong.
        detail: String,
    },
    /// An operation that this backend does not have.
    #[error("this backend cannot {operation} {node}")]
    Unsupported {
        /// The node.
        node: NodeName,
        /// What was to be done.
        operation: Operation,
    },
    /// What we would own could not be written down, so it was not created.
    #[error("cannot {doing} {node}: what it owns could not be written down first")]
    Ledger {
        /// What was being done.
        doing: Doing,
        /// The node.
        node: NodeName,
        /// The ledger's reason.
        #[source]
        source: LedgerError,
    },
    /// The backend itself cannot be used.
    #[error("the backend {backend} cannot be used: {detail}")]
    Backend {
        /// The backend.
        backend: &'static str,
        /// What is wrong and what to try.
        detail: String,
    },
    /// A teardown that could not remove everything.
    #[error("teardown left something behind: {}; run `trellis clean`", left.join("; "))]
    LeftBehind {
        /// What is left, in words.
        left: Vec<String>,
    },
}
