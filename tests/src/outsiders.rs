//! Outsiders: Raft clusters of openraft-kv that somebody else could have started, and a look at whether they noticed anything.
//!
//! Nothing here goes through a backend: the processes are in no ledger and carry no label. They end with the cluster, or with the test process, however that ends.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use openraft_kv::{KvClient, api::Consistency};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::timeout,
};
use trellis_domain::{AttachSpec, Credential, Endpoint, ExternalNode, NodeName, Secret};
use trellis_steps::{
    StepError, StepResult,
    outsiders::{OutsideCluster, Outsiders},
};

use crate::{open_line::OpenLine, signals::Signals};

/// How long a cluster may take to come up, and one check of it.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first port; nodes of a cluster differ by it.
const PORT: u16 = 7100;
/// Clusters are on hosts 127.x.., with x from here, so that each has hosts of its own.
const FIRST_NET: u16 = 130;
const NETS: u16 = 100;
/// What is written in the beginning, and must be there in the end.
const KEY: &str = "theirs";
const VALUE: &str = "kept";

/// Starts clusters of a node program.
pub struct RaftOutsiders {
    program: PathBuf,
    clusters: AtomicU16,
    signals: Signals,
}

impl RaftOutsiders {
    /// Clusters of the node program at `program`, which `signals` can find.
    pub fn new(program: impl Into<PathBuf>, signals: Signals) -> Self {
        Self {
            program: program.into(),
            clusters: AtomicU16::new(0),
            signals,
        }
    }
}

/// A host that no other cluster has, also of other test processes.
fn host(number: u16) -> Ipv4Addr {
    let [.., pid_high, pid_low] = std::process::id().to_be_bytes();
    let net = FIRST_NET + number % NETS;
    let net = u8::try_from(net).expect("a net is below 256");
    Ipv4Addr::new(127, net, pid_high, pid_low)
}

#[async_trait]
impl Outsiders for RaftOutsiders {
    async fn start(
        &self,
        names: &[NodeName],
        token: Option<Secret>,
    ) -> StepResult<Box<dyn OutsideCluster>> {
        let number = self.clusters.fetch_add(1, Ordering::Relaxed);
        let host = host(number);
        let folder = tempfile::tempdir()?;
        let port = PORT + 10 * (number / NETS);
        let members = names.iter().zip(1u16..).map(|(name, id)| Member {
            name: name.clone(),
            id,
            address: SocketAddr::new(host.into(), port + id),
        });
        let plan = Plan {
            cluster: format!("theirs-{}-{number}", std::process::id()),
            folder: folder.path().to_owned(),
            members: members.collect(),
            token,
        };
        plan.write()?;
        let mut nodes = BTreeMap::new();
        for member in &plan.members {
            let process = plan.spawn(&self.program, member)?;
            nodes.insert(
                member.name.clone(),
                Node {
                    process,
                    line: None,
                },
            );
        }
        let cluster = RaftCluster {
            nodes: tokio::sync::Mutex::new(nodes),
            signals: self.signals.clone(),
            plan,
            _folder: folder,
        };
        match timeout(PATIENCE, cluster.begin()).await {
            Ok(begun) => begun?,
            Err(_) => return Err(StepError::new("somebody else's cluster did not come up")),
        }
        Ok(Box::new(cluster))
    }
}

/// What a cluster is to be.
struct Plan {
    cluster: String,
    folder: PathBuf,
    members: Vec<Member>,
    token: Option<Secret>,
}

struct Member {
    name: NodeName,
    id: u16,
    address: SocketAddr,
}

impl Plan {
    fn write(&self) -> StepResult {
        for member in &self.members {
            fs::write(self.config(member), self.config_text(member))?;
        }
        if let Some(token) = &self.token {
            fs::write(self.folder.join("token"), token.expose())?;
        }
        Ok(())
    }

    fn config(&self, member: &Member) -> PathBuf {
        self.folder.join(format!("{}.yaml", member.id))
    }

    fn config_text(&self, member: &Member) -> String {
        let mut text = format!(
            "node_id: {}\nname: {}\ncluster: {}\nlisten: '{}'\ndata_dir: {}\ninitial_voters:\n",
            member.id,
            member.name,
            self.cluster,
            member.address,
            self.folder.join(format!("data-{}", member.id)).display()
        );
        for Member { name, id, address } in &self.members {
            writeln!(text, "- {{ id: {id}, name: {name}, address: '{address}' }}")
                .expect("a String takes any text");
        }
        if self.token.is_some() {
            text.push_str("token_file: token\n");
        }
        text
    }

    /// Starts a node that ends with this process, also if that is killed.
    fn spawn(&self, program: &Path, member: &Member) -> StepResult<Child> {
        let log = fs::File::create(self.folder.join(format!("{}.log", member.id)))?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .arg("--config")
            .arg(self.config(member))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A Ctrl-C at the terminal is for the run.
            .process_group(0)
            .kill_on_drop(true);
        Ok(command.spawn()?)
    }

