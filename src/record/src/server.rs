//! The server of a record: a `nats-server` of our own, on this machine only, with a folder and a port of its own.
//!
//! It is started again when it ends by itself, on the same port and the same files, so that whoever is connected finds it again.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    process::Child,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use trellis_bootstrap::Progress;
use trellis_local::{Beside, BesideError};

use crate::RecordError;

/// What is started.
const PROGRAM: &str = "nats-server";
/// Where Debian has it, which is where the paths of most users do not lead.
const OF_DEBIAN: &str = "/usr/sbin/nats-server";
/// How a person gets one.
pub(crate) const INSTALL: &str = "apt-get install nats-server   (or brew install nats-server, or see https://docs.nats.io/running-a-nats-service/introduction/installation)";

/// Far longer than it needs, so running out of it means that it does not start.
const LISTENS_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long it may take to write what it has and end.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// How long it is left alone after it ended by itself, at first and at most.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(30);

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Server {
    url: String,
    stop: CancellationToken,
    keeping: JoinHandle<()>,
}

impl Server {
    /// Starts one whose files are in `folder`, and waits until it listens.
    ///
    /// # Errors
    /// There is no `nats-server`, or it does not start.
    pub(crate) async fn start(
        folder: &Path,
        beside: Arc<Beside>,
        progress: Arc<dyn Progress>,
    ) -> Result<Self, RecordError> {
        std::fs::create_dir_all(folder)
            .map_err(|source| RecordError::files("create", folder, source))?;
        let mut starting = Starting {
            program: PROGRAM.into(),
            folder: folder.to_owned(),
            port: None,
            beside,
        };
        let (child, port) = match starting.start().await {
            Err(StartError::Missing) => {
                starting.program = OF_DEBIAN.into();
                starting.start().await
            }
            started => started,
        }
        .map_err(|error| error.in_general(folder))?;
        starting.port = Some(port);
        let stop = CancellationToken::new();
        let keeping = tokio::spawn(keep(starting, child, stop.clone(), progress));
        Ok(Self {
            url: format!("nats://127.0.0.1:{port}"),
            stop,
            keeping,
        })
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Lets it write what it has, and waits until it has ended.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        // The task ends with the process, which is killed where it takes too long.
        let _ = self.keeping.await;
    }
}

/// How the server is started, each time.
struct Starting {
    program: PathBuf,
    folder: PathBuf,
    /// The one that it had before.
    port: Option<u16>,
    beside: Arc<Beside>,
}

enum StartError {
    /// There is no such program.
    Missing,
    Failed(BesideError),
    /// It ended before it listened.
    Ended(String),
    Late,
}

impl StartError {
    fn in_general(self, folder: &Path) -> RecordError {
        let log = folder.join("log");
        match self {
            Self::Missing => RecordError::NoServer { install: INSTALL },
            Self::Failed(source) => RecordError::Beside(source),
            Self::Ended(how) => RecordError::ServerEnded { how, log },
            Self::Late => RecordError::ServerEnded {
                how: format!("it does not listen after {LISTENS_WITHIN:?}"),
                log,
            },
        }
    }

    fn in_words(self) -> String {
        match self {
            Self::Missing => "the program is gone".to_owned(),
            Self::Failed(error) => trellis_bootstrap::in_one_line(&error),
            Self::Ended(how) => how,
            Self::Late => format!("it does not listen after {LISTENS_WITHIN:?}"),
        }
    }
}

impl Starting {
    async fn start(&self) -> Result<(Child, u16), StartError> {
        let port = self
            .port
            .map_or_else(|| "-1".to_owned(), |port| port.to_string());
        let mut command = Command::new(&self.program);
        command
            .args(["-js", "-a", "127.0.0.1", "-p", &port, "-sd"])
            .arg(&self.folder)
            .arg("--ports_file_dir")
            .arg(&self.folder)
            .arg("-l")
            .arg(self.folder.join("log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = self
            .beside
            .start(command)
            .await
            .map_err(|error| match error {
                BesideError::Program { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                    StartError::Missing
                }
                error => StartError::Failed(error),
            })?;
        let port = self.listening(&mut child).await?;
        Ok((child, port))
    }

    /// Waits until it has written down where it listens, which it does when it does.
    async fn listening(&self, child: &mut Child) -> Result<u16, StartError> {
        let pid = child.id().unwrap_or_default();
        let file = self.folder.join(format!("nats-server_{pid}.ports"));
        let deadline = Instant::now() + LISTENS_WITHIN;
        while Instant::now() < deadline {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if let Some(port) = port_in(&text) {
                // It is the server's to remove when it ends, and stays when it is killed.
                let _ = std::fs::remove_file(&file);
                return Ok(port);
            }
            if let Ok(Some(status)) = child.try_wait() {
                return Err(StartError::Ended(format!("it ended with {status}")));
            }
            sleep(LOOK_EVERY).await;
        }
        Err(StartError::Late)
    }
}

fn port_in(ports: &str) -> Option<u16> {
    let ports: Value = serde_json::from_str(ports).ok()?;
    let url = ports["nats"].as_array()?.first()?.as_str()?.to_owned();
    url.rsplit(':').next()?.parse().ok()
}

/// Keeps a server until `stop`, and then ends it.
async fn keep(
    starting: Starting,
    mut child: Child,
    stop: CancellationToken,
    progress: Arc<dyn Progress>,
) {
    loop {
        let status = tokio::select! {
            status = child.wait() => status,
            () = stop.cancelled() => return end(child).await,
        };
        let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        progress.note(&format!(
            "the NATS server of the record ended by itself ({how}); what happens meanwhile is held back, and the server is started again"
        ));
        let again = start_again(&starting, &*progress);
        child = tokio::select! {
            child = again => child,
            () = stop.cancelled() => return,
        };
    }
}

/// Starts it again, however often that takes.
async fn start_again(starting: &Starting, progress: &dyn Progress) -> Child {
    let mut pause = AGAIN_AFTER;
    loop {
        sleep(pause).await;
        match starting.start().await {
            Ok((child, _)) => {
                progress.note("the NATS server of the record runs again");
                return child;
            }
            Err(error) => {
                pause = (pause * 2).min(AGAIN_AFTER_MAX);
                progress.note(&format!(
                    "the NATS server of the record does not start: {}; the next try is in {}",
                    error.in_words(),
                    humantime::format_duration(pause)
                ));
            }
        }
    }
}

async fn end(mut child: Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid.and_then(Pid::from_raw) {
        // It was not waited for yet, so the number is still its own.
        let _ = kill_process(pid, Signal::TERM);
    }
    if timeout(ENDS_WITHIN, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_server_is_said_with_what_installs_it() {
        let error = StartError::Missing.in_general(Path::new("/srv/nats"));
        let text = error.to_string();
        for part in ["nats-server", "apt-get install nats-server", "--record-to"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn the_port_is_read_from_what_the_server_wrote_down() {
        let ports = r#"{"nats":["nats://127.0.0.1:41234"]}"#;
        assert_eq!(port_in(ports), Some(41234));
        assert_eq!(port_in(""), None);
        assert_eq!(port_in(r#"{"nats":[]}"#), None);
    }
}
