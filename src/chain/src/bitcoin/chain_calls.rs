//! Chain calls: what a node knows of blocks and of transactions, by name.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    client::{BitcoinRpc, RpcAnswer, RpcCall},
    reply::code,
    shapes::{
        BlockHash, BlockHeader, BlockchainInfo, ChainTip, RawTransaction, ScannedOutputs, TipSeen,
    },
};
use crate::{
    error::{SourceError, SourceErrorKind},
    id::{BlockId, TxId},
};

/// How much longer an answer may take for each block to be mined: on regtest a node with little
/// to do makes hundreds a second.
const GENERATE_EACH: Duration = Duration::from_millis(50);

/// Where a transaction is, as seen from the node's tip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxPlace {
    /// The node does not know it. Without an index of transactions it knows those of its mempool
    /// only.
    Unknown,
    /// It waits.
    InMempool,
    /// It is on the best chain.
    OnBestChain {
        /// In this block.
        block: BlockId,
        /// At this height.
        height: u64,
        /// Blocks from that one on, with it.
        depth: u64,
    },
    /// The node names a block for it that is not on the best chain: a reorg took it out.
    OffBestChain {
        /// That block.
        block: BlockId,
    },
}

impl BitcoinRpc {
    /// Where the node is.
    pub async fn blockchain_info(&self) -> Result<BlockchainInfo, SourceError> {
        self.call("getblockchaininfo", json!([])).await
    }

    /// The block at `height` of the best chain, `None` above its tip.
    pub async fn block_hash(&self, height: u64) -> Result<Option<BlockId>, SourceError> {
        let found = self.call::<BlockHash>("getblockhash", json!([height]));
        let found = unless(code::INVALID_PARAMETER, found.await)?;
        Ok(found.map(|BlockHash(id)| id))
    }

    /// The header with this id, on whichever branch; `None` where the node does not know it.
    pub async fn block_header(&self, id: BlockId) -> Result<Option<BlockHeader>, SourceError> {
        let found = self.call("getblockheader", json!([id.to_string()]));
        unless(code::NOT_FOUND, found.await)
    }

    /// The 80 bytes of a header, in hexadecimal digits.
    pub async fn raw_header(&self, id: BlockId) -> Result<Option<String>, SourceError> {
        let found = self.call("getblockheader", json!([id.to_string(), false]));
        unless(code::NOT_FOUND, found.await)
    }

    /// Whether `id` is on the node's best chain.
    pub async fn is_on_best_chain(&self, id: BlockId) -> Result<bool, SourceError> {
        let header = self.block_header(id).await?;
        Ok(header.is_some_and(|header| header.is_on_best_chain()))
    }

    /// Whether the node has all blocks that it knows of, and `reference` is one of its chain. What
    /// it says of its own progress proves neither.
    pub async fn is_synced_to(&self, reference: BlockId) -> Result<bool, SourceError> {
        Ok(self.blockchain_info().await?.has_all_bodies()
            && self.is_on_best_chain(reference).await?)
    }

    /// The ends of all branches.
    pub async fn chain_tips(&self) -> Result<Vec<ChainTip>, SourceError> {
        self.call("getchaintips", json!([])).await
    }

    /// A transaction by its id, as the node shows it; `None` where it does not know it. The block
    /// that it names may have been left since: see [`tx_place`](Self::tx_place).
    pub async fn raw_transaction(&self, id: TxId) -> Result<Option<RawTransaction>, SourceError> {
        let found = self.call("getrawtransaction", json!([id.to_string(), true]));
        unless(code::NOT_FOUND, found.await)
    }

