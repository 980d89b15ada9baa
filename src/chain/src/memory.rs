//! Memory node: a chain source without a wire, for tests of all that stands upon chain sources.
//!
//! It holds blocks and answers; it makes no decisions. Tests give it blocks, move its tip, and make
//! it fail, hang or lie. That nodes of a real wire answer the same way is tested with those wires.

mod chain;
mod trouble;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use tokio::{sync::broadcast, time::sleep};

use self::chain::Chain;
pub use self::{
    chain::{child_of, genesis},
    trouble::Trouble,
};
use crate::{
    error::{SourceError, SourceErrorKind},
    id::{BlockId, OutputId, Owner, TxId},
    model::{Block, BlockAnswer, ChainIdentity, Finalised, Funds, Head, Header, Mode},
    source::{
        AncestryEnd, BlockStream, ChainSource, HeaderCheck, Peers, RangeUnit, SignedTransaction,
        Streamed, WireShape,
    },
};

/// How many blocks a reader of the stream may be late.
const STREAM_BACKLOG: usize = 1_024;

/// A node in memory.
#[derive(Debug)]
pub struct MemoryNode {
    name: Arc<str>,
    inner: Mutex<Inner>,
    new_blocks: broadcast::Sender<Block>,
}

#[derive(Debug)]
struct Inner {
    chain: Chain,
    /// Blocks this far below the tip are final; `None` is a chain without finality.
    final_depth: Option<u64>,
    unit: Option<RangeUnit>,
    trouble: Trouble,
    mode: Mode,
    chain_id: String,
    mempool: BTreeSet<TxId>,
    peers: Vec<String>,
    funds: BTreeMap<Owner, Vec<(OutputId, u64)>>,
}

impl Inner {
    /// What it says of this header.
    fn told(&self, header: &Header) -> Header {
        let told = self.trouble.header(header);
        match self.trouble {
            Trouble::Grafts(parent) if told.id == self.chain.tip().header.id => Header {
                parent: Some(parent),
                ..told
            },
            _ => told,
        }
    }
}

impl MemoryNode {
    /// A node that has only `genesis`. It has no finality, and serves ranges by height.
    pub fn new(name: impl Into<Arc<str>>, genesis: Block) -> Self {
        Self {
            name: name.into(),
            inner: Mutex::new(Inner {
                chain: Chain::new(genesis),
                final_depth: None,
                unit: Some(RangeUnit::Height),
                trouble: Trouble::None,
                mode: Mode::Online,
                chain_id: "memory".to_owned(),
                mempool: BTreeSet::new(),
                peers: Vec::new(),
                funds: BTreeMap::new(),
            }),
            new_blocks: broadcast::channel(STREAM_BACKLOG).0,
        }
    }

    /// Blocks this far below the tip are final, and ranges are by slot and of final blocks only.
    #[must_use]
    pub fn with_finality(self, depth: u64) -> Self {
        let mut inner = self.inner();
        inner.final_depth = Some(depth);
        inner.unit = Some(RangeUnit::Slot);
        drop(inner);
        self
    }

    /// It serves no ranges.
    #[must_use]
    pub fn without_ranges(self) -> Self {
        self.inner().unit = None;
        self
    }

    /// Takes a block whose parent it has, and makes it its tip.
    ///
    /// # Panics
    /// When it has not the parent.
    pub fn take(&self, block: Block) {
        let id = block.header.id;
        let mut inner = self.inner();
        inner.chain.add(block.clone());
        inner.chain.set_tip(id);
        drop(inner);
        // Nobody need listen.
        let _ = self.new_blocks.send(block);
    }

    /// How many listen to its stream of blocks.
    pub fn listeners(&self) -> usize {
        self.new_blocks.receiver_count()
    }

    /// Moves its tip to a block that it has.
    ///
    /// # Panics
    /// When it has it not.
    pub fn move_to(&self, tip: BlockId) {
        self.inner().chain.set_tip(tip);
    }

