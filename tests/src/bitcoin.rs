//! Bitcoin-family nodes behind the port of the phrases about chains.
//!
//! Who holds and moves value there is in `bitcoin_wallets`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bitcoin_node::BitcoinApp;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};
use trellis::{Application, NodeHandle, NodeName};
use trellis_chain::{
    ChainObserverConfig, ChainSource, LedgerConfig, Owner, StartAt,
    bitcoin::{BitcoinRpc, BitcoinSource, RpcAuth, RpcConfig},
};
use trellis_domain::{Credential, ExternalNode};
use trellis_steps::{
    StepError, StepResult,
    chain::{ChainApp, ChainDeployment, ChainWallets, ChainWish, NodeMatter},
};

use crate::bitcoin_wallets::BitcoinWallets;

/// How long a connection may take to end after a node was told to end it.
const HANGS_UP_WITHIN: Duration = Duration::from_secs(10);
/// How often a node is asked whether it has.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// Binds the port to a Bitcoin-family application.
pub struct BitcoinPort {
    app: BitcoinApp,
}

impl BitcoinPort {
    /// The port of `app`.
    pub fn new(app: BitcoinApp) -> Self {
        Self { app }
    }
}

impl ChainApp for BitcoinPort {
    fn deploy(&self, wish: &ChainWish) -> StepResult<Arc<dyn ChainDeployment>> {
        if let Some(not) = not_on_regtest(wish) {
            let text = format!("nodes on regtest cannot be given {not}");
            return Err(StepError::new(text));
        }
        let mut app = self
            .app
            .clone()
            .with_initial_peers(wish.initial_peers.iter().cloned());
        if let Some(k) = wish.security_parameter {
            app = app.with_finality_depth(u64::from(k));
        }
        Ok(Arc::new(Bitcoin {
            app,
            refused: Mutex::default(),
        }))
    }

    fn public_source(&self, node: &ExternalNode) -> StepResult<Arc<dyn ChainSource>> {
        let endpoint = node.endpoints.first();
        let endpoint = endpoint.ok_or_else(|| {
            StepError::new(format!("{} has no endpoint that can be asked", node.name))
        })?;
        let auth = match &node.credential {
            None => RpcAuth::None,
            Some(Credential::Basic { user, password }) => RpcAuth::Password {
                user: user.clone(),
                password: password.expose().to_owned(),
            },
            Some(Credential::Bearer(_)) => {
                let text = format!("{} is asked with a user and a password", node.name);
                return Err(StepError::new(text));
            }
        };
        let config = RpcConfig::new(node.name.as_str(), endpoint.url().clone(), auth);
        Ok(Arc::new(BitcoinSource::new(config)?))
    }
}

/// What a scenario wants that these nodes have not got, in words.
fn not_on_regtest(wish: &ChainWish) -> Option<&'static str> {
    let wants = [
        (
            !wish.resources.is_empty(),
            "wallet resources in the genesis block; mine blocks for a wallet instead",
        ),
        (
            wish.sponsor.is_some(),
            "an account that pays the fees of others",
        ),
        (wish.begins_in.is_some(), "a time at which the chain begins"),
        (
            wish.prolonged_bootstrap.is_some(),
            "a time to wait after the download",
        ),
        (
            wish.uses_ibd,
            "peers to download from; they download from all",
        ),
        (
            !wish.deployment_overrides.is_empty(),
            "another deployment; its rules are built in",
        ),
    ];
    let found = wants.into_iter().find(|(wanted, _)| *wanted);
    found.map(|(_, what)| what)
}

/// The nodes of one scenario.
struct Bitcoin {
    app: BitcoinApp,
    /// The addresses to which each node kept a connection before it was told to refuse them.
    refused: Mutex<BTreeMap<NodeName, BTreeSet<String>>>,
}

#[async_trait]
impl ChainDeployment for Bitcoin {
    fn application(&self) -> Arc<dyn Application> {
        Arc::new(self.app.clone())
    }

