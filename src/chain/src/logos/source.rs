//! Source: a Logos node as a source of a chain.

use async_trait::async_trait;
use futures::join;

use super::{
    chain_calls::HEADERS_MAX, client::LogosHttp, genesis, info::Generation, wallet_calls::id_in,
};
use crate::{
    error::{SourceError, SourceErrorKind},
    http::{HttpConfig, HttpConfigError, HttpRequest, wrong_shape},
    id::{BlockId, Owner, TxId},
    model::{Block, BlockAnswer, ChainIdentity, Funds, Head, Header},
    source::{
        AncestryEnd, BlockStream, ChainSource, Peers, RangeUnit, SignedTransaction, WireShape,
    },
};

/// A Logos node that is asked over HTTP.
///
/// `submit` takes JSON whose `mantle_tx` has its `hash`, because the node does not tell the id;
/// [`LogosHttp::submit`] takes any.
#[derive(Clone, Debug)]
pub struct LogosSource {
    http: LogosHttp,
}

impl LogosSource {
    /// Nothing is asked yet.
    pub fn new(config: HttpConfig) -> Result<Self, HttpConfigError> {
        LogosHttp::new(config).map(Self::from)
    }

    /// What only nodes of this wire can be asked.
    pub fn http(&self) -> &LogosHttp {
        &self.http
    }

    /// The header of a block that no answer gives a parent for: the last of a list of headers.
    async fn header_of_last(&self, id: BlockId) -> Result<Option<Header>, SourceError> {
        let known = self.http.known().genesis;
        if known == Some(id) {
            return Ok(Some(genesis::header(id)));
        }
        self.header(id).await
    }
}

impl From<LogosHttp> for LogosSource {
    fn from(http: LogosHttp) -> Self {
        Self { http }
    }
}

#[async_trait]
impl ChainSource for LogosSource {
    fn name(&self) -> &str {
        self.http.name()
    }

    fn shape(&self) -> WireShape {
        let form = match self.http.known().generation {
            None => "not asked yet",
            Some(Generation::Flat) => "up to 0.1: flat info, blocks from storage",
            Some(Generation::Mode) => "0.2.0: info with mode, blocks from storage",
            Some(Generation::State) => "0.2.1 and newer: info with state, blocks by id",
        };
        WireShape(format!("logos-http ({form})"))
    }

    async fn identity(&self) -> Result<ChainIdentity, SourceError> {
        // A gateway may keep some of these to itself. What it does answer counts.
        let (chain_id, version, network, genesis) = join!(
            self.http.chain_id(),
            self.http.version(),
            self.http.network_info(),
            self.http.genesis(),
        );
        let genesis = match genesis {
            Err(error) if chain_id.is_err() && version.is_err() && network.is_err() => {
                return Err(error);
            }
            told => told.ok().flatten(),
        };
        Ok(ChainIdentity {
            chain_id: chain_id.ok().flatten(),
            genesis,
            protocol: version.ok().flatten().map(|version| version.version),
            peer_id: network.ok().and_then(|network| network.peer_id),
        })
    }

    async fn head(&self) -> Result<Head, SourceError> {
        Ok(self.http.info().await?.head())
    }

    async fn header(&self, id: BlockId) -> Result<Option<Header>, SourceError> {
        Ok(match self.block(id).await? {
            BlockAnswer::Found(Block { header, .. }) | BlockAnswer::BodyUnavailable(header) => {
                Some(header)
            }
            BlockAnswer::Unknown => None,
        })
    }

    async fn ancestry(&self, from: BlockId, end: AncestryEnd) -> Result<Vec<Header>, SourceError> {
        let mut headers: Vec<Header> = Vec::new();
        let mut next = from;
        while headers.len() < end.headers_max {
            let ids = self.http.headers(Some(next), end.until).await?;
            let Some((first, last)) = ids.first().zip(ids.last()) else {
                break;
            };
            if *first != next {
                let request = HttpRequest::get("/cryptarchia/headers").query("from", next);
                let kind = wrong_shape("[0]", &first.to_string(), next.to_string());
                return Err(self.http.http.error(&request, kind));
            }
            // Each is the parent of the one before it, so that all but the last are whole.
            for pair in ids.windows(2) {
                headers.push(Header::new(pair[0], Some(pair[1])));
                if headers.len() == end.headers_max || Some(pair[0]) == end.until {
                    return Ok(headers);
                }
            }
            let Some(header) = self.header_of_last(*last).await? else {
                break;
            };
            let parent = header.parent;
            let is_end = Some(*last) == end.until || ids.len() < HEADERS_MAX;
            headers.push(header);
            match parent {
                Some(parent) if !is_end => next = parent,
                _ => break,
            }
        }
        Ok(headers)
    }

    async fn block(&self, id: BlockId) -> Result<BlockAnswer, SourceError> {
        let answer = self.http.block(id).await?;
        if answer == BlockAnswer::Unknown && self.http.genesis().await? == Some(id) {
            return Ok(BlockAnswer::BodyUnavailable(genesis::header(id)));
        }
        Ok(answer)
    }

    fn range_unit(&self) -> Option<RangeUnit> {
        Some(RangeUnit::Slot)
    }

    async fn range(&self, from: u64, to: u64) -> Result<Vec<Block>, SourceError> {
        if from > to {
            return Ok(Vec::new());
        }
        self.http.final_blocks(from, to).await
    }

    async fn mempool(&self) -> Result<Vec<TxId>, SourceError> {
        self.http.mempool_view().await
    }

    async fn submit(&self, transaction: &SignedTransaction) -> Result<TxId, SourceError> {
        let SignedTransaction::Json(signed) = transaction else {
            return Err(self.unsupported("submit (bytes)"));
        };
        let no_id = |kind: SourceErrorKind| SourceError::new(self.name(), "submit", kind);
        let id = id_in(signed).map_err(no_id)?;
        self.http.submit(signed).await?;
        Ok(id)
    }

    async fn peers(&self) -> Result<Peers, SourceError> {
        let network = self.http.network_info().await?;
        Ok(Peers {
            count: network.n_peers,
            ids: network.connected_peers.unwrap_or_default(),
        })
    }

    async fn connect(&self, address: &str) -> Result<(), SourceError> {
        self.http.dial(address).await.map(drop)
    }

    async fn stream(&self) -> Result<Option<BlockStream>, SourceError> {
        self.http.new_blocks().await
    }

    async fn funds(
        &self,
        owner: &Owner,
        at: Option<BlockId>,
    ) -> Result<Option<Funds>, SourceError> {
        let balance = self.http.balance(owner, at).await?;
        Ok(balance.map(Funds::from))
    }
}
