//! Node view: what is known of one node.

use std::{collections::BTreeSet, sync::Arc};

use rpds::HashTrieSetSync;

use crate::{
    graph::Place,
    id::{BlockId, TxId},
    model::{ChainIdentity, Head, Mode},
    source::WireShape,
};

/// What is known of one node.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// The name of its source.
    pub name: Arc<str>,
    /// Whether it is among the sources now. One that was stopped is not.
    pub observed: bool,
    /// Why it gave no answer in the last cycle.
    pub failing: Option<Arc<str>>,
    /// Its last answer.
    pub reported: Option<Head>,
    /// Its head, as of the last answer whose block is in the graph.
    pub head: Option<Place>,
    /// Its last final block that is in the graph.
    pub finalised: Option<Place>,
    /// Who it is, and on which chain.
    pub identity: Option<Arc<ChainIdentity>>,
    /// Which form of its wire it speaks.
    pub shape: Option<WireShape>,
    /// What waits there to be included, when that is asked for.
    pub mempool: Option<Arc<BTreeSet<TxId>>>,
    /// Blocks that were on its chain and are not any more.
    pub left: HashTrieSetSync<BlockId>,
    /// What it said of the chain and cannot be, the last of it.
    pub contradiction: Option<Arc<str>>,
}

impl NodeView {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            observed: true,
            failing: None,
            reported: None,
            head: None,
            finalised: None,
            identity: None,
            shape: None,
            mempool: None,
            left: HashTrieSetSync::default(),
            contradiction: None,
        }
    }

    /// Whether it is observed and answered in the last cycle.
    pub fn is_running(&self) -> bool {
        self.observed && self.failing.is_none() && self.reported.is_some()
    }

    /// What it said that it is doing.
    pub fn mode(&self) -> Option<&Mode> {
        self.reported.as_ref().map(|head| &head.mode)
    }

    /// The height that it told last, whether that block is in the graph or not.
    pub fn height(&self) -> Option<u64> {
        self.reported.as_ref().map(|head| head.height)
    }

    /// The block that it told last, when that block is in the graph.
    pub fn current_tip(&self) -> Option<BlockId> {
        let tip = self.reported.as_ref()?.tip;
        (self.head?.id == tip).then_some(tip)
    }

    /// Whether its mempool is known and has this transaction.
    pub fn has_pending(&self, transaction: &TxId) -> bool {
        let mempool = self.mempool.as_ref();
        mempool.is_some_and(|mempool| mempool.contains(transaction))
    }
}
