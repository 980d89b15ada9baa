//! Network: devchain nodes as processes with folders and hosts of their own, killed on drop.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use devchain::{DevchainClient, DevchainWallet, FeePayer, Genesis, GenesisNotes, node::NodeConfig};
use tempfile::TempDir;
use tokio::time::{interval, sleep, timeout};
use trellis_chain::{http::HttpConfig, logos::LogosSource};
use trellis_observation::ObservedSource;

use crate::Source;

/// Set for processes of this program that are nodes.
const NODE: &str = "TRELLIS_CHAIN_BENCH_NODE";
const HTTP_PORT: u16 = 7080;
const P2P_PORT: u16 = 7000;
/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_mins(5);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How fast the chain grows that is read later.
const GROWS_EVERY: Duration = Duration::from_millis(50);
/// A short one: what is not final cannot be fetched in batches.
const SECURITY_PARAMETER: u32 = 10;

/// Whether this process is to be a node.
pub(crate) fn is_node() -> bool {
    env::var_os(NODE).is_some()
}

/// A node.
pub(crate) struct Node {
    process: Child,
    http: SocketAddr,
    /// Removed last.
    folder: TempDir,
}

impl Node {
    /// Starts a node with what is in the folder `data`, if any, and waits until it answers.
    pub(crate) async fn start(genesis: &Genesis, leads: bool, data: Option<&Path>) -> Self {
        static HOSTS: AtomicU8 = AtomicU8::new(100);
        let [.., high, low] = std::process::id().to_be_bytes();
        let host = HOSTS.fetch_add(1, Ordering::Relaxed);
        let host = Ipv4Addr::new(127, host, high, low);
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let own = folder.path().join("data");
        fs::create_dir(&own).expect("a folder can be made");
        for file in data.into_iter().flat_map(files) {
            fs::copy(data.unwrap_or(&own).join(&file), own.join(&file)).expect("it is copied");
        }
        let [http, p2p] = [HTTP_PORT, P2P_PORT].map(|port| SocketAddr::new(host.into(), port));
        let mut config = NodeConfig::new(format!("NODE_{host}"), 1, http, p2p, own);
        config.leads = leads;
        "warn".clone_into(&mut config.log);
        let write = |name: &str, text: Result<String, _>| {
            let text: Result<_, serde_saphyr::ser::Error> = text;
            let file = folder.path().join(name);
            fs::write(&file, text.expect("it is YAML")).expect("a file can be written");
            file
        };
        write("genesis.yaml", serde_saphyr::to_string(genesis));
        let file = write("node.yaml", serde_saphyr::to_string(&config));
        // It ends with this process, also if that is killed.
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(env::current_exe().expect("this program has a path"))
            .env(NODE, "1")
            .arg("--config")
            .arg(file)
            .stdin(Stdio::null())
            .spawn()
            .expect("this program can be started");
        let node = Self {
            process,
            http,
            folder,
        };
        node.reaches(0).await;
        node
    }

    pub(crate) fn client(&self) -> DevchainClient {
        DevchainClient::new(format!("http://{}", self.http))
    }

    /// Asks it with connections of its own.
    pub(crate) fn source(&self, name: &str) -> LogosSource {
        let url = format!("http://{}", self.http);
        let url = url.parse().expect("an address makes a URL");
        LogosSource::new(HttpConfig::new(name, url)).expect("it can be asked")
    }

    /// Waits until its head is that high.
    async fn reaches(&self, height: u64) {
        let client = self.client();
        let reached = async {
            loop {
                let info = client.info().await;
                if info.is_ok_and(|info| info.cryptarchia_info.height >= height) {
                    return;
                }
                sleep(LOOK_EVERY).await;
            }
        };
        let reached = timeout(PATIENCE, reached).await;
        reached.unwrap_or_else(|_| panic!("no node at height {height}"));
    }
}

fn files(folder: &Path) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(folder).expect("a folder can be read");
    entries.flatten().map(|entry| entry.file_name()).collect()
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The chain of a node that is no longer there.
pub(crate) struct Network {
    genesis: Genesis,
    node: Node,
}

impl Network {
    /// A chain of at least so many blocks with so many transactions each, about.
    pub(crate) async fn grown(blocks: u64, transactions: u64) -> Self {
        let mut genesis = Genesis::new("bench", "bench").with_block_time(GROWS_EVERY);
        genesis.leaders = 1;
        genesis.security_parameter = SECURITY_PARAMETER;
        genesis.accounts = vec![GenesisNotes {
            account_index: 1,
            token_count: 2 * blocks * transactions,
            token_amount: 1_000,
        }];
        let mut node = Node::start(&genesis, true, None).await;
        let pace = GROWS_EVERY / u32::try_from(transactions).expect("few transactions");
        let client = node.client();
        tokio::select! {
            () = node.reaches(blocks) => {}
            () = pay(&genesis, &client, pace) => node.reaches(blocks).await,
        }
        node.process.kill().expect("it runs");
        node.process.wait().expect("it ends");
        Self { genesis, node }
    }

    /// Nodes that have the chain and add nothing to it.
    pub(crate) async fn copies(&self, count: usize) -> Vec<Node> {
        let data = self.node.folder.path().join("data");
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(Node::start(&self.genesis, false, Some(&data)).await);
        }
        nodes
    }
}

/// Spends each note of the first account once, one at a time.
async fn pay(genesis: &Genesis, client: &DevchainClient, pace: Duration) {
    let wallet = DevchainWallet::new(genesis, 1);
    let to = DevchainWallet::new(genesis, 2).public_key();
    let mut ticks = interval(pace);
    for (id, note) in genesis.notes() {
        ticks.tick().await;
        let coins = [(id, note.value)].into();
        let built = wallet.transfer(&coins, &[(to, 100), (to, 200)], FeePayer::Own);
        let built = built.expect("it is worth enough");
        client.submit(&built.signed).await.expect("it is taken");
    }
}

/// Each node as a source, with connections of its own.
pub(crate) fn sources(nodes: &[Node]) -> Vec<Source> {
    let named = (1..).zip(nodes).map(|(number, node)| {
        let name = format!("NODE_{number}");
        let source = node.source(&name);
        ObservedSource::new(name, Arc::new(source) as _)
    });
    named.collect()
}
