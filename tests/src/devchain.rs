//! devchain behind the port of the phrases about chains.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use devchain::{
    DevchainApp, DevchainClient, DevchainWallet, FeePayer, Genesis, GenesisNotes, PeerAddress,
    api::Mode,
    application::IbdPeers,
    id::{ChannelId, NoteId, PublicKey},
    transaction::{Note, Op, SignedOps, Transfer, note_id, op_id},
    wallet::{BuiltTransaction as Built, Notes},
};
use trellis::{Application, NodeHandle, NodeName};
use trellis_chain::{
    ChainObserverConfig, ChainSource, LedgerConfig, Output, OutputId, OutputRule, Owner,
    SignedTransaction, StartAt, Transaction, TxId,
    http::{HttpAuth, HttpConfig},
    logos::LogosSource,
};
use trellis_domain::{Credential, Endpoint, ExternalNode};
use trellis_steps::{
    StepError, StepResult,
    chain::{
        AccountRef, BuiltTransaction, ChainApp, ChainDeployment, ChainWallets, ChainWish, Defect,
        Faucet, NodeMatter,
    },
};
use url::Url;

use crate::chain_faucet::FaucetClient;

/// How long it takes on average until there is a block, unless a scenario says otherwise.
const BLOCK_TIME: Duration = Duration::from_millis(250);
/// The account index of the first funding wallet of a node; genesis tables use small numbers.
const FUNDING: u64 = 1 << 48;
/// What deployment overrides change, for messages.
const GENESIS: &str = "the genesis";

/// Binds the port to devchain.
pub struct DevchainPort {
    program: PathBuf,
}

impl DevchainPort {
    /// The port of nodes that the program at `program` runs.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
        }
    }
}

#[async_trait]
impl ChainApp for DevchainPort {
    fn deploy(&self, wish: &ChainWish) -> StepResult<Arc<dyn ChainDeployment>> {
        let genesis = match &wish.existing {
            Some(existing) => serde_saphyr::from_str(existing)?,
            None => genesis(wish)?,
        };
        let peers: Vec<PeerAddress> = wish
            .initial_peers
            .iter()
            .map(|peer| peer.parse().map_err(StepError::from))
            .collect::<StepResult<_>>()?;
        let ibd_peers = match (wish.uses_ibd, wish.ibd_peers.is_empty()) {
            (false, _) => IbdPeers::OfJoiners,
            (true, true) => IbdPeers::All,
            (true, false) => IbdPeers::Named(wish.ibd_peers.clone()),
        };
        let app = DevchainApp::new(&self.program)
            .with_genesis(genesis)
            .with_initial_peers(peers)
            .with_ibd_peers(ibd_peers)
            .with_prolonged_bootstrap_period(wish.prolonged_bootstrap.unwrap_or_default());
        Ok(Arc::new(Devchain { app }))
    }

    async fn existing(&self, nodes: &[ExternalNode]) -> StepResult<Option<String>> {
        let mut failures = Vec::new();
        for node in nodes {
            let endpoint = node.endpoints.first();
            let endpoint = endpoint.ok_or_else(|| no_endpoint(&node.name))?;
            match DevchainClient::new(endpoint.url().as_str()).genesis().await {
                Ok(genesis) => return Ok(Some(serde_saphyr::to_string(&genesis)?)),
                Err(error) => failures.push(format!("; {}: {error}", node.name)),
            }
        }
        Err(StepError::new(format!(
            "nobody gave the genesis of the chain to join; list nodes of it as external nodes or public peers{}",
            failures.concat()
        )))
    }

    fn public_source(&self, node: &ExternalNode) -> StepResult<Arc<dyn ChainSource>> {
        let endpoint = node.endpoints.first();
        let endpoint = endpoint.ok_or_else(|| no_endpoint(&node.name))?;
        source(&node.name, endpoint, node.credential.as_ref())
    }

    fn faucet(&self) -> Option<Arc<dyn Faucet>> {
        Some(Arc::new(FaucetClient))
    }
}

/// The genesis that a scenario wants.
fn genesis(wish: &ChainWish) -> StepResult<Genesis> {
    let mut genesis = Genesis::new("", "devchain").with_block_time(BLOCK_TIME);
    genesis.leaders = u32::try_from(wish.nodes_max.max(1))?;
    genesis.accounts = wish
        .resources
        .iter()
        .map(|resource| GenesisNotes {
            account_index: resource.account_index,
            token_count: resource.token_count,
            token_amount: resource.token_amount,
        })
        .collect();
    genesis.sponsors = wish
        .sponsor
        .iter()
        .map(|sponsor| GenesisNotes {
            account_index: 0,
            token_count: sponsor.tokens,
            token_amount: sponsor.value,
        })
        .collect();
    if let Some(k) = wish.security_parameter {
        genesis.security_parameter = k;
    }
    if let Some(delay) = wish.begins_in {
        let begin = SystemTime::now() + delay;
        let begin = begin.duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
        genesis.genesis_time_unix_ms = u64::try_from(begin)?;
    }
    if !wish.deployment_overrides.is_empty() {
        let text = serde_saphyr::to_string(&genesis)?;
        let text = trellis_bootstrap::apply_overrides(GENESIS, &text, &wish.deployment_overrides)?;
        genesis = serde_saphyr::from_str(&text)?;
    }
    Ok(genesis)
}

