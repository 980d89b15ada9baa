//! Source: what is asked of a node, whatever its wire.
//!
//! The implementations are in the rooms of their wires. When to ask and what to make of the
//! answers is the observer's.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::{
    error::{SourceError, SourceErrorKind},
    id::{BlockId, Owner, TxId},
    model::{Block, BlockAnswer, ChainIdentity, Finalised, Funds, Head, Header},
};

/// New blocks as a node tells of them. Doubles and blocks out of order are normal; an error is the
/// last item.
pub type BlockStream = BoxStream<'static, Result<Streamed, SourceError>>;

/// A node (a local one or a public peer) that can be asked about its chain.
///
/// Every call has a time limit and a size limit of the source's own, asks the node once, and fails
/// with an error that names node and call. What a wire has not is
/// [`Unsupported`](SourceErrorKind::Unsupported).
///
/// # Cancel safety
/// Dropping a call drops the request; what it would have changed at the node may have happened.
#[async_trait]
pub trait ChainSource: Send + Sync + 'static {
    /// The name of the node, as errors and events say it.
    fn name(&self) -> &str;

    /// Which form of its wire the node speaks, as far as it is known by now.
    fn shape(&self) -> WireShape;

    /// Who the node is and which chain it is on.
    async fn identity(&self) -> Result<ChainIdentity, SourceError>;

    /// Where the node is, as one answer of one moment.
    async fn head(&self) -> Result<Head, SourceError>;

    /// The header with this id, on any branch; `None` when the node does not know it.
    async fn header(&self, id: BlockId) -> Result<Option<Header>, SourceError>;

    /// The headers from `from` (inclusive) back to `end`, newest first, each the parent of the one
    /// before it. Shorter than asked for where the node has no more in reach, and empty when it
    /// does not know `from`. A header whose parent it cannot tell is not listed.
    async fn ancestry(&self, from: BlockId, end: AncestryEnd) -> Result<Vec<Header>, SourceError>;

    /// The block with this id, on any branch.
    async fn block(&self, id: BlockId) -> Result<BlockAnswer, SourceError>;

    /// What [`range`](Self::range) counts in, or `None` where the wire has no such call.
    fn range_unit(&self) -> Option<RangeUnit>;

    /// The blocks from `from` to `to`, both inclusive and counted in
    /// [`range_unit`](Self::range_unit), oldest first, on the node's own chain: what catching up
    /// uses. A wire with finality answers with final blocks only; without it, blocks of the best
    /// chain. A slot may have no block. The genesis block may be left out where no node serves it.
    async fn range(&self, from: u64, to: u64) -> Result<Vec<Block>, SourceError>;

    /// The transactions that wait to be included.
    async fn mempool(&self) -> Result<Vec<TxId>, SourceError>;

    /// Hands in a signed transaction. Success means that the node took it, not that it is valid.
    async fn submit(&self, transaction: &SignedTransaction) -> Result<TxId, SourceError>;

    /// With how many others the node is connected.
    async fn peers(&self) -> Result<Peers, SourceError>;

    /// Tells the node to connect to the peer at `address`, in the form that the wire uses.
    async fn connect(&self, address: &str) -> Result<(), SourceError>;

    /// New blocks as they come, or `None` where the wire has no such stream. Used only to look
    /// sooner: what counts is what the other calls answer.
    async fn stream(&self) -> Result<Option<BlockStream>, SourceError> {
        Ok(None)
    }

    /// What the node says that `owner` holds at the block `at`, or at its tip. `None` when the node
    /// does not follow this owner, or does not know the block.
    async fn funds(
        &self,
        owner: &Owner,
        at: Option<BlockId>,
    ) -> Result<Option<Funds>, SourceError> {
        let _ = (owner, at);
        Err(self.unsupported("funds"))
    }

    /// Whether what the node says of a header can be believed by calculation alone: the id is the
    /// hash of the header, and the parent is in it.
    async fn check_header(&self, header: &Header) -> Result<HeaderCheck, SourceError> {
        let _ = header;
        Ok(HeaderCheck::Uncheckable)
    }

    /// The error of a call that this wire has not.
    fn unsupported(&self, call: &str) -> SourceError {
        SourceError::new(self.name(), call, SourceErrorKind::Unsupported)
    }
}

/// How far back an ancestry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AncestryEnd {
    /// At this block (inclusive), when it is met before.
    pub until: Option<BlockId>,
    /// After this many headers.
    pub headers_max: usize,
}

/// What positions in a chain are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeUnit {
    /// Blocks before it.
    Height,
    /// Slots since genesis, of which many have no block.
    Slot,
}

/// One item of a [`BlockStream`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streamed {
    /// The block.
    pub block: Block,
    /// The node's tip after it, where the wire tells.
    pub tip: Option<BlockId>,
    /// The node's last final block after it, where the wire tells.
    pub finalised: Option<Finalised>,
}

/// A transaction that is ready to be handed in, in the form of its wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedTransaction {
    /// JSON text.
    Json(Arc<str>),
    /// Serialised bytes.
    Bytes(Arc<[u8]>),
}

/// With whom a node is connected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    /// How many.
    pub count: usize,
    /// Who, where the wire names them: peer ids, or addresses on wires without ids.
    pub ids: Vec<String>,
}

/// Whether a header is what its id says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderCheck {
    /// The id is the hash of a header that names this parent.
    Consistent,
    /// This wire gives too little to calculate it.
    Uncheckable,
    /// It is not.
    Forged {
        /// What does not fit.
        why: String,
    },
}

/// Which form of a wire a node speaks, for diagnostics: `logos-http 0.3 (nested info, block events)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireShape(pub String);

impl fmt::Display for WireShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
