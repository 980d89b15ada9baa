//! `trellis history`: the records of runs, and what they say.
//!
//! What is asked and of whom is `trellis_record`'s; here are the call and what people read.

mod tables;
mod times;

use std::path::Path;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};
use trellis_record::{Condition, Found, History, Record, View, Wanted};

use self::{tables::Shown, times::since_1970};
use super::{StateArguments, exit::Failure, up::block_on};

/// Shows what was put on record by `trellis run --record`, while it goes on and afterwards.
///
/// Without a run it lists the records, the newest first.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The run: its name, the beginning of it, or the name of a cluster for its newest.
    run: Option<String>,
    /// Only this view [default: all that have something to show]
    #[arg(long, value_enum, requires = "run")]
    view: Option<Which>,
    /// Which entries, such as '{"depth": {"gte": 2}}', in the language of queries.
    #[arg(long, value_name = "JSON", requires = "view")]
    filter: Option<String>,
    /// How many entries of a view, the newest or first of them.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Writes JSON: a list of records, or one with its views.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Removes a record.
    Rm {
        /// The run, by its whole name.
        run: String,
    },
}

/// What is on record.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Which {
    /// Who led, and from when to when.
    #[value(name = "leader_history", alias = "leaders")]
    Leaders,
    /// How long each node was up and down.
    #[value(name = "node_uptime", alias = "nodes")]
    Nodes,
    /// Where each node of a chain is.
    #[value(name = "heads")]
    Heads,
    /// Each time that a node left blocks.
    #[value(name = "reorgs")]
    Reorgs,
    /// How far each node is behind.
    #[value(name = "sync_lag", alias = "lag")]
    Lag,
}

impl Which {
    const ALL: [Self; 5] = [
        Self::Leaders,
        Self::Nodes,
        Self::Heads,
        Self::Reorgs,
        Self::Lag,
    ];

    fn view(self) -> View {
        match self {
            Self::Leaders => View::LeaderHistory,
            Self::Nodes => View::NodeUptime,
            Self::Heads => View::Heads,
            Self::Reorgs => View::Reorgs,
            Self::Lag => View::SyncLag,
        }
    }

    /// By which member the newest are found, where there may be very many.
    fn newest_by(self) -> Option<&'static str> {
        match self {
            Self::Leaders => Some("from_ms"),
            Self::Reorgs => Some("at_ms"),
            Self::Nodes | Self::Heads | Self::Lag => None,
        }
    }
}

pub(crate) fn run(place: &StateArguments, said: &Arguments) -> Result<(), Failure> {
    let state = place.state()?;
    match (&said.command, &said.run) {
        (Some(Command::Rm { run }), _) => {
            Record::remove(&state, run)?;
            println!("the record {run} is removed");
            Ok(())
        }
        (None, None) => list(&state, said.json),
        (None, Some(run)) => {
            let record = Record::find(&state, run)?;
            block_on(said.show(record))?
        }
    }
}

/// All records.
fn list(state: &Path, is_json: bool) -> Result<(), Failure> {
    let (records, damaged) = Record::all(state)?;
    for error in &damaged {
        eprintln!("{error}");
    }
    if is_json {
        let all: Vec<Value> = records.iter().map(about).collect();
        let text = serde_json::to_string_pretty(&all);
        println!("{}", text.map_err(|error| Failure::because_of(&error))?);
    } else if records.is_empty() {
        println!("nothing is on record; `trellis run SPEC --record` keeps a record");
    } else {
        println!("{}", tables::records(&records));
    }
    Ok(())
}

fn about(record: &Record) -> Value {
    let mut about = json!(record.about);
    about["condition"] = json!(in_words(record.condition));
    about["folder"] = json!(record.folder());
    about
}

fn in_words(condition: Condition) -> &'static str {
    match condition {
        Condition::Live => "goes on",
        Condition::Ended => "ended",
        Condition::Killed => "killed",
    }
}

