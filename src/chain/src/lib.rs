//! Chains: one fork-aware observer over nodes of any wire, and what is made of what it sees.
//!
//! # What is where
//!
//! | to | use |
//! | --- | --- |
//! | name blocks, transactions, outputs | [`BlockId`], [`TxId`], [`OutputId`], [`Owner`] |
//! | say what a node answered | [`Header`], [`Block`], [`Head`], [`ChainIdentity`] |
//! | ask a node, whatever its wire | [`ChainSource`], [`SourceError`] |
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

pub use crate::{
    error::{SourceError, SourceErrorKind},
    id::{BlockId, IdError, OutputId, Owner, TxId},
    model::{
        Block, BlockAnswer, ChainIdentity, Finalised, Funds, Head, Header, Mode, Output,
        Transaction,
    },
    source::{
        AncestryEnd, BlockStream, ChainSource, HeaderCheck, Peers, RangeUnit, SignedTransaction,
        Streamed, WireShape,
    },
};
