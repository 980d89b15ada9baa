//! Load run: ten thousand clients that wait at once, released by the last registration.
//!
//! The server is a process of its own, so that its memory is its own and each side has its own descriptors.
//! Only `cargo bench` runs it in full: it passes `--bench`, which `cargo test` does not.
//! Without it, or with `--test`, there is one tiny pass. All other arguments are ignored.

use std::{
    error::Error,
    fs,
    io::{BufRead, BufReader},
    net::{IpAddr, Ipv4Addr},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use cfgsync_artifacts::{ArtifactFile, ArtifactSet};
use cfgsync_core::{
    CfgsyncClient, CfgsyncServerState, ClientLimits, ConfigResolution, DynCfgsyncError,
    NodeArtifactsPayload, NodeConfigSource, NodeRegistration, NotReady, RegisterError,
    RegisterOutcome, RegistrationOverview, RegistrationStore, bind_loopback, serve_cfgsync,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

const FULL: usize = 10_000;
const TINY: usize = 20;
/// Set for the process that serves: how many nodes have to register.
const EXPECTED: &str = "CFGSYNC_BENCH_EXPECTED";
/// No wait here comes near it.
const WITHIN: Duration = Duration::from_mins(5);
/// Connections that are made at a time.
const CONNECTING_MAX: usize = 512;

fn main() -> Outcome {
    raise_descriptors()?;
    let runtime = tokio::runtime::Runtime::new()?;
    if let Ok(expected) = std::env::var(EXPECTED) {
        return runtime.block_on(serve(expected.parse()?));
    }
    let given = |flag: &str| std::env::args().any(|argument| argument == flag);
    let tiny = given("--test") || !given("--bench");
    runtime.block_on(run(if tiny { TINY } else { FULL }))
}

fn raise_descriptors() -> Outcome {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current, ..limit })?)
}

/// Gives every node the same files, once enough have registered.
struct Gate {
    store: RegistrationStore,
    expected: usize,
    payload: Arc<NodeArtifactsPayload>,
}

#[async_trait]
impl NodeConfigSource for Gate {
    async fn register(
        &self,
        registration: NodeRegistration,
    ) -> Result<RegisterOutcome, RegisterError> {
        self.store.register(registration)
    }

    async fn resolve(&self, _: &NodeRegistration) -> Result<ConfigResolution, DynCfgsyncError> {
        let registered = self.store.len();
        Ok(if registered < self.expected {
            ConfigResolution::NotReady(NotReady {
                registered,
                expected: Some(self.expected),
                missing: Vec::new(),
            })
        } else {
            ConfigResolution::Ready(Arc::clone(&self.payload))
        })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.store.changes()
    }

    fn overview(&self) -> RegistrationOverview {
        let ready = self.store.len() >= self.expected;
        self.store.overview(ready, Some(self.expected), Vec::new())
    }
}

/// Says its port, then how many requests it holds whenever it is asked for by a line.
async fn serve(expected: usize) -> Outcome {
    let files = ArtifactSet::new([ArtifactFile::new("node.yaml", "x".repeat(2_000))])?;
    let source = Gate {
        store: RegistrationStore::default(),
        expected,
        payload: Arc::new(NodeArtifactsPayload::new(files)),
    };
    let listener = bind_loopback(0).await?;
    println!("{}", listener.local_addr()?);
    let state = CfgsyncServerState::new(Arc::new(source));
    let asked = state.clone();
    std::thread::spawn(move || {
        for _ in std::io::stdin().lines() {
            println!("{}", asked.held());
        }
        std::process::exit(0);
    });
    serve_cfgsync(listener, state, std::future::pending()).await?;
    Ok(())
}

async fn run(count: usize) -> Outcome {
    let mut server = Server::start(count)?;
    let idle = server.memory()?;
    let client = CfgsyncClient::new(server.url.clone()).with_limits(ClientLimits {
        hold: Duration::from_mins(1),
        ..ClientLimits::default()
    });
    let started = Instant::now();
    let mut waiting = JoinSet::new();
    // All but one: the last registration releases them.
    let connecting = Arc::new(Semaphore::new(CONNECTING_MAX));
    for index in 1..count {
        let (client, connecting) = (client.clone(), Arc::clone(&connecting));
        waiting.spawn(async move {
            // Registered with a bound on how many connect at a time, as nodes of a real network are bounded by it.
            let turn = connecting.acquire_owned().await?;
            client.register_node(&node(index)).await?;
            drop(turn);
            let payload = client.wait_for_node_config(&node(index), WITHIN).await?;
            Outcome::Ok((payload, Instant::now()))
        });
    }
    while server.held()? < count - 1 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let gathered = started.elapsed();
    let holding = server.memory()?;

    let released = Instant::now();
    client.register_node(&node(0)).await?;
    let mut served = Vec::new();
    while let Some(waited) = waiting.join_next().await {
        let (payload, at) = waited??;
        assert_eq!(payload.files.len(), 1, "each is served its files");
        served.push(at.duration_since(released));
    }
    served.sort_unstable();
    println!("clients waiting at once     {}", served.len());
    println!("registered and held after   {gathered:.2?}");
    println!(
        "released: first, half, last {:.2?}, {:.2?}, {:.2?}",
        served[0],
        served[served.len() / 2],
        served[served.len() - 1]
    );
    println!(
        "memory of the server        {} MiB idle, {} MiB holding, {} MiB at its peak",
        idle.now,
        holding.now,
        server.memory()?.peak
    );
    println!(
        "memory of the clients       {} MiB at their peak",
        Memory::of("self")?.peak
    );
    Ok(())
}

fn node(index: usize) -> NodeRegistration {
    let [.., high, low] = index.to_be_bytes();
    let ip = IpAddr::V4(Ipv4Addr::new(10, 0, high, low));
    NodeRegistration::new(format!("node-{index:05}"), ip)
}

/// The process that serves. It ends when its input does, and so with us.
struct Server {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    url: String,
}

impl Server {
    fn start(expected: usize) -> Outcome<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .env(EXPECTED, expected.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or("the server has an output")?;
        let mut server = Self {
            child,
            lines: BufReader::new(output),
            url: String::new(),
        };
        server.url = format!("http://{}", server.line()?);
        Ok(server)
    }

    fn held(&mut self) -> Outcome<usize> {
        use std::io::Write as _;
        let input = self.child.stdin.as_mut().ok_or("the server has an input")?;
        writeln!(input)?;
        Ok(self.line()?.parse()?)
    }

    fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    fn memory(&self) -> Outcome<Memory> {
        Memory::of(&self.child.id().to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Resident memory in MiB.
struct Memory {
    now: u64,
    peak: u64,
}

impl Memory {
    fn of(process: &str) -> Outcome<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let field = |name: &str| -> Outcome<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            Ok(number.ok_or("the kernel says it")?.parse::<u64>()? / 1024)
        };
        Ok(Self {
            now: field("VmRSS:")?,
            peak: field("VmHWM:")?,
        })
    }
}
