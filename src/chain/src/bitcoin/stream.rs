//! Stream: new blocks as they come, by calls that wait.
//!
//! A wait for a height above the known one misses nothing that comes between two calls, as a wait
//! for a new block would. Each such wait holds one of the few threads that a node has for calls.

use std::time::Duration;

use futures::{StreamExt as _, stream};

use super::client::BitcoinRpc;
use crate::{
    error::SourceError,
    id::BlockId,
    model::{Block, BlockAnswer},
    source::{BlockStream, Streamed},
};

/// How long one call waits. A branch of no greater height is noticed after that.
const WAIT: Duration = Duration::from_secs(2);

struct Tail {
    rpc: BitcoinRpc,
    known: Tip,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Tip {
    id: BlockId,
    height: u64,
}

/// The blocks that become tips of the node after now. Those between two tips are not told.
pub(super) async fn new_blocks(rpc: BitcoinRpc) -> Result<BlockStream, SourceError> {
    let info = rpc.blockchain_info().await?;
    let known = Tip {
        id: info.bestblockhash,
        height: info.blocks,
    };
    let tail = Tail { rpc, known };
    let blocks = stream::unfold(Some(tail), async |tail| {
        let mut tail = tail?;
        match tail.next().await {
            Ok(block) => Some((Ok(block), Some(tail))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(blocks.boxed())
}

impl Tail {
    async fn next(&mut self) -> Result<Streamed, SourceError> {
        loop {
            let above = self.known.height.saturating_add(1);
            let seen = self.rpc.wait_for_height(above, WAIT).await?;
            let (id, height) = (seen.hash, seen.height);
            let tip = Tip { id, height };
            if tip == self.known {
                continue;
            }
            self.known = tip;
            // A tip that was left at once need not have a body any more; the next one will.
            if let BlockAnswer::Found(block) = self.rpc.block(id).await? {
                return Ok(streamed(block));
            }
        }
    }
}

fn streamed(block: Block) -> Streamed {
    Streamed {
        tip: Some(block.header.id),
        block,
        finalised: None,
    }
}
