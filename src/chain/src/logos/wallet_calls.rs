//! Wallet calls: what waits, what is owned, what it costs, and moving it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    chain_calls::Ids,
    client::{Asked, LogosHttp, node_error},
    wire::{Id, id, plain},
};
use crate::{
    error::{SourceError, SourceErrorKind},
    http::{HttpRequest, decode, wrong_shape},
    id::{BlockId, OutputId, Owner, TxId},
    model::Funds,
};

/// What a node says of a transaction. No proof of anything: see the module.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TxStatus {
    /// It waits.
    Pending,
    /// It was included or dropped, or never seen.
    Unknown,
    /// It is in this block. Proposers up to 0.1 say so, of their own blocks.
    InBlock(BlockId),
    /// Something else, in the node's words.
    Other(String),
}

/// `GET /mantle/metrics`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub struct MempoolMetrics {
    /// Transactions that wait.
    pub pending_items: u64,
    /// When the last of them came, in milliseconds since the Unix epoch.
    pub last_item_timestamp: u64,
}

/// `GET /wallet/:key/balance`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// The block at which this holds.
    pub tip: BlockId,
    /// Whose it is.
    pub address: Owner,
    /// The sum.
    pub balance: u64,
    /// Each note and its value. Nodes of 2025 do not list them.
    pub notes: Option<BTreeMap<OutputId, u64>>,
}

/// `GET /mantle/gas-prices`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub struct GasPrices {
    /// The block at which they hold.
    #[serde(deserialize_with = "id")]
    pub tip: BlockId,
    /// For what is executed.
    pub execution_base_gas_price: u64,
    /// For what is stored.
    pub storage_gas_price: u64,
}

/// What `POST /wallet/transactions/transfer-funds` moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferFunds {
    /// The block whose notes are spent; the tip when there is none.
    pub tip: Option<BlockId>,
    /// Who gets what is left over.
    pub change: Owner,
    /// Whose notes are spent: keys of the node's wallet.
    pub funding: Vec<Owner>,
    /// Who gets `amount`.
    pub recipient: Owner,
    /// How much.
    pub amount: u64,
}

#[derive(Deserialize)]
struct WireBalance {
    tip: Id<BlockId>,
    balance: u64,
    address: Id<Owner>,
    #[serde(default)]
    notes: Option<BTreeMap<String, u64>>,
}

impl From<Balance> for Funds {
    fn from(balance: Balance) -> Self {
        Self {
            at: balance.tip,
            balance: balance.balance,
            outputs: balance.notes.map(|notes| notes.into_iter().collect()),
        }
    }
}

impl LogosHttp {
    /// `GET /mempool/view`: what waits and is valid on the tip.
    pub async fn mempool_view(&self) -> Result<Vec<TxId>, SourceError> {
        let ids: Ids<TxId> = self.call(&HttpRequest::get("/mempool/view")).await?;
        Ok(plain(ids))
    }

    /// `GET /mantle/metrics`: how much waits.
    pub async fn mempool_metrics(&self) -> Result<MempoolMetrics, SourceError> {
        self.call(&HttpRequest::get("/mantle/metrics")).await
    }

    /// `POST /mantle/status`, in the order of `ids`.
    pub async fn statuses(&self, ids: &[TxId]) -> Result<Vec<TxStatus>, SourceError> {
        let asked: Vec<String> = ids.iter().map(TxId::to_string).collect();
        let request = HttpRequest::post("/mantle/status", json!(asked).to_string());
        let answer = self.successful(&request).await?;
        let statuses: Vec<Value> = answer.json()?;
        if statuses.len() != ids.len() {
            let expected = format!("{} statuses", ids.len());
            return Err(answer.error(wrong_shape("$", &answer.snippet(), expected)));
        }
        Ok(statuses.iter().map(status_of).collect())
    }

