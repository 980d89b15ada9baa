//! `trellis start`, `stop` and `restart`: what a person has a supervisor do to a node.

use std::collections::BTreeMap;

use clap::Args;
use trellis_domain::NodeName;
use trellis_manual::Action;

use super::{ClusterArguments, StateArguments, exit::Failure, up::block_on};

/// Starts a node that is down again, on its data, and waits until it is ready.
#[derive(Debug, Args)]
pub(crate) struct StartArguments {
    /// The node.
    node: NodeName,
    #[command(flatten)]
    which: ClusterArguments,
}

/// Stops a node; it stays in the cluster and can be started again.
#[derive(Debug, Args)]
pub(crate) struct StopArguments {
    /// The node.
    node: NodeName,
    #[command(flatten)]
    which: ClusterArguments,
    /// Ends it without asking it first.
    #[arg(long)]
    kill: bool,
}

/// Stops a node if it runs, starts it on the same data, and waits until it is ready.
#[derive(Debug, Args)]
pub(crate) struct RestartArguments {
    /// The node.
    node: NodeName,
    #[command(flatten)]
    which: ClusterArguments,
    /// A change to its configuration, which stays: a dotted path and a YAML value. May be given several times.
    #[arg(long, value_name = "PATH=VALUE", value_parser = change)]
    with: Vec<(String, String)>,
}

fn change(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((path, value)) if !path.is_empty() => Ok((path.to_owned(), value.to_owned())),
        _ => Err("give a path and a value, such as raft.heartbeat_ms=50".to_owned()),
    }
}

pub(crate) fn start(place: &StateArguments, said: &StartArguments) -> Result<(), Failure> {
    act(place, &said.which, &said.node, Action::Start)
}

pub(crate) fn stop(place: &StateArguments, said: &StopArguments) -> Result<(), Failure> {
    let action = if said.kill {
        Action::Kill
    } else {
        Action::Stop
    };
    act(place, &said.which, &said.node, action)
}

pub(crate) fn restart(place: &StateArguments, said: RestartArguments) -> Result<(), Failure> {
    let with: BTreeMap<String, String> = said.with.into_iter().collect();
    act(place, &said.which, &said.node, Action::Restart { with })
}

fn act(
    place: &StateArguments,
    which: &ClusterArguments,
    node: &NodeName,
    action: Action,
) -> Result<(), Failure> {
    let client = place.client(which)?;
    let done = block_on(client.act(node, action))??;
    println!("{}", done.said);
    Ok(())
}
