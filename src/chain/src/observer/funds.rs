//! Funds: asks nodes what an owner holds where blocks do not tell all of it.

use futures::{StreamExt, stream};

use super::{
    config::ChainObserverConfig,
    look::{Asked, NoAnswer},
    state::ChainState,
};
use crate::{
    graph::Place,
    id::{BlockId, Owner},
    model::Funds,
};

/// Asks for the owners of the configuration whose funds are not known at the tip of a node that
/// runs; a few in each cycle.
pub(super) async fn ask(state: &mut ChainState, running: &[Asked], config: &ChainObserverConfig) {
    let owners = config
        .ledger
        .as_ref()
        .map_or(&[][..], |ledger| &ledger.ask_for);
    if owners.is_empty() {
        return;
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
    let unknown = pairs.filter(|(tip, owner)| state.has_gap(tip, owner));
    let requests = unknown.take(config.requests_max).map(|(tip, owner)| {
        let nodes = running.to_vec();
        async move { (owner.clone(), from_any(nodes, &owner, tip).await) }
    });
    let requests: Vec<_> = requests.collect();
    let mut answers = stream::iter(requests).buffer_unordered(config.requests_max.max(1));
    while let Some((owner, funds)) = answers.next().await {
        if let Some(funds) = funds {
            state.learn(&owner, &funds);
        }
    }
}

/// What the first node that follows this owner says. Most nodes follow only their own.
async fn from_any(nodes: Vec<Asked>, owner: &Owner, tip: BlockId) -> Option<Funds> {
    for node in nodes {
        match node.funds(owner, tip).await {
            Ok(Some(funds)) if funds.outputs.is_some() => return Some(funds),
            Ok(_) | Err(NoAnswer) => {}
        }
    }
    None
}

impl ChainState {
    fn has_gap(&self, tip: &BlockId, owner: &Owner) -> bool {
        let holdings = self.ledger.as_ref().and_then(|ledger| ledger.at(tip));
        holdings.is_some_and(|holdings| holdings.of(owner).is_err())
    }

    fn learn(&mut self, owner: &Owner, funds: &Funds) {
        let place: Option<Place> = self.graph.place(&funds.at);
        if let (Some(ledger), Some(outputs), Some(place)) =
            (&mut self.ledger, &funds.outputs, place)
        {
            ledger.learn(&self.graph, &place.id, owner, outputs);
        }
    }
}
