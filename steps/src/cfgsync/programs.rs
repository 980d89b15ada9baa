//! The programs of cfgsync as child processes: one server, and a client for each node.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use regex::Regex;
use serde_json::Value;
use tokio::process::Command;

use crate::{StepError, StepResult, child::ChildProcess, suite::CfgsyncCommands};

/// How long a client waits for its files, in seconds.
const CLIENT_WAITS: &str = "60";
/// The exit code of a client that got no files.
const NOT_FETCHED: i32 = 1;
/// The exit code of a client that could not write its files.
const NOT_WRITTEN: i32 = 3;
/// Runs its arguments with another file system over the folder `$1`, mounted with the options `$2`, which nobody else sees, and says what is left in it.
const ON_ANOTHER_DISK: &str = r#"
mount -t tmpfs -o "$2" none "$1" || exit 99
folder=$1; shift 2
"$@"; status=$?
find "$folder" -mindepth 1 -printf 'left behind: %P\n'
exit $status
"#;

/// What the server makes of its files.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mode {
    /// They are there for whoever they are for.
    Bundle,
    /// They are there when everybody whom they are for has registered.
    Registration,
}

/// What a client writes to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Disk {
    /// The scenario's folder.
    Usual,
    /// A file system that takes two files and then is full.
    Small,
    /// A file system that takes nothing.
    ReadOnly,
}

/// A server and the clients of a scenario.
#[derive(Default)]
pub(crate) struct CfgsyncPrograms {
    commands: Option<CfgsyncCommands>,
    folder: PathBuf,
    server: Option<Server>,
    clients: BTreeMap<String, Client>,
}

struct Server {
    process: ChildProcess,
    mode: Mode,
    port: u16,
}

/// A client and the folder that it writes to.
pub(crate) struct Client {
    process: ChildProcess,
    output: PathBuf,
}

impl CfgsyncPrograms {
    /// No program runs yet; they write below `folder`.
    pub(crate) fn new(commands: Option<CfgsyncCommands>, folder: PathBuf) -> Self {
        Self {
            commands,
            folder,
            ..Self::default()
        }
    }

    fn commands(&self) -> StepResult<&CfgsyncCommands> {
        self.commands.as_ref().ok_or_else(|| {
            StepError::new(
                "this run does not know where the programs of cfgsync are; its composition root says so with Harness::cfgsync_commands",
            )
        })
    }

    /// Starts the server.
    pub(crate) async fn serve(&mut self, mode: Mode, files: &str, within: Duration) -> StepResult {
        fs::create_dir_all(&self.folder)?;
        fs::write(self.folder.join("files.yaml"), files)?;
        // The system chooses a port; a server that starts again must have that one.
        self.server = Some(self.start_server(mode, 0, within).await?);
        Ok(())
    }

    async fn start_server(&self, mode: Mode, port: u16, within: Duration) -> StepResult<Server> {
        let source = match mode {
            Mode::Bundle => "kind: bundle\n  bundle_path: files.yaml",
            Mode::Registration => {
                "kind: registration\n  artifacts_path: files.yaml\n  wait_for_all: true"
            }
        };
        let config = self.folder.join("server.yaml");
        fs::write(&config, format!("port: {port}\nsource:\n  {source}\n"))?;
        let mut command = Command::new(&self.commands()?.server);
        command.arg("--config").arg(&config);
        let process = ChildProcess::start("the cfgsync server", &mut command)?;
        let address = Regex::new(r"http://127\.0\.0\.1:(\d+)\s").expect("it is a constant");
        let port = process.prints_number(&address, within).await?;
        Ok(Server {
            process,
            mode,
            port,
        })
    }

    fn server(&self) -> StepResult<&Server> {
        self.server
            .as_ref()
            .ok_or_else(|| StepError::new("no cfgsync server was started in this scenario"))
    }

    /// Kills the server and waits until it is gone.
    pub(crate) async fn kill_server(&self, within: Duration) -> StepResult {
        let server = self.server()?;
        server.process.kill()?;
        server.process.ended(within).await
    }

    /// Starts the server again on its port.
    pub(crate) async fn restart_server(&mut self, within: Duration) -> StepResult {
        let (mode, port) = (self.server()?.mode, self.server()?.port);
        self.server = Some(self.start_server(mode, port, within).await?);
        Ok(())
    }

    /// Starts a client for `node`, which others reach at `address`.
    pub(crate) fn ask(&mut self, node: &str, address: &str, disk: Disk) -> StepResult {
        let server = format!("http://127.0.0.1:{}", self.server()?.port);
        let output = self.folder.join("nodes").join(node);
        fs::create_dir_all(&output)?;
        let client = &self.commands()?.client;
        let mut command = match disk {
            Disk::Usual => Command::new(client),
            // One more for the folder itself.
            Disk::Small => on_another_disk(&output, "nr_inodes=3", client),
            Disk::ReadOnly => on_another_disk(&output, "ro", client),
        };
        command
            .env("CFGSYNC_SERVER", server)
            .env("CFGSYNC_IDENTIFIER", node)
            .env("CFGSYNC_IP", address)
            .env("CFGSYNC_OUTPUT_DIR", &output)
            .env("CFGSYNC_DEADLINE_SECS", CLIENT_WAITS);
        let what = format!("the cfgsync client of {node}");
        let process = ChildProcess::start(what, &mut command)?;
        let client = Client { process, output };
        // An earlier client of this node is killed as it is dropped.
        self.clients.insert(node.to_owned(), client);
        Ok(())
    }

