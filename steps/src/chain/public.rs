//! Public: phrases that compare our nodes with those of a public chain.

use trellis_domain::ExternalNode;

use crate::effect::StepEffects;

pub(crate) const EFFECTS: &[StepEffects] = &[];

/// The nodes of a public chain that the scenario listed.
#[derive(Debug, Default)]
pub(crate) struct PublicPeers {
    nodes: Vec<ExternalNode>,
}
