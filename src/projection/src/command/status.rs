//! `status`: how far each projection is, and what mends those that do not go on.

use std::{error::Error, process::ExitCode, time::Duration};

use clap::Args;
use futures::future::join_all;
use reqwest::Method;
use serde_json::json;

use super::{
    Outcome,
    fleet::{Fleet, Unanswered},
    healthcheck,
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
    /// Ask the node that answers there about itself. Without it, all owners are asked where nodes share shards; else the stores are looked into.
    #[arg(long)]
    url: Option<String>,
    /// How long to wait for somebody who answers for a shard.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    patience: Duration,
    /// As one JSON document.
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) async fn run(self, place: Place<'_>) -> Outcome {
        let Some(url) = &self.url else {
            let node = Node::load(place)?;
            if node.settings.leases.is_some() {
                return self.of_fleet(&node, place).await;
            }
            let projections = of_stores(place).await?;
            if self.json {
                let all = json!({"state": "store", "projections": projections});
                return say(&serde_json::to_string_pretty(&all)?);
            }
            return table(&projections);
        };
        let remote = Remote::at(url, None, ANSWERS_WITHIN)?;
        let report: Report = remote.get(Method::GET, "/status").await?;
        if self.json {
            return say(&serde_json::to_string_pretty(&report)?);
        }
        of_node(&report)
    }

    /// Of each shard, as its owner says.
    async fn of_fleet(&self, node: &Node, place: Place<'_>) -> Outcome {
        let fleet = Fleet::find(node, None, self.patience).await?;
        let shards: Vec<_> = match place.shard {
            Some(_) => vec![Node::of_shard(place)?.share.shard],
            None => node.settings.layout()?.ids().collect(),
        };
        let asking = shards
            .iter()
            .map(|shard| fleet.ask::<Report>(*shard, Method::GET, "/status", None));
        let (mut projections, mut rebuilds, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for (shard, answer) in shards.iter().zip(join_all(asking).await) {
            match answer {
                Ok(report) => {
                    let of_shard = report.projections.into_iter();
                    projections.extend(of_shard.map(|state| ProjectionReport {
                        shard: Some(*shard),
                        ..state
                    }));
                    rebuilds.extend(report.rebuilds.into_iter().map(|one| (*shard, one)));
                }
                Err(
                    Unanswered::Away(why) | Unanswered::Unreached(why) | Unanswered::Refused(why),
                ) => failed.push((*shard, why)),
            }
        }
        if self.json {
            let rebuilds: Vec<_> = rebuilds
                .iter()
                .map(|(shard, one)| json!({"shard": shard, "rebuild": one}))
                .collect();
            let failed: Vec<_> = failed
                .iter()
                .map(|(shard, why)| json!({"shard": shard, "why": why}))
                .collect();
            say(&serde_json::to_string_pretty(&json!({
                "state": "fleet",
                "projections": projections,
                "rebuilds": rebuilds,
                "failed": failed,
            }))?)?;
        } else {
            table(&projections)?;
            for (shard, one) in &rebuilds {
                say(&format!("shard {shard}: {one}"))?;
            }
            for (shard, why) in &failed {
                say(&format!(
                    "shard {shard}: nobody says how it is: {why}\n  mend: start a node, or wait until its lease has run out (projection shards)"
                ))?;
            }
        }
        if failed.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        Err(format!("{} of {} shards do not answer", failed.len(), shards.len()).into())
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
            mend: blocked
                .as_ref()
                .map(|reason| reason.mend_in(table, node.share.mark().map(|mark| mark.shard))),
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
