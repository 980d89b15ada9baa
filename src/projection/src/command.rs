//! The command: runs a node, looks into its store, and mends what does not go on by itself.
//!
//! One room for each subcommand, with its arguments and its output; what they do is elsewhere in the library.
//! Here is what they share: which there are, how errors are shown, and exit codes.

mod accept;
mod check;
mod fleet;
mod healthcheck;
mod log;
mod node;
mod quarantine;
mod query;
mod rebuild;
mod remote;
mod run;
mod seat;
mod shards;
mod status;
mod verify;

use std::{
    error::Error,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use node::{Node, Place};

use crate::{settings::LogFormat, shards::ShardId};

/// Folds events of a JetStream stream into durable views.
#[derive(Parser)]
#[command(name = "projection", version)]
struct Arguments {
    /// The settings, as .yaml, .toml or .json; variables win over them.
    #[arg(long, env = "PROJECTION_SETTINGS", global = true)]
    settings: Option<PathBuf>,
    /// The shard whose store is meant, where there are several.
    #[arg(long, global = true)]
    shard: Option<ShardId>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the node until it is told to stop.
    Run,
    /// Check settings and manifest, and start nothing.
    Check,
    /// Say what can be set, and by which variables.
    Settings,
    Shards(shards::Shards),
    Status(status::Status),
    Healthcheck(healthcheck::Healthcheck),
    Quarantine(quarantine::Quarantine),
    Query(query::Query),
    Rebuild(rebuild::Rebuild),
    Cutover(rebuild::Cutover),
    Rollback(rebuild::Rollback),
    Retire(rebuild::Retire),
    Verify(verify::Verify),
    AcceptGap(accept::AcceptGap),
    AcceptProgram(accept::AcceptProgram),
}

/// What a subcommand comes to.
type Outcome = Result<ExitCode, Box<dyn Error>>;

/// Does what the arguments of the process say.
pub async fn main() -> ExitCode {
    match Box::pin(run(Arguments::parse())).await {
        Ok(code) => code,
        Err(error) => {
            warn(&*error);
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Outcome {
    let place = Place {
        file: arguments.settings.as_deref(),
        shard: arguments.shard,
    };
    if let Command::Run = arguments.command {
        let node = Node::load(place)?;
        log::begin(node.settings.log_format, log::OF_NODE);
        return run::run(node).await;
    }
    log::begin(LogFormat::Text, log::OF_COMMAND);
    match arguments.command {
        Command::Run => unreachable!("it was done above"),
        Command::Check => check::check(&Node::load(place)?),
        Command::Settings => check::settings(),
        Command::Shards(command) => command.run(&Node::load(place)?).await,
        Command::Status(command) => command.run(place).await,
        Command::Healthcheck(command) => command.run(|| node::settings(place.file)).await,
        Command::Quarantine(command) => command.run(&Node::of_shard(place)?).await,
        Command::Query(command) => command.run(place).await,
        Command::Rebuild(command) => command.run(place).await,
        Command::Cutover(command) => command.run(place).await,
        Command::Rollback(command) => command.run(place).await,
        Command::Retire(command) => command.run(place).await,
        Command::Verify(command) => command.run(place).await,
        Command::AcceptGap(command) => command.run(&Node::of_shard(place)?).await,
        Command::AcceptProgram(command) => command.run(&Node::of_shard(place)?),
    }
}

/// Says what went wrong.
fn warn(error: &dyn Error) {
    let _ = writeln!(io::stderr(), "projection: {}", with_causes(error));
}

/// An error with what caused it, in one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}

/// Writes a line of the answer.
fn say(text: &str) -> Outcome {
    writeln!(io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        stream::BlockedReason,
        types::{ViewTable, ViewType},
    };

    /// One of each, the next one after the one that is given: a new reason does not compile without a place here.
    fn after(reason: Option<&BlockedReason>) -> Option<BlockedReason> {
        let Some(reason) = reason else {
            return Some(BlockedReason::Format { found: 1 });
        };
        Some(match reason {
            BlockedReason::Format { .. } => BlockedReason::StreamRecreated,
            BlockedReason::StreamRecreated => {
                BlockedReason::FloorBeyondStream { floor: 9, last: 1 }
            }
            BlockedReason::FloorBeyondStream { .. } => {
                BlockedReason::FloorMessageChanged { floor: 9 }
            }
            BlockedReason::FloorMessageChanged { .. } => {
                BlockedReason::HistoryGone { floor: 1, first: 9 }
            }
            BlockedReason::HistoryGone { .. } => BlockedReason::FilterChanged,
            BlockedReason::FilterChanged => BlockedReason::ProgramChanged,
            BlockedReason::ProgramChanged => BlockedReason::ShardsChanged {
                found: None,
                expected: None,
            },
            BlockedReason::ShardsChanged { .. } => BlockedReason::Unsafe {
                because: String::new(),
            },
            BlockedReason::Unsafe { .. } => BlockedReason::Poison {
                sequence: 9,
                reason: String::new(),
            },
            BlockedReason::Poison { .. } => BlockedReason::TooManyParked { keys: 9, events: 9 },
            BlockedReason::TooManyParked { .. } => BlockedReason::FloorMoved,
            BlockedReason::FloorMoved => BlockedReason::Fenced,
            BlockedReason::Fenced => BlockedReason::Storage {
                what: String::new(),
            },
            BlockedReason::Storage { .. } => return None,
        })
    }

    #[test]
    fn each_command_that_is_said_to_mend_something_is_one_that_can_be_said() {
        let table = ViewTable {
            view_type: ViewType::from("account"),
            generation: 1,
        };
        let mut reason = after(None);
        while let Some(found) = reason {
            for shard in [None, Some(3.into())] {
                let commands = found.commands(&table, shard);
                let mut said = found.mend_in(&table, shard);
                for command in &commands {
                    let parsed = Arguments::try_parse_from(command.split(' '));
                    if let Err(error) = parsed {
                        panic!("{found:?}: {command}: {error}");
                    }
                    assert!(
                        said.contains(command),
                        "{found:?}: {command} is not in {said}"
                    );
                    said = said.replacen(command, "", 1);
                }
                assert!(!said.contains("projection "), "{found:?}: {said}");
            }
            reason = after(Some(&found));
        }
    }
}
