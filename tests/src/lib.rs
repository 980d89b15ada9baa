//! What the composition root joins - fixtures on one side, the steps' ports on the other - and what tests across crates share.

pub mod bitcoin;
pub mod bitcoin_outsiders;
pub mod bitcoin_wallets;
pub mod by_hand;
mod chain_faucet;
pub mod chain_outsiders;
pub mod devchain;
pub mod etcd;
pub mod etcd_kv;
pub mod etcd_outside;
mod liar;
pub mod logos;
pub mod open_line;
pub mod openraft;
pub mod outsiders;
pub mod projection;
pub mod recorded;
pub mod signals;
pub mod site;
pub mod sleeper;
pub mod squatter;
