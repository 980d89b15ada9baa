//! Bitcoin source: the questions that are the same for all wires, put to a Bitcoin node.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use serde_json::Value;

use super::{
    chain_calls::{hash_call, header_call},
    client::{BitcoinRpc, RpcConfig},
    header_check, model,
    reply::code,
    shapes::{BlockHash, BlockHeader, BlockchainInfo},
    stream,
    wallet_calls::output_id,
};
use crate::{
    error::SourceError,
    http::HttpConfigError,
    id::{BlockId, Owner, TxId},
    model::{Block, BlockAnswer, ChainIdentity, Finalised, Funds, Head, Header, Mode},
    source::{
        AncestryEnd, BlockStream, ChainSource, HeaderCheck, Peers, RangeUnit, SignedTransaction,
        WireShape,
    },
};

/// The depth that is taken for final where nothing else is said: the age at which a node lets a
/// coinbase be spent.
pub const FINALITY_DEPTH: u64 = 100;
/// How often a head is read anew when the chain changes while it is read.
const HEAD_READS_MAX: usize = 3;

/// A Bitcoin node as a source of its chain.
#[derive(Clone, Debug)]
pub struct BitcoinSource {
    rpc: BitcoinRpc,
    finality_depth: Option<u64>,
    /// What the node calls itself, once it was asked.
    agent: Arc<Mutex<Option<String>>>,
}

impl BitcoinSource {
    /// A source that takes blocks [`FINALITY_DEPTH`] below the tip for final.
    pub fn new(config: RpcConfig) -> Result<Self, HttpConfigError> {
        Ok(Self {
            rpc: BitcoinRpc::new(config)?,
            finality_depth: Some(FINALITY_DEPTH),
            agent: Arc::default(),
        })
    }

    /// The same, with blocks `depth` below the tip taken for final; with `None`, no block ever is.
    #[must_use]
    pub fn with_finality_depth(self, depth: Option<u64>) -> Self {
        Self {
            finality_depth: depth,
            ..self
        }
    }

    /// All else that the node can do.
    pub fn rpc(&self) -> &BitcoinRpc {
        &self.rpc
    }

    /// The block at the finality depth below the tip that `info` tells, if that tip is still one
    /// of the best chain after it was read.
    async fn finalised(
        &self,
        info: &BlockchainInfo,
        depth: u64,
    ) -> Result<Option<Finalised>, SourceError> {
        let height = info.blocks.saturating_sub(depth);
        let calls = [hash_call(height), header_call(info.bestblockhash)];
        let mut answers = self.rpc.batch(&calls).await?.into_iter();
        let (Some(id), Some(tip)) = (answers.next(), answers.next()) else {
            return Ok(None);
        };
        let id = self
            .rpc
            .decoded_unless(code::INVALID_PARAMETER, "getblockhash", id)?;
        let tip: Option<BlockHeader> =
            self.rpc
                .decoded_unless(code::NOT_FOUND, "getblockheader", tip)?;
        let still = tip.is_some_and(|tip| tip.is_on_best_chain());
        Ok(id.filter(|_| still).map(|BlockHash(id)| Finalised {
            id,
            height: Some(height),
            slot: None,
        }))
    }
}

#[async_trait]
impl ChainSource for BitcoinSource {
    fn name(&self) -> &str {
        self.rpc.name()
    }

    fn shape(&self) -> WireShape {
        let agent = self.agent.lock().unwrap_or_else(PoisonError::into_inner);
        WireShape(match &*agent {
            Some(agent) => format!("bitcoin-rpc {agent}"),
            None => "bitcoin-rpc".to_owned(),
        })
    }

    async fn identity(&self) -> Result<ChainIdentity, SourceError> {
        let info = self.rpc.blockchain_info().await?;
        let network = self.rpc.network_info().await?;
        let genesis = self.rpc.block_hash(0).await?;
        let protocol = format!("{} {}", network.protocolversion, network.subversion);
        *self.agent.lock().unwrap_or_else(PoisonError::into_inner) = Some(network.subversion);
        Ok(ChainIdentity {
            chain_id: Some(info.chain),
            genesis,
            protocol: Some(protocol),
            // Nodes have no key among peers.
            peer_id: None,
        })
    }

