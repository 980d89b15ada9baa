//! Shapes: what nodes say of their chain and their peers, as they write it.
//!
//! Only what is used; all else that a version adds or leaves out is passed over. What becomes of
//! it in the form for all wires is in `model`.

use serde::{Deserialize, Deserializer, de::Error as _};

use super::amount::Amount;
use crate::id::{BlockId, TxId};

/// An id of the wire, by `deserialize_with`.
pub(super) fn id<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
}

/// The same where the key may be absent.
pub(super) fn maybe_id<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let text = Option::<String>::deserialize(deserializer)?;
    let parsed = text.map(|text| text.parse()).transpose();
    parsed.map_err(D::Error::custom)
}

/// Ids in an array.
pub(super) fn ids<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let texts = Vec::<String>::deserialize(deserializer)?;
    let parsed = texts.iter().map(|text| text.parse());
    parsed.collect::<Result<_, _>>().map_err(D::Error::custom)
}

/// A block id alone, as `getblockhash` answers.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct BlockHash(#[serde(deserialize_with = "id")] pub BlockId);

/// A transaction id alone, as `sendtoaddress` answers.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct TxHash(#[serde(deserialize_with = "id")] pub TxId);

/// `getblockchaininfo`: where the node is, all of one moment.
///
/// What it says of `initialblockdownload` and `verificationprogress` is not here: on regtest both
/// say that a node is done which has not begun.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct BlockchainInfo {
    /// `main`, `test`, `regtest`: the same on all coins.
    pub chain: String,
    /// The height of the best block that it has in full.
    pub blocks: u64,
    /// The height of the best header.
    pub headers: u64,
    /// The block at height `blocks`.
    #[serde(deserialize_with = "id")]
    pub bestblockhash: BlockId,
    /// What the node warns of, as text (to 27) or texts (from 28).
    #[serde(default)]
    pub warnings: Warnings,
}

impl BlockchainInfo {
    /// Whether it has all blocks of which it has headers. With nobody to fetch from this says
    /// nothing: see [`BitcoinRpc::is_synced_to`](super::BitcoinRpc::is_synced_to).
    pub fn has_all_bodies(&self) -> bool {
        self.blocks >= self.headers
    }
}

/// Warnings, in either form.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum Warnings {
    /// One text, empty where there are none.
    Text(String),
    /// Several.
    Texts(Vec<String>),
}

impl Default for Warnings {
    fn default() -> Self {
        Self::Texts(Vec::new())
    }
}

impl Warnings {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let texts = match self {
            Self::Text(text) => std::slice::from_ref(text),
            Self::Texts(texts) => texts,
        };
        texts.iter().map(String::as_str).filter(|it| !it.is_empty())
    }
}

/// `getnetworkinfo`: what runs there.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct NetworkInfo {
    /// `210201` is 0.21.2.1, `290403` is 29.4.3.
    pub version: u64,
    /// `/LitecoinCore:0.21.2.1/`.
    pub subversion: String,
    /// The version of the protocol between nodes.
    pub protocolversion: u64,
    /// Whether it talks to peers at all.
    pub networkactive: bool,
    /// With how many.
    pub connections: usize,
}

/// `getpeerinfo`: a peer. The wire has no id of it but where it is.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct PeerInfo {
    /// A counter of this node's own, no identity.
    pub id: u64,
    /// Where it is. Of those that came in, the port is one that nobody listens at.
    pub addr: String,
    /// Whether it came to us.
    pub inbound: bool,
    /// What it says that it is.
    #[serde(default)]
    pub subver: String,
    /// The last header that both have, `-1` while that is not known.
    #[serde(default)]
    pub synced_headers: Option<i64>,
    /// The last block that both have, `-1` while that is not known.
    #[serde(default)]
    pub synced_blocks: Option<i64>,
}

/// `getchaintips`: the end of a branch.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct ChainTip {
    /// Its height.
    pub height: u64,
    /// Its id.
    #[serde(deserialize_with = "id")]
    pub hash: BlockId,
    /// How far back the branch parts from the best chain; 0 for the best chain itself.
    pub branchlen: u64,
    /// What the node has of it.
    pub status: TipStatus,
}

