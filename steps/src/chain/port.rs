//! The port: an application whose nodes keep a chain, as phrases see it.

use std::sync::Arc;

use async_trait::async_trait;
use trellis_bootstrap::Application;
use trellis_chain::{
    ChainObserverConfig, ChainSource, OutputId, Owner, SignedTransaction, Transaction,
};
use trellis_domain::{Credential, ExternalNode, NodeHandle, NodeName};

use super::ChainWish;
use crate::{StepError, StepResult};

/// An application that keeps chains, before it is known which.
#[async_trait]
pub trait ChainApp: Send + Sync + 'static {
    /// The application as a scenario wants it.
    ///
    /// # Errors
    /// A wish that it cannot fulfil, in the words of the scenario.
    fn deploy(&self, wish: &ChainWish) -> StepResult<Arc<dyn ChainDeployment>>;

    /// What all nodes of a chain that exists share, such as its genesis, asked of one of these nodes of it; `None` where nodes have it otherwise. It is the `existing` of the wish.
    ///
    /// # Errors
    /// None of them that says it.
    async fn existing(&self, nodes: &[ExternalNode]) -> StepResult<Option<String>> {
        let _ = nodes;
        Ok(None)
    }

    /// What can be asked of a node that is known by its endpoints only, such as a public peer.
    ///
    /// # Errors
    /// Endpoints that this application's nodes do not have.
    fn public_source(&self, node: &ExternalNode) -> StepResult<Arc<dyn ChainSource>>;

    /// How faucets of such chains are asked; `None` where there are none.
    fn faucet(&self) -> Option<Arc<dyn Faucet>> {
        None
    }
}

/// An application together with the chain that a scenario wants.
#[async_trait]
pub trait ChainDeployment: Send + Sync + 'static {
    /// What runs the nodes.
    fn application(&self) -> Arc<dyn Application>;

    /// What can be asked of `node`.
    ///
    /// # Errors
    /// A node without the endpoints that it takes.
    fn source(&self, node: &NodeHandle) -> StepResult<Arc<dyn ChainSource>>;

    /// How the chain is watched: from where, and whose funds. `network` is the cluster's.
    fn observer(&self, network: &str) -> ChainObserverConfig;

    /// Where other nodes reach `node`, in the form that [`ChainSource::connect`] takes.
    ///
    /// # Errors
    /// A node without such an address.
    fn peer_address(&self, node: &NodeHandle) -> StepResult<String>;

    /// Those who hold and move value; `None` where that is not what the chain is for. `network` is the cluster's.
    fn wallets(&self, network: &str) -> Option<Arc<dyn ChainWallets>>;

    /// Has `node` refuse `others` as peers from now on, and nobody else; an empty list ends it. What is lost is connections, not data.
    ///
    /// # Errors
    /// Nodes that cannot be told to.
    async fn refuse_peers(&self, node: &NodeHandle, others: &[NodeHandle]) -> StepResult {
        let _ = others;
        Err(StepError::new(format!(
            "{} cannot be told whom to refuse as a peer",
            node.name()
        )))
    }

    /// Has `node` make so many blocks on top of its head, whose reward `owner` gets.
    ///
    /// # Errors
    /// Nodes that make blocks when they please.
    async fn mine(&self, node: &NodeHandle, blocks: u32, owner: &Owner) -> StepResult {
        let _ = (blocks, owner);
        Err(StepError::new(format!(
            "{} cannot be told to make blocks; on its chain they come by themselves",
            node.name()
        )))
    }

    /// What `matter` is called on this chain and how a node says it, for people; `None` where nodes do not say it.
    async fn detail(&self, node: &NodeHandle, matter: NodeMatter) -> StepResult<Option<String>>;
}

/// Something that a node may say about itself beyond the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeMatter {
    /// All that it says of its chain, in its own words.
    ChainInfo,
    /// When the chain begins, in milliseconds since 1970.
    GenesisTime,
}

/// Whose money it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccountRef {
    /// An account by its number, as in the genesis table.
    Index(u64),
    /// The funding wallet of a node.
    Node(NodeName),
    /// The account that pays the fees of others.
    Sponsor,
}

/// What is wrong with a transaction that is meant to be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Defect {
    /// It pays out more than it takes in.
    Unbalanced,
    /// Somebody else signed it.
    BadSignature,
    /// It spends an output that there is not.
    UnknownInput,
}

/// A transaction that is ready to be handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltTransaction {
    /// What to hand in.
    pub signed: SignedTransaction,
    /// What it does.
    pub effect: Transaction,
    /// What it costs.
    pub fee: u64,
}

/// Somebody who gives value away over HTTP.
#[async_trait]
pub trait Faucet: Send + Sync + 'static {
    /// Asks the faucet at `url` once to give something to `owner`.
    ///
    /// # Errors
    /// What it answered instead, or that it did not.
    async fn ask(
        &self,
        url: &str,
        credential: Option<&Credential>,
        owner: &Owner,
    ) -> StepResult<()>;
}

/// Those who hold value on a chain, and can sign.
///
/// Which outputs are spent is the caller's to say: it knows what is on which branch, and what is spent by transactions that wait.
#[async_trait]
pub trait ChainWallets: Send + Sync + 'static {
    /// Who `account` is on the chain. May have to be asked of `node`, the wallet's home.
    ///
    /// # Errors
    /// Whatever keeps the account from being had.
    async fn owner(&self, account: &AccountRef, node: &NodeHandle) -> StepResult<Owner>;

    /// Pays `outputs` out of `coins`; what is left, the fee subtracted, comes back to the account. Signed, not handed in.
    ///
    /// `sponsor` are outputs of [`AccountRef::Sponsor`] that pay the fee instead, where they are not empty.
    ///
    /// # Errors
    /// Coins that are worth too little.
    async fn pay(
        &self,
        from: &AccountRef,
        node: &NodeHandle,
        coins: &[(OutputId, u64)],
        outputs: &[(Owner, u64)],
        sponsor: &[(OutputId, u64)],
    ) -> StepResult<BuiltTransaction>;

    /// Writes `bytes` into the chain, and pays for it out of `coins`, or of `sponsor` where that is not empty. Signed, not handed in.
    ///
    /// # Errors
    /// Coins that are worth too little, or a chain that nothing can be written into.
    async fn inscribe(
        &self,
        from: &AccountRef,
        node: &NodeHandle,
        coins: &[(OutputId, u64)],
        bytes: Vec<u8>,
        sponsor: &[(OutputId, u64)],
    ) -> StepResult<BuiltTransaction>;

    /// A payment with something wrong in it.
    ///
    /// # Errors
    /// A defect that transactions of this chain cannot have.
    async fn defective(
        &self,
        from: &AccountRef,
        node: &NodeHandle,
        coins: &[(OutputId, u64)],
        to: &Owner,
        defect: Defect,
    ) -> StepResult<BuiltTransaction>;

    /// What a transaction with so many outputs and so many bytes written costs at most.
    fn fee_max(&self, outputs: usize, bytes: usize) -> u64;
}