    async fn head(&self) -> Result<Head, SourceError> {
        let mut info = self.rpc.blockchain_info().await?;
        let mut finalised = None;
        if let Some(depth) = self.finality_depth {
            for _ in 0..HEAD_READS_MAX {
                finalised = self.finalised(&info, depth).await?;
                if finalised.is_some() {
                    break;
                }
                info = self.rpc.blockchain_info().await?;
            }
        }
        Ok(Head {
            tip: info.bestblockhash,
            height: info.blocks,
            slot: None,
            finalised,
            mode: if info.has_all_bodies() {
                Mode::Online
            } else {
                Mode::Bootstrapping
            },
        })
    }

    async fn header(&self, id: BlockId) -> Result<Option<Header>, SourceError> {
        let header = self.rpc.block_header(id).await?;
        Ok(header.as_ref().map(Header::from))
    }

    async fn ancestry(&self, from: BlockId, end: AncestryEnd) -> Result<Vec<Header>, SourceError> {
        let headers = self.rpc.header_ancestry(from, end).await?;
        Ok(headers.iter().map(Header::from).collect())
    }

    async fn block(&self, id: BlockId) -> Result<BlockAnswer, SourceError> {
        self.rpc.block(id).await
    }

    fn range_unit(&self) -> Option<RangeUnit> {
        Some(RangeUnit::Height)
    }

    async fn range(&self, from: u64, to: u64) -> Result<Vec<Block>, SourceError> {
        self.rpc.blocks_by_height(from, to).await
    }

    async fn mempool(&self) -> Result<Vec<TxId>, SourceError> {
        self.rpc.raw_mempool().await
    }

    /// Takes bytes, or a JSON text of hexadecimal digits.
    async fn submit(&self, transaction: &SignedTransaction) -> Result<TxId, SourceError> {
        let hex = match transaction {
            SignedTransaction::Bytes(bytes) => to_hex(bytes),
            SignedTransaction::Json(text) => {
                let Ok(Value::String(hex)) = serde_json::from_str(text) else {
                    return Err(self.unsupported("sendrawtransaction of JSON"));
                };
                hex
            }
        };
        self.rpc.send_raw_transaction(&hex).await
    }

    async fn peers(&self) -> Result<Peers, SourceError> {
        let peers = self.rpc.peer_info().await?;
        Ok(Peers {
            count: peers.len(),
            ids: peers.into_iter().map(|peer| peer.addr).collect(),
        })
    }

    async fn connect(&self, address: &str) -> Result<(), SourceError> {
        self.rpc.connect_once(address).await
    }

    async fn stream(&self) -> Result<Option<BlockStream>, SourceError> {
        stream::new_blocks(self.rpc.clone()).await.map(Some)
    }

    /// By a scan of all outputs at the tip: `None` for any other block.
    async fn funds(
        &self,
        owner: &Owner,
        at: Option<BlockId>,
    ) -> Result<Option<Funds>, SourceError> {
        let found = self.rpc.scan_outputs(&model::descriptor(owner)).await?;
        let outputs = found.unspents.iter();
        let outputs = outputs.map(|it| (output_id(it.txid, it.vout), it.amount.units()));
        let funds = Funds {
            at: found.bestblock,
            balance: found.total_amount.units(),
            outputs: Some(outputs.collect()),
        };
        Ok(Some(funds).filter(|funds| at.is_none_or(|at| at == funds.at)))
    }

    async fn check_header(&self, header: &Header) -> Result<HeaderCheck, SourceError> {
        let raw = self.rpc.raw_header(header.id).await?;
        Ok(match raw {
            Some(raw) => header_check::check(header, &raw),
            None => HeaderCheck::Uncheckable,
        })
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
