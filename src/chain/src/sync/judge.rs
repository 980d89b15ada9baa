//! Judge: from what is seen of all nodes at one moment to a verdict. A pure function.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    SyncSpec,
    claims::{Claim, Claims},
    history::SyncHistory,
    own_chains::OwnChains,
    verdict::{LocalState, LocalStatus, NoTarget, PeerState, PeerStatus, SyncVerdict, Verdict},
};
use crate::{
    graph::Place,
    id::BlockId,
    view::{ChainView, NodeView},
};

/// Judges one view. `chains` is what each node itself says is below its tip, and `history` says who
/// stalls and who lied before.
pub fn judge(
    view: &ChainView,
    chains: &OwnChains,
    spec: &SyncSpec,
    history: &SyncHistory,
    now: Instant,
) -> SyncVerdict {
    let network = spec.genesis.or_else(|| majority_genesis(view, spec));
    let lies = lies(view, chains, spec, history, network);
    let usable: Vec<&NodeView> = spec
        .public
        .iter()
        .filter_map(|name| view.node(name))
        .filter(|peer| peer.is_running() && !lies.contains_key(&peer.name))
        .collect();
    let claims = Claims::of(&usable, chains, spec.quorum());
    let target = find_target(&claims, chains, spec, &usable);
    let still = stalled_for(spec, &usable, history, now);
    let seen = Seen {
        view,
        chains,
        claims: &claims,
        target: target.as_ref().ok().copied(),
    };
    let peers = spec.public.iter().map(|name| PeerStatus {
        name: name.as_str().into(),
        height: view.node(name).and_then(NodeView::height),
        state: match lies.get(name.as_str()) {
            Some(why) => PeerState::Lying {
                why: Arc::clone(why),
            },
            None => seen.peer_state(spec, name, history, now),
        },
    });
    let locals = spec.local.iter().map(|name| LocalStatus {
        name: name.as_str().into(),
        height: view.node(name).and_then(NodeView::height),
        state: seen.local_state(spec, name),
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

/// Its peer id, where its wire has one, and its name.
fn who(node: &NodeView) -> Option<(&str, &str)> {
    Some((node.identity.as_ref()?.peer_id.as_deref()?, &node.name))
}

fn genesis(node: &NodeView) -> Option<BlockId> {
    node.identity.as_ref()?.genesis
}

/// What peers say that cannot be, and who says it.
fn lies(
    view: &ChainView,
    chains: &OwnChains,
    spec: &SyncSpec,
    history: &SyncHistory,
    network: Option<BlockId>,
) -> BTreeMap<Arc<str>, Arc<str>> {
    let peers = spec.public.iter().filter_map(|name| view.node(name));
    let running: Vec<&NodeView> = peers.filter(|peer| peer.is_running()).collect();
    let mut lies = BTreeMap::new();
    // A node that is listed twice, or is one of those that shall follow, would confirm itself.
    let locals = spec.local.iter().filter_map(|name| view.node(name));
    let mut known: BTreeMap<&str, &str> = locals.filter_map(who).collect();
    for peer in &running {
        if let Some((id, name)) = who(peer)
            && let Some(same) = known.insert(id, name)
        {
            let why = format!("it is the same node as {same}");
            lies.insert(Arc::clone(&peer.name), why.into());
        }
    }
    for peer in &running {
        let wrong = genesis(peer)
            .zip(network)
            .filter(|(its, theirs)| its != theirs);
        let wrong = wrong.map(|(its, theirs)| {
            let (its, theirs) = (its.short(), theirs.short());
            format!("its genesis block is {its}, that of the network is {theirs}").into()
        });
        if let Some(why) = wrong.or_else(|| history.lie_of(&peer.name).cloned()) {
            lies.insert(Arc::clone(&peer.name), why);
        }
    }
    let others = running
        .into_iter()
        .filter(|peer| !lies.contains_key(&peer.name));
    let others: Vec<&NodeView> = others.collect();
    let claims = Claims::of(&others, chains, spec.quorum());
    for claim in &claims.all {
        if let Some(why) = claims.impossible_height(claim) {
            lies.insert(Arc::clone(&claim.node.name), why);
        }
    }
    lies
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

fn find_target(
    claims: &Claims<'_>,
    chains: &OwnChains,
    spec: &SyncSpec,
    usable: &[&NodeView],
) -> Result<Place, NoTarget> {
    let needed = spec.quorum();
    if spec.public.is_empty() {
        return Err(NoTarget::NoPeers);
    }
    if usable.len() < needed {
        let usable = usable.len();
        return Err(NoTarget::TooFew { usable, needed });
    }
    let common = claims.agreed();
    let deeper = || usable.iter().any(|peer| chains.goes_deeper(peer));
    if claims.all.len() < needed || (common.is_none() && deeper()) {
        return Err(NoTarget::Gathering);
    }
    // Peers part for a block or two all the time. Split they are when what they part on grows.
    let apart = claims.all.iter().filter(|claim| match common {
        None => true,
        Some(common) => {
            claim.head().height > common.height.saturating_add(spec.lag_max.max(1))
                && claim.has(&common.id)
        }
    });
    let branches = branches(apart);
    match common {
        Some(common) if branches.len() < 2 => Ok(common),
        None if branches.len() < 2 => Err(NoTarget::Gathering),
        common => Err(NoTarget::Split { branches, common }),
    }
}

/// The highest heads of which none is on the chain of another, and how many heads are on each.
fn branches<'a>(claims: impl Iterator<Item = &'a Claim<'a>>) -> Vec<(Place, usize)> {
    let mut claims: Vec<&Claim<'_>> = claims.collect();
    claims.sort_unstable_by_key(|claim| std::cmp::Reverse(claim.head()));
    let mut branches: Vec<(&Claim<'_>, usize)> = Vec::new();
    for claim in claims {
        let head = claim.chain.tip().id;
        match branches.iter_mut().find(|(top, _)| top.has(&head)) {
            Some((_, count)) => *count += 1,
            None => branches.push((claim, 1)),
        }
    }
    let places = branches.into_iter().map(|(top, count)| (top.head(), count));
    places.collect()
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

/// What a state is told from.
struct Seen<'a> {
    view: &'a ChainView,
    chains: &'a OwnChains,
    claims: &'a Claims<'a>,
    target: Option<Place>,
}

impl Seen<'_> {
    fn peer_state(
        &self,
        spec: &SyncSpec,
        name: &str,
        history: &SyncHistory,
        now: Instant,
    ) -> PeerState {
        let Some(peer) = self.view.node(name).filter(|peer| peer.is_running()) else {
            let why = why_unreachable(self.view, name);
            return PeerState::Unreachable { why };
        };
        let still = history.still_for(name, now).zip(spec.stall_after);
        let still = still.filter(|(still, after)| still >= after);
        let (Some(target), Some(chain)) = (self.target, self.chains.of(peer)) else {
            return PeerState::Undecided;
        };
        if chain.above(&target.id).is_some() {
            return PeerState::Agrees;
        }
        if !self.is_below(&chain.tip().id, &target.id) {
            return PeerState::Elsewhere;
        }
        let blocks = self.behind(&chain.tip().id, &target);
        match still {
            None => PeerState::Behind { blocks },
            Some((since, _)) => PeerState::Stalled { since },
        }
    }

    fn local_state(&self, spec: &SyncSpec, name: &str) -> LocalState {
        let Some(node) = self.view.node(name).filter(|node| node.is_running()) else {
            let why = why_unreachable(self.view, name);
            return LocalState::Unreachable { why };
        };
        let Some(target) = self.target else {
            return LocalState::NoTarget;
        };
        let height = node.height().unwrap_or_default();
        let by_height = match target.height.saturating_sub(height) {
            0 => LocalState::Undecided,
            blocks => LocalState::Behind { blocks },
        };
        // Where it was is not where it is: only what it named below its present tip counts.
        let Some(chain) = self.chains.of(node) else {
            return by_height;
        };
        let tip = chain.tip().id;
        match chain.above(&target.id) {
            Some(0) => return LocalState::Synced { behind: 0 },
            Some(blocks) => return LocalState::Ahead { blocks },
            None => {}
        }
        if self.claims.vouch_for(&tip) {
            let behind = self.behind(&tip, &target);
            return if behind <= spec.lag_max {
                LocalState::Synced { behind }
            } else {
                LocalState::Behind { blocks: behind }
            };
        }
        let common = chain
            .newest_first()
            .find(|block| self.claims.vouch_for(block));
        match common {
            Some(common) => LocalState::Forked {
                depth: chain.above(&common).unwrap_or_default(),
                common: self.claims.place(common),
            },
            None => by_height,
        }
    }

    /// Whether anybody who has the target has `block` below it.
    fn is_below(&self, block: &BlockId, target: &BlockId) -> bool {
        let mut all = self.claims.all.iter();
        all.any(|claim| claim.has(target) && claim.has(block))
    }

    fn behind(&self, block: &BlockId, target: &Place) -> u64 {
        let height = self.claims.place(*block).height;
        target.height.saturating_sub(height)
    }
}

fn why_unreachable(view: &ChainView, name: &str) -> Arc<str> {
    let failing = view.node(name).and_then(|node| node.failing.clone());
    failing.unwrap_or_else(|| "it has not been asked yet".into())
}
