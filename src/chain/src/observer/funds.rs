//! Funds: of whom nodes are asked what they hold, where blocks do not tell all of it.

use super::{config::ChainObserverConfig, look::Asked, state::ChainState};
use crate::{
    graph::Place,
    id::{BlockId, Owner},
    model::Funds,
};

/// The owners of the configuration whose funds are not known at the tip of a node that runs.
pub(super) fn unknown(
    state: &ChainState,
    running: &[Asked],
    config: &ChainObserverConfig,
) -> Vec<(BlockId, Owner)> {
    let owners = config
        .ledger
        .as_ref()
        .map_or(&[][..], |ledger| &ledger.ask_for);
    if owners.is_empty() {
        return Vec::new();
    }
    let mut tips: Vec<BlockId> = running
        .iter()
        .filter_map(|node| state.nodes.get(&node.name)?.reported.as_ref())
        .map(|head| head.tip)
        .collect();
    tips.sort_unstable();
    tips.dedup();
    let pairs = tips
        .iter()
        .flat_map(|tip| owners.iter().map(move |owner| (*tip, owner.clone())));
    pairs
        .filter(|(tip, owner)| state.has_gap(tip, owner))
        .collect()
}

impl ChainState {
    fn has_gap(&self, tip: &BlockId, owner: &Owner) -> bool {
        let holdings = self.ledger.as_ref().and_then(|ledger| ledger.at(tip));
        holdings.is_some_and(|holdings| holdings.of(owner).is_err())
    }

    pub(super) fn learn(&mut self, owner: &Owner, funds: &Funds) {
        let place: Option<Place> = self.graph.place(&funds.at);
        if let (Some(ledger), Some(outputs), Some(place)) =
            (&mut self.ledger, &funds.outputs, place)
        {
            ledger.learn(&self.graph, &place.id, owner, outputs);
        }
    }
}
