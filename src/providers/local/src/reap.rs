//! Reap: ends and removes what a harness left that could not clean up.
//!
//! It trusts the ledger for what to look for and the things themselves for whether they are ours: a process by its label, a folder by its mark.

use std::{fmt, path::Path, time::Duration};

use thiserror::Error;
use trellis_bootstrap::{AbandonedRun, Resource};
use trellis_domain::RunId;

use crate::{deployer::BACKEND, folder::remove_marked, label::Label, survivors};

/// How long processes may take to end, all of them together.
const ENDED_WITHIN: Duration = Duration::from_secs(10);

const PROCESSES: &str = "processes";
const FOLDER: &str = "folder";

/// The ledger's entry for all processes of the cluster on `network`.
pub(crate) fn processes_entry(network: &str) -> Resource {
    entry(PROCESSES, network.to_owned())
}

/// The ledger's entry for the folder of a cluster.
pub(crate) fn folder_entry(root: &Path) -> Resource {
    entry(FOLDER, root.display().to_string())
}

fn entry(kind: &str, id: String) -> Resource {
    Resource {
        backend: BACKEND.to_owned(),
        kind: kind.to_owned(),
        id,
    }
}

/// What was ended and removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReapReport {
    /// Processes, in words.
    pub ended: Vec<String>,
    /// Folders.
    pub removed: Vec<String>,
}

impl fmt::Display for ReapReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ended.is_empty() && self.removed.is_empty() {
            return f.write_str("nothing was left");
        }
        let ended = self.ended.iter().map(|what| format!("ended {what}"));
        let removed = self.removed.iter().map(|what| format!("removed {what}"));
        let all: Vec<String> = ended.chain(removed).collect();
        f.write_str(&all.join("\n"))
    }
}

/// A run of which something is still there.
#[derive(Debug, Error)]
#[error("{} of run {run} could not be removed: {}", left.len(), left.join("; "))]
pub struct ReapError {
    /// The run.
    pub run: RunId,
    /// What is left and why, in words.
    pub left: Vec<String>,
    /// What was removed nevertheless.
    pub done: ReapReport,
}

/// Ends every local process of `run` and removes every local folder of it. Other backends' resources are left to them; so is forgetting the run.
///
/// Blocks, for about ten seconds at most. May be called again.
///
/// # Errors
/// What is left, after trying everything.
pub fn reap(run: &AbandonedRun) -> Result<ReapReport, ReapError> {
    let ours = || {
        run.left()
            .iter()
            .filter(|resource| resource.backend == BACKEND)
    };
    let mut done = ReapReport::default();
    let mut left = Vec::new();
    // Processes first: they could write into their folders again.
    if ours().next().is_some() {
        let sweep = survivors::end_all(&Label::run(run.run().clone()), ENDED_WITHIN);
        done.ended = sweep.ended;
        left = sweep.left;
    }
    for resource in ours() {
        match resource.kind.as_str() {
            PROCESSES => {}
            FOLDER => match remove_marked(Path::new(&resource.id), run.run()) {
                Ok(true) => done.removed.push(resource.id.clone()),
                Ok(false) => {}
                Err(error) => left.push(error.in_words()),
            },
            other => left.push(format!(
                "{} is a {other:?}, which this version does not know",
                resource.id
            )),
        }
    }
    if left.is_empty() {
        return Ok(done);
    }
    Err(ReapError {
        run: run.run().clone(),
        left,
        done,
    })
}
