//! Bitcoin: the JSON-RPC of Bitcoin Core and of what descends from it (Knots, Litecoin Core).
//!
//! These nodes have no id among peers, no finality, and no stream of blocks: the genesis block is
//! who they are, finality is a depth, and a call that waits stands in for the stream. All of it was
//! held against a real litecoind in `tests/litecoin.rs`.

// What the wire is made of.
mod amount;
mod reply;

pub use self::{
    amount::{Amount, SignedAmount},
    reply::{RpcFailure, code},
};
