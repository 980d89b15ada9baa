//! Branch: what one node is asked about the blocks below a head.

use std::sync::Arc;

use super::{
    floating::Wanted,
    look::{Asked, NoAnswer},
};
use crate::{
    id::BlockId,
    model::{Block, BlockAnswer, Header},
    source::AncestryEnd,
};

/// How many headers one request asks for.
const HEADERS_BATCH: usize = 256;

/// Headers, newest first, and what is in the newest when that came along.
pub(super) struct Headers {
    pub(super) headers: Vec<Header>,
    pub(super) block: Option<Arc<Block>>,
}

impl Headers {
    fn of(header: Header) -> Self {
        let headers = vec![header];
        Self {
            headers,
            block: None,
        }
    }
}

/// Where one request for the blocks of a branch ends.
pub(super) fn end(wanted: &Wanted) -> AncestryEnd {
    AncestryEnd {
        until: wanted.until,
        headers_max: HEADERS_BATCH.min(wanted.headers_max.saturating_sub(1).max(1)),
    }
}

/// The newest block of a branch; some nodes serve no block at genesis but know its header.
pub(super) async fn newest(
    node: &Asked,
    id: BlockId,
    bodies: bool,
) -> Result<Option<Headers>, NoAnswer> {
    let answer = if bodies {
        node.block(id).await?
    } else {
        BlockAnswer::Unknown
    };
    Ok(match answer {
        BlockAnswer::Found(block) if block.header.id == id => Some(Headers {
            headers: vec![block.header.clone()],
            block: Some(Arc::new(block)),
        }),
        BlockAnswer::BodyUnavailable(header) if header.id == id => Some(Headers::of(header)),
        _ => header(node, id).await?,
    })
}

/// The next headers downwards.
pub(super) async fn ancestry(
    node: &Asked,
    from: BlockId,
    end: AncestryEnd,
) -> Result<Option<Headers>, NoAnswer> {
    let headers = node.ancestry(from, end).await?;
    if is_chain_from(from, &headers) {
        let block = None;
        return Ok(Some(Headers { headers, block }));
    }
    header(node, from).await
}

async fn header(node: &Asked, id: BlockId) -> Result<Option<Headers>, NoAnswer> {
    let header = node.header(id).await?;
    Ok(header.filter(|header| header.id == id).map(Headers::of))
}

fn is_chain_from(from: BlockId, headers: &[Header]) -> bool {
    let begins = headers.first().is_some_and(|first| first.id == from);
    begins
        && headers
            .windows(2)
            .all(|pair| pair[0].parent == Some(pair[1].id))
}
