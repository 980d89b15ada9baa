//! `status`: how far each projection is, and what mends those that do not go on.

use std::{error::Error, process::ExitCode};

use clap::Args;
use serde_json::{Value, json};

use super::{Outcome, node::Node, say};
use crate::{
    pipeline::ShardOptions,
    stream::{EventSource, JetStreamSource},
};

/// Show how far each projection is, and what mends those that do not go on.
#[derive(Args)]
pub(super) struct Status {
    /// As one JSON document.
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) async fn run(self, node: &Node) -> Outcome {
        let all = of_store(node).await?;
        if self.json {
            return say(&serde_json::to_string_pretty(&all)?);
        }
        for entry in &all {
            say(&line(entry))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn of_store(node: &Node) -> Result<Vec<Value>, Box<dyn Error>> {
    let store = node.readable()?;
    let mut source = JetStreamSource::connect(&node.settings).await?;
    let options = ShardOptions::of(&node.settings);
    let mut all = Vec::new();
    for projection in node.manifest.projections() {
        let snapshot = store.snapshot()?;
        let stored = snapshot.checkpoint(&projection.table)?;
        let quarantined = snapshot.records(&projection.table)?.len();
        drop(snapshot);
        let floor = stored.as_ref().map_or(0, |stored| stored.floor);
        let facts = source.facts(floor).await?;
        let blocked = options.examine(projection, &facts, stored.as_ref()).err();
        let mend = blocked
            .as_ref()
            .map(|reason| reason.mend(&projection.table));
        all.push(json!({
            "projection": projection.table.to_string(),
            "floor": floor,
            "stream_last": facts.last,
            "behind": facts.last.saturating_sub(floor),
            "quarantined": quarantined,
            "blocked": blocked.map(|reason| reason.to_string()),
            "mend": mend,
        }));
    }
    Ok(all)
}

fn line(entry: &Value) -> String {
    let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let head = format!(
        "{}: at {} of {}, {} behind, {} in quarantine",
        text("projection"),
        entry["floor"],
        entry["stream_last"],
        entry["behind"],
        entry["quarantined"]
    );
    match entry["blocked"].as_str() {
        None => head,
        Some(reason) => format!("{head}\n  blocked: {reason}\n  mend: {}", text("mend")),
    }
}
