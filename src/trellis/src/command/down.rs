//! `trellis down`: ends a cluster that was started by hand, or puts in order what a killed supervisor left of one.

use std::path::Path;

use clap::Args;
use trellis_bootstrap::known_runs;
use trellis_domain::NodeName;
use trellis_manual::{ClientError, ClusterName, Released, SupervisorId, forget_dead};

use super::{ClusterArguments, StateArguments, clean::clean_one, exit::Failure, up::block_on};

/// Ends a cluster: the nodes that it started and everything they kept. Nodes of others are left as they are.
///
/// Where the supervisor of the cluster was killed, it removes what that one left.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    which: ClusterArguments,
}

pub(crate) fn run(place: &StateArguments, said: &Arguments) -> Result<(), Failure> {
    let state = place.state()?;
    let client = match said.which.client(&state) {
        Err(error @ ClientError::Killed { .. }) => return put_in_order(&state, error),
        found => found?,
    };
    let released = block_on(client.down())??;
    println!("{}", told(client.name(), &released));
    match released.left {
        None => Ok(()),
        Some(left) => Err(Failure::could_not(left)),
    }
}

/// What became of a cluster, for people.
pub(crate) fn told(name: &ClusterName, released: &Released) -> String {
    let mut text = format!("{name} is down");
    if !released.ended.is_empty() {
        text = format!("{text}; ended {}", list(&released.ended));
    }
    if !released.untouched.is_empty() {
        text = format!("{text}; left alone {}", list(&released.untouched));
    }
    text
}

fn list(names: &[NodeName]) -> String {
    let names: Vec<&str> = names.iter().map(NodeName::as_str).collect();
    names.join(", ")
}

/// Does for one cluster what `trellis clean` does for all.
fn put_in_order(state: &Path, error: ClientError) -> Result<(), Failure> {
    let ClientError::Killed { name, supervisor } = error else {
        return Err(error.into());
    };
    println!("the supervisor of {name} was killed; removing what it left");
    if let Some(SupervisorId { run, .. }) = supervisor {
        let known = known_runs(state).map_err(|error| Failure::because_of(&error))?;
        let mut abandoned = known.abandoned.into_iter();
        if let Some(left) = abandoned.find(|abandoned| *abandoned.run() == run) {
            clean_one(left).map_err(Failure::could_not)?;
        }
    }
    forget_dead(state, &name).map_err(|error| Failure::because_of(&error))?;
    println!("{name} is down");
    Ok(())
}
