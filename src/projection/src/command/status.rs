//! `status`: how far each projection is, and what mends those that do not go on.

use std::{error::Error, process::ExitCode, time::Duration};

use clap::Args;
use reqwest::Method;
use serde_json::json;

use super::{
    Outcome, healthcheck,
    node::{Node, Place},
    remote::Remote,
    say, warn,
};
use crate::{
    health::{ProjectionReport, Report},
    pipeline::since,
    stream::{EventSource, JetStreamSource, StreamError},
};

const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Show how far each projection is, and what mends those that do not go on.
#[derive(Args)]
pub(super) struct Status {
    /// Ask the node that answers there, instead of looking into the store.
    #[arg(long)]
    url: Option<String>,
    /// As one JSON document.
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) async fn run(self, place: Place<'_>) -> Outcome {
        let Some(url) = &self.url else {
            let projections = of_stores(place).await?;
            if self.json {
                let all = json!({"state": "store", "projections": projections});
                return say(&serde_json::to_string_pretty(&all)?);
            }
            return table(&projections);
        };
        let remote = Remote::at(url, ANSWERS_WITHIN)?;
        let report: Report = remote.get(Method::GET, "/status").await?;
        if self.json {
            return say(&serde_json::to_string_pretty(&report)?);
        }
        of_node(&report)
    }
}

/// Of the shard that is named, or of all that are stored here.
async fn of_stores(place: Place<'_>) -> Result<Vec<ProjectionReport>, Box<dyn Error>> {
    let node = Node::load(place)?;
    if place.shard.is_some() || node.settings.shards == 1 {
        return of_store(&Node::of_shard(place)?).await;
    }
    let mut all = Vec::new();
    for shard in node.settings.layout()?.ids() {
        let place = Place {
            shard: Some(shard),
            ..place
        };
        let node = Node::of_shard(place)?;
        if node.settings.storage_path.exists() {
            all.extend(of_store(&node).await?);
        }
    }
    Ok(all)
}

/// What the store and the stream say, whether or not a node runs.
async fn of_store(node: &Node) -> Result<Vec<ProjectionReport>, Box<dyn Error>> {
    let store = node.readable()?;
    let mut source = match JetStreamSource::connect(&node.settings).await {
        Ok(source) => Some(source),
        Err(error @ StreamError::Unreachable { .. }) => {
            warn(&error);
            None
        }
        Err(error) => return Err(error.into()),
    };
    let options = node.options();
    let mut all = Vec::new();
    for projection in node.served(&store)? {
        let table = &projection.table;
        let snapshot = store.snapshot()?;
        let stored = snapshot.checkpoint(table)?;
        let (quarantined, oldest) = snapshot.quarantined(table)?;
        drop(snapshot);
        let floor = stored.as_ref().map_or(0, |stored| stored.floor);
        let (mut last, mut blocked) = (floor, None);
        if let Some(of_stream) = &mut source {
            match of_stream.facts(floor).await {
                Ok(facts) => {
                    last = facts.last;
                    blocked = options.examine(&projection, &facts, stored.as_ref()).err();
                }
                // What the store says is worth showing without it.
                Err(error @ StreamError::Missing { .. }) => {
                    warn(&error);
                    source = None;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let behind = last.saturating_sub(floor);
        let published = stored.and_then(|stored| stored.published);
        let age = |published| since(published).as_secs_f64();
        all.push(ProjectionReport {
            projection: table.to_string(),
            shard: node.share.mark().map(|mark| mark.shard),
            floor,
            stream_last: last,
            behind,
            lag_seconds: published.filter(|_| behind > 0).map_or(0.0, age),
            rate: 0.0,
            quarantined,
            quarantine_oldest_s: oldest.map(|record| age(record.published)),
            parked_keys: 0,
            mend: blocked.as_ref().map(|reason| reason.mend(table)),
            blocked: blocked.map(|reason| reason.to_string()),
        });
    }
    Ok(all)
}

fn of_node(report: &Report) -> Outcome {
    let ready = if report.ready { "ready" } else { "not ready" };
    say(&format!(
        "{} since {} s, {ready}, stream {} at {}",
        report.state, report.uptime_s, report.stream, report.stream_last
    ))?;
    for check in report.checks.iter().filter(|check| !check.ok) {
        say(&healthcheck::line(&serde_json::to_value(check)?))?;
    }
    table(&report.projections)?;
    for rebuild in &report.rebuilds {
        say(&rebuild.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(projections: &[ProjectionReport]) -> Outcome {
    let names: Vec<_> = projections.iter().map(ProjectionReport::name).collect();
    let width = names.iter().map(String::len).max();
    let width = width.unwrap_or(0).max("PROJECTION".len());
    say(&format!(
        "{:width$} {:>12} {:>12} {:>10} {:>9} {:>9} {:>10}",
        "PROJECTION", "AT", "OF", "BEHIND", "LAG", "RATE/S", "QUARANTINE"
    ))?;
    for (state, name) in projections.iter().zip(&names) {
        say(&format!(
            "{:width$} {:>12} {:>12} {:>10} {:>8.1}s {:>9.0} {:>10}",
            name,
            state.floor,
            state.stream_last,
            state.behind,
            state.lag_seconds,
            state.rate,
            state.quarantined
        ))?;
        if let Some(reason) = &state.blocked {
            let mend = state.mend.as_deref().unwrap_or_default();
            say(&format!("  blocked: {reason}\n  mend: {mend}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