fn no_endpoint(node: &NodeName) -> StepError {
    StepError::new(format!("{node} has no endpoint called http"))
}

fn source(
    name: &NodeName,
    endpoint: &Endpoint,
    credential: Option<&Credential>,
) -> StepResult<Arc<dyn ChainSource>> {
    let url: Url = endpoint.url().clone();
    let auth = match credential {
        None => HttpAuth::None,
        Some(Credential::Basic { user, password }) => HttpAuth::Basic {
            user: user.clone(),
            password: password.expose().to_owned(),
        },
        Some(Credential::Bearer(token)) => HttpAuth::Bearer(token.expose().to_owned()),
    };
    let config = HttpConfig {
        auth,
        ..HttpConfig::new(name.as_str(), url)
    };
    Ok(Arc::new(LogosSource::new(config)?))
}

/// How a node of a cluster is asked about its chain.
pub(crate) fn node_source(node: &NodeHandle) -> StepResult<Arc<dyn ChainSource>> {
    let endpoint = node.endpoint("http");
    let endpoint = endpoint.ok_or_else(|| no_endpoint(node.name()))?;
    source(node.name(), endpoint, node.credential.as_ref())
}

/// devchain with the chain of one scenario.
struct Devchain {
    app: DevchainApp,
}

#[async_trait]
impl ChainDeployment for Devchain {
    fn application(&self) -> Arc<dyn Application> {
        Arc::new(self.app.clone())
    }

    fn source(&self, node: &NodeHandle) -> StepResult<Arc<dyn ChainSource>> {
        node_source(node)
    }

    fn observer(&self, network: &str) -> ChainObserverConfig {
        let notes = self.app.genesis(network).notes().into_iter();
        let ledger = LedgerConfig {
            genesis: Some(notes.map(|(id, note)| output(id, &note)).collect()),
            rule: Some(OutputRule::new(output_id)),
            ..LedgerConfig::default()
        };
        ChainObserverConfig::default()
            .with_start(StartAt::Genesis)
            .with_ledger(ledger)
    }

    fn peer_address(&self, node: &NodeHandle) -> StepResult<String> {
        Ok(self.app.peer_address(node)?.to_string())
    }

    fn wallets(&self, network: &str) -> Option<Arc<dyn ChainWallets>> {
        Some(Arc::new(DevchainWallets {
            genesis: self.app.genesis(network),
        }))
    }

    async fn refuse_peers(&self, node: &NodeHandle, others: &[NodeHandle]) -> StepResult {
        let names = others.iter().map(|other| other.name().to_string());
        self.app.client(node)?.block_peers(names).await?;
        Ok(())
    }

    async fn detail(&self, node: &NodeHandle, matter: NodeMatter) -> StepResult<Option<String>> {
        match matter {
            NodeMatter::ChainInfo => {
                let info = self.app.client(node)?.info().await?;
                let mode = match info.phase.mode() {
                    Mode::Online => "online",
                    Mode::Bootstrapping => "bootstrapping",
                };
                Ok(Some(format!("{mode}: {info:?}")))
            }
            _ => Ok(None),
        }
    }
}

fn output(id: NoteId, note: &Note) -> Output {
    Output {
        id: Some(OutputId::from(id.to_string())),
        owner: Owner::from(note.pk.to_string()),
        value: note.value,
        operation: 0,
    }
}

/// The id of an output, as devchain makes it.
fn output_id(transaction: &Transaction, index: usize) -> Option<OutputId> {
    let output = transaction.outputs.get(index)?;
    let note = Note {
        value: output.value,
        pk: output.owner.to_string().parse().ok()?,
    };
    let position = transaction.position_in_operation(index)?;
    let op = op_id(
        devchain::id::TxId(*transaction.id.as_bytes()),
        u64::try_from(output.operation).ok()?,
    );
    let id = note_id(op, u64::try_from(position).ok()?, &note);
    Some(OutputId::from(id.to_string()))
}

/// The accounts of one chain, all of whose keys follow from its genesis.
struct DevchainWallets {
    genesis: Genesis,
}

