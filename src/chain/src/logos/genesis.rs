//! Genesis: the block that no node serves, found by what names it.

use super::{chain_calls::HEADERS_MAX, client::LogosHttp, info::LogosInfo, wire::Id};
use crate::{
    error::SourceError,
    id::BlockId,
    model::{BlockAnswer, Header},
};

/// Slots of the first look for the first block, and of the last one. The looks between double.
const SLOTS_FIRST: u64 = 64;
const SLOTS_LAST: u64 = 4096;

/// What is known of genesis without ever seeing it.
pub(super) fn header(id: BlockId) -> Header {
    Header {
        height: Some(0),
        slot: Some(0),
        ..Header::new(id, None)
    }
}

impl LogosHttp {
    /// The genesis block: the last final block as long as nothing came after it, and later the
    /// parent of the first block. `None` when the node no longer tells.
    pub async fn genesis(&self) -> Result<Option<BlockId>, SourceError> {
        let known = self.known().genesis;
        if known.is_some() {
            return Ok(known);
        }
        let info = self.info().await?;
        let known = self.known().genesis;
        if known.is_some() {
            return Ok(known);
        }
        let found = match self.genesis_in_headers(&info).await? {
            None => self.parent_of_the_first(&info).await?,
            found => found,
        };
        if found.is_some() {
            self.known().genesis = found;
        }
        Ok(found)
    }

    /// When a chain of height n has n + 1 headers back to its last final block, that one has
    /// height 0. A last final block that moves meanwhile makes it fewer, never more.
    async fn genesis_in_headers(&self, info: &LogosInfo) -> Result<Option<BlockId>, SourceError> {
        if info.lib_slot.is_some() || info.height >= HEADERS_MAX as u64 {
            return Ok(None);
        }
        let ids = self.headers(Some(info.tip), None).await?;
        let is_whole = ids.len() as u64 == info.height + 1;
        Ok(ids.last().copied().filter(|_| is_whole))
    }

    /// A parent that the node can serve is not genesis but where its blocks begin.
    async fn parent_of_the_first(&self, info: &LogosInfo) -> Result<Option<BlockId>, SourceError> {
        let end = info.lib_slot.unwrap_or(info.slot).min(SLOTS_LAST);
        let (mut from, mut to) = (0, SLOTS_FIRST.min(end));
        let parent = loop {
            let (_, blocks) = self.final_wire_blocks(from, to).await?;
            if let Some(first) = blocks.first() {
                break match first.header.parent() {
                    Some(parent) => parent,
                    None => return Ok(first.header.id.map(|Id(id)| id)),
                };
            }
            if to == end {
                return Ok(None);
            }
            (from, to) = (to + 1, (2 * to).min(end));
        };
        let is_genesis = self.block(parent).await? == BlockAnswer::Unknown;
        Ok(is_genesis.then_some(parent))
    }
}