    /// Makes `count` blocks without transactions on its tip. The same `salt` on the same tip makes
    /// the same blocks.
    pub fn grow(&self, count: u64, salt: u64) -> BlockId {
        for _ in 0..count {
            let tip = self.tip();
            self.take(child_of(&tip.header, salt, Vec::new()));
        }
        self.tip().header.id
    }

    /// Takes all that `other` has on its chain, and its tip.
    pub fn follow(&self, other: &Self) {
        if std::ptr::eq(self, other) {
            return;
        }
        let missing = {
            let (mine, theirs) = (self.inner(), other.inner());
            theirs.chain.missing_in(&mine.chain)
        };
        let tip = other.tip().header.id;
        for block in missing {
            self.take(block);
        }
        self.move_to(tip);
    }

    /// The block that its chain ends with.
    pub fn tip(&self) -> Block {
        self.inner().chain.tip().clone()
    }

    /// How it misbehaves from now on.
    pub fn trouble(&self, trouble: Trouble) {
        self.inner().trouble = trouble;
    }

    /// What it says that it is doing.
    pub fn set_mode(&self, mode: Mode) {
        self.inner().mode = mode;
    }

    /// It has only the header of this block from now on, as nodes have of branches that lost.
    pub fn lose_body(&self, id: BlockId) {
        self.inner().chain.lose_body(id);
    }

    /// The transactions that wait there.
    pub fn set_mempool(&self, ids: impl IntoIterator<Item = TxId>) {
        self.inner().mempool = ids.into_iter().collect();
    }

    /// What it says that this owner holds at its tip.
    pub fn set_funds(&self, owner: Owner, outputs: Vec<(OutputId, u64)>) {
        self.inner().funds.insert(owner, outputs);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("no test panics while it holds this")
    }

    /// Lets trouble happen, and otherwise reads.
    async fn read<T>(
        &self,
        call: &str,
        read: impl FnOnce(&mut Inner) -> T,
    ) -> Result<T, SourceError> {
        let trouble = self.inner().trouble;
        match trouble {
            Trouble::Refuses => {
                let source = Arc::new(io::Error::from(io::ErrorKind::ConnectionRefused));
                let kind = SourceErrorKind::Refused { source };
                return Err(SourceError::new(self.name.as_ref(), call, kind));
            }
            trouble if trouble.hangs_on(call) => pending().await,
            trouble if !trouble.delay(call).is_zero() => sleep(trouble.delay(call)).await,
            _ => {}
        }
        Ok(read(&mut self.inner()))
    }
}

#[async_trait]
impl ChainSource for MemoryNode {
    fn name(&self) -> &str {
        &self.name
    }

    fn shape(&self) -> WireShape {
        WireShape("memory".to_owned())
    }

    async fn identity(&self) -> Result<ChainIdentity, SourceError> {
        let identity = |inner: &mut Inner| ChainIdentity {
            chain_id: Some(inner.chain_id.clone()),
            genesis: Some(inner.chain.genesis()),
            protocol: None,
            peer_id: None,
        };
        self.read("identity", identity).await
    }

    async fn head(&self) -> Result<Head, SourceError> {
        let head = |inner: &mut Inner| {
            let height = inner.chain.height();
            let boast = match inner.trouble {
                Trouble::Boasts(boast) => boast,
                _ => 0,
            };
            let finalised = inner.final_depth.map(|depth| {
                let height = height.saturating_sub(depth);
                let header = &inner.chain.at(height).header;
                Finalised {
                    id: header.id,
                    height: None,
                    slot: header.slot,
                }
            });
            let tip = &inner.chain.tip().header;
            Head {
                tip: tip.id,
                height: height.saturating_add(boast),
                slot: tip.slot,
                finalised,
                mode: inner.mode.clone(),
            }
        };
        self.read("head", head).await
    }

    async fn header(&self, id: BlockId) -> Result<Option<Header>, SourceError> {
        let header = |inner: &mut Inner| Some(inner.told(inner.chain.header(&id)?));
        self.read("header", header).await
    }

