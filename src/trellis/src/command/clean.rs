//! `trellis clean`: ends and removes what killed runs left.

use std::path::Path;

use clap::Args;
use trellis_bootstrap::{AbandonedRun, in_one_line, known_runs};
use trellis_manual::{Supervision, forget_dead, known_clusters};

use super::{StateArguments, exit::Failure};

/// Ends the processes and removes the folders of runs and clusters that were killed.
///
/// Those that are still alive are left alone, and so is everything that no run of ours wrote down as its own.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Says what would be cleaned, and cleans nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(place: &StateArguments, said: &Arguments) -> Result<(), Failure> {
    let state = place.state()?;
    let known = known_runs(&state).map_err(|error| Failure::because_of(&error))?;
    for run in &known.live {
        println!("{run} is still running and cleans up for itself");
    }
    if known.abandoned.is_empty() {
        println!("nothing to clean in {}", state.display());
    }
    let mut failures = Vec::new();
    for run in known.abandoned {
        if said.dry_run {
            show(&run);
        } else if let Err(failure) = clean_one(run) {
            failures.push(failure);
        }
    }
    if !said.dry_run {
        forget_all_dead(&state)?;
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Failure::could_not(failures.join("\n")))
    }
}

fn show(run: &AbandonedRun) {
    println!("{} left {} things behind:", run.run(), run.left().len());
    for resource in run.left() {
        println!(
            "  {} {} of the {} backend",
            resource.kind, resource.id, resource.backend
        );
    }
}

/// Lets every backend end what the run left, then forgets the run.
pub(crate) fn clean_one(run: AbandonedRun) -> Result<(), String> {
    let name = run.run().clone();
    let report = trellis_local::reap(&run).map_err(|error| in_one_line(&error))?;
    println!("{name}: {report}");
    run.forget().map_err(|error| in_one_line(&error))
}

/// Gives the names of clusters free whose supervisors were killed.
fn forget_all_dead(state: &Path) -> Result<(), Failure> {
    let known = known_clusters(state).map_err(|error| Failure::because_of(&error))?;
    let dead = known
        .iter()
        .filter(|(_, supervision)| matches!(supervision, Supervision::Dead(_)));
    for (name, _) in dead {
        forget_dead(state, name).map_err(|error| Failure::because_of(&error))?;
    }
    Ok(())
}
