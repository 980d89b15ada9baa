//! Somebody else's etcd: nodes that no harness started, each on a host of its own, and a look at whether they noticed anything.
//!
//! Hosts are addresses of the loopback network, so they are as separate as one machine can have them.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use serde_json::json;
use tempfile::TempDir;
use trellis_domain::{AttachSpec, Endpoint, ExternalNode, NodeName, Secret};
use trellis_steps::{
    StepError, StepResult,
    kv::{KvRefusal, Read},
    outsiders::{OutsideCluster, Outsiders},
};

use crate::etcd_kv::{Gateway, http_client};

/// The ports of all of them, as etcd has them: the hosts differ.
const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;
/// How long a node may take until it answers clients.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A key of theirs, and its value.
const MARK: &str = "theirs";

/// Runs etcd for somebody else.
#[derive(Debug, Clone, Copy, Default)]
pub struct EtcdOutsiders;

#[async_trait]
impl Outsiders for EtcdOutsiders {
    async fn start(
        &self,
        names: &[NodeName],
        token: Option<Secret>,
    ) -> StepResult<Box<dyn OutsideCluster>> {
        if token.is_some() {
            return Err(StepError::new("this etcd knows no tokens"));
        }
        let names = names.to_vec();
        let started = tokio::task::spawn_blocking(move || OutsideEtcd::start(&names));
        let cluster = started.await??;
        cluster.write_mark().await?;
        Ok(Box::new(cluster))
    }
}

/// A cluster of etcd processes. They end when it is dropped.
pub struct OutsideEtcd {
    nodes: Mutex<Vec<OutsideNode>>,
    http: reqwest::Client,
    _folder: TempDir,
}

struct OutsideNode {
    name: NodeName,
    host: Ipv4Addr,
    process: Child,
    /// Opened when the node had started; it breaks when the node ends or somebody cuts it off.
    connection: Option<TcpStream>,
    killed: bool,
}

impl OutsideEtcd {
    /// Starts nodes with these names as one cluster, and waits until each answers clients.
    fn start(names: &[NodeName]) -> io::Result<Self> {
        static HOSTS: AtomicU8 = AtomicU8::new(1);
        // Other runs on this machine have other process ids.
        let [.., high, low] = std::process::id().to_be_bytes();
        let host = |_| Ipv4Addr::new(127, HOSTS.fetch_add(1, Ordering::Relaxed), high, low);
        let hosts: Vec<Ipv4Addr> = names.iter().map(host).collect();
        let members = names.iter().zip(hosts.iter().copied());
        let member = |(name, host)| format!("{name}={}", url(host, PEER_PORT));
        let members: Vec<String> = members.map(member).collect();
        let folder = tempfile::tempdir()?;
        let start =
            |(name, host)| OutsideNode::start(name, host, &members.join(","), folder.path());
        let nodes = names.iter().zip(hosts).map(start);
        let mut nodes = nodes.collect::<io::Result<Vec<_>>>()?;
        nodes.iter_mut().try_for_each(OutsideNode::answers)?;
        Ok(Self {
            nodes: Mutex::new(nodes),
            http: http_client(),
            _folder: folder,
        })
    }

    /// Writes what must still be there in the end, as soon as there is a leader who takes it.
    async fn write_mark(&self) -> StepResult {
        let Some(gateway) = self.gateways().into_iter().next() else {
            return Err(StepError::new("a cluster has at least one node"));
        };
        let deadline = Instant::now() + ANSWERS_WITHIN;
        loop {
            match gateway.put(MARK, MARK).await {
                Err(KvRefusal::NoQuorum(_)) if Instant::now() < deadline => {}
                written => return Ok(written?),
            }
        }
    }

    /// Checks that every node that was not killed still has what was written in the beginning.
    async fn check_mark(&self) -> StepResult {
        for gateway in self.gateways() {
            let found = gateway.get(MARK, Read::Local).await?;
            if found.as_deref() != Some(MARK) {
                let why = format!("{MARK} reads {found:?} where somebody else runs etcd");
                return Err(StepError::new(why));
            }
        }
        Ok(())
    }

