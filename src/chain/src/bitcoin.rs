//! Bitcoin: the JSON-RPC of Bitcoin Core and of what descends from it (Knots, Litecoin Core).
//!
//! These nodes have no id among peers, no finality, and no stream of blocks: the genesis block is
//! who they are, finality is a depth, and a call that waits stands in for the stream. All of it was
//! held against a real litecoind in `tests/litecoin.rs`.

// What the wire is made of.
mod amount;
mod reply;
mod shapes;
mod wallet_shapes;

// Who is asked, and how.
mod auth;
mod chain_calls;
mod client;
mod network_calls;
mod wallet_calls;

// What is asked of nodes of all wires.
mod ancestry;
mod blocks;
mod header_check;
mod model;
mod source;
mod stream;

pub use self::{
    amount::{Amount, AmountError, SignedAmount},
    auth::RpcAuth,
    chain_calls::TxPlace,
    client::{BitcoinRpc, RpcAnswer, RpcCall, RpcConfig, RpcLimits},
    reply::{RpcFailure, code},
    shapes::{
        BlockHash, BlockHeader, BlockchainInfo, ChainTip, NetworkInfo, PeerInfo, RawTransaction,
        ScannedOutput, ScannedOutputs, Script, TipSeen, TipStatus, TxHash, TxInput, TxOutput,
        Warnings,
    },
    source::{BitcoinSource, FINALITY_DEPTH},
    wallet_calls::output_id,
    wallet_shapes::{
        Acceptance, Balance, Balances, MempoolEntry, MempoolFees, SignedRaw, Unspent,
        WalletTransaction,
    },
};
