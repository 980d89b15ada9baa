//! Logos: nodes of the Logos blockchain, asked over HTTP, whatever their generation.
//!
//! | generation | known by |
//! | --- | --- |
//! | up to 0.1 | a flat answer to `/cryptarchia/info` |
//! | 0.2.0 | `cryptarchia_info` with a `mode` beside it |
//! | 0.2.1 and newer | `cryptarchia_info` with a `state` in it |
//!
//! Answers are told apart by their shape: not by version numbers, which old nodes do not tell, and
//! not by content types, which do not fit. Fields that are not known are accepted everywhere.
//!
//! ```no_run
//! use trellis_chain::{ChainSource as _, http::{HttpAuth, HttpConfig}, logos::LogosSource};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = HttpConfig::new("PUBLIC_1", "https://node.example.org/api".parse()?);
//! config.auth = HttpAuth::Basic {
//!     user: "qa".to_owned(),
//!     password: std::env::var("PUBLIC_1_PASSWORD")?,
//! };
//! let node = LogosSource::new(config)?;
//!
//! let head = node.head().await?;
//! println!("{} is at height {} ({})", node.name(), head.height, node.shape());
//! let prices = node.http().gas_prices(Some(head.tip)).await?;
//! # let _ = prices;
//! # Ok(())
//! # }
//! ```
//!
//! # What to know
//!
//! - The genesis block is never served. It is known from the headers while it is the last final
//!   block, and later from the first block that names it as its parent.
//! - Headers end at the last final block. What is older is had by ranges of slots.
//! - Blocks do not tell all that is owned: rewards are events, and outputs have no ids. What a
//!   wallet of the node says is the truth ([`LogosHttp::balance`]).
//! - A transaction that a node took need not be valid, and [`TxStatus`] proves nothing. It is
//!   included when it is in a block of the chain.

mod block;
mod chain_calls;
mod client;
mod genesis;
mod info;
mod network_calls;
mod source;
mod streams;
mod wallet_calls;
mod wire;

pub use self::{
    chain_calls::{FinalBlock, FinalBlocks},
    client::LogosHttp,
    info::{Generation, LogosInfo},
    network_calls::{NetworkInfo, TimeInfo, Version},
    source::LogosSource,
    wallet_calls::{Balance, GasPrices, MempoolMetrics, TransferFunds, TxStatus},
};
