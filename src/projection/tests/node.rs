//! A node as a process of its own: started, asked by command and over HTTP, and stopped by signals.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

#[path = "nats.rs"]
pub(crate) mod nats;

use nats::STREAM;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Far longer than a node needs, so running out of it means that it does not get there.
const WITHIN: Duration = Duration::from_mins(1);

pub(crate) struct Node {
    folder: tempfile::TempDir,
    settings: PathBuf,
}

impl Node {
    /// A node that answers no HTTP.
    pub(crate) fn new(nats_url: &str, policy: &str) -> Self {
        Self::with(nats_url, policy, "http_listen: none\n")
    }

    /// A node that answers HTTP, with `more` settings.
    pub(crate) fn served(nats_url: &str, policy: &str, more: &str) -> Self {
        Self::with(
            nats_url,
            policy,
            &format!("http_listen: 127.0.0.1:0\n{more}"),
        )
    }

    fn with(nats_url: &str, policy: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let program = "{language: dag/v1, key: {event: aggregate_id}, view: {object: {balance: {add: [{coalesce: [{view: balance}, 0]}, {event: payload.amount}]}, applied: {append: {to: {view: applied}, value: {meta: stream_seq}, cap: 1000}}}}}";
        std::fs::write(
            path("manifest.yaml"),
            format!(
                "projections:\n- {{view_type: account, poison: {policy}, program: {program}}}\n"
            ),
        )
        .unwrap();
        let text = format!(
            "nats_url: {nats_url}\nstream: {STREAM}\nstorage_path: {}\nmanifest: {}\nbatch_events_max: 20\nheartbeat: 500ms\n{more}",
            path("store").display(),
            path("manifest.yaml").display(),
        );
        let settings = path("projection.yaml");
        std::fs::write(&settings, text).unwrap();
        Self { folder, settings }
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_projection"));
        command
            .args(["--settings"])
            .arg(&self.settings)
            .args(arguments);
        command.env("RUST_LOG", "warn");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn start(&self) -> Running {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .unwrap();
        let child = self
            .command(&["run"])
            .env("RUST_LOG", "info")
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        Running(child)
    }

    /// What nodes wrote to the log until now.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Where a node answers that was started, as soon as it does.
    pub(crate) async fn url(&self) -> String {
        let file = self.store().join("http.address");
        let address = until("it says where it answers", async || {
            std::fs::read_to_string(&file).ok()
        });
        format!("http://{}", address.await)
    }

    pub(crate) fn status(&self) -> Option<Value> {
        let output = self.run(&["status", "--json"]);
        let all: Value = serde_json::from_slice(&output.stdout).ok()?;
        all["projections"].get(0).cloned()
    }

    /// Asks a node that runs until its status is as `wanted`.
    pub(crate) fn wait_for(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + WITHIN;
        let mut last = Value::Null;
        while Instant::now() < until {
            last = self.status().unwrap_or_default();
            if wanted(&last) {
                return last;
            }
        }
        panic!("within {WITHIN:?} the status was never right; it is {last}");
    }
}

/// A node that runs, and is killed with the test that is over.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// Its exit code, when it has ended.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn stop(mut child: Running) -> i32 {
    child.signal(Signal::TERM);
    child.wait().expect("it ends by itself")
}

#[track_caller]
pub(crate) fn says(output: &Output, words: &str) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains(words), "{words:?} is not in {text}");
}

/// Asks until there is an answer.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WITHIN;
    while Instant::now() < deadline {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("within {WITHIN:?} it never came that {what}");
}

/// What is answered at `url`, with its status.
pub(crate) async fn get(url: &str) -> (u16, String) {
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Asks `url` until its answer has this `status`.
pub(crate) async fn until_status(url: &str, status: u16) -> Value {
    until(&format!("{url} answers {status}"), async || {
        let (answered, body) = get(url).await;
        (answered == status).then(|| serde_json::from_str(&body).unwrap())
    })
    .await
}

/// Another process that writes to a store, so that the node's writes wait.
pub(crate) struct Writer {
    release: std::sync::mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Writer {
    /// Takes the lock of the engine, which knows nothing of who owns the folder.
    pub(crate) fn begin(folder: &std::path::Path) -> Self {
        let folder = folder.to_owned();
        let (release, released) = std::sync::mpsc::channel();
        let (begun, begins) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut builder = signet_libmdbx::Environment::builder();
            let mode = signet_libmdbx::Mode::ReadWrite {
                sync_mode: signet_libmdbx::SyncMode::Durable,
            };
            builder.set_flags(signet_libmdbx::EnvironmentFlags {
                mode,
                ..Default::default()
            });
            let environment = builder.open(&folder).unwrap();
            // Undone when it is dropped: nothing is changed.
            let writing = environment.begin_rw_unsync().unwrap();
            begun.send(()).unwrap();
            let _ = released.recv();
            drop(writing);
        });
        begins.recv().unwrap();
        Self { release, thread }
    }

    /// Lets the node write.
    pub(crate) fn end(self) {
        drop(self.release);
        self.thread.join().unwrap();
    }
}
