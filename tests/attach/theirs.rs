//! Somebody else's cluster: node processes that no harness started, and a look at whether they noticed anything.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, Instant},
};

use openraft_kv::KvClient;
use tempfile::TempDir;
use trellis_domain::{Endpoint, ExternalNode};

const PROGRAM: &str = env!("CARGO_BIN_EXE_openraft-kv-node");
/// Nothing that is waited for here takes this long.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL_EVERY: Duration = Duration::from_millis(10);
/// The port of all of them; each cluster has addresses of its own.
const PORT: u16 = 7100;

/// A Raft cluster of processes. They end when it is dropped.
pub(crate) struct Theirs {
    folder: TempDir,
    name: String,
    hosts: Ipv4Addr,
    token: Option<String>,
    nodes: Vec<Member>,
}

/// One of them, and a connection to it that must not break.
struct Member {
    id: u8,
    process: Option<Child>,
    connection: Option<TcpStream>,
}

impl Theirs {
    /// A cluster of `size` nodes that runs and answers.
    pub(crate) fn start(size: u8) -> Self {
        let mut theirs = Self::prepare(size);
        for id in 1..=size {
            theirs.spawn(id);
        }
        theirs
    }

    /// The same without a process, for nodes that come later.
    pub(crate) fn prepare(size: u8) -> Self {
        static CLUSTERS: AtomicU8 = AtomicU8::new(1);
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let [.., pid_high, pid_low] = std::process::id().to_be_bytes();
        // Each cluster is on hosts of its own, as if it were somewhere else; no port can be taken there.
        let hosts = Ipv4Addr::new(127, 100 + number, pid_high, pid_low);
        Self {
            folder: tempfile::tempdir().unwrap(),
            name: format!("theirs-{}-{number}", std::process::id()),
            hosts,
            token: None,
            nodes: (1..=size)
                .map(|id| Member {
                    id,
                    process: None,
                    connection: None,
                })
                .collect(),
        }
    }

    /// The same cluster, whose nodes answer nobody without `token`.
    pub(crate) fn with_token(mut self, token: &str) -> Self {
        fs::write(self.folder.path().join("token"), token).unwrap();
        self.token = Some(token.to_owned());
        self
    }

    /// Starts node `id` and waits until it answers.
    pub(crate) fn spawn(&mut self, id: u8) {
        let config = self.folder.path().join(format!("{id}.yaml"));
        fs::write(&config, self.config(id)).unwrap();
        let log = fs::File::create(self.folder.path().join(format!("{id}.log"))).unwrap();
        let process = Command::new(PROGRAM)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let address = self.address(id);
        let deadline = Instant::now() + PATIENCE;
        let connection = loop {
            if let Ok(connection) = TcpStream::connect(address) {
                break connection;
            }
            assert!(Instant::now() < deadline, "{address} does not listen");
            std::thread::sleep(POLL_EVERY);
        };
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let node = &mut self.nodes[usize::from(id) - 1];
        node.process = Some(process);
        node.connection = Some(connection);
        node.ask(self.token.as_deref());
    }

    /// What they call their cluster.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn address(&self, id: u8) -> SocketAddr {
        SocketAddr::new(self.hosts.into(), PORT + u16::from(id))
    }

    pub(crate) fn url(&self, id: u8) -> String {
        format!("http://{}", self.address(id))
    }

    pub(crate) fn client(&self, id: u8) -> KvClient {
        KvClient::new(self.url(id))
    }

    pub(crate) fn pid(&self, id: u8) -> u32 {
        let node = &self.nodes[usize::from(id) - 1];
        node.process.as_ref().expect("it runs").id()
    }

    /// Node `id` as a scenario lists it, under `name`.
    pub(crate) fn external(&self, name: &str, id: u8) -> ExternalNode {
        external(name, &self.url(id))
    }

    /// All of them as `THEIRS_1`, `THEIRS_2` and so on.
    pub(crate) fn all(&self) -> Vec<ExternalNode> {
        let ids = self.nodes.iter().map(|node| node.id);
        ids.map(|id| self.external(&format!("THEIRS_{id}"), id))
            .collect()
    }

    /// Writes them down for the attach provider of listings; `expected` are more names that should be there.
    pub(crate) fn listing(&self, expected: &[&str]) -> String {
        let mut text = String::from("nodes:\n");
        for node in &self.nodes {
            let url = self.url(node.id);
            writeln!(text, "- {{ name: LISTED_{}, url: '{url}' }}", node.id).unwrap();
        }
        writeln!(text, "expected: [{}]", expected.join(", ")).unwrap();
        let file = self.folder.path().join("listing.yaml");
        fs::write(&file, text).unwrap();
        file.display().to_string()
    }

    /// Fails unless every process still runs and answers on the connection that was opened when it started.
    pub(crate) fn assert_unnoticed(&mut self) {
        for node in &mut self.nodes {
            let process = node.process.as_mut().expect("it was started");
            assert!(process.try_wait().unwrap().is_none(), "{} ended", node.id);
            node.ask(self.token.as_deref());
        }
    }

    fn config(&self, id: u8) -> String {
        let mut text = format!(
            "node_id: {id}\nname: THEIRS_{id}\ncluster: {}\nlisten: {}\ndata_dir: {}\ninitial_voters:\n",
            self.name,
            self.address(id),
            self.folder.path().join(format!("data-{id}")).display()
        );
        if self.token.is_some() {
            text = format!("token_file: token\n{text}");
        }
        for node in &self.nodes {
            let (id, address) = (node.id, self.address(node.id));
            writeln!(
                text,
                "- {{ id: {id}, name: THEIRS_{id}, address: '{address}' }}"
            )
            .unwrap();
        }
        text
    }
}

/// A node at `url` that a scenario lists.
pub(crate) fn external(name: &str, url: &str) -> ExternalNode {
    let endpoint = Endpoint::new("http".parse().unwrap(), url).unwrap();
    ExternalNode {
        name: name.parse().unwrap(),
        endpoints: [endpoint].into(),
        credential: None,
        listed_in: format!("the test's list of {name}"),
    }
}

impl Member {
    /// One question and its answer on the open connection.
    fn ask(&mut self, token: Option<&str>) {
        let bearer = token.map(|token| format!("authorization: Bearer {token}\r\n"));
        let request = format!(
            "GET /health HTTP/1.1\r\nhost: theirs\r\n{}\r\n",
            bearer.unwrap_or_default()
        );
        let connection = self.connection.as_mut().expect("it was connected");
        connection
            .write_all(request.as_bytes())
            .expect("the connection is up");
        let mut reader = BufReader::new(&*connection);
        let mut line = String::new();
        reader.read_line(&mut line).expect("the connection is up");
        assert!(line.starts_with("HTTP/1.1 200"), "{line:?}");
        let mut length = 0;
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        for process in self
            .nodes
            .iter_mut()
            .filter_map(|node| node.process.as_mut())
        {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Another address of whatever listens at `target`, now or later.
pub(crate) async fn second_door(target: SocketAddr) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut outside, _)) = listener.accept().await {
            tokio::spawn(async move {
                if let Ok(mut inside) = tokio::net::TcpStream::connect(target).await {
                    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                }
            });
        }
    });
    address
}
