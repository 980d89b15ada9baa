//! Block: blocks and transactions in each of their forms, and what they are in the one form of all
//! wires.
//!
//! A block is an object with a `header`, with or without its id. A transaction moves value by a
//! `ledger_tx` (up to 0.2.0) or by operations (newer); opcodes are read in the second case only,
//! because the first gave other meanings to the same numbers.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::wire::{Id, plain};
use crate::{
    error::SourceErrorKind,
    http::{decode, wrong_shape},
    id::{BlockId, OutputId, Owner, TxId},
    model::{Block, Header, Output, Transaction},
};

/// Spends notes and makes others.
const TRANSFER: u64 = 0;
/// Spends notes for a channel, or of one.
const CHANNEL_DEPOSIT: u64 = 18;
const CHANNEL_WITHDRAW: u64 = 19;
const CHANNEL_TRANSFER: u64 = 20;
/// Make notes for an owner that only events tell of.
const LEADER_CLAIM: u64 = 48;
const CLAIM_POW_REWARD: u64 = 64;

/// A block as the wire has it.
#[derive(Deserialize)]
pub(super) struct WireBlock {
    pub(super) header: WireHeader,
    transactions: Vec<WireTransaction>,
}

#[derive(Deserialize)]
pub(super) struct WireHeader {
    /// Left out by nodes up to 0.2 when they are asked for one block: whoever asked knows it.
    #[serde(default)]
    pub(super) id: Option<Id<BlockId>>,
    pub(super) parent_block: Id<BlockId>,
    pub(super) slot: u64,
}

#[derive(Deserialize)]
struct WireTransaction {
    mantle_tx: MantleTx,
}

#[derive(Deserialize)]
struct MantleTx {
    #[serde(default)]
    hash: Option<Id<TxId>>,
    #[serde(default)]
    ops: Vec<Op>,
    #[serde(default)]
    ledger_tx: Option<Transfer>,
}

#[derive(Deserialize)]
struct Op {
    opcode: u64,
    payload: Box<RawValue>,
}

#[derive(Deserialize)]
struct Transfer {
    inputs: Vec<Id<OutputId>>,
    outputs: Vec<Note>,
}

#[derive(Deserialize)]
struct Note {
    value: u64,
    pk: Id<Owner>,
}

/// What operations of channels have of a transfer.
#[derive(Deserialize)]
struct Moves {
    #[serde(default)]
    inputs: Vec<Id<OutputId>>,
    #[serde(default)]
    outputs: Vec<Note>,
}

#[derive(Deserialize)]
struct Claim {
    #[serde(alias = "public_key")]
    pk: Id<Owner>,
}

impl WireHeader {
    /// The header of the block `id`.
    pub(super) fn header(&self, id: BlockId) -> Header {
        Header {
            slot: Some(self.slot),
            ..Header::new(id, self.parent())
        }
    }

    /// The block before it. A parent of zeros only is the one that genesis has.
    pub(super) fn parent(&self) -> Option<BlockId> {
        let Id(parent) = self.parent_block;
        (parent != BlockId::from_bytes([0; 32])).then_some(parent)
    }
}

impl WireBlock {
    /// Whether each transaction has its id. Without it a block says nothing that can be followed.
    pub(super) fn is_named(&self) -> bool {
        self.transactions
            .iter()
            .all(|tx| tx.mantle_tx.hash.is_some())
    }

    /// The block with the id that the wire gives it.
    pub(super) fn named(self) -> Result<Block, SourceErrorKind> {
        let missing = || wrong_shape("header", "a header without it", "field `id`");
        let Id(id) = self.header.id.ok_or_else(missing)?;
        self.block(id)
    }

    /// The block `id`.
    pub(super) fn block(self, id: BlockId) -> Result<Block, SourceErrorKind> {
        let mut block = Block::new(self.header.header(id), Vec::new());
        for (index, transaction) in self.transactions.into_iter().enumerate() {
            let path = format!("transactions[{index}].mantle_tx");
            let transaction = transaction.mantle_tx.read(&path, &mut block.unaccounted)?;
            block.transactions.push(transaction);
        }
        Ok(block)
    }
}

impl MantleTx {
    /// The transaction. Owners of what it makes without telling what go to `unaccounted`.
    fn read(
        self,
        path: &str,
        unaccounted: &mut Vec<Owner>,
    ) -> Result<Transaction, SourceErrorKind> {
        let missing = || wrong_shape(path, "a transaction without it", "field `hash`");
        let Id(id) = self.hash.ok_or_else(missing)?;
        let mut transaction = Transaction {
            id,
            inputs: Vec::new(),
            outputs: Vec::new(),
        };
        if let Some(Transfer { inputs, outputs }) = self.ledger_tx {
            transaction.moves(0, inputs, outputs);
            return Ok(transaction);
        }
        for (index, op) in self.ops.into_iter().enumerate() {
            let payload = op.payload.get().as_bytes();
            let within = |kind| beneath(&format!("{path}.ops[{index}].payload"), kind);
            match op.opcode {
                TRANSFER => {
                    let Transfer { inputs, outputs } = decode(payload).map_err(within)?;
                    transaction.moves(index, inputs, outputs);
                }
                CHANNEL_DEPOSIT | CHANNEL_WITHDRAW | CHANNEL_TRANSFER => {
                    let Moves { inputs, outputs } = decode(payload).map_err(within)?;
                    transaction.moves(index, inputs, outputs);
                }
                LEADER_CLAIM | CLAIM_POW_REWARD => {
                    let Claim { pk: Id(owner) } = decode(payload).map_err(within)?;
                    unaccounted.push(owner);
                }
                _ => {}
            }
        }
        Ok(transaction)
    }
}

impl Transaction {
    fn moves(&mut self, operation: usize, inputs: Vec<Id<OutputId>>, outputs: Vec<Note>) {
        self.inputs.extend(plain(inputs));
        let made = outputs.into_iter().map(
            |Note {
                 value,
                 pk: Id(owner),
             }| Output {
                id: None,
                owner,
                value,
                operation,
            },
        );
        self.outputs.extend(made);
    }
}

/// The same error of a part that is at `path` of the whole.
pub(super) fn beneath(path: &str, kind: SourceErrorKind) -> SourceErrorKind {
    match kind {
        SourceErrorKind::WrongShape {
            path: inner,
            snippet,
            expected,
        } => SourceErrorKind::WrongShape {
            path: match inner.as_str() {
                "$" => path.to_owned(),
                inner => format!("{path}.{inner}"),
            },
            snippet,
            expected,
        },
        other => other,
    }
}

/// The blocks of a list in its order. Where nodes leave the ids out, each is the parent of the next
/// one, and the last one's is `last`.
pub(super) fn listed(
    list: Vec<WireBlock>,
    last: Option<BlockId>,
) -> Result<Vec<Block>, SourceErrorKind> {
    let parents = list
        .iter()
        .skip(1)
        .map(|next| Some(next.header.parent_block.0));
    let after: Vec<_> = parents.chain([last]).collect();
    let blocks = list.into_iter().zip(after).enumerate();
    let read = |(index, (block, id)): (usize, (WireBlock, Option<BlockId>))| {
        let block = match (block.header.id, id) {
            (None, Some(id)) => block.block(id),
            _ => block.named(),
        };
        block.map_err(|kind| beneath(&format!("[{index}]"), kind))
    };
    blocks.map(read).collect()
}
