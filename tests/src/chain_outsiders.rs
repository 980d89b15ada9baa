//! Chain outsiders: devchain networks that somebody else could have started, to be "public" for a run.
//!
//! Nothing here goes through a backend: the processes are in no ledger and carry no label. They end with the network, or with the test process, however that ends.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Stdio,
    sync::{
        Mutex as StdMutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use devchain::{DevchainClient, Genesis, PeerAddress, node::NodeConfig};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    sync::{Mutex, OnceCell},
    time::timeout,
};
use trellis_domain::{AttachSpec, Endpoint, ExternalNode, NodeName, Secret};
use trellis_steps::{
    StepError, StepResult,
    outsiders::{Lie, OutsideCluster, OutsideFaucet, Outsiders},
};

use crate::{
    chain_faucet::{RunningFaucet, endowment},
    liar::Liar,
};

/// Networks have so many blocks when anybody comes, so that a node without any is not near enough to pass for synced.
const BEGINS_AT: u64 = 5;
/// Networks halt at this height at the least.
const HALT_AT: u64 = 10;
/// Networks are slowed down at this height at the least, when there is something to download.
const SLOW_AT: u64 = 30;
/// How many blocks a slow node serves at once, and after which time: faster than they are made, and slow enough to be watched.
const SLOW_BLOCKS: usize = 4;
const SLOW_AFTER_MS: u64 = 400;
/// How long a network may take to come up, and one change of it.
const PATIENCE: Duration = Duration::from_secs(30);
/// Networks are on hosts 127.x.., with x from here, so that each has hosts of its own.
const FIRST_NET: u16 = 231;
const NETS: u16 = 20;
/// The first port of a host; each node takes two, and each further network of the host as many as there may be.
const PORT: u16 = 7300;
const PORTS: u16 = 40;
/// Keys of devchain nodes are numbered, and those of a scenario's own nodes begin with 1.
const FIRST_KEY: u64 = 1000;
/// How long it takes on average until there is a block.
const BLOCK_TIME: Duration = Duration::from_millis(250);
/// Sides that part must be able to part for long.
const SECURITY_PARAMETER: u32 = 200;

static NETWORKS: AtomicU16 = AtomicU16::new(0);

/// Starts networks of a devchain node program.
pub struct ChainOutsiders {
    program: PathBuf,
}

impl ChainOutsiders {
    /// Networks of the node program at `program`.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
        }
    }
}

#[async_trait]
impl Outsiders for ChainOutsiders {
    async fn start(
        &self,
        names: &[NodeName],
        token: Option<Secret>,
    ) -> StepResult<Box<dyn OutsideCluster>> {
        if token.is_some() {
            return Err(StepError::new("devchain knows no tokens"));
        }
        let network = OutsideNetwork::start(self.program.clone(), names).await?;
        Ok(Box::new(network))
    }
}

/// A network that runs, on one chain of its own.
pub struct OutsideNetwork {
    program: PathBuf,
    genesis: Genesis,
    members: Vec<Member>,
    processes: Mutex<Vec<Option<Child>>>,
    liars: StdMutex<BTreeMap<usize, Liar>>,
    faucet: OnceCell<RunningFaucet>,
    /// Removed last.
    folder: TempDir,
}

struct Member {
    name: NodeName,
    key: u64,
    http: SocketAddr,
    p2p: SocketAddr,
}

