//! Network: nodes that are ready, and how to wait for what they come to.

use std::time::{Duration, Instant};

use bitcoin_regtest::{Flavour, NodeOptions, RegtestNode};
use trellis_chain::{
    BlockId, ChainSource as _, SourceError, SourceErrorKind,
    bitcoin::{BitcoinRpc, BitcoinSource, RpcAuth, RpcConfig, RpcLimits, code},
};

/// How long anything may take.
pub(crate) const WITHIN: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A node and what asks it.
pub(crate) struct Node {
    pub(crate) process: RegtestNode,
    pub(crate) source: BitcoinSource,
}

impl Node {
    /// A node that answers.
    pub(crate) async fn start(name: &str) -> Self {
        Self::start_with(name, &NodeOptions::default()).await
    }

    pub(crate) async fn start_with(name: &str, options: &NodeOptions) -> Self {
        let process = RegtestNode::start(&Flavour::litecoin(), options).expect("it can be started");
        let auth = match options.password.clone() {
            Some((user, password)) => RpcAuth::Password { user, password },
            None => RpcAuth::CookieFile(process.cookie_file()),
        };
        let source = BitcoinSource::new(config(&process, name, auth)).expect("it is an address");
        let node = Self { process, source };
        node.ready().await;
        node
    }

    /// Waits until it answers.
    pub(crate) async fn ready(&self) {
        eventually("the node answers", async || {
            match self.rpc().blockchain_info().await {
                Ok(_) => Some(()),
                Err(error) if is_early(&error) => None,
                Err(error) => panic!("{error}\n{}", self.process.log_tail()),
            }
        })
        .await;
    }

    pub(crate) fn rpc(&self) -> &BitcoinRpc {
        self.source.rpc()
    }

    pub(crate) async fn tip(&self) -> BlockId {
        self.source.head().await.expect("it answers").tip
    }

    /// Mines to a wallet that nobody looks at.
    pub(crate) async fn mine(&self, blocks: u32) -> Vec<BlockId> {
        let wallet = self.rpc().open_wallet("miner").await.expect("it opens");
        let address = wallet.new_address().await.expect("it has one");
        let mined = self.rpc().generate_to_address(blocks, &address).await;
        mined.expect("it mines")
    }

    /// Connects to `other`, which then relays to this one at once.
    pub(crate) async fn connect(&self, other: &Self) {
        let address = other.process.peer_address();
        self.source.connect(&address).await.expect("it answers");
    }
}

pub(crate) fn config(process: &RegtestNode, name: &str, auth: RpcAuth) -> RpcConfig {
    RpcConfig {
        limits: limits(),
        ..RpcConfig::new(name, process.rpc_url(), auth)
    }
}

/// More time than usual: the machine may have other things to do.
pub(crate) fn limits() -> RpcLimits {
    RpcLimits {
        within: WITHIN,
        ..RpcLimits::default()
    }
}

/// Whether a node that says so is only not ready yet.
pub(crate) fn is_early(error: &SourceError) -> bool {
    match &error.kind {
        SourceErrorKind::Refused { .. } | SourceErrorKind::NoCredential { .. } => true,
        SourceErrorKind::Node { code, .. } => *code == code::WARMING_UP,
        _ => false,
    }
}

/// Three nodes, of which the second and the third are connected to the first and to each other.
pub(crate) async fn three() -> [Node; 3] {
    let nodes = tokio::join!(Node::start("N1"), Node::start("N2"), Node::start("N3"));
    let nodes = [nodes.0, nodes.1, nodes.2];
    let [n1, n2, n3] = &nodes;
    n2.connect(n1).await;
    n3.connect(n1).await;
    n3.connect(n2).await;
    eventually("the nodes are connected", async || {
        for node in &nodes {
            if node.source.peers().await.expect("it answers").count < 2 {
                return None;
            }
        }
        Some(())
    })
    .await;
    nodes
}

/// Waits until all are at the tip of the first.
pub(crate) async fn converge(nodes: &[&Node]) -> BlockId {
    eventually("the nodes have one tip", async || {
        let tip = nodes[0].tip().await;
        for node in nodes {
            if node.tip().await != tip {
                return None;
            }
        }
        Some(tip)
    })
    .await
}

/// What `look` finds, as soon as it finds something.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WITHIN;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {WITHIN:?}: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