/// What a node has of a branch.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TipStatus {
    /// The best chain.
    Active,
    /// All blocks, checked in full.
    ValidFork,
    /// All blocks, not checked in full.
    ValidHeaders,
    /// Not all blocks.
    HeadersOnly,
    /// At least one that breaks the rules.
    Invalid,
    /// What later versions may say.
    #[serde(untagged)]
    Other(String),
}

/// `getblockheader`, and what of it is in `getblock`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct BlockHeader {
    /// Its id.
    #[serde(deserialize_with = "id")]
    pub hash: BlockId,
    /// How many blocks of the best chain are from here on, with this one; `-1` when it is not on
    /// the best chain.
    pub confirmations: i64,
    /// How many are before it.
    pub height: u64,
    /// What its miner said when it was, in seconds since the Unix epoch.
    pub time: u64,
    /// The block before it; the genesis block has none.
    #[serde(default, deserialize_with = "maybe_id")]
    pub previousblockhash: Option<BlockId>,
}

impl BlockHeader {
    /// Whether it is on the node's best chain. What else names a block (the index of
    /// transactions) goes on naming it when it no longer is.
    pub fn is_on_best_chain(&self) -> bool {
        self.confirmations >= 1
    }
}

/// `getblock` with decoded transactions. Its header is read from the same text apart, so that
/// amounts stay the digits that they are.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct BlockBody {
    pub(super) tx: Vec<RawTransaction>,
}

/// A decoded transaction.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct RawTransaction {
    /// Its id.
    #[serde(deserialize_with = "id")]
    pub txid: TxId,
    /// What it spends.
    pub vin: Vec<TxInput>,
    /// What it makes.
    pub vout: Vec<TxOutput>,
    /// The block that the index of transactions names, which need not be on the best chain.
    #[serde(default, deserialize_with = "maybe_id")]
    pub blockhash: Option<BlockId>,
}

/// What a transaction spends: an output, or nothing (a coinbase), or something that is not shown
/// (the extension blocks of Litecoin).
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct TxInput {
    /// The transaction that made the output.
    #[serde(default, deserialize_with = "maybe_id")]
    pub txid: Option<TxId>,
    /// Which of its outputs.
    #[serde(default)]
    pub vout: Option<u32>,
}

/// What a transaction makes. Outputs in an extension block have neither value nor script.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct TxOutput {
    /// How much.
    #[serde(default)]
    pub value: Option<Amount>,
    /// Its place.
    #[serde(default)]
    pub n: Option<u32>,
    /// Who may spend it.
    #[serde(rename = "scriptPubKey", default)]
    pub script: Option<Script>,
}

/// Who may spend an output.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Script {
    /// In bytes.
    pub hex: String,
    /// As one address, by nodes from version 22.
    #[serde(default)]
    address: Option<String>,
    /// As addresses, by nodes to version 22.
    #[serde(default)]
    addresses: Vec<String>,
}

impl Script {
    /// The one address that it is, in either way of saying it.
    pub fn address(&self) -> Option<&str> {
        match (&self.address, self.addresses.as_slice()) {
            (Some(address), _) | (None, [address]) => Some(address),
            (None, _) => None,
        }
    }
}

/// `waitfornewblock` and its kin: the tip when something came, or when the time was over.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub struct TipSeen {
    /// The tip.
    #[serde(deserialize_with = "id")]
    pub hash: BlockId,
    /// Its height.
    pub height: u64,
}

/// `scantxoutset`: what an owner has at the tip, whether a wallet knows it or not.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct ScannedOutputs {
    /// The tip.
    #[serde(deserialize_with = "id")]
    pub bestblock: BlockId,
    /// The outputs.
    pub unspents: Vec<ScannedOutput>,
    /// Their sum.
    pub total_amount: Amount,
}

/// One output that a scan found.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct ScannedOutput {
    /// The transaction that made it.
    #[serde(deserialize_with = "id")]
    pub txid: TxId,
    /// Which of its outputs.
    pub vout: u32,
    /// How much.
    pub amount: Amount,
}
