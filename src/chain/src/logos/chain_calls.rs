//! Chain calls: where a node is, its headers and its blocks.

use futures::{StreamExt, stream::BoxStream};
use serde::Deserialize;

use super::{
    block::{WireBlock, listed},
    client::{Asked, LogosHttp, OneBlock, successful},
    info::{Generation, LogosInfo},
    wire::{Id, id, plain},
};
use crate::{
    error::SourceError,
    http::{HttpAnswer, HttpRequest},
    id::BlockId,
    model::{Block, BlockAnswer},
};

/// Headers that a node answers with at once.
pub(super) const HEADERS_MAX: usize = 512;

/// A block that became final.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub struct FinalBlock {
    /// Its height.
    pub height: u64,
    /// Its id.
    #[serde(rename = "header_id", deserialize_with = "id")]
    pub id: BlockId,
}

/// Blocks as they become final. An error is the last item.
pub type FinalBlocks = BoxStream<'static, Result<FinalBlock, SourceError>>;

impl LogosHttp {
    /// `GET /cryptarchia/info`, in each of its forms.
    pub async fn info(&self) -> Result<LogosInfo, SourceError> {
        let answer = self
            .successful(&HttpRequest::get("/cryptarchia/info"))
            .await?;
        let info = LogosInfo::of(answer.body()).map_err(|kind| answer.error(kind))?;
        let mut known = self.known();
        if known.generation.replace(info.generation) != Some(info.generation) {
            known.one_block = None;
        }
        // Slot 0 is that of genesis alone.
        if info.lib_slot == Some(0) {
            known.genesis = Some(info.lib);
        }
        drop(known);
        Ok(info)
    }

    /// Which form of the wire the node speaks: asked for once.
    pub async fn generation(&self) -> Result<Generation, SourceError> {
        let known = self.known().generation;
        match known {
            Some(generation) => Ok(generation),
            None => Ok(self.info().await?.generation),
        }
    }

    /// `GET /cryptarchia/headers`: ids from `from` (or the tip) back to `to`, newest first, at most
    /// 512, and not further than the last final block.
    pub async fn headers(
        &self,
        from: Option<BlockId>,
        to: Option<BlockId>,
    ) -> Result<Vec<BlockId>, SourceError> {
        let request = HttpRequest::get("/cryptarchia/headers");
        let request = request.query_if("from", from).query_if("to", to);
        self.call(&request).await.map(plain)
    }

    /// The block with this id, from whichever call the node has for it. Genesis is
    /// [`Unknown`](BlockAnswer::Unknown).
    pub async fn block(&self, id: BlockId) -> Result<BlockAnswer, SourceError> {
        let known = self.known().one_block;
        let first = match known {
            Some(known) => known,
            None => match self.generation().await? {
                Generation::State => OneBlock::ById,
                Generation::Flat | Generation::Mode => OneBlock::FromStorage,
            },
        };
        let other = match first {
            OneBlock::ById => OneBlock::FromStorage,
            OneBlock::FromStorage => OneBlock::ById,
        };
        for form in [first, other] {
            if let Some(answer) = self.block_by(form, id).await? {
                self.known().one_block = Some(form);
                return Ok(answer);
            }
        }
        Ok(BlockAnswer::Unknown)
    }

    /// Nothing where the node has no such call.
    async fn block_by(
        &self,
        form: OneBlock,
        id: BlockId,
    ) -> Result<Option<BlockAnswer>, SourceError> {
        let request = match form {
            OneBlock::ById => HttpRequest::get(format!("/cryptarchia/blocks/{id}")),
            OneBlock::FromStorage => HttpRequest::post("/storage/block", format!("\"{id}\"")),
        };
        let answer = match self.ask(&request).await? {
            Asked::NoSuchPath => return Ok(None),
            Asked::Answered(answer) if answer.status() == 404 => {
                return Ok(Some(BlockAnswer::Unknown));
            }
            Asked::Answered(answer) => successful(answer)?,
        };
        let Some(block) = answer.json::<Option<WireBlock>>()? else {
            return Ok(Some(BlockAnswer::Unknown));
        };
        if !block.is_named() {
            return Ok(Some(BlockAnswer::BodyUnavailable(block.header.header(id))));
        }
        let block = block.block(id).map_err(|kind| answer.error(kind))?;
        Ok(Some(BlockAnswer::Found(block)))
    }

    /// `GET /cryptarchia/blocks`: the final blocks of these slots, both inclusive, oldest first.
    pub async fn final_blocks(
        &self,
        slot_from: u64,
        slot_to: u64,
    ) -> Result<Vec<Block>, SourceError> {
        let (answer, list) = self.final_wire_blocks(slot_from, slot_to).await?;
        let last = match list.last() {
            Some(last) if last.header.id.is_none() => self.id_of_final(last).await?,
            _ => None,
        };
        listed(list, last).map_err(|kind| answer.error(kind))
    }

    /// The same as they came.
    pub(super) async fn final_wire_blocks(
        &self,
        slot_from: u64,
        slot_to: u64,
    ) -> Result<(HttpAnswer, Vec<WireBlock>), SourceError> {
        let request = HttpRequest::get("/cryptarchia/blocks")
            .query("slot_from", slot_from)
            .query("slot_to", slot_to);
        let answer = self.successful(&request).await?;
        let list = answer.json()?;
        Ok((answer, list))
    }

    /// The id of a final block that came without it and without a next one, when it is the last
    /// final block of all.
    async fn id_of_final(&self, block: &WireBlock) -> Result<Option<BlockId>, SourceError> {
        let lib = self.info().await?.lib;
        Ok(match self.block(lib).await? {
            BlockAnswer::Found(Block { header, .. }) | BlockAnswer::BodyUnavailable(header)
                if header == block.header.header(lib) =>
            {
                Some(lib)
            }
            _ => None,
        })
    }

    /// `GET /cryptarchia/lib-stream`: blocks that become final from now on.
    pub async fn finality(&self) -> Result<FinalBlocks, SourceError> {
        let request = HttpRequest::get("/cryptarchia/lib-stream");
        let lines = self.stream_of(&request, super::streams::json_of).await?;
        lines
            .map(StreamExt::boxed)
            .ok_or_else(|| self.unsupported(&request))
    }
}

/// Ids in answers are texts.
pub(super) type Ids<T> = Vec<Id<T>>;
