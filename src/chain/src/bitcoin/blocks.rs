//! Blocks: with their transactions, one by its id or many by their heights.

use serde_json::{json, value::RawValue};

use super::{
    chain_calls::hash_call,
    client::{BitcoinRpc, RpcCall},
    reply::code,
    shapes::{BlockBody, BlockHash, BlockHeader},
};
use crate::{
    error::{SourceError, SourceErrorKind},
    id::BlockId,
    model::{Block, BlockAnswer, Transaction},
};

/// With decoded transactions.
const VERBOSITY: u8 = 2;

impl BitcoinRpc {
    /// The block with this id, on whichever branch. Of branches that lost, a node may have the
    /// headers only.
    pub async fn block(&self, id: BlockId) -> Result<BlockAnswer, SourceError> {
        let method = "getblock";
        let found = self.call::<Box<RawValue>>(method, json!([id.to_string(), VERBOSITY]));
        match found.await {
            Ok(found) => self.read_block(&found).map(BlockAnswer::Found),
            // One code for a body that never came and for one that was pruned, in words that
            // differ by version. Whether the node knows the block is what the header tells.
            Err(SourceError {
                kind: SourceErrorKind::Node { code, .. },
                ..
            }) if code == code::MISC || code == code::NOT_FOUND => {
                let header = self.block_header(id).await?;
                Ok(header.map_or(BlockAnswer::Unknown, |header| {
                    BlockAnswer::BodyUnavailable((&header).into())
                }))
            }
            Err(error) => Err(error),
        }
    }

    /// The blocks of the best chain from height `from` to height `to`, both inclusive, oldest
    /// first and each the parent of the next: shorter where the chain ends before, or where it
    /// changed while it was read.
    pub async fn blocks_by_height(&self, from: u64, to: u64) -> Result<Vec<Block>, SourceError> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut next = from;
        while next <= to {
            let piece = self.limits().batch_blocks_max.max(1);
            let last = next.saturating_add(piece as u64 - 1).min(to);
            let ids = self.ids_by_height(next, last).await?;
            let complete = ids.len() == piece;
            for block in self.blocks_by_id(&ids).await? {
                let parent = blocks.last().map(|parent| parent.header.id);
                if parent.is_some() && block.header.parent != parent {
                    return Ok(blocks);
                }
                blocks.push(block);
            }
            if !complete || last == u64::MAX {
                break;
            }
            next = last + 1;
        }
        Ok(blocks)
    }

    /// The ids on the best chain, fewer where it ends before.
    async fn ids_by_height(&self, from: u64, to: u64) -> Result<Vec<BlockId>, SourceError> {
        let calls: Vec<_> = (from..=to).map(hash_call).collect();
        let mut ids = Vec::new();
        for answer in self.batch(&calls).await? {
            let found = self.decoded_unless(code::INVALID_PARAMETER, "getblockhash", answer)?;
            match found {
                Some(BlockHash(id)) => ids.push(id),
                None => break,
            }
        }
        Ok(ids)
    }

    /// The blocks with these ids, in batches that become smaller where answers are too large: how
    /// much is in a block is known only when it comes.
    async fn blocks_by_id(&self, ids: &[BlockId]) -> Result<Vec<Block>, SourceError> {
        let call = |id: &BlockId| RpcCall::new("getblock", json!([id.to_string(), VERBOSITY]));
        let calls: Vec<_> = ids.iter().map(call).collect();
        let mut blocks = Vec::with_capacity(calls.len());
        let mut piece = calls.len();
        while blocks.len() < calls.len() {
            let rest = &calls[blocks.len()..];
            let calls = &rest[..piece.min(rest.len())];
            match self.batch_by(calls, piece).await {
                Ok(answers) => {
                    for answer in answers {
                        let found: Box<RawValue> = self.decoded("getblock", answer)?;
                        blocks.push(self.read_block(&found)?);
                    }
                }
                Err(SourceError {
                    kind: SourceErrorKind::TooLarge { .. },
                    ..
                }) if calls.len() > 1 => piece = calls.len() / 2,
                Err(error) => return Err(error),
            }
        }
        Ok(blocks)
    }

    fn read_block(&self, json: &RawValue) -> Result<Block, SourceError> {
        let header: BlockHeader = self.read("getblock", json)?;
        let body: BlockBody = self.read("getblock", json)?;
        let transactions = body.tx.iter().map(Transaction::from);
        Ok(Block::new((&header).into(), transactions.collect()))
    }
}
