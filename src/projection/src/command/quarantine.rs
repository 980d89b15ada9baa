//! `quarantine`: events that are not in the views, and what is to become of them.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Outcome, node::Node, say};
use crate::{
    admin,
    pipeline::ShardOptions,
    stream::JetStreamSource,
    types::{TenantId, ViewId},
};

/// Look at events that are not in the views, and decide on them.
#[derive(Args)]
pub(super) struct Quarantine {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the events, one a line.
    #[command(visible_alias = "ls")]
    List {
        /// The projection.
        projection: String,
        /// As JSON, one document a line.
        #[arg(long)]
        json: bool,
    },
    /// Show all that is known of an event.
    Show {
        /// The projection.
        projection: String,
        /// Which event.
        sequence: u64,
    },
    /// Fold the events of a view again, in their order.
    Retry {
        /// The projection.
        projection: String,
        /// The view.
        view: String,
        /// Whose view it is.
        #[arg(long, default_value = "")]
        tenant: String,
    },
    /// Go on without an event, for ever.
    Drop {
        /// The projection.
        projection: String,
        /// Which event.
        sequence: u64,
    },
}

impl Quarantine {
    pub(super) async fn run(self, node: &Node) -> Outcome {
        match self.action {
            Action::List { projection, json } => list(node, &projection, json),
            Action::Show {
                projection,
                sequence,
            } => show(node, &projection, sequence),
            Action::Retry {
                projection,
                view,
                tenant,
            } => retry(node, &projection, view.into(), tenant.into()),
            Action::Drop {
                projection,
                sequence,
            } => drop_event(node, &projection, sequence).await,
        }
    }
}

fn list(node: &Node, projection: &str, json: bool) -> Outcome {
    let table = &node.projection(projection)?.table;
    let records = node.readable()?.snapshot()?.records(table)?;
    for (key, record) in records {
        let view = record.view.as_ref().map_or("-", ViewId::as_str);
        say(&if json {
            json!({"sequence": key.sequence, "record": record}).to_string()
        } else {
            format!(
                "{:>10} {:?} {view} {}",
                key.sequence, record.fault, record.reason
            )
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show(node: &Node, projection: &str, sequence: u64) -> Outcome {
    let table = &node.projection(projection)?.table;
    let records = node.readable()?.snapshot()?.records(table)?;
    let found: Vec<_> = records
        .iter()
        .filter(|(key, _)| key.sequence == sequence)
        .collect();
    if found.is_empty() {
        return Err(format!("event {sequence} is not in quarantine").into());
    }
    for (_, record) in found {
        say(&serde_json::to_string_pretty(record)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn retry(node: &Node, projection: &str, view: ViewId, tenant: TenantId) -> Outcome {
    let projection = node.projection(projection)?;
    let retried = admin::retry(&node.owned()?, projection, tenant.as_str(), &view)?;
    say(&format!("{} events are in the view now", retried.applied))?;
    match retried.stuck {
        None => Ok(ExitCode::SUCCESS),
        Some((sequence, reason)) => {
            Err(format!("event {sequence} still cannot be applied: {reason}").into())
        }
    }
}

async fn drop_event(node: &Node, projection: &str, sequence: u64) -> Outcome {
    let projection = node.projection(projection)?;
    let store = node.owned()?;
    let stored = store.snapshot()?.checkpoint(&projection.table)?;
    if stored.is_some_and(|stored| sequence <= stored.floor) {
        admin::drop_record(&store, projection, sequence)?;
    } else {
        let mut source = JetStreamSource::connect(&node.settings).await?;
        let options = ShardOptions::of(&node.settings);
        admin::drop_halted(&store, projection, &options, &mut source, sequence).await?;
    }
    say(&format!(
        "event {sequence} will never be in the views of {}",
        projection.table
    ))
}
