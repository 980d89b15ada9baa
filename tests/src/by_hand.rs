//! By hand: the real `trellis` command as a person uses it, in a folder of its own.

use std::{
    fs,
    io::BufReader,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// Far longer than anything here takes.
const SOON: Duration = Duration::from_secs(30);

/// A person's folder, with specs and a state folder of its own.
pub struct Workbench {
    trellis: PathBuf,
    folder: TempDir,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it wrote.
    pub out: String,
    /// What it complained of.
    pub err: String,
}

impl Workbench {
    /// A new folder, for the command at `trellis`.
    ///
    /// # Panics
    /// When the machine has no place for temporary files.
    pub fn new(trellis: impl Into<PathBuf>) -> Self {
        Self {
            trellis: trellis.into(),
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
        }
    }

    /// Where clusters write down what they own.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Writes a spec.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.folder.path().join(file), text).expect("a spec can be written");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.trellis);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("TRELLIS_STATE", self.state())
            .env_remove("TRELLIS_CONFIG")
            .stdin(Stdio::null());
        command
    }

    /// Runs the command to its end.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn trellis(&self, arguments: &[&str]) -> Said {
        let ran = self.command(arguments).output();
        let Output {
            status,
            stdout,
            stderr,
        } = ran.expect("the command runs");
        Said {
            code: status.code(),
            out: String::from_utf8_lossy(&stdout).into_owned(),
            err: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// Runs the command, which must succeed, and gives what it wrote.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn done(&self, arguments: &[&str]) -> String {
        let said = self.trellis(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
        said.out
    }

    /// Runs the command, which must end with `code` and complain in one line that has all of `parts`.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn refused(&self, arguments: &[&str], code: i32, parts: &[&str]) {
        let said = self.trellis(arguments);
        assert_eq!(said.code, Some(code), "{arguments:?}: {said:?}");
        assert_eq!(said.err.lines().count(), 1, "{said:?}");
        for part in parts {
            assert!(said.err.contains(part), "{part:?} is not in {said:?}");
        }
    }

    /// What `status` says of the cluster `name`.
    ///
    /// # Panics
    /// When it is not up.
    #[track_caller]
    pub fn status(&self, name: &str) -> Value {
        let text = self.done(&["status", "--json", "--cluster", name]);
        let list: Value = serde_json::from_str(&text).expect("status writes JSON");
        list[0].clone()
    }

    /// The process of a node.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn pid(&self, cluster: &str, node: &str) -> String {
        let status = self.status(cluster);
        let nodes = status["nodes"].as_array().expect("there are nodes");
        let found = nodes.iter().find(|found| found["name"] == node);
        let instance = found.and_then(|found| found["instance"].as_str());
        let instance = instance.expect("the node has a process");
        instance.trim_start_matches("pid ").to_owned()
    }

    /// The first address of a node.
    ///
    /// # Panics
    /// When it has none.
    #[track_caller]
    pub fn url(&self, cluster: &str, node: &str) -> String {
        let status = self.status(cluster);
        let nodes = status["nodes"].as_array().expect("there are nodes");
        let found = nodes.iter().find(|found| found["name"] == node);
        let url = found.and_then(|found| found["endpoints"][0]["url"].as_str());
        url.expect("the node has an address").to_owned()
    }

    /// Starts a command that stays.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn stays(&self, arguments: &[&str]) -> Staying {
        let mut command = self.command(arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command runs");
        let (line, lines) = mpsc::channel();
        let out = child.stdout.take().expect("it is piped");
        let err = child.stderr.take().expect("it is piped");
        let other = line.clone();
        thread::spawn(move || copy(BufReader::new(out), &line));
        thread::spawn(move || copy(BufReader::new(err), &other));
        Staying {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// Brings a cluster up and waits until it is.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn up(&self, arguments: &[&str]) -> Staying {
        let mut up = self.stays(&[&["up"], arguments].concat());
        up.until(" is up");
        up
    }

    /// Checks that nothing is left: no run in the state folder, and no cluster.
    ///
    /// # Panics
    /// When something is.
    #[track_caller]
    pub fn assert_clean(&self) {
        let left = |folder: &str| -> Vec<PathBuf> {
            let entries = fs::read_dir(self.state().join(folder));
            let paths = entries.into_iter().flatten().flatten();
            paths
                .map(|entry| entry.path())
                .filter(|path| !path.ends_with(".gate"))
                .collect()
        };
        let all = [left("runs"), left("clusters")].concat();
        assert!(all.is_empty(), "left: {all:?}");
    }
}

fn copy(from: impl std::io::BufRead, to: &mpsc::Sender<String>) {
    for line in from.lines().map_while(Result::ok) {
        if to.send(line).is_err() {
            return;
        }
    }
}

/// A command that stays. It is killed when it is dropped.
pub struct Staying {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Staying {
    /// Reads on until a line has `part` in it, and gives that line.
    ///
    /// # Panics
    /// When there is none soon.
    #[track_caller]
    pub fn until(&mut self, part: &str) -> String {
        let deadline = Instant::now() + SOON;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(part) {
                        return line;
                    }
                }
                Err(why @ (RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)) => {
                    panic!("no {part:?} ({why}) in:\n{}", self.seen.join("\n"))
                }
            }
        }
    }

    /// Sends it a signal, such as `INT`.
    pub fn signal(&self, name: &str) {
        signal(&self.child.id().to_string(), name);
    }

    /// Waits until it has ended, and gives its exit code and all that it wrote.
    ///
    /// # Panics
    /// When it does not end soon.
    #[track_caller]
    pub fn ended(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + SOON;
        // Both of its streams end with it.
        while let Ok(line) = self
            .lines
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            self.seen.push(line);
        }
        let status: Option<ExitStatus> = self.child.try_wait().ok().flatten();
        let status = status.or_else(|| {
            assert!(Instant::now() < deadline, "it did not end");
            self.child.wait().ok()
        });
        let code = status.and_then(|status| status.code());
        (code, self.seen.join("\n"))
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a process a signal, such as `KILL`.
///
/// # Panics
/// When there is no such process.
#[track_caller]
pub fn signal(pid: &str, name: &str) {
    let sent = Command::new("kill").args(["-s", name, pid]).status();
    assert!(
        sent.is_ok_and(|status| status.success()),
        "no process {pid}"
    );
}

/// Whether there is such a process. One that has ended and that nobody has asked about yet is none.
pub fn is_there(pid: &str) -> bool {
    let status = fs::read_to_string(Path::new("/proc").join(pid).join("status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}
