//! Bitcoin-family outsiders: nodes on regtest that somebody else runs, with a block every now and then.

use std::{
    sync::{Arc, Mutex as StdMutex},
    time::Duration,
};

use async_trait::async_trait;
use bitcoin_node::Flavour;
use bitcoin_regtest::{NodeOptions, RegtestNode};
use tokio::{
    sync::Mutex,
    task::JoinHandle,
    time::{Instant, sleep},
};
use trellis_chain::bitcoin::{BitcoinRpc, RpcAuth, RpcConfig};
use trellis_domain::{AttachSpec, Credential, Endpoint, ExternalNode, NodeName, Secret};
use trellis_steps::{
    StepError, StepResult,
    outsiders::{Lie, OutsideCluster, Outsiders},
};

use crate::liar::Liar;

/// How long a network may take to come up, and one change of it.
const PATIENCE: Duration = Duration::from_mins(1);
const ASK_EVERY: Duration = Duration::from_millis(50);
/// How often there is a block.
const BLOCK_EVERY: Duration = Duration::from_millis(500);
/// How many blocks there are before anybody comes.
const BLOCKS_BEFORE: u32 = 30;
const USER: &str = "theirs";

/// Starts networks of a Bitcoin-family node program.
pub struct BitcoinOutsiders {
    flavour: Flavour,
}

impl BitcoinOutsiders {
    /// Networks of the program of `flavour`.
    pub fn new(flavour: Flavour) -> Self {
        Self { flavour }
    }
}

#[async_trait]
impl Outsiders for BitcoinOutsiders {
    async fn start(
        &self,
        names: &[NodeName],
        token: Option<Secret>,
    ) -> StepResult<Box<dyn OutsideCluster>> {
        if token.is_some() {
            return Err(StepError::new("these nodes know passwords and no tokens"));
        }
        Ok(Box::new(OutsideRegtest::start(&self.flavour, names).await?))
    }
}

struct Member {
    name: NodeName,
    rpc: BitcoinRpc,
    url: String,
    peer_address: String,
}

/// A network that runs, on one chain.
struct OutsideRegtest {
    members: Vec<Member>,
    password: String,
    liars: StdMutex<Vec<(NodeName, Liar)>>,
    mining: JoinHandle<()>,
    processes: Arc<Mutex<Vec<Option<RegtestNode>>>>,
}

impl OutsideRegtest {
    async fn start(flavour: &Flavour, names: &[NodeName]) -> StepResult<Self> {
        // They cannot be asked from elsewhere, and last no longer than a scenario.
        let password = format!("{}-{}", std::process::id(), names.len());
        let options = NodeOptions {
            password: Some((USER.to_owned(), password.clone())),
            ..NodeOptions::default()
        };
        let (mut members, mut processes) = (Vec::new(), Vec::new());
        for name in names {
            let node = RegtestNode::start(flavour, &options)?;
            let auth = RpcAuth::Password {
                user: USER.to_owned(),
                password: password.clone(),
            };
            let config = RpcConfig::new(name.as_str(), node.rpc_url(), auth);
            members.push(Member {
                name: name.clone(),
                rpc: BitcoinRpc::new(config)?,
                url: node.rpc_url().as_str().trim_end_matches('/').to_owned(),
                peer_address: node.peer_address(),
            });
            processes.push(Some(node));
        }
        for member in &members {
            await_node(member, "answer", |_| true).await?;
        }
        let (first, others) = members
            .split_first()
            .ok_or_else(|| StepError::new("a network has a node"))?;
        for other in others {
            other.rpc.keep_connected(&first.peer_address).await?;
            other.rpc.connect_once(&first.peer_address).await?;
        }
        let owner = first.rpc.open_wallet(USER).await?.new_address().await?;
        first.rpc.generate_to_address(BLOCKS_BEFORE, &owner).await?;
        for member in &members {
            let enough = |height| height >= u64::from(BLOCKS_BEFORE);
            await_node(member, "get the first blocks", enough).await?;
        }
        let miner = first.rpc.clone();
        let mining = tokio::spawn(async move {
            // A node that was killed makes none, and its network stays where it is.
            while miner.generate_to_address(1, &owner).await.is_ok() {
                sleep(BLOCK_EVERY).await;
            }
        });
        Ok(Self {
            members,
            password,
            liars: StdMutex::default(),
            mining,
            processes: Arc::new(Mutex::new(processes)),
        })
    }

    fn member(&self, node: &NodeName) -> Option<&Member> {
        self.members.iter().find(|member| member.name == *node)
    }

    fn url(&self, member: &Member) -> String {
        let liars = self.liars.lock().expect("nobody panics with it");
        let liar = liars.iter().find(|(name, _)| *name == member.name);
        liar.map_or_else(|| member.url.clone(), |(_, liar)| liar.url())
    }
}

/// Waits until a node answers with a height that is `enough`.
async fn await_node(member: &Member, what: &str, enough: impl Fn(u64) -> bool) -> StepResult {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = member.rpc.blockchain_info().await;
        if seen.as_ref().is_ok_and(|info| enough(info.blocks)) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let text = format!(
                "{} did not {what} within {PATIENCE:?}; the last it said was {seen:?}",
                member.name
            );
            return Err(StepError::new(text));
        }
        sleep(ASK_EVERY).await;
    }
}

#[async_trait]
impl OutsideCluster for OutsideRegtest {
    fn nodes(&self) -> Vec<ExternalNode> {
        let external = |member: &Member| {
            let name = "rpc".parse().expect("rpc is an endpoint name");
            let endpoint = Endpoint::new(name, &self.url(member));
            ExternalNode {
                name: member.name.clone(),
                endpoints: [endpoint.expect("a host and a port make a URL")].into(),
                credential: Some(Credential::Basic {
                    user: USER.to_owned(),
                    password: Secret::from(self.password.clone()),
                }),
                listed_in: "whoever runs them".to_owned(),
            }
        };
        self.members.iter().map(external).collect()
    }

    fn peer_address(&self, node: &NodeName) -> Option<String> {
        Some(self.member(node)?.peer_address.clone())
    }

    fn attach(&self, provider: &str) -> StepResult<AttachSpec> {
        let text = format!("{provider} cannot find these nodes; list them as external nodes");
        Err(StepError::new(text))
    }

    async fn kill(&self, node: &NodeName) -> StepResult<bool> {
        let index = self.members.iter().position(|member| member.name == *node);
        let Some(index) = index else {
            return Ok(false);
        };
        match self.processes.lock().await[index].take() {
            Some(mut process) => process.kill().map(|()| true).map_err(StepError::from),
            None => Ok(false),
        }
    }

    async fn halt(&self) -> StepResult {
        self.mining.abort();
        Ok(())
    }

    async fn lie(&self, node: &NodeName, lie: Lie) -> StepResult<bool> {
        let Some(member) = self.member(node) else {
            return Ok(false);
        };
        let liar = Liar::start(member.url.clone(), lie).await?;
        let mut liars = self.liars.lock().expect("nobody panics with it");
        liars.push((node.clone(), liar));
        Ok(true)
    }

    async fn check_unnoticed(&self) -> StepResult {
        let mut processes = self.processes.lock().await;
        for (member, process) in self.members.iter().zip(processes.iter_mut()) {
            if process
                .as_mut()
                .is_some_and(|process| !process.is_running())
            {
                return Err(StepError::new(format!("{} has ended", member.name)));
            }
        }
        Ok(())
    }
}

impl Drop for OutsideRegtest {
    fn drop(&mut self) {
        self.mining.abort();
    }
}
