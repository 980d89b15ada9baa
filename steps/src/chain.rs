//! Chains: phrases about nodes that keep one chain between them, and the port that an application binds for them.
//!
//! What a chain is and how it is watched is `trellis-chain`'s. No application is named here.

mod book;
mod branches;
mod faucet;
mod genesis;
mod mining;
mod money;
mod network;
mod nodes;
mod peers;
mod port;
mod public;
mod session;
mod shown;
mod starting;
mod transactions;
mod wallets;
mod watching;
mod wish;

pub use port::{
    AccountRef, BuiltTransaction, ChainApp, ChainDeployment, ChainWallets, Defect, Faucet,
    NodeMatter,
};
pub use wish::{ChainWish, SponsorWish, WalletResource};

pub(crate) use book::WalletBook;
pub(crate) use faucet::FaucetPlace;
pub(crate) use public::PublicPeers;
pub(crate) use session::ChainSession;
pub(crate) use starting::await_online;
pub(crate) use wallets::Amount;

pub(crate) fn effects() -> [&'static [crate::effect::StepEffects]; 8] {
    [
        genesis::EFFECTS,
        nodes::EFFECTS,
        mining::EFFECTS,
        network::EFFECTS,
        branches::EFFECTS,
        public::EFFECTS,
        wallets::EFFECTS,
        transactions::EFFECTS,
    ]
}
