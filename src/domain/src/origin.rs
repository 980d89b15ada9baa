//! Origin and ownership: where a node came from, and whether it is ours.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where one sighting of a node came from.
///
/// The order is the order of trust in a node's name: the harness names what it starts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// The harness started it.
    Managed {
        /// The deployer that did, such as `local`.
        deployer: String,
    },
    /// It was discovered in a cluster that runs already.
    Attached {
        /// The attach provider and cluster, such as `compose:shop`.
        cluster: String,
    },
    /// The scenario or the configuration names its endpoint.
    External {
        /// Where it is named, such as `features/a.feature:7`.
        listed_in: String,
    },
}

impl Origin {
    /// What a node of this origin is unless the feature says otherwise.
    pub fn usual_ownership(&self) -> Ownership {
        match self {
            Self::Managed { .. } => Ownership::Owned,
            Self::Attached { .. } | Self::External { .. } => Ownership::Borrowed,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Managed { deployer } => write!(f, "managed ({deployer})"),
            Self::Attached { cluster } => write!(f, "attached ({cluster})"),
            Self::External { listed_in } => write!(f, "external ({listed_in})"),
        }
    }
}

/// What we may do to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ownership {
    /// Anything that its backend can.
    Owned,
    /// Query and submit, nothing else, unless the feature opts in by name.
    Borrowed,
}

impl fmt::Display for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Owned => "owned",
            Self::Borrowed => "borrowed",
        })
    }
}
