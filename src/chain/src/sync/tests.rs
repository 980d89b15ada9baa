//! Tests of sync: the judge against counting, on generated forks and peers that fail and lie; and
//! the whole check over nodes in memory.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::{
    generated::{Tree, id},
    graph::Place,
    model::{ChainIdentity, Head, Header, Mode},
    view::{ChainView, NodeView},
};

/// What a generated peer or node is like.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Honest,
    Unreachable,
    WrongGenesis,
    Contradicting,
    Forging,
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        6 => Just(Kind::Honest),
        1 => Just(Kind::Unreachable),
        1 => Just(Kind::WrongGenesis),
        1 => Just(Kind::Contradicting),
        1 => Just(Kind::Forging),
    ]
}

#[derive(Clone, Debug)]
struct Case {
    tree: Tree,
    peers: Vec<(usize, Kind)>,
    locals: Vec<(usize, bool)>,
    lag_max: u64,
}

fn any_case() -> impl Strategy<Value = Case> {
    Tree::any()
        .prop_flat_map(|tree| {
            let count = tree.len();
            // Heads near the end make agreement likely, and any head keeps forks in.
            let head = prop_oneof![3 => count.saturating_sub(5)..count, 1 => 0..count];
            let peers = prop::collection::vec((head.clone(), any_kind()), 1..8);
            let locals = prop::collection::vec((head, prop::bool::weighted(0.9)), 1..4);
            (Just(tree), peers, locals, 0..4_u64)
        })
        .prop_map(|(tree, peers, locals, lag_max)| Case {
            tree,
            peers,
            locals,
            lag_max,
        })
}

fn node(name: &str, tree: &Tree, head: usize, genesis: usize) -> NodeView {
    let place = tree.place(head);
    let mut node = NodeView::new(name.into());
    node.reported = Some(Head {
        tip: place.id,
        height: place.height,
        slot: None,
        finalised: None,
        mode: Mode::Online,
    });
    node.head = Some(place);
    node.identity = Some(Arc::new(ChainIdentity {
        genesis: Some(id(genesis)),
        ..ChainIdentity::default()
    }));
    node
}

fn own_chain(tree: &Tree, head: usize) -> OwnChain {
    let headers = tree.chain(head).into_iter().map(|block| tree.header(block));
    OwnChain::new(&headers.collect::<Vec<_>>()).unwrap()
}

impl Case {
    fn spec(&self) -> SyncSpec {
        let public = (0..self.peers.len()).map(|n| format!("peer-{n}"));
        let local = (0..self.locals.len()).map(|n| format!("NODE_{n}"));
        let mut spec = SyncSpec::new(local, public);
        spec.lag_max = self.lag_max;
        // So that the network is known even where most peers lie about it.
        spec.genesis = Some(id(0));
        spec
    }

    fn view(&self) -> ChainView {
        let mut nodes = BTreeMap::new();
        for (n, (head, kind)) in self.peers.iter().enumerate() {
            let genesis = if *kind == Kind::WrongGenesis {
                9_999
            } else {
                0
            };
            let mut peer = node(&format!("peer-{n}"), &self.tree, *head, genesis);
            match kind {
                Kind::Unreachable => peer.failing = Some("no connection".into()),
                Kind::Contradicting => peer.reported.as_mut().unwrap().height += 1_000 + n as u64,
                _ => {}
            }
            nodes.insert(Arc::clone(&peer.name), peer);
        }
        for (n, (head, reachable)) in self.locals.iter().enumerate() {
            let mut local = node(&format!("NODE_{n}"), &self.tree, *head, 0);
            if !reachable {
                local.failing = Some("no connection".into());
            }
            nodes.insert(Arc::clone(&local.name), local);
        }
        ChainView {
            graph: self.tree.graph(),
            nodes: Arc::new(nodes),
            ..ChainView::empty()
        }
    }

    fn history(&self) -> SyncHistory {
        let mut history = SyncHistory::new();
        for (n, (_, kind)) in self.peers.iter().enumerate() {
            if *kind == Kind::Forging {
                history.lied(&format!("peer-{n}"), "the id is not the hash of the header");
            }
        }
        history
    }

    /// What each says of its own chain, which is the truth.
    fn chains(&self) -> OwnChains {
        let mut chains = OwnChains::new();
        let peers = self.peers.iter().map(|(head, _)| ("peer", *head));
        let locals = self.locals.iter().map(|(head, _)| ("NODE", *head));
        for (n, (of, head)) in peers.enumerate() {
            chains.insert(&format!("{of}-{n}"), own_chain(&self.tree, head));
        }
        for (n, (of, head)) in locals.enumerate() {
            chains.insert(&format!("{of}_{n}"), own_chain(&self.tree, head));
        }
        chains
    }

    fn judge(&self) -> SyncVerdict {
        let (view, chains, spec) = (self.view(), self.chains(), self.spec());
        judge(&view, &chains, &spec, &self.history(), Instant::now())
    }