impl OutsideNetwork {
    /// Starts a network, and waits until its nodes have made some blocks and know them.
    ///
    /// # Errors
    /// Whatever keeps it from coming up.
    pub async fn start(program: PathBuf, names: &[NodeName]) -> StepResult<Self> {
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let [.., pid_high, pid_low] = std::process::id().to_be_bytes();
        let net = u8::try_from(FIRST_NET + number % NETS).expect("a net is below 256");
        let host = Ipv4Addr::new(127, net, pid_high, pid_low);
        let port = PORT + PORTS * (number / NETS);
        let members = names.iter().zip(0u16..).map(|(name, index)| Member {
            name: name.clone(),
            key: FIRST_KEY + u64::from(index),
            http: SocketAddr::new(host.into(), port + 2 * index),
            p2p: SocketAddr::new(host.into(), port + 2 * index + 1),
        });
        let chain_id = format!("theirs-{}-{number}", std::process::id());
        // Keys follow from the seed, and no two networks have a node in common.
        let seed = chain_id.clone();
        let mut genesis = Genesis::new(chain_id, seed).with_block_time(BLOCK_TIME);
        genesis.leaders = u32::try_from(names.len().max(1))?;
        genesis.security_parameter = SECURITY_PARAMETER;
        genesis.accounts = vec![endowment()];
        let network = Self {
            program,
            genesis,
            members: members.collect(),
            processes: Mutex::default(),
            liars: StdMutex::default(),
            faucet: OnceCell::new(),
            folder: tempfile::tempdir()?,
        };
        let genesis = serde_saphyr::to_string(&network.genesis)?;
        fs::write(network.folder.path().join("genesis.yaml"), genesis)?;
        let mut processes = network.processes.lock().await;
        for member in &network.members {
            processes.push(Some(network.spawn(member, |_| {})?));
        }
        drop(processes);
        network.reaches(BEGINS_AT).await?;
        Ok(network)
    }

    /// Where the node at `index` answers.
    pub fn url(&self, index: usize) -> String {
        format!("http://{}", self.members[index].http)
    }

    /// A client for the node at `index`.
    pub fn client(&self, index: usize) -> DevchainClient {
        DevchainClient::new(self.url(index))
    }

    /// Waits until every node that was not killed is at `height`.
    ///
    /// # Errors
    /// One that is not, in time.
    pub async fn reaches(&self, height: u64) -> StepResult {
        let mut running = Vec::new();
        for (index, process) in self.processes.lock().await.iter().enumerate() {
            running.extend(process.is_some().then_some(index));
        }
        self.reaches_of(running, height).await
    }

