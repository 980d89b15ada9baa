//! `trellis status`: how the clusters are that were started by hand.

use std::{path::Path, time::Duration};

use clap::Args;
use serde_json::{Value, json};
use trellis_manual::{
    ClientError, ClusterClient, ClusterName, ClusterStatus, Phase, Supervision, asked_by,
    known_clusters,
};

use super::{StateArguments, exit::Failure, up::block_on};

/// Shows the clusters that are up, with their nodes and the last log lines of those that ended by themselves.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The cluster [default: all of them]
    #[arg(short, long, value_name = "NAME")]
    cluster: Option<ClusterName>,
    /// Writes JSON, a list with one object a cluster.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(place: &StateArguments, said: &Arguments) -> Result<(), Failure> {
    let state = place.state()?;
    let shown = match &said.cluster {
        Some(name) => vec![Shown::Up(block_on(status(&state, name))??)],
        None => block_on(all(&state))??,
    };
    if said.json {
        let list: Vec<Value> = shown.iter().map(Shown::json).collect();
        let text = serde_json::to_string_pretty(&list);
        println!("{}", text.map_err(|error| Failure::because_of(&error))?);
    } else if shown.is_empty() {
        println!("no cluster is up; start one with `trellis up SPEC`");
    } else {
        let texts: Vec<String> = shown.iter().map(Shown::text).collect();
        println!("{}", texts.join("\n\n"));
    }
    Ok(())
}

/// What is known of a cluster.
enum Shown {
    Up(ClusterStatus),
    /// Its supervisor cannot say how it is.
    Silent(ClusterName, String),
}

async fn status(state: &Path, name: &ClusterName) -> Result<ClusterStatus, ClientError> {
    let client = ClusterClient::find(state, name, &asked_by("trellis"))?;
    client.status().await
}

/// All clusters. One that cannot be asked hides no other.
async fn all(state: &Path) -> Result<Vec<Shown>, ClientError> {
    let mut shown = Vec::new();
    for (name, supervision) in known_clusters(state)? {
        if supervision == Supervision::Absent {
            continue;
        }
        shown.push(match status(state, &name).await {
            Ok(status) => Shown::Up(status),
            Err(error) => Shown::Silent(name, trellis_bootstrap::in_one_line(&error)),
        });
    }
    Ok(shown)
}

impl Shown {
    fn json(&self) -> Value {
        match self {
            Self::Up(status) => {
                let mut value = json!(status);
                // For people, and made of the rest.
                if let Some(fields) = value.as_object_mut() {
                    fields.remove("table");
                }
                value
            }
            Self::Silent(name, why) => json!({ "name": name, "phase": "unknown", "why": why }),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Up(status) => text(status),
            Self::Silent(name, why) => format!("{name}: {why}"),
        }
    }
}

fn text(status: &ClusterStatus) -> String {
    let phase = match status.phase {
        Phase::Starting => "is being brought up",
        Phase::Running => "is up",
        Phase::Ending => "is being ended",
    };
    let up_for = humantime::format_duration(Duration::from_secs(status.up_for_seconds));
    let mut text = format!(
        "{} {phase} ({} from {}, for {up_for}, kept by pid {})",
        status.name, status.app, status.spec, status.supervisor.pid
    );
    if !status.table.is_empty() {
        text = format!("{text}\n{}", status.table);
    }
    for node in status.nodes.iter().filter(|node| !node.log.is_empty()) {
        let lines: Vec<String> = node.log.iter().map(|line| format!("  | {line}")).collect();
        text = format!("{text}\n{} logged last:\n{}", node.name, lines.join("\n"));
    }
    text
}
