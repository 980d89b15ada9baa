//! Boot: how long until N local nodes are ready, against a bare concurrent loop that starts the same processes and asks with the same probe, as often. The goal is a ratio of 1.10 at most.
//!
//! `cargo bench -p trellis-local --bench boot`. Two kinds of node: one that listens at once, which shows what the harness costs, and one that needs some time and work to start, as a real one does, which shows what of that is felt.
//! Both ways take turns within a round, so that a busy machine slows both; the ratio is the median of the rounds' ratios.

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
    Application, ArtifactFile, BootstrapRequest, ClusterRequest, DynError, NodeCommand, NodePlan,
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
/// The pauses between probes are the barrier's.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_PART: u32 = 10;
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// A node, as the first argument of the testbed, and what it is called here.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    serve: &'static str,
}

const KINDS: [Kind; 2] = [
    Kind {
        name: "instant",
        serve: "serve",
    },
    Kind {
        name: "waking",
        serve: "wake-up-and-serve",
    },
];

#[tokio::main]
async fn main() {
    for kind in KINDS {
        for nodes in SIZES {
            compare(kind, nodes).await;
        }
    }
}

async fn compare(kind: Kind, nodes: usize) {
    let (mut bare, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        // Who goes first changes, since the second one finds the caches warm.
        let (one, other) = if round % 2 == 0 {
            let one = boot_bare(kind, nodes).await;
            (one, boot_with_trellis(kind, nodes).await)
        } else {
            let other = boot_with_trellis(kind, nodes).await;
            (boot_bare(kind, nodes).await, other)
        };
        // The first round starts the threads of the runtime and is not counted.
        if round > 0 {
            bare.push(one.as_secs_f64());
            ours.push(other.as_secs_f64());
            ratios.push(other.as_secs_f64() / one.as_secs_f64());
        }
    }
    println!(
        "boot {nodes:>2} {:>7} nodes: bare {:>6.1} ms, trellis {:>6.1} ms, ratio {:.2} (goal <= {GOAL:.2})",
        kind.name,
        median(bare) * 1e3,
        median(ours) * 1e3,
        median(ratios),
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
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

async fn boot_bare(kind: Kind, nodes: usize) -> Duration {
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
                .args([kind.serve, &address])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            let begun = Instant::now();
            while !ask(&address).await.unwrap_or(false) {
                let pause = (begun.elapsed() / PAUSE_PART).clamp(PAUSE_MIN, PAUSE_MAX);
                tokio::time::sleep(pause).await;
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

async fn boot_with_trellis(kind: Kind, nodes: usize) -> Duration {
    let home = tempfile::tempdir().unwrap();
    let request = request(home.path(), kind, nodes);
    let begun = Instant::now();
    let cluster = bootstrap(request).await.unwrap();
    let took = begun.elapsed();
    let fleet = cluster.fleet.expect("all nodes are managed");
    fleet.teardown().await.unwrap();
    took
}

fn request(home: &Path, kind: Kind, nodes: usize) -> BootstrapRequest {
    let app: Arc<dyn Application> = Arc::new(Server {
        name: "server".parse().unwrap(),
        kind,
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
        delivery: Arc::new(trellis_runtime::CfgsyncDelivery),
        attach: Vec::new(),
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
    kind: Kind,
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
            args: vec![self.kind.serve.to_owned(), address.to_string()],
            env: BTreeMap::new(),
        }
    }

    fn artifacts(&self, _: &NodePlan, _: &[PeerPlan]) -> Result<Vec<ArtifactFile>, DynError> {
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
