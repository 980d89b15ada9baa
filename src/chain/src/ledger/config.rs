//! Ledger configuration: whose funds are followed, what genesis gave, and how outputs get ids.

use std::{collections::HashSet, fmt, sync::Arc};

use crate::{
    id::{OutputId, Owner},
    model::{Output, Transaction},
};

/// What a ledger is told beforehand.
#[derive(Clone, Debug, Default)]
pub struct LedgerConfig {
    /// Whose funds are followed.
    pub watch: Watch,
    /// What the genesis block gave, for chains whose nodes do not serve it. Without this, and
    /// without a genesis block that was served, everyone is unknown from the beginning.
    pub genesis: Option<Vec<Output>>,
    /// Whose funds an observer asks nodes for, where blocks do not tell all of them.
    pub ask_for: Vec<Owner>,
    /// How outputs get ids where the wire gives none.
    pub rule: Option<OutputRule>,
}

/// Whose funds are followed.
#[derive(Clone, Debug, Default)]
pub enum Watch {
    /// Everybody's: right for chains of a test, which are small.
    #[default]
    All,
    /// Theirs only: right beside a public chain, whose outputs would fill the memory.
    Only(Arc<HashSet<Owner>>),
}

impl Watch {
    pub(super) fn covers(&self, owner: &Owner) -> bool {
        match self {
            Self::All => true,
            Self::Only(owners) => owners.contains(owner),
        }
    }
}

/// How the id of an output follows from its transaction and its position.
#[derive(Clone)]
pub struct OutputRule(Arc<RuleFn>);

type RuleFn = dyn Fn(&Transaction, usize) -> Option<OutputId> + Send + Sync;

impl OutputRule {
    /// A rule that is this function.
    pub fn new(
        rule: impl Fn(&Transaction, usize) -> Option<OutputId> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(rule))
    }

    pub(super) fn id(&self, transaction: &Transaction, index: usize) -> Option<OutputId> {
        (self.0)(transaction, index)
    }
}

impl fmt::Debug for OutputRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutputRule(..)")
    }
}
