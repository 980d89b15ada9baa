//! Bootstrap errors: why a scenario has no cluster.

use std::{fmt, time::Duration};

use thiserror::Error;
use trellis_domain::{
    EndpointError, InventoryError, MergeError, NodeName, ReadinessPolicy, Refusal, SourcesError,
    UnknownNode,
};

use crate::{
    AttachError, DynError, ExitReport, Missing, NodeReadiness, PatchError, ProviderError,
    ValidationError,
};

/// Why a cluster could not be brought up. What had been started is removed again by the time it is returned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BootstrapError {
    /// The sources are not valid.
    #[error("the scenario's sources are not valid")]
    Sources(#[from] SourcesError),
    /// An attach provider that the composition root does not have.
    #[error("nothing can attach to {attach}: there is no such attach provider; {hint}")]
    NoAttachProvider {
        /// Provider and cluster.
        attach: String,
        /// The providers that there are.
        hint: String,
    },
    /// The attach provider could not look.
    #[error("the nodes of {attach} could not be discovered")]
    Attach {
        /// Provider and cluster.
        attach: String,
        /// The provider's reason.
        #[source]
        source: AttachError,
    },
    /// A cluster without a node.
    #[error("no node was found in {attach}; check that it runs and is called so; {missing}")]
    NothingFound {
        /// Provider and cluster.
        attach: String,
        /// The nodes that should have been there.
        missing: Missing,
    },
    /// A cluster without enough nodes.
    #[error(
        "{policy} cannot be met with the {} found in {attach}; {missing}",
        count(*found)
    )]
    TooFewFound {
        /// Provider and cluster.
        attach: String,
        /// The policy.
        policy: ReadinessPolicy,
        /// How many nodes were found.
        found: usize,
        /// The nodes that should have been there.
        missing: Missing,
    },
    /// A node of ours for a cluster of others alone.
    #[error("{node} cannot be started: the cluster has no nodes of ours; begin it with one")]
    NoFleet {
        /// The node.
        node: NodeName,
    },
    /// Something that a node was to begin with may not be done to it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The backend could not do its part.
    #[error("the backend could not provide the managed nodes")]
    Provider(#[from] ProviderError),
    /// The application could not make a node's files.
    #[error("the application {app} could not make the files of {node}")]
    Artifacts {
        /// The application.
        app: String,
        /// The node.
        node: NodeName,
        /// The application's reason.
        #[source]
        source: DynError,
    },
    /// Config delivery cannot be used at all.
    #[error("the delivery of configurations could not begin")]
    NoDelivery {
        /// Why.
        #[source]
        source: DynError,
    },
    /// A node's files did not get to it.
    #[error("the configuration of {node} was not delivered")]
    Delivery {
        /// The node.
        node: NodeName,
        /// Why, with what kept the files from being made.
        #[source]
        source: DynError,
    },
    /// A configuration override does not fit.
    #[error("the configuration override of {node} does not fit")]
    Patch {
        /// The node.
        node: NodeName,
        /// What does not fit.
        #[source]
        source: PatchError,
    },
    /// The backend gave a node an address that cannot be used.
    #[error("the address of {node} cannot be used")]
    Address {
        /// The node.
        node: NodeName,
        /// What is wrong with it.
        #[source]
        source: EndpointError,
    },
    /// The sightings of nodes contradict each other.
    #[error("the nodes cannot be merged into one inventory")]
    Merge(#[from] MergeError),
    /// A node that a later step names is not there.
    #[error("the inventory lacks a node")]
    Unknown(#[from] UnknownNode),
    /// A node ended before it was ready.
    #[error("{node} ended before it was ready: {report}")]
    Exited {
        /// The node.
        node: NodeName,
        /// How, and what it logged last.
        report: Box<ExitReport>,
    },
    /// Too few nodes became ready.
    #[error("not ready within {within:?} ({policy}):{}", Lines(nodes))]
    NotReady {
        /// The policy.
        policy: ReadinessPolicy,
        /// The deadline.
        within: Duration,
        /// Every node, as it was seen last.
        nodes: Vec<NodeReadiness>,
    },
    /// The policy cannot be met by waiting.
    #[error("{policy} cannot be met with {}:{}", count(nodes.len()), Lines(nodes))]
    NeverReady {
        /// The policy.
        policy: ReadinessPolicy,
        /// Every node there is.
        nodes: Vec<NodeReadiness>,
    },
    /// A ready node would not say who it is.
    #[error("{node} is ready but could not be identified")]
    Identify {
        /// The node.
        node: NodeName,
        /// The application's reason.
        #[source]
        source: DynError,
    },
    /// The scenario wants what must not or cannot be done.
    #[error("preflight refused the scenario")]
    Preflight(#[from] ValidationError),
    /// Somebody ended the run.
    #[error("interrupted while {0}")]
    Cancelled(&'static str),
}

/// An error and its causes, for places where there is room for one line.
pub fn in_one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl From<InventoryError> for BootstrapError {
    fn from(error: InventoryError) -> Self {
        match error {
            InventoryError::Merge(error) => error.into(),
            InventoryError::Unknown(error) => error.into(),
            _ => unreachable!("the inventory's errors are the two above"),
        }
    }
}

fn count(nodes: usize) -> String {
    match nodes {
        0 => "no nodes at all".to_owned(),
        1 => "1 node".to_owned(),
        n => format!("{n} nodes"),
    }
}

struct Lines<'a>(&'a [NodeReadiness]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|node| write!(f, "\n{node}"))
    }
}