impl DevchainWallets {
    fn wallet(&self, account: &AccountRef) -> DevchainWallet {
        match account {
            AccountRef::Index(index) => DevchainWallet::new(&self.genesis, *index),
            AccountRef::Node(node) => {
                let bytes = node.as_str().bytes();
                let number = bytes.fold(0u64, |sum, byte| {
                    (sum.wrapping_mul(131).wrapping_add(u64::from(byte))) % FUNDING
                });
                DevchainWallet::new(&self.genesis, FUNDING + number)
            }
            AccountRef::Sponsor => DevchainWallet::sponsor(&self.genesis, 0),
        }
    }

    fn made(built: Built) -> StepResult<BuiltTransaction> {
        let effect = effect(&built.signed, built.spent.iter().copied());
        Ok(BuiltTransaction {
            signed: SignedTransaction::Json(serde_json::to_string(&built.signed)?.into()),
            effect,
            fee: built.fee,
        })
    }
}

/// What a transaction does, in the form of all chains.
fn effect(signed: &SignedOps, spent: impl Iterator<Item = NoteId>) -> Transaction {
    let outputs = signed.created_notes();
    Transaction {
        id: TxId::from_bytes(signed.id().0),
        inputs: spent.map(|id| OutputId::from(id.to_string())).collect(),
        outputs: outputs.iter().map(|(id, note)| output(*id, note)).collect(),
    }
}

fn notes(coins: &[(OutputId, u64)]) -> StepResult<Notes> {
    let note = |(id, value): &(OutputId, u64)| Ok((id.to_string().parse()?, *value));
    coins.iter().map(note).collect()
}

fn key(owner: &Owner) -> StepResult<PublicKey> {
    Ok(owner.to_string().parse()?)
}

#[async_trait]
impl ChainWallets for DevchainWallets {
    async fn owner(&self, account: &AccountRef, _: &NodeHandle) -> StepResult<Owner> {
        let key = self.wallet(account).public_key();
        Ok(Owner::from(key.to_string()))
    }

    async fn pay(
        &self,
        from: &AccountRef,
        _: &NodeHandle,
        coins: &[(OutputId, u64)],
        outputs: &[(Owner, u64)],
        sponsor: &[(OutputId, u64)],
    ) -> StepResult<BuiltTransaction> {
        let outputs: Vec<(PublicKey, u64)> = outputs
            .iter()
            .map(|(owner, value)| Ok((key(owner)?, *value)))
            .collect::<StepResult<_>>()?;
        let (lender, lent) = (self.wallet(&AccountRef::Sponsor), notes(sponsor)?);
        let fee = if sponsor.is_empty() {
            FeePayer::Own
        } else {
            FeePayer::Sponsor(&lender, &lent)
        };
        let built = self.wallet(from).transfer(&notes(coins)?, &outputs, fee)?;
        Self::made(built)
    }

    async fn inscribe(
        &self,
        from: &AccountRef,
        _: &NodeHandle,
        coins: &[(OutputId, u64)],
        bytes: Vec<u8>,
        sponsor: &[(OutputId, u64)],
    ) -> StepResult<BuiltTransaction> {
        let (lender, lent) = (self.wallet(&AccountRef::Sponsor), notes(sponsor)?);
        let fee = if sponsor.is_empty() {
            FeePayer::Own
        } else {
            FeePayer::Sponsor(&lender, &lent)
        };
        let wallet = self.wallet(from);
        let channel = ChannelId(wallet.public_key().0);
        let built = wallet.inscribe(&notes(coins)?, channel, bytes, fee)?;
        Self::made(built)
    }

    async fn defective(
        &self,
        from: &AccountRef,
        _: &NodeHandle,
        coins: &[(OutputId, u64)],
        to: &Owner,
        defect: Defect,
    ) -> StepResult<BuiltTransaction> {
        let owner = self.wallet(from);
        let stranger = DevchainWallet::new(&self.genesis, u64::MAX);
        let (inputs, value) = match (defect, coins.first()) {
            (Defect::UnknownInput, _) | (_, None) => (vec![NoteId([1; 32])], 1),
            (Defect::Unbalanced, Some((id, value))) => (vec![id.to_string().parse()?], value * 2),
            (_, Some((id, value))) => (vec![id.to_string().parse()?], *value),
        };
        let signer = match defect {
            Defect::BadSignature => &stranger,
            _ => &owner,
        };
        let transfer = Transfer {
            inputs,
            outputs: vec![Note {
                value,
                pk: key(to)?,
            }],
        };
        let signed = DevchainWallet::sign(vec![(Op::Transfer(transfer), signer)]);
        Ok(BuiltTransaction {
            effect: effect(&signed, signed.spent_notes()),
            signed: SignedTransaction::Json(serde_json::to_string(&signed)?.into()),
            fee: 0,
        })
    }

    fn fee_max(&self, outputs: usize, bytes: usize) -> u64 {
        // Two operations, inputs and change included: a note takes some 40 bytes, and so does an input.
        let notes = outputs + 64;
        self.genesis.fee(2, bytes + notes * 80)
    }
}
