//! Model: what nodes of any wire say of their chain, in one form.
//!
//! Values only. Who is asked is in `source`; how blocks hang together is in `graph`.

use std::fmt;

use crate::id::{BlockId, OutputId, Owner, TxId};

/// A block without what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its id.
    pub id: BlockId,
    /// The block before it; `None` says that this is the genesis block.
    pub parent: Option<BlockId>,
    /// How many blocks are before it, where the wire has that beside the header.
    pub height: Option<u64>,
    /// The slot it was made for, on chains that have slots.
    pub slot: Option<u64>,
    /// When it was made, in milliseconds since the Unix epoch, where the wire has that.
    pub time_ms: Option<u64>,
}

impl Header {
    /// A header of which only its place in the chain is known.
    pub fn new(id: BlockId, parent: Option<BlockId>) -> Self {
        Self {
            id,
            parent,
            height: None,
            slot: None,
            time_ms: None,
        }
    }
}

/// A block with its transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its header.
    pub header: Header,
    /// Its transactions, in their order.
    pub transactions: Vec<Transaction>,
    /// Outputs that come with the block and not by a transaction, such as rewards that the wire
    /// tells of as events. A coinbase is an ordinary transaction without inputs, and not here.
    pub minted: Vec<Output>,
    /// Owners whose funds this block changes in a way that it does not tell: wallets of theirs are
    /// unknown from here on, until a node says what they hold.
    pub unaccounted: Vec<Owner>,
}

impl Block {
    /// A block whose transactions are all that happens in it.
    pub fn new(header: Header, transactions: Vec<Transaction>) -> Self {
        Self {
            header,
            transactions,
            minted: Vec::new(),
            unaccounted: Vec::new(),
        }
    }
}

/// A transaction, as far as it moves value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its id.
    pub id: TxId,
    /// The outputs that it spends.
    pub inputs: Vec<OutputId>,
    /// The outputs that it makes, in their order.
    pub outputs: Vec<Output>,
}

/// Value that can be spent once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// What a later transaction names when it spends this; `None` where neither the wire nor a
    /// known rule gives it.
    pub id: Option<OutputId>,
    /// Who may spend it.
    pub owner: Owner,
    /// How much, in the smallest unit.
    pub value: u64,
    /// Which operation of its transaction makes it, counted from 0, on wires where a transaction
    /// has several; 0 elsewhere. The id of an output may depend on it.
    pub operation: usize,
}

impl Transaction {
    /// The position of output number `index` among those that the same operation makes.
    pub fn position_in_operation(&self, index: usize) -> Option<usize> {
        let operation = self.outputs.get(index)?.operation;
        let before = self.outputs[..index].iter();
        Some(
            before
                .filter(|output| output.operation == operation)
                .count(),
        )
    }
}

/// Where a node is: one answer, taken at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The block that its chain ends with.
    pub tip: BlockId,
    /// The height of `tip`.
    pub height: u64,
    /// The slot of `tip`.
    pub slot: Option<u64>,
    /// The newest block that this node will never leave; `None` on chains without finality.
    pub finalised: Option<Finalised>,
    /// What the node says that it is doing.
    pub mode: Mode,
}

/// A block that is final for a node (its LIB, the last immutable block).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finalised {
    /// Its id.
    pub id: BlockId,
    /// Its height, where the wire has it.
    pub height: Option<u64>,
    /// Its slot, where the wire has it.
    pub slot: Option<u64>,
}

/// What a node says that it is doing. No proof of anything: a node may be online at height 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// It takes part in the chain.
    Online,
    /// It fetches the chain from others, or waits until it may trust what it fetched.
    Bootstrapping,
    /// It waits for the genesis time.
    Waiting,
    /// Something else, in the node's words.
    Other(String),
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Online => "online",
            Self::Bootstrapping => "bootstrapping",
            Self::Waiting => "waiting",
            Self::Other(mode) => mode,
        })
    }
}

/// What tells one chain from another, and one node from another. What a wire has not is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainIdentity {
    /// The name of the chain. Not unique on every wire: the genesis block is where there is one.
    pub chain_id: Option<String>,
    /// The first block.
    pub genesis: Option<BlockId>,
    /// The version of the protocol or of the node.
    pub protocol: Option<String>,
    /// Who the node is among its peers.
    pub peer_id: Option<String>,
}

/// What a node says of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockAnswer {
    /// It has it.
    Found(Block),
    /// It knows the header and has not the rest, as happens with branches that lost.
    BodyUnavailable(Header),
    /// It does not know it.
    Unknown,
}

/// What a node itself says that an owner holds at a block: the truth where blocks do not tell all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Funds {
    /// The block at which this holds.
    pub at: BlockId,
    /// The sum.
    pub balance: u64,
    /// Each output and its value, where the wire lists them.
    pub outputs: Option<Vec<(OutputId, u64)>>,
}
