//! A child process: what it prints and how it ends, both awaited and never polled.
//!
//! For features whose subject is a program. Nodes of a cluster are not started here; they are the backend's.

use std::{
    process::Stdio,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use regex::Regex;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    sync::watch,
    time::timeout,
};

use crate::{StepError, StepResult};

/// How long a child may take to end when its scenario is over.
const END_WITHIN: Duration = Duration::from_secs(10);
/// How long what a child printed may take to arrive after its end.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);
/// How many lines of what it printed are shown in a complaint.
const LINES_SHOWN: usize = 60;

/// A program as a child process.
pub(crate) struct ChildProcess {
    /// What it is called in messages: `the harness`.
    what: String,
    pid: Pid,
    output: watch::Receiver<Arc<String>>,
    exit: watch::Receiver<Option<Exit>>,
    begun: Instant,
}

#[derive(Clone, Copy)]
struct Exit {
    code: Option<i32>,
    took: Duration,
}

impl ChildProcess {
    /// Starts `command`, which messages call `what`.
    pub(crate) fn start(what: impl Into<String>, command: &mut Command) -> StepResult<Self> {
        let what = what.into();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            // A Ctrl-C at the terminal is for this run, which ends its children itself.
            .process_group(0)
            .spawn()
            .map_err(|error| {
                let program = command.as_std().get_program().display().to_string();
                StepError::from(error).within(format!("cannot start {what} ({program})"))
            })?;
        let pid = child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        let pid =
            pid.ok_or_else(|| StepError::new(format!("{what} ended before it could be watched")))?;
        let begun = Instant::now();
        let (text, output) = watch::channel(Arc::default());
        let (ended, exit) = watch::channel(None);
        tokio::spawn(follow(child, text, ended, begun));
        Ok(Self {
            what,
            pid,
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
            Err(_) => Err(self.complaint(&format!("{} did not end within {within:?}", self.what))),
        }
    }

    /// Waits until it has printed `text`.
    pub(crate) async fn prints(&self, text: &str, within: Duration) -> StepResult {
        let mut output = self.output.clone();
        let wait = output.wait_for(|output| output.contains(text));
        let what = &self.what;
        match timeout(within, wait).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(self.complaint(&format!("{what} ended without printing {text:?}"))),
            Err(_) => {
                Err(self.complaint(&format!("{what} did not print {text:?} within {within:?}")))
            }
        }
    }

    /// Waits until it has printed something that `pattern` matches, and gives the number in its first group.
    pub(crate) async fn prints_number<T: FromStr>(
        &self,
        pattern: &Regex,
        within: Duration,
    ) -> StepResult<T> {
        let number = |output: &str| pattern.captures(output)?.get(1)?.as_str().parse().ok();
        let mut output = self.output.clone();
        let wait = output.wait_for(|output| number(output).is_some());
        let printed = match timeout(within, wait).await {
            Ok(Ok(output)) => number(&output),
            _ => None,
        };
        printed.ok_or_else(|| {
            let what = &self.what;
            self.complaint(&format!("{what} did not print {pattern} within {within:?}"))
        })
    }

    pub(crate) fn kill(&self) -> StepResult {
        Ok(kill_process(self.pid, Signal::KILL)?)
    }

    pub(crate) fn interrupt(&self) -> StepResult {
        Ok(kill_process(self.pid, Signal::INT)?)
    }

    /// An error that shows the end of what the child printed.
    pub(crate) fn complaint(&self, text: &str) -> StepError {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        let shown = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n  | ");
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
