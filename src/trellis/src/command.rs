//! The `trellis` command: what can be done to the leftovers of runs, outside of any run.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use trellis_bootstrap::{AbandonedRun, in_one_line, known_runs};

/// Keeps this machine free of what test runs left behind.
#[derive(Debug, Parser)]
#[command(name = "trellis", about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ends the processes and removes the folders of runs that were killed.
    ///
    /// Runs that are still alive are left alone, and so is everything that no run of ours wrote down as its own.
    Clean {
        /// The folder in which runs write down what they own.
        #[arg(long, env = "TRELLIS_STATE", value_name = "DIR")]
        state: Option<PathBuf>,
        /// Says what would be cleaned, and cleans nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Runs the command with the arguments of this process.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Clean { state, dry_run } => clean(
            &state.unwrap_or_else(trellis_steps::default_state_folder),
            dry_run,
        ),
    }
}

fn clean(state: &std::path::Path, dry_run: bool) -> ExitCode {
    let known = match known_runs(state) {
        Ok(known) => known,
        Err(error) => return fail(&error),
    };
    for run in &known.live {
        println!("{run} is still running and cleans up for itself");
    }
    if known.abandoned.is_empty() {
        println!("nothing to clean in {}", state.display());
    }
    let mut failed = false;
    for run in known.abandoned {
        if dry_run {
            println!("{} left {} things behind:", run.run(), run.left().len());
            for resource in run.left() {
                println!(
                    "  {} {} of the {} backend",
                    resource.kind, resource.id, resource.backend
                );
            }
        } else if let Err(failure) = clean_one(run) {
            failed = true;
            eprintln!("{failure}");
        }
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Lets every backend end what the run left, then forgets the run.
fn clean_one(run: AbandonedRun) -> Result<(), String> {
    let name = run.run().clone();
    let report = trellis_local::reap(&run).map_err(|error| in_one_line(&error))?;
    println!("{name}: {report}");
    run.forget().map_err(|error| in_one_line(&error))
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("{}", in_one_line(error));
    ExitCode::FAILURE
}
