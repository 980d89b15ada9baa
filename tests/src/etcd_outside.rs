//! Somebody else's etcd: nodes that no harness started, each on a host of its own, and a look at whether they noticed anything.
//!
//! Hosts are addresses of the loopback network, so they are as separate as one machine can have them.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tempfile::TempDir;

/// The ports of all of them, as etcd has them: the hosts differ.
const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;
/// How long a node may take until it answers clients.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A cluster of etcd processes. They end when it is dropped.
pub struct OutsideEtcd {
    nodes: Vec<OutsideNode>,
    _folder: TempDir,
}

struct OutsideNode {
    host: Ipv4Addr,
    process: Child,
    /// Opened when the node had started; it breaks when the node ends or somebody cuts it off.
    connection: TcpStream,
}

impl OutsideEtcd {
    /// Starts `size` nodes as one cluster, and waits until each answers clients.
    ///
    /// # Errors
    /// A program that cannot be run, or a node that does not answer in time.
    pub fn start(size: u8) -> io::Result<Self> {
        static CLUSTERS: AtomicU8 = AtomicU8::new(0);
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        // Other runs on this machine have other process ids.
        let [.., high, low] = std::process::id().to_be_bytes();
        let host = |id: u8| Ipv4Addr::new(127, 64 + number * 8 + id, high, low);
        let peer = |id: u8| format!("http://{}:{PEER_PORT}", host(id));
        let members: Vec<String> = (1..=size)
            .map(|id| format!("etcd-{id}={}", peer(id)))
            .collect();
        let folder = tempfile::tempdir()?;
        let mut started = Vec::new();
        for id in 1..=size {
            let client = format!("http://{}:{CLIENT_PORT}", host(id));
            let config = json!({
                "name": format!("etcd-{id}"),
                "data-dir": folder.path().join(format!("data-{id}")),
                "listen-client-urls": client, "advertise-client-urls": client,
                "listen-peer-urls": peer(id), "initial-advertise-peer-urls": peer(id),
                "initial-cluster": members.join(","),
                "initial-cluster-token": format!("outside-{}-{number}", std::process::id()),
                "enable-grpc-gateway": true,
            });
            let file = folder.path().join(format!("{id}.json"));
            fs::write(&file, config.to_string())?;
            let log = File::create(folder.path().join(format!("{id}.log")))?;
            let mut command = Command::new("etcd");
            command.arg("--config-file").arg(file).stdin(Stdio::null());
            let process = command.stdout(log.try_clone()?).stderr(log).spawn()?;
            started.push(Starting(host(id), Some(process)));
        }
        let nodes = started.into_iter().map(Starting::answers);
        Ok(Self {
            nodes: nodes.collect::<io::Result<_>>()?,
            _folder: folder,
        })
    }

    /// Where clients reach each node.
    pub fn urls(&self) -> impl Iterator<Item = String> {
        let hosts = self.nodes.iter().map(|node| node.host);
        hosts.map(|host| format!("http://{host}:{CLIENT_PORT}"))
    }

    /// Whether every process still runs, and no connection to it has broken.
    pub fn noticed_nothing(&mut self) -> bool {
        self.nodes.iter_mut().all(OutsideNode::noticed_nothing)
    }
}

impl OutsideNode {
    fn noticed_nothing(&mut self) -> bool {
        let runs = matches!(self.process.try_wait(), Ok(None));
        // Nobody asked anything on it, so there is nothing to read, and no end either.
        let read = self.connection.peek(&mut [0]);
        runs && read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl Drop for OutsideNode {
    fn drop(&mut self) {
        // One that has ended already cannot be killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A node that may not answer yet. Its process ends with it, unless it does.
struct Starting(Ipv4Addr, Option<Child>);

impl Starting {
    fn answers(mut self) -> io::Result<OutsideNode> {
        let deadline = Instant::now() + ANSWERS_WITHIN;
        let address = SocketAddr::new(self.0.into(), CLIENT_PORT);
        let connection = loop {
            match TcpStream::connect(address) {
                Ok(connection) => break connection,
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => thread::sleep(LOOK_EVERY),
            }
        };
        connection.set_nonblocking(true)?;
        Ok(OutsideNode {
            host: self.0,
            process: self.1.take().expect("it is taken once"),
            connection,
        })
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(mut process) = self.1.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