    /// Those of the nodes that were not killed.
    fn gateways(&self) -> Vec<Gateway> {
        let nodes = self.nodes();
        let alive = nodes.iter().filter(|node| !node.killed);
        let gateway = |node: &OutsideNode| Gateway::at(&self.http, &url(node.host, CLIENT_PORT));
        alive.filter_map(gateway).collect()
    }

    fn nodes(&self) -> MutexGuard<'_, Vec<OutsideNode>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl OutsideCluster for OutsideEtcd {
    fn nodes(&self) -> Vec<ExternalNode> {
        self.nodes().iter().map(OutsideNode::listed).collect()
    }

    fn attach(&self, provider: &str) -> StepResult<AttachSpec> {
        let why = format!("nobody has told {provider} of this etcd");
        Err(StepError::new(why))
    }

    async fn kill(&self, node: &NodeName) -> StepResult<bool> {
        let mut nodes = self.nodes();
        let Some(node) = nodes.iter_mut().find(|known| known.name == *node) else {
            return Ok(false);
        };
        node.process.kill()?;
        node.process.wait()?;
        node.killed = true;
        Ok(true)
    }

    async fn check_unnoticed(&self) -> StepResult {
        let noticed = |node: &mut OutsideNode| (!node.noticed_nothing()).then(|| node.name.clone());
        if let Some(name) = self.nodes().iter_mut().find_map(noticed) {
            let why = format!("{name} ended, or was cut off from its clients");
            return Err(StepError::new(why));
        }
        self.check_mark().await
    }
}

impl OutsideNode {
    fn start(name: &NodeName, host: Ipv4Addr, members: &str, folder: &Path) -> io::Result<Self> {
        let (client, peer) = (url(host, CLIENT_PORT), url(host, PEER_PORT));
        let config = json!({
            "name": name.as_str(), "data-dir": folder.join(format!("data-{name}")),
            "listen-client-urls": client, "advertise-client-urls": client,
            "listen-peer-urls": peer, "initial-advertise-peer-urls": peer,
            "initial-cluster": members, "initial-cluster-token": members,
            "enable-grpc-gateway": true,
        });
        let file = folder.join(format!("{name}.json"));
        fs::write(&file, config.to_string())?;
        let log = File::create(folder.join(format!("{name}.log")))?;
        let mut command = Command::new("etcd");
        command
            .arg("--config-file")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(Self {
            name: name.clone(),
            host,
            process: command.spawn()?,
            connection: None,
            killed: false,
        })
    }

    /// Waits until the node answers clients, and keeps a connection to it.
    fn answers(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + ANSWERS_WITHIN;
        let address = SocketAddr::new(self.host.into(), CLIENT_PORT);
        let connection = loop {
            match TcpStream::connect(address) {
                Ok(connection) => break connection,
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => thread::sleep(LOOK_EVERY),
            }
        };
        connection.set_nonblocking(true)?;
        self.connection = Some(connection);
        Ok(())
    }

    fn listed(&self) -> ExternalNode {
        let http = "http".parse().expect("http is an endpoint name");
        let endpoint = Endpoint::new(http, &url(self.host, CLIENT_PORT));
        ExternalNode {
            name: self.name.clone(),
            endpoints: [endpoint.expect("it is a URL")].into(),
            credential: None,
            listed_in: "somebody else's list".to_owned(),
        }
    }

    fn noticed_nothing(&mut self) -> bool {
        if self.killed {
            return true;
        }
        let runs = matches!(self.process.try_wait(), Ok(None));
        // Nobody asked anything on it, so there is nothing to read, and no end either.
        let read = self.connection.as_ref().map(|open| open.peek(&mut [0]));
        let quiet = matches!(read, Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock);
        runs && quiet
    }
}

impl Drop for OutsideNode {
    fn drop(&mut self) {
        // One that has ended already cannot be killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn url(host: Ipv4Addr, port: u16) -> String {
    format!("http://{host}:{port}")
}
