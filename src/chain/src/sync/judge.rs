//! Judge: from what is seen of all nodes at one moment to a verdict. A pure function.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    SyncSpec,
    history::SyncHistory,
    verdict::{LocalState, LocalStatus, NoTarget, PeerState, PeerStatus, SyncVerdict, Verdict},
};
use crate::{
    agreement::agreed,
    graph::{Graph, Place, Relation},
    id::BlockId,
    view::{ChainView, NodeView},
};

/// Judges one view. `history` says who stalls and who lied before.
pub fn judge(
    view: &ChainView,
    spec: &SyncSpec,
    history: &SyncHistory,
    now: Instant,
) -> SyncVerdict {
    let network = spec.genesis.or_else(|| majority_genesis(view, spec));
    let usable: Vec<&NodeView> = spec
        .public
        .iter()
        .filter_map(|name| view.node(name))
        .filter(|peer| peer.is_running() && lie(peer, network, history).is_none())
        .collect();
    let target = find_target(&view.graph, spec, &usable);
    let still = stalled_for(spec, &usable, history, now);
    let peers = spec.public.iter().map(|name| PeerStatus {
        name: name.as_str().into(),
        height: view.node(name).and_then(NodeView::height),
        state: peer_state(
            view,
            spec,
            name,
            network,
            target.as_ref().ok(),
            history,
            now,
        ),
    });
    let locals = spec.local.iter().map(|name| LocalStatus {
        name: name.as_str().into(),
        height: view.node(name).and_then(NodeView::height),
        state: local_state(view, spec, name, target.as_ref().ok()),
    });
    let (peers, locals): (Vec<_>, Vec<_>) = (peers.collect(), locals.collect());
    let verdict = match (&target, foreign(view, spec, network)) {
        (_, Some(foreign)) => foreign,
        (Err(why), None) => Verdict::NoTarget(why.clone()),
        (Ok(at), None) => conclude(*at, still, &locals),
    };
    SyncVerdict {
        verdict,
        target: target.ok(),
        peers,
        locals,
    }
}

fn conclude(at: Place, still: Option<Duration>, locals: &[LocalStatus]) -> Verdict {
    let forked = |local: &LocalStatus| matches!(local.state, LocalState::Forked { .. });
    if !locals.is_empty() && locals.iter().all(|local| local.state.is_synced()) {
        Verdict::Synced
    } else if let Some(since) = still {
        Verdict::NoTarget(NoTarget::Stalled { at, since })
    } else if locals.iter().any(forked) {
        Verdict::Forked
    } else {
        Verdict::NotYet
    }
}

/// The genesis block that a majority of the configured peers has.
fn majority_genesis(view: &ChainView, spec: &SyncSpec) -> Option<BlockId> {
    let mut votes: BTreeMap<BlockId, usize> = BTreeMap::new();
    let peers = spec.public.iter().filter_map(|name| view.node(name));
    for genesis in peers.filter(|peer| peer.is_running()).filter_map(genesis) {
        *votes.entry(genesis).or_default() += 1;
    }
    let enough = votes.into_iter().find(|(_, count)| *count >= spec.quorum());
    enough.map(|(genesis, _)| genesis)
}

fn genesis(node: &NodeView) -> Option<BlockId> {
    node.identity.as_ref()?.genesis
}

/// What a peer says that cannot be.
fn lie(peer: &NodeView, network: Option<BlockId>, history: &SyncHistory) -> Option<Arc<str>> {
    let wrong = genesis(peer)
        .zip(network)
        .filter(|(its, theirs)| its != theirs);
    let wrong = wrong.map(|(its, theirs)| {
        let (its, theirs) = (its.short(), theirs.short());
        format!("its genesis block is {its}, that of the network is {theirs}").into()
    });
    let said = history.lie_of(&peer.name).or(peer.contradiction.as_ref());
    wrong.or_else(|| said.cloned())
}

/// A local node on another network than the peers.
fn foreign(view: &ChainView, spec: &SyncSpec, network: Option<BlockId>) -> Option<Verdict> {
    let theirs = network?;
    let locals = spec.local.iter().filter_map(|name| view.node(name));
    locals.filter(|node| node.is_running()).find_map(|node| {
        let its = genesis(node).filter(|its| *its != theirs)?;
        Some(Verdict::OtherNetwork {
            node: Arc::clone(&node.name),
            its,
            theirs,
        })
    })
}

