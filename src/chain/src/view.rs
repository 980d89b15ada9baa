//! View: what is known of the chain at one moment, and the questions that steps ask of it.
//!
//! All answers are computed from this one moment, so that two of them fit each other. A clone
//! shares everything.

mod node;

use std::{collections::BTreeMap, sync::Arc};

use thiserror::Error;

pub use self::node::NodeView;
use crate::{
    agreement::{agreed, converged, majority_of},
    graph::{Graph, Place},
    id::{BlockId, Owner, TxId},
    inclusion::{Inclusion, Inclusions, Vantage},
    ledger::{Gap, Ledger},
    observer::CatchUpProgress,
    wallet::{Submitted, Wallet},
};

/// What is known of the chain.
#[derive(Clone, Debug)]
pub struct ChainView {
    /// The headers of all branches.
    pub graph: Graph,
    /// Who holds what, when that is followed.
    pub ledger: Option<Ledger>,
    /// Which block has which transaction.
    pub inclusions: Inclusions,
    /// All nodes that were ever observed, by name.
    pub nodes: Arc<BTreeMap<Arc<str>, NodeView>>,
    /// The highest block that is final for all nodes that run.
    pub common_final: Option<Place>,
    /// How far catching up is, while it is under way.
    pub catch_up: Option<CatchUpProgress>,
}

/// From where a question is asked.
#[derive(Clone, Copy, Debug)]
pub enum Standpoint<'a> {
    /// The head of this node.
    Node(&'a str),
    /// The highest block that a majority of these nodes have.
    Majority(&'a [&'a str]),
    /// The last block that is final for all nodes that run.
    Final,
}

/// Why there is no answer about a wallet.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum WalletUnknown {
    /// There is no such block to look from.
    #[error("there is no block to look from: {from}")]
    NoBlock {
        /// From where it was asked.
        from: String,
    },
    /// No ledger is kept.
    #[error("nobody's funds are followed")]
    NoLedger,
    /// The ledger has a gap.
    #[error("the funds of {owner} are {gap}")]
    Gap {
        /// Whose.
        owner: Owner,
        /// Since when, and why.
        gap: Gap,
    },
}

impl ChainView {
    /// What is known before anybody was asked.
    pub fn empty() -> Self {
        Self {
            graph: Graph::new(),
            ledger: None,
            inclusions: Inclusions::new(),
            nodes: Arc::default(),
            common_final: None,
            catch_up: None,
        }
    }

    /// This node, when it was ever observed.
    pub fn node(&self, name: &str) -> Option<&NodeView> {
        self.nodes.get(name)
    }

    /// The nodes that are observed and answered in the last cycle.
    pub fn running(&self) -> impl Iterator<Item = &NodeView> {
        self.nodes.values().filter(|node| node.is_running())
    }

    /// The highest head of a node that runs.
    pub fn best_head(&self) -> Option<Place> {
        self.running().filter_map(|node| node.head).max()
    }

    /// Whether the heads of all nodes that run are on one chain, at most `within` blocks behind the
    /// highest of them. Not so while the head of one of them is not in the graph.
    pub fn converged(&self, within: u64) -> bool {
        let heads: Option<Vec<BlockId>> = self.running().map(NodeView::current_tip).collect();
        heads.is_some_and(|heads| converged(&self.graph, &heads, within))
    }

    /// The block that is the last final one of every node that runs; `None` when they differ.
    pub fn shared_final(&self) -> Option<Place> {
        let mut finals = self.running().map(|node| node.finalised);
        let first = finals.next()??;
        finals.all(|other| other == Some(first)).then_some(first)
    }

    /// The highest block that more than half of these nodes have on their chains. Nodes that do not
    /// run count as having none.
    pub fn majority_head(&self, nodes: &[&str]) -> Option<Place> {
        let running = nodes.iter().filter_map(|name| self.node(name));
        let running = running.filter(|node| node.is_running());
        let heads: Vec<_> = running.filter_map(|node| Some(node.head?.id)).collect();
        agreed(&self.graph, &heads, majority_of(nodes.len()))
    }

    /// The block that is looked from.
    pub fn block_at(&self, standpoint: Standpoint<'_>) -> Option<Place> {
        match standpoint {
            Standpoint::Node(name) => self.node(name)?.head,
            Standpoint::Majority(nodes) => self.majority_head(nodes),
            Standpoint::Final => self.common_final,
        }
    }

    /// Where the transaction is, as this node has it. `None` when nothing is known of the node.
    pub fn inclusion(&self, transaction: &TxId, node: &str) -> Option<Inclusion> {
        let node = self.node(node)?;
        let vantage = Vantage {
            head: node.head?,
            finalised: node.finalised,
            left: &node.left,
            pending: node.has_pending(transaction),
        };
        Some(self.inclusions.of(transaction, &self.graph, vantage))
    }

    /// Where `transaction` is, looked at from the block of `standpoint`; mempools do not count.
    /// `None` where there is no such block.
    pub fn inclusion_from(
        &self,
        transaction: &TxId,
        standpoint: Standpoint<'_>,
    ) -> Option<Inclusion> {
        let left = rpds::HashTrieSetSync::default();
        let vantage = Vantage {
            head: self.block_at(standpoint)?,
            finalised: self.common_final,
            left: &left,
            pending: false,
        };
        Some(self.inclusions.of(transaction, &self.graph, vantage))
    }

    /// What `owner` has from this standpoint, while those of `submitted` that are not on that chain
    /// still spend their inputs.
    pub fn wallet(
        &self,
        owner: &Owner,
        standpoint: Standpoint<'_>,
        submitted: &Submitted,
    ) -> Result<Wallet, WalletUnknown> {
        let ledger = self.ledger.as_ref().ok_or(WalletUnknown::NoLedger)?;
        let Some(at) = self.block_at(standpoint) else {
            let from = format!("{standpoint:?}");
            return Err(WalletUnknown::NoBlock { from });
        };
        let left = rpds::HashTrieSetSync::default();
        let vantage = Vantage {
            head: at,
            finalised: self.common_final,
            left: &left,
            pending: false,
        };
        let waiting = submitted.waiting(&self.graph, &self.inclusions, vantage);
        Wallet::at(&self.graph, ledger, owner, at, waiting).map_err(|gap| WalletUnknown::Gap {
            owner: owner.clone(),
            gap,
        })
    }
}