    async fn ancestry(&self, from: BlockId, end: AncestryEnd) -> Result<Vec<Header>, SourceError> {
        let ancestry = |inner: &mut Inner| {
            let headers = inner.chain.ancestry(from, end);
            let told: Vec<Header> = headers.iter().map(|header| inner.told(header)).collect();
            match (inner.trouble, told.first()) {
                (Trouble::Grafts(parent), Some(first)) if first.parent == Some(parent) => {
                    let below = inner.chain.ancestry(parent, end);
                    [first.clone()].into_iter().chain(below).collect()
                }
                _ => told,
            }
        };
        self.read("ancestry", ancestry).await
    }

    async fn block(&self, id: BlockId) -> Result<BlockAnswer, SourceError> {
        let block = |inner: &mut Inner| match inner.chain.answer(&id) {
            BlockAnswer::Found(block) => BlockAnswer::Found(Block {
                header: inner.told(&block.header),
                ..block
            }),
            other => other,
        };
        self.read("block", block).await
    }

    fn range_unit(&self) -> Option<RangeUnit> {
        self.inner().unit
    }

    async fn range(&self, from: u64, to: u64) -> Result<Vec<Block>, SourceError> {
        let trouble = self.inner().trouble;
        let from = match trouble {
            Trouble::HangsOnRangesOver(count) if to - from >= count => pending().await,
            Trouble::RangesFrom(first) => from.max(first),
            _ => from,
        };
        let range = |inner: &mut Inner| {
            let depth = inner.final_depth.unwrap_or(0);
            let end = inner.chain.height().saturating_sub(depth);
            match inner.unit {
                Some(RangeUnit::Slot) => inner.chain.slots(from, to, end),
                _ => inner.chain.heights(from, to.min(end)),
            }
        };
        self.read("range", range).await
    }

    async fn mempool(&self) -> Result<Vec<TxId>, SourceError> {
        self.read("mempool", |inner| inner.mempool.iter().copied().collect())
            .await
    }

    async fn submit(&self, _: &SignedTransaction) -> Result<TxId, SourceError> {
        Err(self.unsupported("submit"))
    }

    async fn peers(&self) -> Result<Peers, SourceError> {
        let peers = |inner: &mut Inner| Peers {
            count: inner.peers.len(),
            ids: inner.peers.clone(),
        };
        self.read("peers", peers).await
    }

    async fn connect(&self, address: &str) -> Result<(), SourceError> {
        let address = address.to_owned();
        self.read("connect", |inner| inner.peers.push(address))
            .await
    }

    async fn stream(&self) -> Result<Option<BlockStream>, SourceError> {
        let blocks = self.new_blocks.subscribe();
        let next = |mut blocks: broadcast::Receiver<Block>| async move {
            let block = blocks.recv().await.ok()?;
            let tip = Some(block.header.id);
            let streamed = Streamed {
                block,
                tip,
                finalised: None,
            };
            Some((Ok(streamed), blocks))
        };
        Ok(Some(stream::unfold(blocks, next).boxed()))
    }

    async fn funds(
        &self,
        owner: &Owner,
        at: Option<BlockId>,
    ) -> Result<Option<Funds>, SourceError> {
        let funds = |inner: &mut Inner| {
            let tip = inner.chain.tip().header.id;
            let outputs = inner
                .funds
                .get(owner)
                .filter(|_| at.is_none_or(|at| at == tip))?;
            Some(Funds {
                at: tip,
                balance: outputs.iter().map(|(_, value)| value).sum(),
                outputs: Some(outputs.clone()),
            })
        };
        self.read("funds", funds).await
    }

    async fn check_header(&self, header: &Header) -> Result<HeaderCheck, SourceError> {
        let header = header.clone();
        let check = |inner: &mut Inner| match (inner.trouble, inner.chain.header(&header.id)) {
            (Trouble::Forges, _) => HeaderCheck::Forged {
                why: "the id is not the hash of the header".to_owned(),
            },
            (_, Some(_)) => HeaderCheck::Consistent,
            (_, None) => HeaderCheck::Uncheckable,
        };
        self.read("check_header", check).await
    }
}
