//! Wallet shapes: what a node says of its own wallets and of what waits in its mempool.

use serde::Deserialize;

use super::{
    amount::{Amount, SignedAmount},
    shapes::{id, ids, maybe_id},
};
use crate::id::{BlockId, TxId};

/// `getbalances`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub struct Balances {
    /// Of the wallet's own keys.
    pub mine: Balance,
}

/// What a wallet has.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub struct Balance {
    /// Can be spent.
    pub trusted: Amount,
    /// Comes in by transactions of others that wait.
    pub untrusted_pending: Amount,
    /// Mined too lately to be spent.
    pub immature: Amount,
}

/// `listunspent`: an output of the wallet's.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Unspent {
    /// The transaction that made it.
    #[serde(deserialize_with = "id")]
    pub txid: TxId,
    /// Which of its outputs.
    pub vout: u32,
    /// Whose, where it is an address.
    #[serde(default)]
    pub address: Option<String>,
    /// How much.
    pub amount: Amount,
    /// 0 while it waits.
    pub confirmations: i64,
    /// Whether the wallet has the key.
    pub spendable: bool,
    /// Whether nobody but the wallet could make it go away.
    #[serde(default)]
    pub safe: bool,
}

/// `gettransaction`: a transaction as the wallet sees it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct WalletTransaction {
    /// Its id.
    #[serde(deserialize_with = "id")]
    pub txid: TxId,
    /// What it did to the wallet.
    pub amount: SignedAmount,
    /// Blocks of the best chain from its own on; 0 while it waits; below 0 when that many blocks
    /// ago something else spent what it spends.
    pub confirmations: i64,
    /// The block that it is in; absent while it waits.
    #[serde(default, deserialize_with = "maybe_id")]
    pub blockhash: Option<BlockId>,
    /// The height of that block.
    #[serde(default)]
    pub blockheight: Option<u64>,
    /// What spends the same; only the sender's wallet is sure to know.
    #[serde(default, deserialize_with = "ids")]
    pub walletconflicts: Vec<TxId>,
    /// The transaction in bytes.
    pub hex: String,
}

/// `getmempoolentry`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct MempoolEntry {
    /// What it pays.
    pub fees: MempoolFees,
    /// Its size in virtual bytes.
    pub vsize: u64,
    /// When it came, in seconds since the Unix epoch.
    pub time: u64,
    /// The height of the tip when it came.
    pub height: u64,
    /// Transactions in the mempool whose outputs it spends.
    #[serde(default, deserialize_with = "ids")]
    pub depends: Vec<TxId>,
    /// Transactions in the mempool that spend its outputs.
    #[serde(default, deserialize_with = "ids")]
    pub spentby: Vec<TxId>,
}

/// What a transaction in the mempool pays.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub struct MempoolFees {
    /// For itself.
    pub base: Amount,
}

/// `testmempoolaccept`: whether the mempool would take a transaction.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Acceptance {
    /// Its id.
    #[serde(deserialize_with = "id")]
    pub txid: TxId,
    /// Whether it would. Absent where the node did not come to look at it.
    #[serde(default)]
    pub allowed: bool,
    /// Why not, in the node's words.
    #[serde(default, rename = "reject-reason")]
    pub reject_reason: Option<String>,
}

/// `signrawtransactionwithwallet`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct SignedRaw {
    /// The transaction in bytes.
    pub hex: String,
    /// Whether all that it spends is signed for.
    pub complete: bool,
}

/// `createwallet` and `loadwallet`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct WalletOpened {
    pub(super) name: String,
}
