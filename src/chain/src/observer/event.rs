//! Chain events: what changed, in the order in which it was seen.

use std::{fmt, sync::Arc, time::SystemTime};

use crate::{graph::Place, id::BlockId, model::Mode};

/// Something that changed. Nodes are called by the names of their sources.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChainEvent {
    /// A block is known that was not.
    BlockSeen {
        /// The node that had it first.
        node: Arc<str>,
        /// The block.
        block: Place,
        /// When that node told of it, or of a block above it.
        at: SystemTime,
        /// Not so for blocks that were old when they were fetched, to catch up.
        live: bool,
    },
    /// A node's chain ends with another block than before.
    HeadMoved {
        /// The node.
        node: Arc<str>,
        /// Where it was; `None` when this is the first that is known of it.
        from: Option<Place>,
        /// Where it is.
        to: Place,
    },
    /// The head that a node moved to has not the one before it on its chain. Comes after its
    /// `HeadMoved`.
    Reorg(Reorg),
    /// More blocks are final for a node.
    Finalised {
        /// The node.
        node: Arc<str>,
        /// The last final block before.
        from: Option<Place>,
        /// The last final block.
        to: Place,
    },
    /// A node says that it does something else than before.
    ModeChanged {
        /// The node.
        node: Arc<str>,
        /// What it said before.
        from: Option<Mode>,
        /// What it says.
        to: Mode,
    },
    /// A node does not answer that did.
    Lost {
        /// The node.
        node: Arc<str>,
        /// Why.
        why: Arc<str>,
    },
    /// A node answers that did not.
    Found {
        /// The node.
        node: Arc<str>,
    },
    /// What a node said of the chain cannot be.
    Contradiction {
        /// The node.
        node: Arc<str>,
        /// What, and why not.
        why: Arc<str>,
    },
}

/// A node left blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reorg {
    /// The node.
    pub node: Arc<str>,
    /// Its head before.
    pub from: Place,
    /// Its head now.
    pub to: Place,
    /// The last block that both chains have.
    pub common_ancestor: Place,
    /// The blocks that it left, oldest first.
    pub blocks_out: Vec<BlockId>,
    /// The blocks that it has instead, oldest first; none when it only went back.
    pub blocks_in: Vec<BlockId>,
}

impl Reorg {
    /// How many blocks it left.
    pub fn depth(&self) -> u64 {
        self.from.height - self.common_ancestor.height
    }
}

impl fmt::Display for ChainEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlockSeen { node, block, .. } => write!(f, "{node} has block {block}"),
            Self::HeadMoved { node, from, to } => match from {
                Some(from) => write!(f, "{node} moved from {from} to {to}"),
                None => write!(f, "{node} is at {to}"),
            },
            Self::Reorg(reorg) => {
                let (node, common) = (&reorg.node, &reorg.common_ancestor);
                let (out, depth) = (&reorg.from, reorg.depth());
                write!(
                    f,
                    "{node} left {depth} blocks up to {out} and went on from {common}"
                )
            }
            Self::Finalised { node, to, .. } => write!(f, "{node} will never leave {to}"),
            Self::ModeChanged { node, to, .. } => write!(f, "{node} is {to}"),
            Self::Lost { node, why } => write!(f, "{node} does not answer: {why}"),
            Self::Found { node } => write!(f, "{node} answers"),
            Self::Contradiction { node, why } => write!(f, "{node} contradicts the chain: {why}"),
        }
    }
}