    fn source(&self, node: &NodeHandle) -> StepResult<Arc<dyn ChainSource>> {
        Ok(Arc::new(self.app.source(node)?))
    }

    fn observer(&self, _: &str) -> ChainObserverConfig {
        let ledger = LedgerConfig {
            // What the first block made can never be spent.
            genesis: Some(Vec::new()),
            ..LedgerConfig::default()
        };
        ChainObserverConfig::default()
            .with_start(StartAt::Genesis)
            .with_ledger(ledger)
    }

    fn peer_address(&self, node: &NodeHandle) -> StepResult<String> {
        Ok(self.app.peer_address(node)?)
    }

    fn wallets(&self, _: &str) -> Option<Arc<dyn ChainWallets>> {
        Some(Arc::new(BitcoinWallets::new(self.app.clone())))
    }

    /// A node drops the connections that it opened itself, for good. Those that the others opened are theirs to drop, since who came in cannot be told by its address; a split tells both sides.
    async fn refuse_peers(&self, node: &NodeHandle, others: &[NodeHandle]) -> StepResult {
        let source = self.app.source(node)?;
        let rpc = source.rpc();
        if others.is_empty() {
            let again = self.lock().remove(node.name()).unwrap_or_default();
            for address in again {
                rpc.keep_connected(&address).await?;
                // A node looks only now and then whether it is connected to whom it shall be.
                rpc.connect_once(&address).await?;
            }
            return Ok(());
        }
        let others: BTreeSet<String> = others
            .iter()
            .map(|other| self.peer_address(other))
            .collect::<StepResult<_>>()?;
        let kept: Vec<KeptPeer> = rpc.call("getaddednodeinfo", json!([])).await?;
        let kept = kept.into_iter().map(|kept| kept.addednode);
        for address in kept.filter(|address| others.contains(address)) {
            rpc.forget_peer(&address).await?;
            let mut refused = self.lock();
            let refused = refused.entry(node.name().clone()).or_default();
            refused.insert(address);
        }
        hang_up(node.name(), rpc, &others).await
    }

    async fn mine(&self, node: &NodeHandle, blocks: u32, owner: &Owner) -> StepResult {
        let source = self.app.source(node)?;
        let mined = source.rpc().generate_to_address(blocks, owner.as_str());
        mined.await?;
        Ok(())
    }

    async fn detail(&self, node: &NodeHandle, matter: NodeMatter) -> StepResult<Option<String>> {
        match matter {
            NodeMatter::ChainInfo => {
                let info = self.app.source(node)?.rpc().blockchain_info().await?;
                Ok(Some(format!("{info:?}")))
            }
            _ => Ok(None),
        }
    }
}

impl Bitcoin {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeName, BTreeSet<String>>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `getaddednodeinfo`: a peer that a node keeps connected to.
#[derive(Deserialize)]
struct KeptPeer {
    addednode: String,
}

/// Ends the connections that a node opened to `others`, and waits until they have ended.
async fn hang_up(name: &NodeName, rpc: &BitcoinRpc, others: &BTreeSet<String>) -> StepResult {
    let deadline = Instant::now() + HANGS_UP_WITHIN;
    let mut told = BTreeSet::new();
    loop {
        let peers = rpc.peer_info().await?;
        let opened = peers.into_iter().filter(|peer| !peer.inbound);
        let open: Vec<u64> = opened
            .filter(|peer| others.contains(&peer.addr))
            .map(|peer| peer.id)
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let text = format!("{name} did not end its connections within {HANGS_UP_WITHIN:?}");
            return Err(StepError::new(text));
        }
        for id in open {
            if told.insert(id) {
                // One that has ended meanwhile is no longer known, and the next look shows it.
                let _ = rpc.call::<()>("disconnectnode", json!(["", id])).await;
            }
        }
        sleep(ASK_EVERY).await;
    }
}