    /// The client of `node`.
    pub(crate) fn client(&self, node: &str) -> StepResult<&Client> {
        self.clients.get(node).ok_or_else(|| {
            StepError::new(format!(
                "no step had {node} ask for its files; say `node {node:?} asks cfgsync for its files`"
            ))
        })
    }

    /// The addresses of those who have registered.
    pub(crate) async fn registrations(&self) -> StepResult<BTreeMap<String, String>> {
        let url = format!("http://127.0.0.1:{}/registrations", self.server()?.port);
        let overview: Value = reqwest::get(url).await?.error_for_status()?.json().await?;
        let text = |node: &Value, field: &str| Some(node.get(field)?.as_str()?.to_owned());
        let nodes = overview.get("registered").and_then(Value::as_array);
        Ok(nodes
            .into_iter()
            .flatten()
            .filter_map(|node| Some((text(node, "identifier")?, text(node, "ip")?)))
            .collect())
    }

    /// Ends all programs.
    pub(crate) async fn end(self) {
        for client in self.clients.into_values() {
            client.process.end().await;
        }
        if let Some(server) = self.server {
            server.process.end().await;
        }
    }
}

/// `program`, with another file system over `folder`.
fn on_another_disk(folder: &Path, options: &str, program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--map-root-user", "sh", "-c", ON_ANOTHER_DISK])
        .arg("sh")
        .arg(folder)
        .arg(options)
        .arg(program);
    command
}

impl Client {
    /// Waits until it says `reason`; it must still be waiting then.
    pub(crate) async fn waits(&self, reason: &str, within: Duration) -> StepResult {
        self.process.prints(reason, within).await?;
        match self.process.exit_code() {
            None => Ok(()),
            Some(code) => Err(self.process.complaint(&format!(
                "it does not wait any more, it has ended with exit code {code}"
            ))),
        }
    }

    /// Waits until it has ended well.
    pub(crate) async fn succeeds(&self, within: Duration) -> StepResult {
        self.process.ended(within).await?;
        match self.process.exit_code() {
            Some(0) => Ok(()),
            code => Err(self
                .process
                .complaint(&format!("it failed with exit code {code:?}"))),
        }
    }

    /// Waits until it has ended because it could not fetch or not write, and checks that its error says `reason`.
    pub(crate) async fn fails(&self, reason: &str, within: Duration) -> StepResult {
        self.process.ended(within).await?;
        let code = self.process.exit_code();
        if !matches!(code, Some(NOT_FETCHED | NOT_WRITTEN)) {
            return Err(self.process.complaint(&format!(
                "it ended with exit code {code:?}, not with {NOT_FETCHED} (not fetched) or {NOT_WRITTEN} (not written)"
            )));
        }
        // Other lines are what it waited for meanwhile, each with the name of the node in it.
        let output = self.process.output();
        let mut errors = output.lines().filter(|line| line.starts_with("error: "));
        if errors.any(|line| line.contains(reason)) {
            return Ok(());
        }
        Err(self
            .process
            .complaint(&format!("it failed, but its error does not say {reason:?}")))
    }

    /// Checks that its folder has the files of `rows`: path, content, mode.
    pub(crate) fn has_exactly(&self, rows: &[Vec<String>]) -> StepResult {
        let mut there = files_below(&self.output)?;
        let mut wrong = Vec::new();
        for row in rows {
            let [path, content, mode] = row.as_slice() else {
                return Err(StepError::new(format!("{row:?} has not three cells")));
            };
            if !there.remove(Path::new(path)) {
                wrong.push(format!("{path} is not there"));
                continue;
            }
            let file = self.output.join(path);
            let found = fs::read_to_string(&file)?;
            if found.trim_end() != content {
                wrong.push(format!("{path} has {found:?}, not {content:?}"));
            }
            let bits = fs::metadata(&file)?.permissions().mode() & 0o777;
            if format!("{bits:04o}") != *mode {
                wrong.push(format!("{path} has the mode {bits:04o}, not {mode}"));
            }
        }
        wrong.extend(
            there
                .iter()
                .map(|path| format!("{} is there, too", path.display())),
        );
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(StepError::new(format!(
                "the files are others: {}",
                wrong.join("; ")
            )))
        }
    }

    /// Checks that it left nothing.
    pub(crate) fn has_nothing(&self) -> StepResult {
        let left = files_below(&self.output)?;
        if !left.is_empty() || self.process.output().contains("left behind:") {
            return Err(self
                .process
                .complaint(&format!("it left something: {left:?}")));
        }
        Ok(())
    }
}

/// The paths of all files below `folder`, hidden ones included.
fn files_below(folder: &Path) -> StepResult<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if let Ok(path) = path.strip_prefix(folder) {
                found.insert(path.to_owned());
            }
        }
    }
    Ok(found)
}
