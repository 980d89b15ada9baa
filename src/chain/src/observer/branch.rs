//! Branch: fetches the blocks below a head that is not in the graph, from any node that knows them.

use std::{sync::Arc, time::SystemTime};

use futures::{StreamExt, stream};

use super::{
    config::ChainObserverConfig,
    look::{Asked, NoAnswer},
    state::Seen,
};
use crate::{
    graph::Graph,
    id::BlockId,
    model::{Block, BlockAnswer, Header},
    source::AncestryEnd,
};

/// How many headers one request asks for.
const HEADERS_BATCH: usize = 256;

/// Blocks from a head down to where they join the graph, or to where fetching ended.
#[derive(Debug)]
pub(super) struct Branch {
    /// Newest first.
    pub(super) blocks: Vec<(Header, Option<Arc<Block>>)>,
    /// The height of the newest, when a node told it.
    pub(super) tip_height: Option<u64>,
    pub(super) seen: Seen,
}

/// A block whose branch is wanted.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) tip: BlockId,
    pub(super) tip_height: Option<u64>,
    /// Not fetched below this block when the graph is empty, or below the graph anyway.
    pub(super) until: Option<BlockId>,
    pub(super) headers_max: usize,
    /// All who may know it, those who told of it first.
    pub(super) nodes: Vec<Asked>,
}

/// Fetches a branch. `None` when nobody knows its newest block, or there is nobody to ask.
pub(super) async fn fetch(
    wanted: Wanted,
    graph: Graph,
    config: &ChainObserverConfig,
) -> Option<Branch> {
    let seen = Seen {
        node: Arc::clone(&wanted.nodes.first()?.name),
        at: SystemTime::now(),
        live: true,
    };
    let (newest, block) = first_block(&wanted, config).await?;
    let mut headers = vec![newest];
    while let Some(parent) = next_below(&headers, &wanted, &graph) {
        let more = ancestry(&wanted, parent, headers.len()).await.ok()?;
        if more.is_empty() {
            break;
        }
        let below: Vec<_> = more
            .into_iter()
            .take_while(|h| !graph.contains(&h.id))
            .collect();
        let joins = below.is_empty();
        headers.extend(below);
        if joins {
            break;
        }
    }
    let bodies = if config.bodies {
        let rest = headers[1..].iter().map(|header| header.id).collect();
        fetch_blocks(rest, &wanted.nodes, config.requests_max).await
    } else {
        vec![None; headers.len() - 1]
    };
    let bodies = std::iter::once(block).chain(bodies);
    Some(Branch {
        blocks: headers.into_iter().zip(bodies).collect(),
        tip_height: wanted.tip_height,
        seen,
    })
}

async fn first_block(
    wanted: &Wanted,
    config: &ChainObserverConfig,
) -> Option<(Header, Option<Arc<Block>>)> {
    for node in &wanted.nodes {
        let answer = if config.bodies {
            node.block(wanted.tip).await
        } else {
            let header = node.header(wanted.tip).await;
            header.map(|header| header.map_or(BlockAnswer::Unknown, BlockAnswer::BodyUnavailable))
        };
        match answer {
            Ok(BlockAnswer::Found(block)) if block.header.id == wanted.tip => {
                return Some((block.header.clone(), Some(Arc::new(block))));
            }
            Ok(BlockAnswer::BodyUnavailable(header)) if header.id == wanted.tip => {
                return Some((header, None));
            }
            // Some nodes serve no block at genesis but know its header.
            Ok(BlockAnswer::Unknown) if config.bodies => {
                if let Ok(Some(header)) = node.header(wanted.tip).await {
                    return Some((header, None));
                }
            }
            Ok(_) | Err(NoAnswer) => {}
        }
    }
    None
}

/// The parent to go on with, unless the branch joins the graph there or is long enough.
fn next_below(headers: &[Header], wanted: &Wanted, graph: &Graph) -> Option<BlockId> {
    let oldest = headers.last()?;
    let parent = oldest.parent.filter(|parent| !graph.contains(parent))?;
    let at_end = wanted.until == Some(oldest.id) && graph.is_empty();
    (!at_end && headers.len() < wanted.headers_max).then_some(parent)
}

/// The next headers downwards, from the first node that has some; none when every node says that
/// it has none. When a node did not answer, the branch is left to the next cycle.
async fn ancestry(wanted: &Wanted, from: BlockId, have: usize) -> Result<Vec<Header>, NoAnswer> {
    let end = AncestryEnd {
        until: wanted.until,
        headers_max: HEADERS_BATCH.min(wanted.headers_max.saturating_sub(have)),
    };
    let mut unsure = false;
    for node in &wanted.nodes {
        match node.ancestry(from, end).await {
            Ok(headers) if is_chain_from(from, &headers) => return Ok(headers),
            Ok(_) => {}
            Err(NoAnswer) => unsure = true,
        }
    }
    for node in &wanted.nodes {
        match node.header(from).await {
            Ok(Some(header)) if header.id == from => return Ok(vec![header]),
            Ok(_) => {}
            Err(NoAnswer) => unsure = true,
        }
    }
    if unsure {
        Err(NoAnswer)
    } else {
        Ok(Vec::new())
    }
}

fn is_chain_from(from: BlockId, headers: &[Header]) -> bool {
    let begins = headers.first().is_some_and(|first| first.id == from);
    begins
        && headers
            .windows(2)
            .all(|pair| pair[0].parent == Some(pair[1].id))
}

/// What is in these blocks, each from the first node that has it, in their order.
pub(super) async fn fetch_blocks(
    ids: Vec<BlockId>,
    nodes: &[Asked],
    requests_max: usize,
) -> Vec<Option<Arc<Block>>> {
    let requests = ids.into_iter().map(|id| {
        let nodes = nodes.to_vec();
        async move {
            for node in &nodes {
                if let Ok(BlockAnswer::Found(block)) = node.block(id).await
                    && block.header.id == id
                {
                    return Some(Arc::new(block));
                }
            }
            None
        }
    });
    let requests: Vec<_> = requests.collect();
    stream::iter(requests)
        .buffered(requests_max.max(1))
        .collect()
        .await
}