impl Arguments {
    async fn show(&self, record: Record) -> Result<(), Failure> {
        let history = History::of(record)?;
        let itself = history.itself().await?.unwrap_or_default();
        let mut shown = Vec::new();
        for which in Which::ALL {
            if self.view.is_none_or(|view| view.view() == which.view()) {
                shown.push((
                    which,
                    history.views(which.view(), &self.wanted(which)?).await?,
                ));
            }
        }
        for (which, found) in &mut shown {
            if which.newest_by().is_some() {
                // The newest were asked for first, and people read downwards.
                found.rows.reverse();
            }
        }
        let record = history.record();
        if self.json {
            return show_json(record, &itself, &shown);
        }
        let until = until(record, &itself);
        println!("{}", tables::heading(record, &itself));
        let only = self.view.is_some();
        for (which, found) in shown
            .iter()
            .filter(|(_, found)| only || !found.rows.is_empty())
        {
            println!("\n{}", which.view().as_str());
            println!("{}", self.text(*which, found, record, until));
        }
        let nothing = shown.iter().all(|(_, found)| found.rows.is_empty());
        if nothing && !only {
            println!("\nnothing was observed yet");
        }
        Ok(())
    }

    fn wanted(&self, which: Which) -> Result<Wanted, Failure> {
        let filter = self.filter.as_deref().map(serde_json::from_str);
        let filter = filter.transpose();
        Ok(Wanted {
            filter: filter
                .map_err(|error| Failure::wrong(format!("--filter is no JSON: {error}")))?,
            sort: which.newest_by().map(|member| (member, true)),
            limit: self.limit as usize,
        })
    }

    fn text(&self, which: Which, found: &Found, record: &Record, until: u64) -> String {
        if found.rows.is_empty() {
            return self.why_nothing(which, record);
        }
        let shown = Shown {
            rows: &found.rows,
            until,
        };
        let mut text = match which {
            Which::Leaders => shown.leaders(),
            Which::Nodes => shown.nodes(),
            Which::Heads => shown.heads(),
            Which::Reorgs => shown.reorgs(),
            Which::Lag => shown.lags(),
        };
        if found.more {
            text.push_str("\nthere are more; --limit shows them");
        }
        text
    }

    /// Why a view has nothing to show.
    fn why_nothing(&self, which: Which, record: &Record) -> String {
        let about = &record.about;
        if self.filter.is_some() {
            return "no entry satisfies the filter".to_owned();
        }
        if let Which::Nodes = which {
            return "no node was seen: the record ended before the cluster was up".to_owned();
        }
        if about.observed.is_empty() {
            return format!(
                "only nodes were observed: the trellis that kept the record knew no observer of {}",
                about.app
            );
        }
        format!(
            "nothing of that kind was seen; beside the nodes, what was observed of {} is: {}",
            about.app,
            about.observed.join(", ")
        )
    }
}

fn show_json(record: &Record, itself: &Value, shown: &[(Which, Found)]) -> Result<(), Failure> {
    let views = shown.iter().map(|(which, found)| {
        let rows = found.rows.iter().map(|row| {
            let mut view = row.view.value();
            view["id"] = json!(row.id);
            view
        });
        (which.view().as_str().to_owned(), rows.collect::<Value>())
    });
    let mut whole = about(record);
    whole["until_ms"] = json!(until(record, itself));
    whole["gaps"] = itself.get("gaps").cloned().unwrap_or_default();
    whole["views"] = Value::Object(views.collect::<Map<_, _>>());
    let text = serde_json::to_string_pretty(&whole);
    println!("{}", text.map_err(|error| Failure::because_of(&error))?);
    Ok(())
}

/// Until when the record knows what was: now, its end, or its last sign of life.
fn until(record: &Record, itself: &Value) -> u64 {
    let seen = || itself["seen_ms"].as_u64();
    let until = match record.condition {
        Condition::Live => Some(since_1970()),
        Condition::Ended => itself["ended_ms"].as_u64().or_else(seen),
        Condition::Killed => seen(),
    };
    until.unwrap_or(record.about.begun_ms)
}
