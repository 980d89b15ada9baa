//! Chains: one fork-aware observer over nodes of any wire, and what is made of what it sees.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use trellis_chain::{
//!     ChainObserver, ChainObserverConfig, ChainSource, StartAt,
//!     memory::{MemoryNode, genesis},
//! };
//! use trellis_observation::{ObservationConfig, ObservationRuntime, ObservedSource, StaticSources};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Nodes in memory here; nodes of a real wire are sources just the same.
//! let nodes = ["NODE_1", "NODE_2"].map(|name| Arc::new(MemoryNode::new(name, genesis(0))));
//! let sources = nodes.iter().map(|node| {
//!     let source: Arc<dyn ChainSource> = Arc::clone(node) as _;
//!     ObservedSource::new(node.name(), source)
//! });
//! let observer = ChainObserver::new(ChainObserverConfig::default().with_start(StartAt::Genesis));
//! let sources = StaticSources::new(sources);
//! let runtime = ObservationRuntime::start(observer, sources, ObservationConfig::default());
//! let chain = runtime.handle();
//!
//! nodes[0].grow(5, 1);
//! nodes[1].follow(&nodes[0]);
//! let goal = "both nodes to be on one chain of five blocks";
//! let within = Duration::from_secs(10);
//! let seen = chain
//!     .wait_for(goal, within, |view| {
//!         view.converged(0) && view.best_head().is_some_and(|head| head.height == 5)
//!     })
//!     .await?;
//! assert_eq!(seen.snapshot.majority_head(&["NODE_1", "NODE_2"]).unwrap().height, 5);
//! # runtime.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What is where
//!
//! | to | use |
//! | --- | --- |
//! | name blocks, transactions, outputs | [`BlockId`], [`TxId`], [`OutputId`], [`Owner`] |
//! | say what a node answered | [`Header`], [`Block`], [`Head`], [`ChainIdentity`] |
//! | ask a node, whatever its wire | [`ChainSource`], [`SourceError`] |
//! | ask Bitcoin Core, Knots or Litecoin Core | [`bitcoin::BitcoinSource`], [`bitcoin::BitcoinRpc`] |
//! | ask a Logos node | [`logos`] |
//! | make a source for another HTTP wire | [`http`] |
//! | watch the chain | [`ChainObserver`], [`ChainObserverConfig`], [`ChainEvent`], [`wake_on_blocks`] |
//! | know what is true now | [`ChainView`], [`NodeView`], [`Standpoint`] |
//! | know how blocks hang together | [`Graph`], [`Relation`], [`Place`], [`agreed`], [`converged`] |
//! | know where a transaction is | [`ChainView::inclusion`], [`Inclusion`] |
//! | know what a wallet has | [`ChainView::wallet`], [`Wallet`], [`Submitted`], [`LedgerConfig`] |
//! | follow a public chain | [`sync`] |
//! | test what stands upon it | [`memory`] |
//!
//! # What is promised
//!
//! - A node that fails, hangs or lies costs its own freshness and nobody else's. Blocks that it
//!   had while it was away are told of when it is back, or by whoever has them.
//! - Each block is told of once, before any head is there; each head that is reported is told of
//!   with what it left, unless the graph no longer reaches back to where the two chains part.
//! - What is not known is never taken for "no" or for nothing: see [`Relation::Unknown`], [`Gap`].
//! - Memory is bounded by the window of heights below the heads, and a cycle costs what is new.
//!
//! # What is not here
//!
//! Clusters, steps and applications: a source is all that this crate knows of a node. How often to
//! look and how to wait is `trellis-observation`'s.

// What a chain is made of.
mod id;
mod model;

// Who is asked.
mod error;
pub mod memory;
mod source;

// How a node of a wire is asked.
pub mod bitcoin;
pub mod http;
pub mod logos;

#[cfg(test)]
mod generated;

// How blocks hang together.
mod graph;

// What is made of them.
mod agreement;
mod inclusion;
mod ledger;
mod wallet;

// What watches it.
mod observer;
pub mod sync;
mod view;
mod wake;

pub use crate::{
    agreement::{agreed, converged, majority_of},
    error::{SourceError, SourceErrorKind},
    graph::{Entry, Graph, GraphError, Grown, Inserted, Orphan, Orphans, Place, Relation},
    id::{BlockId, IdError, OutputId, Owner, TxId},
    inclusion::{Inclusion, Inclusions, SettledOrder, Vantage},
    ledger::{Account, Gap, GapReason, Holdings, Ledger, LedgerConfig, OutputRule, Watch},
    model::{
        Block, BlockAnswer, ChainIdentity, Finalised, Funds, Head, Header, Mode, Output,
        Transaction,
    },
    observer::{
        CatchUpProgress, ChainEvent, ChainObserver, ChainObserverConfig, ChainState, Reorg, StartAt,
    },
    source::{
        AncestryEnd, BlockStream, ChainSource, HeaderCheck, Peers, RangeUnit, SignedTransaction,
        Streamed, WireShape,
    },
    view::{ChainView, NodeView, Standpoint, WalletUnknown},
    wake::wake_on_blocks,
    wallet::{Submitted, Wallet},
};
