//! The wish: what a scenario's first steps say about the chain that its nodes shall keep.
//!
//! Words of phrases, not of an application: what becomes of them is the application's port to say.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use trellis_domain::NodeName;

/// What the scenario said so far. What it did not say is the application's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChainWish {
    /// Outputs of wallets in the genesis block.
    pub resources: Vec<WalletResource>,
    /// The account that pays fees, where there is one.
    pub sponsor: Option<SponsorWish>,
    /// How long after the cluster is brought up the chain begins.
    pub begins_in: Option<Duration>,
    /// k: how many blocks deep a block is final.
    pub security_parameter: Option<u32>,
    /// How long a node waits after its initial download before it takes part.
    pub prolonged_bootstrap: Option<Duration>,
    /// Every node fetches the chain from others before it takes part, also those that found the cluster.
    pub uses_ibd: bool,
    /// From whom they fetch it; from all that they are told of where this is empty.
    pub ibd_peers: BTreeSet<NodeName>,
    /// Addresses of peers outside the cluster, in the application's own form.
    pub initial_peers: Vec<String>,
    /// Values at dotted paths of what all nodes share, such as the genesis.
    pub deployment_overrides: BTreeMap<String, String>,
    /// The chain is one that exists: nothing of it is made here.
    pub joins_existing: bool,
    /// What all nodes of that chain share, as the application's port found it there.
    pub existing: Option<String>,
    /// The most nodes that the cluster will have at one time, as far as its steps say.
    pub nodes_max: usize,
}

/// So many outputs of so much each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalletResource {
    /// Whose.
    pub account_index: u64,
    /// How many.
    pub token_count: u64,
    /// Of which value each, in the smallest unit.
    pub token_amount: u64,
}

/// What an account has that pays the fees of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SponsorWish {
    /// How many outputs.
    pub tokens: u64,
    /// Of which value each.
    pub value: u64,
}
