//! A run of the harness as a child process.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use regex::Regex;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    sync::watch,
    time::timeout,
};
use trellis_bootstrap::known_runs;

use crate::{StepError, StepResult};

/// How long a child may take to end when its scenario is over.
const END_WITHIN: Duration = Duration::from_secs(10);
/// How long what a child printed may take to arrive after its end.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// A run of the harness as a child process.
pub(crate) struct HarnessRun {
    pid: Pid,
    folder: PathBuf,
    output: watch::Receiver<Arc<String>>,
    exit: watch::Receiver<Option<Exit>>,
    begun: Instant,
}

#[derive(Clone, Copy)]
struct Exit {
    code: Option<i32>,
    took: Duration,
}

impl HarnessRun {
    /// Starts this program on `feature`, with everything it writes below `folder`.
    pub(crate) async fn start(
        folder: &Path,
        feature: &str,
        arguments: &[String],
    ) -> StepResult<Self> {
        tokio::fs::create_dir_all(folder).await?;
        let file = folder.join("self.feature");
        tokio::fs::write(&file, feature).await?;
        let child = Command::new(std::env::current_exe()?)
            .arg("--input")
            .arg(&file)
            .arg("--out")
            .arg(folder.join("out"))
            .arg("--state")
            .arg(folder.join("state"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            // A Ctrl-C at the terminal is for the outer run, which ends its children itself.
            .process_group(0)
            .spawn()?;
        let pid = child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        let pid =
            pid.ok_or_else(|| StepError::new("the harness ended before it could be watched"))?;
        let begun = Instant::now();
        let (text, output) = watch::channel(Arc::default());
        let (ended, exit) = watch::channel(None);
        tokio::spawn(follow(child, text, ended, begun));
        Ok(Self {
            pid,
            folder: folder.to_owned(),
            output,
            exit,
            begun,
        })
    }

    /// Everything it printed so far, both streams as they came.
    pub(crate) fn output(&self) -> Arc<String> {
        Arc::clone(&self.output.borrow())
    }

    pub(crate) fn last_line(&self) -> String {
        self.output()
            .lines()
            .last()
            .unwrap_or("nothing printed yet")
            .to_owned()
    }

    pub(crate) fn exit_code(&self) -> Option<i32> {
        self.exit.borrow().and_then(|exit| exit.code)
    }

    pub(crate) fn took(&self) -> Duration {
        let exit = *self.exit.borrow();
        exit.map_or_else(|| self.begun.elapsed(), |exit| exit.took)
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&self, within: Duration) -> StepResult {
        let mut exit = self.exit.clone();
        match timeout(within, exit.wait_for(Option::is_some)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(self.complaint(&format!("the harness did not end within {within:?}"))),
        }
    }

    /// Waits until it has printed `text`.
    pub(crate) async fn prints(&self, text: &str, within: Duration) -> StepResult {
        let mut output = self.output.clone();
        let wait = output.wait_for(|output| output.contains(text));
        match timeout(within, wait).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => {
                Err(self.complaint(&format!("the harness ended without printing {text:?}")))
            }
            Err(_) => Err(self.complaint(&format!(
                "the harness did not print {text:?} within {within:?}"
            ))),
        }
    }

    pub(crate) fn kill(&self) -> StepResult {
        Ok(kill_process(self.pid, Signal::KILL)?)
    }

    pub(crate) fn interrupt(&self) -> StepResult {
        Ok(kill_process(self.pid, Signal::INT)?)
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

    /// An error that shows the end of what the child printed.
    pub(crate) fn complaint(&self, text: &str) -> StepError {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        let shown = lines[lines.len().saturating_sub(60)..].join("\n  | ");
        StepError::new(format!("{text}; it printed:\n  | {shown}"))
    }

    /// Ends it, politely first.
    pub(crate) async fn end(self) {
        if self.exit.borrow().is_some() {
            return;
        }
        // A failure means that it is gone already, which is what is wanted.
        let _ = self.interrupt();
        if self.ended(END_WITHIN).await.is_err() {
            let _ = self.kill();
        }
    }
}

/// Follows a child to its end. The output is complete when the exit is published.
async fn follow(
    mut child: Child,
    output: watch::Sender<Arc<String>>,
    ended: watch::Sender<Option<Exit>>,
    begun: Instant,
) {
    let stdout = child.stdout.take().map(|stream| read(stream, &output));
    let stderr = child.stderr.take().map(|stream| read(stream, &output));
    let mut streams = std::pin::pin!(async {
        if let (Some(stdout), Some(stderr)) = (stdout, stderr) {
            futures::join!(stdout, stderr);
        }
    });
    let status = tokio::select! {
        status = child.wait() => {
            // A grandchild that was handed the streams must not keep us.
            let _ = timeout(DRAIN_WITHIN, streams).await;
            status
        }
        () = &mut streams => child.wait().await,
    };
    let code = status.ok().and_then(|status| status.code());
    ended.send_replace(Some(Exit {
        code,
        took: begun.elapsed(),
    }));
}

async fn read(mut stream: impl AsyncRead + Unpin, output: &watch::Sender<Arc<String>>) {
    let mut buffer = vec![0; 8192];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let text = String::from_utf8_lossy(&buffer[..length]);
        output.send_modify(|all| Arc::make_mut(all).push_str(&text));
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