    /// Waits until the nodes in `which` are at `height`.
    ///
    /// # Errors
    /// One that is not, in time.
    pub async fn reaches_of(
        &self,
        which: impl IntoIterator<Item = usize>,
        height: u64,
    ) -> StepResult {
        for index in which {
            let member = &self.members[index];
            let client = self.client(index);
            let reached = async {
                loop {
                    // It may not listen yet.
                    let info = client.info().await;
                    if info.is_ok_and(|info| info.cryptarchia_info.height >= height) {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            timeout(PATIENCE, reached).await.map_err(|_| {
                StepError::new(format!("{} did not get to height {height}", member.name))
            })?;
        }
        Ok(())
    }

    /// Has the nodes in the first half and those in the second refuse each other.
    ///
    /// # Errors
    /// A node that cannot be told to.
    pub async fn split_in_two(&self) -> StepResult {
        let half = self.members.len() / 2;
        for index in 0..self.members.len() {
            let others = if index < half {
                &self.members[half..]
            } else {
                &self.members[..half]
            };
            let names = others.iter().map(|other| other.name.to_string());
            self.client(index).block_peers(names).await?;
        }
        Ok(())
    }

    /// Starts the nodes in `which` anew, so that they keep their chain and add nothing to it.
    ///
    /// # Errors
    /// A node that does not come back.
    pub async fn lead_no_more(&self, which: impl IntoIterator<Item = usize>) -> StepResult {
        self.start_anew(which, |config| config.leads = false).await
    }

    async fn start_anew(
        &self,
        which: impl IntoIterator<Item = usize>,
        change: impl Fn(&mut NodeConfig),
    ) -> StepResult {
        for index in which {
            let member = &self.members[index];
            let mut processes = self.processes.lock().await;
            if let Some(mut process) = processes[index].take() {
                process.kill().await?;
            }
            processes[index] = Some(self.spawn(member, &change)?);
            drop(processes);
            self.reaches_of([index], 1).await?;
        }
        Ok(())
    }

    /// Kills the node at `index`; says whether it was there.
    ///
    /// # Errors
    /// A process that cannot be killed.
    pub async fn kill_at(&self, index: usize) -> StepResult<bool> {
        let Some(mut process) = self.processes.lock().await[index].take() else {
            return Ok(false);
        };
        process.kill().await?;
        Ok(true)
    }

    /// Starts a node that ends with this process, also if that is killed.
    fn spawn(&self, member: &Member, change: impl Fn(&mut NodeConfig)) -> StepResult<Child> {
        let folder = self.folder.path();
        let data = folder.join(format!("data-{}", member.key));
        let mut config = NodeConfig::new(
            member.name.to_string(),
            member.key,
            member.http,
            member.p2p,
            data,
        );
        change(&mut config);
        let others = self.members.iter().filter(|other| other.key != member.key);
        config.initial_peers = others.map(|other| peer_address(other.p2p)).collect();
        let file = folder.join(format!("{}.yaml", member.key));
        fs::write(&file, serde_saphyr::to_string(&config)?)?;
        let log = fs::File::create(folder.join(format!("{}.log", member.key)))?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(&self.program)
            .arg("--config")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A Ctrl-C at the terminal is for the run.
            .process_group(0)
            .kill_on_drop(true);
        Ok(command.spawn()?)
    }

    /// Where the node of this name answers, or lies.
    fn url_for_others(&self, name: &NodeName) -> String {
        let index = self.index_of(name).expect("it is one of these");
        let liars = self.liars.lock().expect("nobody panics with it");
        liars.get(&index).map_or_else(|| self.url(index), Liar::url)
    }

    fn index_of(&self, node: &NodeName) -> Option<usize> {
        self.members.iter().position(|member| member.name == *node)
    }
}

fn peer_address(place: SocketAddr) -> PeerAddress {
    PeerAddress {
        host: place.ip().to_string(),
        port: place.port(),
    }
}

#[async_trait]
impl OutsideCluster for OutsideNetwork {
    fn nodes(&self) -> Vec<ExternalNode> {
        let external = |member: &Member| {
            let name = "http".parse().expect("http is an endpoint name");
            let endpoint = Endpoint::new(name, &self.url_for_others(&member.name));
            ExternalNode {
                name: member.name.clone(),
                endpoints: [endpoint.expect("a socket address makes a URL")].into(),
                credential: None,
                listed_in: "whoever runs them".to_owned(),
            }
        };
        self.members.iter().map(external).collect()
    }

    fn peer_address(&self, node: &NodeName) -> Option<String> {
        let index = self.index_of(node)?;
        Some(peer_address(self.members[index].p2p).to_string())
    }

    fn attach(&self, provider: &str) -> StepResult<AttachSpec> {
        let text = format!("{provider} cannot find these nodes; list them as external nodes");
        Err(StepError::new(text))
    }

    async fn kill(&self, node: &NodeName) -> StepResult<bool> {
        match self.index_of(node) {
            Some(index) => self.kill_at(index).await,
            None => Ok(false),
        }
    }

    async fn split(&self) -> StepResult {
        self.split_in_two().await
    }

    async fn halt(&self) -> StepResult {
        self.reaches(HALT_AT).await?;
        self.lead_no_more(0..self.members.len()).await
    }

    async fn slow_down(&self) -> StepResult {
        self.reaches(SLOW_AT).await?;
        let slow = |config: &mut NodeConfig| {
            config.serve_blocks_max = SLOW_BLOCKS;
            config.serve_after_ms = SLOW_AFTER_MS;
        };
        self.start_anew(0..self.members.len(), slow).await
    }

    async fn lie(&self, node: &NodeName, lie: Lie) -> StepResult<bool> {
        let Some(index) = self.index_of(node) else {
            return Ok(false);
        };
        let liar = Liar::start(self.url(index), lie).await?;
        let mut liars = self.liars.lock().expect("nobody panics with it");
        liars.insert(index, liar);
        Ok(true)
    }

    async fn faucet(&self) -> StepResult<OutsideFaucet> {
        let start = || RunningFaucet::start(&self.genesis, self.client(0));
        Ok(self.faucet.get_or_try_init(start).await?.place())
    }

    async fn check_unnoticed(&self) -> StepResult {
        for (index, member) in self.members.iter().enumerate() {
            let mut processes = self.processes.lock().await;
            let Some(process) = &mut processes[index] else {
                continue;
            };
            if let Some(status) = process.try_wait()? {
                return Err(StepError::new(format!(
                    "{} has ended: {status}",
                    member.name
                )));
            }
            let info = self.client(index).node_info().await?;
            if info.genesis != self.genesis.id() {
                return Err(StepError::new(format!(
                    "{} is on another chain",
                    member.name
                )));
            }
        }
        Ok(())
    }
}