    /// Where a transaction is, by the ancestry of the node's tip and not by what its index says.
    pub async fn tx_place(&self, id: TxId) -> Result<TxPlace, SourceError> {
        let Some(found) = self.raw_transaction(id).await? else {
            return Ok(TxPlace::Unknown);
        };
        let Some(block) = found.blockhash else {
            return Ok(TxPlace::InMempool);
        };
        let header = self.block_header(block).await?;
        Ok(match header.filter(BlockHeader::is_on_best_chain) {
            Some(header) => TxPlace::OnBestChain {
                block,
                height: header.height,
                depth: header.confirmations.unsigned_abs(),
            },
            None => TxPlace::OffBestChain { block },
        })
    }

    /// What can be spent by whom `descriptor` says (`addr(..)`, `raw(..)`), at the tip. A node
    /// does one such scan at a time, over all outputs that there are.
    pub async fn scan_outputs(&self, descriptor: &str) -> Result<ScannedOutputs, SourceError> {
        self.call("scantxoutset", json!(["start", [descriptor]]))
            .await
    }

    /// Mines `blocks` blocks that pay to `address`.
    pub async fn generate_to_address(
        &self,
        blocks: u32,
        address: &str,
    ) -> Result<Vec<BlockId>, SourceError> {
        let within = self.limits().within + GENERATE_EACH * blocks;
        let params = json!([blocks, address]);
        let mined = self.call_within::<Vec<BlockHash>>(within, "generatetoaddress", params);
        let ids = mined.await?.into_iter().map(|BlockHash(id)| id);
        Ok(ids.collect())
    }

    /// Waits for another tip, and tells the tip then or when the time is over. A block that comes
    /// between two such calls is not noticed: see [`wait_for_height`](Self::wait_for_height).
    pub async fn wait_for_new_block(&self, within: Duration) -> Result<TipSeen, SourceError> {
        self.wait("waitfornewblock", json!([millis(within)]), within)
            .await
    }

    /// Waits until the tip is at `height` or above, and tells the tip then or when the time is
    /// over. What is there already is told at once.
    pub async fn wait_for_height(
        &self,
        height: u64,
        within: Duration,
    ) -> Result<TipSeen, SourceError> {
        let params = json!([height, millis(within)]);
        self.wait("waitforblockheight", params, within).await
    }

    async fn wait(
        &self,
        method: &str,
        params: Value,
        within: Duration,
    ) -> Result<TipSeen, SourceError> {
        let within = within + self.limits().within;
        self.call_within(within, method, params).await
    }

    /// Treats a block, and so all after it, as one that breaks the rules.
    pub async fn invalidate_block(&self, id: BlockId) -> Result<(), SourceError> {
        self.call("invalidateblock", json!([id.to_string()])).await
    }

    /// Takes that back.
    pub async fn reconsider_block(&self, id: BlockId) -> Result<(), SourceError> {
        self.call("reconsiderblock", json!([id.to_string()])).await
    }

    /// What `answer` of a batch says, `None` where it is the error `absent`.
    pub(super) fn decoded_unless<T: serde::de::DeserializeOwned>(
        &self,
        absent: i64,
        method: &str,
        answer: RpcAnswer,
    ) -> Result<Option<T>, SourceError> {
        unless(absent, self.decoded(method, answer))
    }
}

/// The call for a header, as part of a batch.
pub(super) fn header_call(id: BlockId) -> RpcCall {
    RpcCall::new("getblockheader", json!([id.to_string()]))
}

/// The call for the block at a height, as part of a batch.
pub(super) fn hash_call(height: u64) -> RpcCall {
    RpcCall::new("getblockhash", json!([height]))
}

/// Zero would be to wait for ever.
fn millis(within: Duration) -> u64 {
    u64::try_from(within.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// `None` for the error with the code `absent`.
pub(super) fn unless<T>(
    absent: i64,
    answered: Result<T, SourceError>,
) -> Result<Option<T>, SourceError> {
    match answered {
        Ok(found) => Ok(Some(found)),
        Err(SourceError {
            kind: SourceErrorKind::Node { code, .. },
            ..
        }) if code == absent => Ok(None),
        Err(error) => Err(error),
    }
}
