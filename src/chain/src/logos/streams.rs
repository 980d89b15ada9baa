//! Streams: a JSON text a line, for as long as somebody reads.

use futures::{Stream, StreamExt as _, stream};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    block::{WireBlock, beneath},
    client::{LogosHttp, is_no_path, node_error},
    info::Generation,
    wire::Id,
};
use crate::{
    error::{SourceError, SourceErrorKind},
    http::{HttpRequest, Lines, decode, wrong_shape},
    id::BlockId,
    model::Finalised,
    source::{BlockStream, Streamed},
};

/// With the tip and the last final block after it (0.2.0 and newer).
const EVENTS: &str = "/cryptarchia/events/blocks/stream";
/// Blocks alone (up to 0.1).
const BLOCKS: &str = "/cryptarchia/blocks/stream";

impl LogosHttp {
    /// New blocks, from whichever stream the node has; `None` when it has none. The first may be
    /// the tip that was there before.
    pub async fn new_blocks(&self) -> Result<Option<BlockStream>, SourceError> {
        let paths = match self.generation().await? {
            Generation::Flat => [BLOCKS, EVENTS],
            Generation::Mode | Generation::State => [EVENTS, BLOCKS],
        };
        for path in paths {
            let request = HttpRequest::get(path);
            if let Some(blocks) = self.stream_of(&request, streamed).await? {
                return Ok(Some(blocks.boxed()));
            }
        }
        Ok(None)
    }

    /// What `read` makes of each line. An error ends it. Nothing where there is no such path.
    pub(super) async fn stream_of<T: Send + 'static>(
        &self,
        request: &HttpRequest,
        read: fn(&[u8]) -> Result<T, SourceErrorKind>,
    ) -> Result<Option<impl Stream<Item = Result<T, SourceError>> + Send + use<T>>, SourceError>
    {
        let lines = match self.http.lines(request).await? {
            Lines::Begun(lines) => lines,
            Lines::Refused(answer) if is_no_path(&answer) => return Ok(None),
            Lines::Refused(answer) => return Err(answer.error(node_error(&answer))),
        };
        let (http, request) = (self.http.clone(), request.clone());
        let state = Some((lines, http, request));
        Ok(Some(stream::unfold(state, move |state| async move {
            let (mut lines, http, request) = state?;
            let line = lines.next().await?;
            let item = line.and_then(|line| read(&line).map_err(|kind| http.error(&request, kind)));
            let rest = item.is_ok().then_some((lines, http, request));
            Some((item, rest))
        })))
    }
}

/// A line as it is.
pub(super) fn json_of<T: DeserializeOwned>(line: &[u8]) -> Result<T, SourceErrorKind> {
    decode(line)
}

#[derive(Deserialize)]
struct Event {
    block: WireBlock,
    #[serde(default)]
    tip: Option<Id<BlockId>>,
    #[serde(default)]
    lib: Option<Id<BlockId>>,
    #[serde(default)]
    lib_slot: Option<u64>,
}

/// A line is a block with what follows from it, or a block alone.
fn streamed(line: &[u8]) -> Result<Streamed, SourceErrorKind> {
    #[derive(Deserialize)]
    struct Form {
        #[serde(default)]
        block: Option<serde::de::IgnoredAny>,
        #[serde(default)]
        header: Option<serde::de::IgnoredAny>,
    }
    let form: Form = decode(line)?;
    if form.block.is_some() {
        let event: Event = decode(line)?;
        let block = event.block.named().map_err(|kind| beneath("block", kind))?;
        let finalised = event.lib.map(|Id(id)| Finalised {
            id,
            height: None,
            slot: event.lib_slot,
        });
        return Ok(Streamed {
            block,
            tip: event.tip.map(|Id(tip)| tip),
            finalised,
        });
    }
    if form.header.is_none() {
        let found = String::from_utf8_lossy(line);
        return Err(wrong_shape("$", &found, "a block, or an event with one"));
    }
    let block: WireBlock = decode(line)?;
    Ok(Streamed {
        block: block.named()?,
        tip: None,
        finalised: None,
    })
}