    /// `POST /mempool/add/tx`: hands in a signed transaction, as JSON. Success means that the node
    /// took it.
    pub async fn submit(&self, signed: &str) -> Result<(), SourceError> {
        let request = HttpRequest::post("/mempool/add/tx", signed);
        self.successful(&request).await.map(drop)
    }

    /// `GET /wallet/:key/balance` at the block `tip`, or at the node's tip. `None` when the wallet
    /// of the node does not have this key, or does not know this block (yet).
    pub async fn balance(
        &self,
        key: &Owner,
        tip: Option<BlockId>,
    ) -> Result<Option<Balance>, SourceError> {
        let request = HttpRequest::get(format!("/wallet/{key}/balance")).query_if("tip", tip);
        let answer = match self.ask(&request).await? {
            Asked::NoSuchPath => return Err(self.unsupported(&request)),
            Asked::Answered(answer) => answer,
        };
        if !answer.is_success() {
            return match node_error(&answer) {
                SourceErrorKind::Node { message, .. }
                    if answer.status() == 404 || message.contains("unknown block") =>
                {
                    Ok(None)
                }
                kind => Err(answer.error(kind)),
            };
        }
        let WireBalance {
            tip: Id(tip),
            balance,
            address: Id(address),
            notes,
        } = answer.json()?;
        let notes = notes.map(|notes| {
            let notes = notes.into_iter();
            notes
                .map(|(id, value)| (OutputId::from(id), value))
                .collect()
        });
        Ok(Some(Balance {
            tip,
            address,
            balance,
            notes,
        }))
    }

    /// `GET /mantle/gas-prices` at the block `tip`, or at the node's tip.
    pub async fn gas_prices(&self, tip: Option<BlockId>) -> Result<GasPrices, SourceError> {
        let request = HttpRequest::get("/mantle/gas-prices");
        self.call(&request.query_if("tip", tip)).await
    }

    /// `POST /wallet/transactions/transfer-funds`: the node builds a transaction, signs it and, but
    /// for nodes of 2025, submits it.
    pub async fn transfer_funds(&self, transfer: &TransferFunds) -> Result<TxId, SourceError> {
        #[derive(Serialize)]
        struct Body<'a> {
            tip: Option<String>,
            change_public_key: &'a str,
            funding_public_keys: Vec<&'a str>,
            recipient_public_key: &'a str,
            amount: u64,
        }
        #[derive(Deserialize)]
        struct Built {
            hash: Id<TxId>,
        }
        let body = Body {
            tip: transfer.tip.map(|tip| tip.to_string()),
            change_public_key: transfer.change.as_str(),
            funding_public_keys: transfer.funding.iter().map(Owner::as_str).collect(),
            recipient_public_key: transfer.recipient.as_str(),
            amount: transfer.amount,
        };
        let path = "/wallet/transactions/transfer-funds";
        let body = json!(body).to_string();
        let Built { hash: Id(hash) } = self.call(&HttpRequest::post(path, body)).await?;
        Ok(hash)
    }
}

fn status_of(status: &Value) -> TxStatus {
    let in_block = || {
        let block = status.get("InBlock")?.get("block")?.as_str()?;
        block.parse().ok().map(TxStatus::InBlock)
    };
    match status.as_str() {
        Some("Pending") => TxStatus::Pending,
        Some("Unknown") => TxStatus::Unknown,
        Some(other) => TxStatus::Other(other.to_owned()),
        None => in_block().unwrap_or_else(|| TxStatus::Other(status.to_string())),
    }
}

/// The id that a signed transaction says of itself. A node does not tell it to whoever submits, and
/// how it is calculated is not the same in all of them.
pub(super) fn id_in(signed: &str) -> Result<TxId, SourceErrorKind> {
    #[derive(Deserialize)]
    struct Signed {
        mantle_tx: Hashed,
    }
    #[derive(Deserialize)]
    struct Hashed {
        hash: Id<TxId>,
    }
    let Signed { mantle_tx } = decode(signed.as_bytes())?;
    Ok(mantle_tx.hash.0)
}
