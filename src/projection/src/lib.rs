//! Projection: events of a JetStream stream, folded into durable views, exactly once in effect.
//!
//! The one promise that everything here serves: the views of a projection and its checkpoint are written in one transaction, that checkpoint is the only authority on what was applied, and delivery always starts right after it, in order.
//!
//! Suggested order of reading: [`types`], [`settings`], [`shards`], [`program`], [`manifest`], [`quarantine`], [`storage`], [`stream`], [`pipeline`], [`query`], [`rebuild`], [`lease`], [`cluster`], [`metrics`], [`health`], [`admin`], [`http`], [`command`].

mod hex;
mod spans;

pub mod types;

pub mod settings;

pub mod shards;

pub mod manifest;
pub mod program;

pub mod quarantine;
pub mod storage;

pub mod health;
pub mod metrics;
pub mod pipeline;
pub mod stream;

pub mod cluster;
pub mod lease;
pub mod query;
pub mod rebuild;

pub mod admin;

pub mod command;
pub mod http;
