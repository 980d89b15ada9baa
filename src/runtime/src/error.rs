//! Operation errors: why something could not be done to a node of a running cluster.

use std::fmt;

use thiserror::Error;
use trellis_bootstrap::{BootstrapError, LogTail, ProviderError, in_one_line};
use trellis_domain::{NodeName, Operation, Refusal, UnknownNode};

/// Why an operation was not carried out, or not to the end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OperationError {
    /// No node of that name.
    #[error(transparent)]
    Unknown(#[from] UnknownNode),
    /// It must not or cannot be done to this node.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing that could do it came with the node.
    #[error("cannot {operation} {node}: nothing in this cluster can do that to it")]
    NoOperations {
        /// What was to be done.
        operation: Operation,
        /// The node.
        node: NodeName,
    },
    /// The backend failed at it.
    #[error("could not {operation} {node}{}", Tail(log))]
    Provider {
        /// What was to be done.
        operation: Operation,
        /// The node.
        node: NodeName,
        /// What the node logged last, if that could be read.
        log: Option<LogTail>,
        /// The backend's reason.
        #[source]
        source: Box<ProviderError>,
    },
    /// The node was started but did not become ready, or could not be configured.
    #[error("could not {operation} {node}")]
    Bootstrap {
        /// What was to be done.
        operation: Operation,
        /// The node.
        node: NodeName,
        /// Why.
        #[source]
        source: Box<BootstrapError>,
    },
    /// Several nodes failed at once.
    #[error("{} nodes failed:{}", .0.len(), Lines(.0))]
    Several(Vec<OperationError>),
}

struct Tail<'a>(&'a Option<LogTail>);

impl fmt::Display for Tail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(log) if !log.lines.is_empty() => write!(f, "; it logged:\n{log}"),
            _ => Ok(()),
        }
    }
}

struct Lines<'a>(&'a [OperationError]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|error| write!(f, "\n  {}", in_one_line(error)))
    }
}
