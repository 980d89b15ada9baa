//! Errors: why a cluster could not be started by hand, or not be reached. Each is one line with what to try.

use std::path::PathBuf;

use thiserror::Error;
use trellis_bootstrap::{BootstrapError, LedgerError};

use crate::{ClusterName, PlaceError, SupervisorId, WireError};

/// Why `trellis up` did not bring a cluster up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UpError {
    /// One of that name runs.
    #[error(
        "a cluster {name} is up already{}; look at it with `trellis status`, end it with `trellis down --cluster {name}`, or give this one another name with --name",
        by(supervisor.as_ref())
    )]
    AlreadyUp {
        /// The name.
        name: ClusterName,
        /// Who keeps it.
        supervisor: Option<SupervisorId>,
    },
    /// Its folder cannot be used.
    #[error("the cluster has no folder")]
    Place(#[from] PlaceError),
    /// What it will own cannot be written down.
    #[error("what the cluster owns cannot be written down")]
    Ledger(#[from] LedgerError),
    /// It did not come up.
    #[error("{name} did not come up{}", kept_in(kept.as_ref()))]
    Bootstrap {
        /// The name.
        name: ClusterName,
        /// Where logs and configurations of its nodes are.
        kept: Option<PathBuf>,
        /// Why.
        #[source]
        source: Box<BootstrapError>,
    },
    /// A part of the supervisor broke.
    #[error("the supervisor itself failed: {0}")]
    Broken(String),
}

/// Why a cluster that was started by hand could not be asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// There is none of that name.
    #[error("no cluster {name} is up; {}", alternatives(running))]
    NoCluster {
        /// The name.
        name: ClusterName,
        /// The ones that there are.
        running: Vec<ClusterName>,
    },
    /// There is none at all.
    #[error("no cluster is up; start one with `trellis up SPEC`")]
    None,
    /// There are several, and none was named.
    #[error(
        "several clusters are up; say which one with --cluster: {}",
        list(running)
    )]
    Which {
        /// The ones that there are.
        running: Vec<ClusterName>,
    },
    /// Its supervisor was killed.
    #[error(
        "the supervisor of {name}{} was killed; its nodes died with it, and `trellis clean` removes what is left",
        by(supervisor.as_ref())
    )]
    Killed {
        /// The name.
        name: ClusterName,
        /// Who it was.
        supervisor: Option<SupervisorId>,
    },
    /// Its folder cannot be used.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Its supervisor lives and cannot be reached.
    #[error(
        "the supervisor of {name} cannot be reached; it may be beginning or ending just now, so try again"
    )]
    Unreachable {
        /// The name.
        name: ClusterName,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Its supervisor does not answer as it should.
    #[error("the supervisor of {name} did not answer")]
    Wire {
        /// The name.
        name: ClusterName,
        /// Why.
        #[source]
        source: WireError,
    },
    /// Its supervisor says no.
    #[error("{why}")]
    Refused {
        /// Its reason.
        why: String,
    },
    /// Its supervisor answers something else.
    #[error("the supervisor of {name} gave the answer to another question")]
    Confused {
        /// The name.
        name: ClusterName,
    },
}

fn by(supervisor: Option<&SupervisorId>) -> String {
    supervisor.map_or_else(String::new, |supervisor| {
        format!(" (pid {})", supervisor.pid)
    })
}

fn kept_in(kept: Option<&PathBuf>) -> String {
    kept.map_or_else(String::new, |kept| {
        format!(
            " (logs and configurations of its nodes are in {})",
            kept.display()
        )
    })
}

fn alternatives(running: &[ClusterName]) -> String {
    if running.is_empty() {
        "start one with `trellis up SPEC`".to_owned()
    } else {
        format!("those that are: {}", list(running))
    }
}

fn list(names: &[ClusterName]) -> String {
    let names: Vec<&str> = names.iter().map(ClusterName::as_str).collect();
    names.join(", ")
}
