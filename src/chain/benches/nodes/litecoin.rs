//! litecoind: the same over nodes that count in heights, where they are installed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bitcoin_regtest::{Flavour, NodeOptions, RegtestNode};
use tokio::time::sleep;
use trellis_chain::bitcoin::{BitcoinSource, RpcAuth, RpcConfig};
use trellis_observation::ObservedSource;

use crate::{Effort, ingestion};

const USER: &str = "bench";
const STARTS_WITHIN: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How many blocks are mined between payments.
const MINED_AT_ONCE: u32 = 20;
/// After so many blocks, the reward of the first can be spent.
const MATURES: u32 = 101;

pub(crate) async fn ingestion(effort: Effort) {
    let flavour = Flavour::litecoin();
    if !flavour.is_installed() {
        println!("litecoind   is not on this machine; {}", flavour.install);
        return;
    }
    let options = NodeOptions {
        password: Some((USER.to_owned(), USER.to_owned())),
        ..NodeOptions::default()
    };
    let node = RegtestNode::start(&flavour, &options).expect("it is started");
    let auth = RpcAuth::Password {
        user: USER.to_owned(),
        password: USER.to_owned(),
    };
    let config = RpcConfig::new("NODE_1", node.rpc_url(), auth);
    let source = BitcoinSource::new(config).expect("it can be asked");
    grow(&source, effort).await;
    let source = ObservedSource::new("NODE_1", Arc::new(source) as _);
    ingestion::measure("litecoind", &source, effort.rounds).await;
}

/// Mines as many blocks, some of them with payments: each is a write to the wallet's disk, and thousands of them would take longer than everything else.
async fn grow(source: &BitcoinSource, effort: Effort) {
    let rpc = source.rpc();
    let begun = Instant::now();
    while rpc.blockchain_info().await.is_err() {
        assert!(begun.elapsed() < STARTS_WITHIN, "litecoind did not start");
        sleep(LOOK_EVERY).await;
    }
    let wallet = rpc.create_wallet("bench").await.expect("it has none");
    let owner = wallet.new_address().await.expect("it has addresses");
    let mine = |blocks: u32| rpc.generate_to_address(blocks, &owner);
    let blocks = u32::try_from(effort.blocks).expect("few blocks");
    mine(MATURES.min(blocks)).await.expect("it mines");
    let coins = "0.001".parse().expect("it is an amount");
    let mut left = blocks.saturating_sub(MATURES);
    while left > 0 {
        for _ in 0..effort.transactions {
            let paid = wallet.send_to_address(&owner, coins);
            paid.await.expect("it has enough");
        }
        let now = left.min(MINED_AT_ONCE);
        mine(now).await.expect("it mines");
        left -= now;
    }
}
