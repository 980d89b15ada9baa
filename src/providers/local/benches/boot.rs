//! Boot: how long until N local nodes are ready, against a bare concurrent loop that starts the same processes and asks with the same probe. The goal is a ratio of 1.10 at most.
//!
//! `cargo bench -p trellis-local --bench boot`. Both ways take turns, so that a busy machine slows both; the medians are compared.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use trellis_bootstrap::{
    Application, Artifact, BootstrapRequest, ClusterRequest, DynError, NodeCommand, NodePlan,
    PeerPlan, PortSpec, Probe, RunLedger, SelfDescription, Silent, Transport, bootstrap,
};
use trellis_domain::{
    AppName, Capability, CapabilitySet, ManagedNode, NodeHandle, ScenarioSources, ScenarioSpec,
};
use trellis_local::{LocalConfig, LocalDeployer};

const NODE: &str = env!("CARGO_BIN_EXE_trellis-local-testbed");
const SIZES: [usize; 3] = [3, 10, 30];
const ROUNDS: usize = 15;
const GOAL: f64 = 1.10;
/// The first pause after a refused probe; it grows by half, as the barrier's does.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(200);

#[tokio::main]
async fn main() {
    for nodes in SIZES {
        let (mut bare, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            bare.push(boot_bare(nodes).await);
            ours.push(boot_with_trellis(nodes).await);
        }
        let (bare, ours) = (median(bare), median(ours));
        let ratio = ours.as_secs_f64() / bare.as_secs_f64();
        println!(
            "boot {nodes:>2} nodes: bare {bare:>9.2?}, trellis {ours:>9.2?}, ratio {ratio:.2} (goal <= {GOAL:.2})"
        );
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// One request; the same for both ways.
async fn ask(address: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: node\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}

async fn boot_bare(nodes: usize) -> Duration {
    // Ports are found beforehand: a bare loop would be given them.
    let listeners: Vec<_> = (0..nodes)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let addresses: Vec<String> = listeners
        .iter()
        .map(|listener| listener.local_addr().unwrap().to_string())
        .collect();
    drop(listeners);
    let begun = Instant::now();
    let mut booting = JoinSet::new();
    for address in addresses {
        booting.spawn(async move {
            let child = tokio::process::Command::new(NODE)
                .args(["serve", &address])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            let mut pause = PAUSE_MIN;
            while !ask(&address).await.unwrap_or(false) {
                tokio::time::sleep(pause).await;
                pause = (pause * 3 / 2).min(PAUSE_MAX);
            }
            child
        });
    }
    let mut children = booting.join_all().await;
    let took = begun.elapsed();
    for child in &mut children {
        child.kill().await.unwrap();
    }
    took
}

async fn boot_with_trellis(nodes: usize) -> Duration {
    let home = tempfile::tempdir().unwrap();
    let request = request(home.path(), nodes);
    let begun = Instant::now();
    let cluster = bootstrap(request).await.unwrap();
    let took = begun.elapsed();
    let fleet = cluster.fleet.expect("all nodes are managed");
    fleet.control().teardown().await.unwrap();
    took
}

fn request(home: &Path, nodes: usize) -> BootstrapRequest {
    let app: Arc<dyn Application> = Arc::new(Server {
        name: "server".parse().unwrap(),
    });
    let nodes = (1..=nodes)
        .map(|number| ManagedNode::new(format!("NODE_{number}").parse().unwrap()))
        .collect();
    let sources = ScenarioSources::Managed {
        nodes,
        external: Vec::new(),
    };
    BootstrapRequest {
        spec: ScenarioSpec::new(app.name().clone(), sources),
        app,
        deployer: Arc::new(LocalDeployer::new(LocalConfig::default())),
        cluster: ClusterRequest {
            network: format!("bench-{}", std::process::id()),
            folder: home.join("cluster"),
            ledger: Arc::new(RunLedger::open(home, "bench".parse().unwrap()).unwrap()),
        },
        planned: Vec::new(),
        keep_on_failure: None,
        progress: Arc::new(Silent),
        cancel: CancellationToken::new(),
    }
}

/// The testbed's HTTP server as an application.
struct Server {
    name: AppName,
}

#[async_trait]
impl Application for Server {
    fn name(&self) -> &AppName {
        &self.name
    }

    fn capabilities(&self) -> CapabilitySet {
        Capability::ALL.into_iter().collect()
    }

    fn ports(&self) -> Vec<PortSpec> {
        vec![PortSpec {
            endpoint: "http".parse().unwrap(),
            scheme: "http",
            transport: Transport::Tcp,
        }]
    }

    fn command(&self, node: &NodePlan) -> NodeCommand {
        let address = node.address("http").expect("the port was asked for");
        NodeCommand {
            program: NODE.into(),
            args: vec!["serve".to_owned(), address.to_string()],
            env: BTreeMap::new(),
        }
    }

    fn artifacts(&self, _: &NodePlan, _: &[PeerPlan]) -> Result<Vec<Artifact>, DynError> {
        Ok(Vec::new())
    }

    fn config_artifact(&self) -> Option<&str> {
        None
    }

    async fn probe(&self, node: &NodeHandle) -> Result<Probe, DynError> {
        let endpoint = node.endpoint("http").expect("the port was asked for");
        if ask(&endpoint.place().to_string()).await? {
            Ok(Probe::Ready)
        } else {
            Ok(Probe::NotYet("another answer than 200".to_owned()))
        }
    }

    async fn identify(&self, _: &NodeHandle) -> Result<SelfDescription, DynError> {
        Ok(SelfDescription::default())
    }
}