    /// The highest block that a majority of the configured peers honestly has.
    fn agreed(&self) -> Option<usize> {
        let honest = self.peers.iter().filter(|(_, kind)| *kind == Kind::Honest);
        let chains: Vec<_> = honest.map(|(head, _)| self.tree.chain(*head)).collect();
        let quorum = self.peers.len() / 2 + 1;
        let has = |block: &usize| chains.iter().filter(|c| c.contains(block)).count() >= quorum;
        (0..self.tree.len())
            .filter(has)
            .max_by_key(|block| self.tree.place(*block))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn a_verdict_is_what_counting_the_honest_peers_gives(case in any_case()) {
        let verdict = case.judge();
        let (tree, agreed) = (&case.tree, case.agreed());
        let honest = case.peers.iter().filter(|(_, kind)| *kind == Kind::Honest).count();
        let needed = case.peers.len() / 2 + 1;
        match &verdict.verdict {
            Verdict::NoTarget(NoTarget::TooFew { usable, needed: told }) => {
                prop_assert_eq!(*told, needed);
                prop_assert!(*usable <= honest && honest < needed);
            }
            Verdict::NoTarget(NoTarget::Split { branches, common }) => {
                prop_assert_eq!(*common, agreed.map(|block| tree.place(block)));
                prop_assert!(branches.len() >= 2);
                let low = common.unwrap().height + case.lag_max.max(1);
                for (head, count) in branches {
                    prop_assert!(head.height > low && *count < needed);
                }
            }
            other => {
                let target = agreed.expect("with a majority there is a block, genesis at least");
                prop_assert!(honest >= needed);
                prop_assert_eq!(verdict.target, Some(tree.place(target)));
                let follows = case.locals.iter().all(|(head, reachable)| {
                    let behind = tree.height(target).saturating_sub(tree.height(*head));
                    let (chain, own) = (tree.chain(target), tree.chain(*head));
                    let on = chain.contains(head) || own.contains(&target);
                    *reachable && on && behind <= case.lag_max
                });
                prop_assert_eq!(*other == Verdict::Synced, follows);
            }
        }
        let synced = verdict.locals.iter().all(|local| local.state.is_synced());
        prop_assert!(!verdict.is_synced() || synced);
    }

    #[test]
    fn no_minority_of_peers_can_make_nodes_synced_that_are_not(
        (case, liars) in (any_case(), prop::collection::vec((0..100_usize, 0..100_usize, 0..100_usize), 0..4))
    ) {
        // All honest first; then fewer than half are added, whose blocks have whatever parents they like.
        let mut case = case;
        case.peers.iter_mut().for_each(|(_, kind)| *kind = Kind::Honest);
        let honest = case.peers.clone();
        let liars = liars.into_iter().take(honest.len().saturating_sub(1));
        let liars: Vec<_> = liars.map(|(tip, below, parent)| {
            let count = case.tree.len();
            (tip % count, below % count, parent % count)
        }).collect();
        case.peers.extend(liars.iter().map(|(tip, ..)| (*tip, Kind::Honest)));
        let (view, spec) = (case.view(), case.spec());
        let mut chains = case.chains();
        for (n, (tip, below, parent)) in liars.iter().enumerate() {
            // The truth down to a block, and from there the chain of another one.
            let mut chain = case.tree.chain(*tip);
            chain.truncate(1 + below % chain.len());
            chain.extend(case.tree.chain(*parent));
            let parents = chain.iter().skip(1).map(|block| Some(id(*block))).chain([None]);
            let headers = chain.iter().zip(parents).map(|(block, parent)| Header::new(id(*block), parent));
            if let Some(chain) = OwnChain::new(&headers.collect::<Vec<_>>()) {
                chains.insert(&format!("peer-{}", honest.len() + n), chain);
            }
        }
        let with = judge(&view, &chains, &spec, &SyncHistory::new(), Instant::now());
        if with.is_synced() {
            // One of the honest peers has the target, and the local nodes on its chain or on top of it.
            let target = with.target.unwrap();
            let truth = honest.iter().map(|(head, _)| case.tree.chain(*head));
            let follows = |chain: &Vec<usize>| {
                chain.iter().any(|block| id(*block) == target.id)
            };
            let honestly: Vec<_> = truth.filter(follows).collect();
            prop_assert!(!honestly.is_empty());
            for (local, _) in &case.locals {
                let own = case.tree.chain(*local);
                let on = honestly.iter().any(|chain| chain.contains(local));
                prop_assert!(on || own.iter().any(|block| id(*block) == target.id));
            }
        }
    }
}

#[test]
fn a_local_node_on_another_network_ends_the_check_at_once() {
    let tree = Tree::chain_of(5);
    let case = Case {
        tree: tree.clone(),
        peers: vec![(4, Kind::Honest); 3],
        locals: vec![(4, true)],
        lag_max: 2,
    };
    let mut view = case.view();
    let foreign = node("NODE_0", &tree, 4, 77);
    Arc::make_mut(&mut view.nodes).insert("NODE_0".into(), foreign);
    let mut spec = case.spec();
    spec.genesis = None;

    let verdict = judge(
        &view,
        &case.chains(),
        &spec,
        &SyncHistory::new(),
        Instant::now(),
    );

    assert!(
        matches!(verdict.verdict, Verdict::OtherNetwork { .. }),
        "{verdict}"
    );
    assert!(verdict.is_final() && !verdict.is_synced());
}

#[test]
fn a_peer_that_is_listed_twice_or_is_the_local_node_confirms_nothing() {
    let case = Case {
        tree: Tree::chain_of(5),
        peers: vec![(4, Kind::Honest); 3],
        locals: vec![(4, true)],
        lag_max: 2,
    };
    let is_synced = |same: &[&str]| {
        let mut view = case.view();
        for name in same {
            let node = Arc::make_mut(&mut view.nodes).get_mut(*name).unwrap();
            let identity = Arc::make_mut(node.identity.as_mut().unwrap());
            identity.peer_id = Some("12D3".to_owned());
        }
        let (chains, spec) = (case.chains(), case.spec());
        judge(&view, &chains, &spec, &SyncHistory::new(), Instant::now()).is_synced()
    };
    assert!(is_synced(&["peer-0"]));
    assert!(is_synced(&["peer-0", "peer-1"]));
    assert!(!is_synced(&["peer-0", "peer-1", "peer-2"]));
    assert!(!is_synced(&["NODE_0", "peer-1", "peer-2"]));
}

mod over_nodes;