fn find_target(graph: &Graph, spec: &SyncSpec, usable: &[&NodeView]) -> Result<Place, NoTarget> {
    let needed = spec.quorum();
    if spec.public.is_empty() {
        return Err(NoTarget::NoPeers);
    }
    if usable.len() < needed {
        let usable = usable.len();
        return Err(NoTarget::TooFew { usable, needed });
    }
    let heads: Vec<Place> = usable.iter().filter_map(|peer| peer.head).collect();
    let ids: Vec<BlockId> = heads.iter().map(|head| head.id).collect();
    if heads.len() < needed {
        return Err(NoTarget::Gathering);
    }
    let common = agreed(graph, &ids, needed);
    // Peers part for a block or two all the time. Split they are when what they part on grows.
    let apart = heads.into_iter().filter(|head| match common {
        None => true,
        Some(common) => {
            head.height > common.height + spec.lag_max.max(1)
                && graph.is_on_chain_of(&common.id, &head.id) == Some(true)
        }
    });
    let branches = branches(graph, apart);
    match common {
        Some(common) if branches.len() < 2 => Ok(common),
        None if branches.len() < 2 => Err(NoTarget::Gathering),
        common => Err(NoTarget::Split { branches, common }),
    }
}

/// The highest heads of which none is on the chain of another, and how many heads are on each.
fn branches(graph: &Graph, heads: impl Iterator<Item = Place>) -> Vec<(Place, usize)> {
    let mut heads: Vec<Place> = heads.collect();
    heads.sort_unstable_by(|a, b| b.cmp(a));
    let mut branches: Vec<(Place, usize)> = Vec::new();
    for head in heads {
        let on = |top: &Place| graph.is_on_chain_of(&head.id, &top.id) == Some(true);
        match branches.iter_mut().find(|(top, _)| on(top)) {
            Some((_, count)) => *count += 1,
            None => branches.push((head, 1)),
        }
    }
    branches
}

/// For how long none of a majority has had a new block, when that is too long.
fn stalled_for(
    spec: &SyncSpec,
    usable: &[&NodeView],
    history: &SyncHistory,
    now: Instant,
) -> Option<Duration> {
    let after = spec.stall_after?;
    let still = usable
        .iter()
        .filter_map(|peer| history.still_for(&peer.name, now));
    let mut still: Vec<Duration> = still.filter(|still| *still >= after).collect();
    still.sort_unstable_by(|a, b| b.cmp(a));
    // While a local node takes blocks, it is on its way, and a quiet chain is no hindrance.
    let mut locals = spec
        .local
        .iter()
        .filter_map(|name| history.still_for(name, now));
    let moving = locals.any(|still| still < after);
    // The longest time for which a majority was still.
    let longest = still.get(spec.quorum() - 1).copied();
    longest.filter(|_| !moving)
}

fn peer_state(
    view: &ChainView,
    spec: &SyncSpec,
    name: &str,
    network: Option<BlockId>,
    target: Option<&Place>,
    history: &SyncHistory,
    now: Instant,
) -> PeerState {
    let Some(peer) = view.node(name).filter(|peer| peer.is_running()) else {
        let why = why_unreachable(view, name);
        return PeerState::Unreachable { why };
    };
    if let Some(why) = lie(peer, network, history) {
        return PeerState::Lying { why };
    }
    let still = history.still_for(name, now).zip(spec.stall_after);
    let still = still.filter(|(still, after)| still >= after);
    let (Some(target), Some(head)) = (target, peer.head) else {
        return PeerState::Undecided;
    };
    match (view.graph.relation(&head.id, &target.id), still) {
        (Relation::Before(blocks), None) => PeerState::Behind { blocks },
        (Relation::Before(_), Some((since, _))) => PeerState::Stalled { since },
        (Relation::Same | Relation::After(_), _) => PeerState::Agrees,
        (Relation::Forked(_), _) => PeerState::Elsewhere,
        (Relation::Unknown, _) => PeerState::Undecided,
    }
}

fn local_state(
    view: &ChainView,
    spec: &SyncSpec,
    name: &str,
    target: Option<&Place>,
) -> LocalState {
    let Some(node) = view.node(name).filter(|node| node.is_running()) else {
        let why = why_unreachable(view, name);
        return LocalState::Unreachable { why };
    };
    let Some(target) = target else {
        return LocalState::NoTarget;
    };
    let by_height = || {
        let blocks = target
            .height
            .saturating_sub(node.height().unwrap_or_default());
        if blocks > 0 {
            LocalState::Behind { blocks }
        } else {
            LocalState::Undecided
        }
    };
    // Where it was is not where it is: a head counts only when it is the block that was told last.
    let Some(tip) = node.current_tip() else {
        return by_height();
    };
    match view.graph.relation(&tip, &target.id) {
        Relation::Same => LocalState::Synced { behind: 0 },
        Relation::Before(behind) if behind <= spec.lag_max => LocalState::Synced { behind },
        Relation::Before(blocks) => LocalState::Behind { blocks },
        Relation::After(blocks) => LocalState::Ahead { blocks },
        Relation::Forked(common) => LocalState::Forked {
            common,
            depth: view
                .graph
                .place(&tip)
                .map_or(0, |tip| tip.height - common.height),
        },
        Relation::Unknown => by_height(),
    }
}

fn why_unreachable(view: &ChainView, name: &str) -> Arc<str> {
    let failing = view.node(name).and_then(|node| node.failing.clone());
    failing.unwrap_or_else(|| "it has not been asked yet".into())
}
