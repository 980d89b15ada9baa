//! Ancestry: from a block back through its parents, in batches where the node's best chain is.
//!
//! A header names its parent only, so a walk is a call for each block. On the best chain a node
//! also tells the ids by height: two batches then give many headers. What counts is still that
//! each header is the parent of the one before it, so that a reorg between the two batches cannot
//! mix two branches: what does not fit is thrown away and asked again by id.

use std::collections::VecDeque;

use super::{
    chain_calls::{hash_call, header_call},
    client::BitcoinRpc,
    reply::code,
    shapes::{BlockHash, BlockHeader},
};
use crate::{
    error::{SourceError, SourceErrorKind},
    id::BlockId,
    source::AncestryEnd,
};

/// How many headers are fetched first, where it is not known how many are needed.
const HEADERS_FIRST: usize = 16;
/// How many times as many are fetched next.
const GROWTH: usize = 4;

impl BitcoinRpc {
    /// The headers from `from` (inclusive) back to `end`, newest first, each the parent of the one
    /// before it; empty when the node does not know `from`.
    pub async fn header_ancestry(
        &self,
        from: BlockId,
        end: AncestryEnd,
    ) -> Result<Vec<BlockHeader>, SourceError> {
        let mut walked: Vec<BlockHeader> = Vec::new();
        if end.headers_max == 0 {
            return Ok(walked);
        }
        let mut ahead = Ahead::new(self, from, end.until).await?;
        let mut wanted = Some(from);
        while let Some(id) = wanted {
            let wanted_max = end.headers_max - walked.len();
            let Some(header) = ahead.next(id, walked.last(), wanted_max).await? else {
                break;
            };
            wanted = header.previousblockhash;
            walked.push(header);
            if end.until == Some(id) || walked.len() == end.headers_max {
                break;
            }
        }
        Ok(walked)
    }
}

/// The headers that were fetched ahead of a walk.
struct Ahead<'a> {
    rpc: &'a BitcoinRpc,
    headers: VecDeque<BlockHeader>,
    /// The height at which the walk ends, if it is known.
    floor: Option<u64>,
    fetch_next: usize,
}

impl<'a> Ahead<'a> {
    /// Asks for both ends at once: for a new block on a known one, that is all.
    async fn new(
        rpc: &'a BitcoinRpc,
        from: BlockId,
        until: Option<BlockId>,
    ) -> Result<Self, SourceError> {
        let calls: Vec<_> = [Some(from), until]
            .into_iter()
            .flatten()
            .map(header_call)
            .collect();
        let mut ends = Vec::new();
        for answer in rpc.batch(&calls).await? {
            ends.push(rpc.decoded_unless(code::NOT_FOUND, "getblockheader", answer)?);
        }
        let until: Option<BlockHeader> = ends.get(1).cloned().flatten();
        let floor = until.as_ref().filter(|until| until.is_on_best_chain());
        let floor = floor.map(|until| until.height);
        let first = if floor.is_some() {
            usize::MAX
        } else {
            HEADERS_FIRST
        };
        Ok(Self {
            rpc,
            headers: ends.into_iter().flatten().collect(),
            floor,
            fetch_next: first,
        })
    }

    /// The header of `id`, the parent of `child`.
    async fn next(
        &mut self,
        id: BlockId,
        child: Option<&BlockHeader>,
        wanted_max: usize,
    ) -> Result<Option<BlockHeader>, SourceError> {
        if self.headers.front().is_none_or(|header| header.hash != id) {
            self.headers = self.fetch(id, child, wanted_max).await?.into();
        }
        Ok(self.headers.pop_front())
    }

    /// The header of `id`, and those before it as far as they are on the best chain.
    async fn fetch(
        &mut self,
        id: BlockId,
        child: Option<&BlockHeader>,
        wanted_max: usize,
    ) -> Result<Vec<BlockHeader>, SourceError> {
        let mut calls = vec![header_call(id)];
        if let Some(child) = child.filter(|child| child.is_on_best_chain()) {
            let top = child.height.saturating_sub(1);
            let ids = self.ids_below(top, wanted_max).await?;
            calls.extend(ids.into_iter().map(header_call));
        }
        let mut headers = Vec::new();
        for answer in self.rpc.batch(&calls).await? {
            let header: Option<BlockHeader> =
                self.rpc
                    .decoded_unless(code::NOT_FOUND, "getblockheader", answer)?;
            match header {
                Some(header) => headers.push(header),
                None => break,
            }
        }
        // Another block than was asked for would send the walk round in circles.
        match headers.first() {
            Some(first) if first.hash != id => {
                let kind = SourceErrorKind::WrongShape {
                    path: "hash".into(),
                    snippet: first.hash.to_string(),
                    expected: id.to_string(),
                };
                Err(self.rpc.error("getblockheader", kind))
            }
            _ => Ok(headers),
        }
    }

    /// The ids on the best chain below `top`, newest first, as many as the next batch may have.
    async fn ids_below(
        &mut self,
        top: u64,
        wanted_max: usize,
    ) -> Result<Vec<BlockId>, SourceError> {
        let batch_max = self.rpc.limits().batch_calls_max;
        let count = self.fetch_next.min(wanted_max).min(batch_max);
        self.fetch_next = self.fetch_next.saturating_mul(GROWTH);
        // One of them is the header at `top` itself.
        let below = u64::try_from(count.saturating_sub(1)).unwrap_or(u64::MAX);
        let floor = self.floor.unwrap_or(0).max(top.saturating_sub(below));
        let calls: Vec<_> = (floor..top).rev().map(hash_call).collect();
        let mut ids = Vec::new();
        for answer in self.rpc.batch(&calls).await? {
            let found: Option<BlockHash> =
                self.rpc
                    .decoded_unless(code::INVALID_PARAMETER, "getblockhash", answer)?;
            match found {
                Some(BlockHash(id)) => ids.push(id),
                None => break,
            }
        }
        Ok(ids)
    }
}
