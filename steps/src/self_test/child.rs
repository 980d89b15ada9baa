//! A run of the harness as a child process.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use regex::Regex;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};
use tokio::process::Command;
use trellis_bootstrap::known_runs;
use trellis_domain::Secret;

use crate::{StepError, StepResult, child::ChildProcess};

/// A run of the harness as a child process.
pub(crate) struct HarnessRun {
    process: ChildProcess,
    folder: PathBuf,
}

impl Deref for HarnessRun {
    type Target = ChildProcess;

    fn deref(&self) -> &ChildProcess {
        &self.process
    }
}

impl HarnessRun {
    /// Starts this program on `feature`, with everything it writes below `folder`, and `variables` beside those of this process.
    pub(crate) async fn start(
        folder: &Path,
        feature: &str,
        arguments: &[String],
        variables: &BTreeMap<String, Secret>,
    ) -> StepResult<Self> {
        tokio::fs::create_dir_all(folder).await?;
        let file = folder.join("self.feature");
        tokio::fs::write(&file, feature).await?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("--input")
            .arg(&file)
            .arg("--out")
            .arg(folder.join("out"))
            .arg("--state")
            .arg(folder.join("state"))
            .args(arguments)
            // Its settings are those that the scenario gives it.
            .env_remove("TRELLIS_CONFIG")
            .envs(variables.iter().map(|(name, value)| (name, value.expose())));
        Ok(Self {
            process: ChildProcess::start("the harness", &mut command)?,
            folder: folder.to_owned(),
        })
    }

    /// The folders that it writes into.
    pub(crate) fn folders(&self) -> [PathBuf; 2] {
        [self.folder.join("out"), self.folder.join("state")]
    }

    /// The process ids in the inventories that it printed.
    pub(crate) fn pids(&self) -> BTreeSet<u32> {
        let pid = Regex::new(r"\bpid (\d+)").expect("the expression is a constant");
        pid.captures_iter(&self.output())
            .filter_map(|found| found[1].parse().ok())
            .collect()
    }

    /// Runs `trellis clean` on its state folder.
    pub(crate) async fn clean(&self, command: &Path) -> StepResult<String> {
        let cleaned = Command::new(command)
            .arg("clean")
            .arg("--state")
            .arg(self.folder.join("state"))
            .stdin(Stdio::null())
            .output()
            .await?;
        let text = String::from_utf8_lossy(&cleaned.stdout).into_owned();
        if cleaned.status.success() {
            return Ok(text);
        }
        let errors = String::from_utf8_lossy(&cleaned.stderr);
        Err(StepError::new(format!(
            "trellis clean failed ({}):\n{text}{errors}",
            cleaned.status
        )))
    }

    /// What it owned and is still there, in words: entries of its ledger and node folders.
    pub(crate) fn left(&self) -> StepResult<Vec<String>> {
        let known = known_runs(&self.folder.join("state"))?;
        let mut left: Vec<String> = known
            .live
            .iter()
            .map(|run| format!("live run {run}"))
            .collect();
        for run in &known.abandoned {
            left.push(format!("abandoned run {} with {:?}", run.run(), run.left()));
        }
        clusters(&self.folder.join("out"), &mut left)?;
        Ok(left)
    }

    /// Ends it, politely first.
    pub(crate) async fn end(self) {
        self.process.end().await;
    }
}

/// Kills the process of an instance such as `pid 4711` without telling the harness.
pub(super) fn kill_behind_our_back(instance: &str) -> StepResult {
    let pid = instance
        .strip_prefix("pid ")
        .and_then(|pid| pid.parse().ok())
        .and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| {
        StepError::new(format!(
            "{instance:?} is no process of this machine, so nobody else can kill it"
        ))
    })?;
    Ok(kill_process(pid, Signal::KILL)?)
}

/// Node folders below a run folder.
fn clusters(folder: &Path, left: &mut Vec<String>) -> StepResult {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_symlink() || !path.is_dir() {
            continue;
        }
        if path.file_name().is_some_and(|name| name == "cluster") {
            if std::fs::read_dir(&path)?.next().is_some() {
                left.push(path.display().to_string());
            }
        } else {
            clusters(&path, left)?;
        }
    }
    Ok(())
}

/// Waits until none of these processes exists.
///
/// # Errors
/// Those that still do.
pub(super) async fn gone(pids: &BTreeSet<u32>, within: Duration) -> Result<(), Vec<u32>> {
    let waits = pids.iter().map(|pid| {
        tokio::task::spawn_blocking({
            let pid = *pid;
            move || (pid, has_ended(pid, within))
        })
    });
    let waited = futures::future::join_all(waits).await;
    let left: Vec<u32> = waited
        .into_iter()
        .flatten()
        .filter(|(_, ended)| !ended)
        .map(|(pid, _)| pid)
        .collect();
    if left.is_empty() { Ok(()) } else { Err(left) }
}

/// Blocks until the process has ended, no longer than `within`. A pidfd becomes readable then.
fn has_ended(pid: u32, within: Duration) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let Some(Ok(fd)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) else {
        return true;
    };
    let within = Timespec::try_from(within).ok();
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], within.as_ref()).is_ok_and(|ready| ready > 0)
}