    fn client(&self, member: &Member) -> KvClient {
        let client = KvClient::new(format!("http://{}", member.address));
        match &self.token {
            Some(token) => client.with_token(token.clone()),
            None => client,
        }
    }

    fn external(&self, member: &Member) -> ExternalNode {
        let name = "http".parse().expect("http is an endpoint name");
        let endpoint = Endpoint::new(name, &format!("http://{}", member.address));
        ExternalNode {
            name: member.name.clone(),
            endpoints: [endpoint.expect("a socket address makes a URL")].into(),
            credential: self.token.clone().map(Credential::Bearer),
            listed_in: "whoever runs them".to_owned(),
        }
    }
}

/// A node's process, and a connection to it that must not break.
struct Node {
    process: Child,
    line: Option<OpenLine>,
}

/// A cluster that runs.
struct RaftCluster {
    nodes: tokio::sync::Mutex<BTreeMap<NodeName, Node>>,
    signals: Signals,
    plan: Plan,
    /// Removed last.
    _folder: TempDir,
}

impl RaftCluster {
    /// Waits until every node answers and a write is acknowledged, and opens the connections.
    async fn begin(&self) -> StepResult {
        let mut nodes = self.nodes.lock().await;
        for member in &self.plan.members {
            let node = nodes.get_mut(&member.name).expect("it was started");
            let token = self.plan.token.as_ref();
            let line = loop {
                match OpenLine::to(member.address, token).await {
                    Ok(line) => break line,
                    // It does not listen yet; a process that ended never will.
                    Err(error) => match node.process.try_wait()? {
                        None => tokio::task::yield_now().await,
                        Some(status) => {
                            let text = format!("{} ended ({status}): {error}", member.name);
                            return Err(StepError::new(text));
                        }
                    },
                }
            };
            node.line = Some(line);
        }
        self.through_the_leader(async |client: KvClient| client.put(KEY, VALUE).await.is_ok())
            .await;
        Ok(())
    }

    /// Asks one node after the other until `ask` is content with one; bounded by the caller.
    async fn through_the_leader(&self, ask: impl AsyncFn(KvClient) -> bool) {
        loop {
            for member in &self.plan.members {
                if ask(self.plan.client(member)).await {
                    return;
                }
            }
            tokio::task::yield_now().await;
        }
    }

    async fn keeps_its_data(&self) -> StepResult {
        let read = self.through_the_leader(async |client: KvClient| {
            let read = client.get(KEY, Consistency::Linearizable).await;
            read.is_ok_and(|value| value.as_deref() == Some(VALUE))
        });
        timeout(PATIENCE, read)
            .await
            .map_err(|_| StepError::new(format!("{KEY} does not read {VALUE} any more")))
    }
}

#[async_trait]
impl OutsideCluster for RaftCluster {
    fn nodes(&self) -> Vec<ExternalNode> {
        let members = self.plan.members.iter();
        members.map(|member| self.plan.external(member)).collect()
    }

    fn attach(&self, provider: &str) -> StepResult<AttachSpec> {
        let cluster = match provider {
            "static" => self.write_listing()?,
            "signals" => self.plan.cluster.clone(),
            other => {
                let text = format!("{other} cannot find these nodes; static and signals can");
                return Err(StepError::new(text));
            }
        };
        let pids = self.nodes.try_lock().map_err(StepError::from)?;
        let pids = pids
            .iter()
            .filter_map(|(name, node)| Some((name.clone(), node.process.id()?)));
        self.signals
            .learn(&self.plan.cluster, self.nodes(), pids.collect());
        Ok(AttachSpec {
            provider: provider.to_owned(),
            cluster,
        })
    }

    async fn kill(&self, node: &NodeName) -> StepResult<bool> {
        let killed = self.nodes.lock().await.remove(node);
        match killed {
            Some(mut killed) => killed
                .process
                .kill()
                .await
                .map(|()| true)
                .map_err(StepError::from),
            None => Ok(false),
        }
    }

    async fn check_unnoticed(&self) -> StepResult {
        for (name, node) in &mut *self.nodes.lock().await {
            if let Some(status) = node.process.try_wait()? {
                return Err(StepError::new(format!("{name} has ended: {status}")));
            }
            let line = node.line.as_mut().expect("it was opened in the beginning");
            let asked = timeout(PATIENCE, line.ask()).await;
            let asked = asked.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
            asked.map_err(|error| {
                StepError::from(error).within(format!("the connection to {name} was dropped"))
            })?;
        }
        self.keeps_its_data().await
    }
}

impl RaftCluster {
    /// Writes the nodes down for the provider of listings.
    fn write_listing(&self) -> StepResult<String> {
        let mut text = String::from("nodes:\n");
        for Member { name, address, .. } in &self.plan.members {
            writeln!(text, "- {{ name: {name}, url: 'http://{address}' }}")
                .expect("a String takes any text");
        }
        let file = self.plan.folder.join("listing.yaml");
        fs::write(&file, text)?;
        Ok(file.display().to_string())
    }
}
