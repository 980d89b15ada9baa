//! Chains: one fork-aware observer over nodes of any wire, and what is made of what it sees.
//!
//! # What is where
//!
//! | to | use |
//! | --- | --- |
//! | name blocks, transactions, outputs | [`BlockId`], [`TxId`], [`OutputId`], [`Owner`] |
//! | say what a node answered | [`Header`], [`Block`], [`Head`], [`ChainIdentity`] |
//! | ask a node, whatever its wire | [`ChainSource`], [`SourceError`] |
//! | know how blocks hang together | [`Graph`], [`Relation`], [`Place`] |
//!
//! # What is not here
//!
//! Clusters, steps and applications: a source is all that this crate knows of a node.

// What a chain is made of.
mod id;
mod model;

// Who is asked.
mod error;
mod source;

// How a node of a wire is asked.
pub mod http;

#[cfg(test)]
mod generated;

// How blocks hang together.
mod graph;

// What is made of them.
mod agreement;
mod inclusion;
mod ledger;
mod wallet;

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
    source::{
        AncestryEnd, BlockStream, ChainSource, HeaderCheck, Peers, RangeUnit, SignedTransaction,
        Streamed, WireShape,
    },
    wallet::{Submitted, Wallet},
};
