//! Tests of the graph: against a model that walks parent by parent, on generated forests.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;
use crate::generated::{Tree, id};

/// What the graph must answer, as the model knows it, for blocks at or above `floor`.
fn check_pair(tree: &Tree, graph: &Graph, one: usize, other: usize, floor: u64) {
    let common = tree.common(one, other);
    let reached = tree.height(common) >= floor;
    let expected = reached.then(|| tree.place(common));
    assert_eq!(graph.common_ancestor(&id(one), &id(other)), expected);
    let relation = match (one == other, expected) {
        (true, _) => Relation::Same,
        (_, None) => Relation::Unknown,
        (_, Some(place)) if common == one => Relation::Before(tree.height(other) - place.height),
        (_, Some(place)) if common == other => Relation::After(tree.height(one) - place.height),
        (_, Some(place)) => Relation::Forked(place),
    };
    assert_eq!(graph.relation(&id(one), &id(other)), relation);
    assert_eq!(
        graph.is_on_chain_of(&id(one), &id(other)),
        Some(common == one),
        "both are above the floor, so this is always known"
    );
    let depth = expected.map(|place| tree.height(one) - place.height);
    assert_eq!(graph.fork_depth(&id(one), &id(other)), depth);
    let path = (common == one).then(|| {
        let mut path = tree.chain(other);
        path.retain(|block| tree.height(*block) > tree.height(one));
        path.reverse();
        path.into_iter().map(id).collect::<Vec<_>>()
    });
    assert_eq!(graph.path(&id(one), &id(other)), path);
}

fn check_all(tree: &Tree, graph: &Graph, floor: u64) {
    let held: Vec<_> = (0..tree.len())
        .filter(|b| tree.height(*b) >= floor)
        .collect();
    assert_eq!(graph.len(), held.len());
    assert_eq!(graph.highest(), held.iter().map(|b| tree.height(*b)).max());
    for &block in &held {
        assert_eq!(graph.place(&id(block)), Some(tree.place(block)));
        for ancestor in tree.chain(block).into_iter().step_by(3) {
            let at = tree.height(ancestor);
            let expected = (at >= floor).then(|| tree.place(ancestor));
            assert_eq!(graph.ancestor_at(&id(block), at), expected);
        }
    }
    for &one in held.iter().step_by(7) {
        for &other in held.iter().step_by(5) {
            check_pair(tree, graph, one, other, floor);
        }
    }
    let parents: BTreeSet<_> = (0..tree.len()).filter_map(|b| tree.parent(b)).collect();
    let mut leaves: Vec<_> = held
        .into_iter()
        .filter(|block| !parents.contains(block))
        .map(|block| tree.place(block))
        .collect();
    leaves.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(graph.branches(), leaves);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_graph_answers_like_a_walk_from_parent_to_parent(tree in Tree::any()) {
        check_all(&tree, &tree.graph(), 0);
    }

    #[test]
    fn the_order_in_which_headers_come_makes_no_difference(
        (tree, order) in Tree::any().prop_flat_map(|tree| {
            let order: Vec<_> = (0..tree.len()).collect();
            (Just(tree), Just(order).prop_shuffle())
        })
    ) {
        let mut graph = Graph::new();
        let mut orphans = Orphans::new(tree.len());
        let mut added = Vec::new();
        for block in order {
            let grown = orphans.grow(&mut graph, tree.header(block), None);
            prop_assert!(grown.refused.is_empty());
            added.extend(grown.added);
        }
        prop_assert!(orphans.is_empty());
        let position: HashMap<_, _> = added.iter().enumerate().map(|(n, p)| (p.id, n)).collect();
        for block in 1..tree.len() {
            let parent = tree.parent(block).unwrap();
            prop_assert!(position[&id(parent)] < position[&id(block)], "parents come first");
        }
        check_all(&tree, &graph, 0);
    }

    #[test]
    fn what_is_pruned_is_gone_and_the_rest_is_as_it_was(
        (tree, floors, cut) in (Tree::any(), prop::collection::vec(0..40_u64, 1..4), 0..120_usize)
    ) {
        let mut graph = Graph::new();
        let mut floor = 0;
        for block in 0..cut.min(tree.len()) {
            let _ = graph.insert(tree.header(block)).unwrap();
        }
        let before = graph.clone();
        let count = before.len();
        let mut pruned = BTreeMap::new();
        for wanted in floors {
            floor = floor.max(wanted);
            pruned.extend(graph.prune_below(wanted).into_iter().map(|e| (e.header.id, e)));
        }
        prop_assert_eq!(graph.len() + pruned.len(), count);
        prop_assert_eq!(before.len(), count, "a snapshot keeps what it had");
        // Blocks whose parents were pruned are orphans, and so are their children.
        for block in cut.min(tree.len())..tree.len() {
            let parent_held = tree.parent(block).is_none_or(|p| graph.contains(&id(p)));
            let inserted = graph.insert(tree.header(block)).unwrap();
            let low = tree.height(block) < floor;
            let expected = match parent_held {
                _ if low && block == 0 => Inserted::Below,
                true => Inserted::Added(tree.height(block)),
                false => Inserted::Orphan,
            };
            prop_assert_eq!(inserted, expected);
        }
        for block in (0..tree.len()).step_by(7) {
            for other in (0..tree.len()).step_by(5) {
                if graph.contains(&id(block)) && graph.contains(&id(other)) {
                    check_pair(&tree, &graph, block, other, floor);
                }
            }
        }
    }

    #[test]
    fn parts_with_anchors_join_when_the_gap_between_them_is_filled(
        (tree, anchors) in (Tree::any(), prop::collection::btree_set(0..120_usize, 1..5))
    ) {
        let mut graph = Graph::new();
        for &anchor in anchors.iter().filter(|anchor| **anchor < tree.len()) {
            let _ = graph.anchor(tree.header(anchor), tree.height(anchor)).unwrap();
        }
        for block in (0..tree.len()).rev().chain(0..tree.len()) {
            let _ = graph.insert(tree.header(block)).unwrap();
        }
        check_all(&tree, &graph, 0);
    }
}

#[test]
fn a_height_that_does_not_follow_from_the_parent_is_refused() {
    let mut graph = Graph::new();
    let _ = graph.insert(Header::new(id(0), None)).unwrap();
    let mut liar = Header::new(id(1), Some(id(0)));
    liar.height = Some(7);

    let refused = graph.insert(liar).unwrap_err();

    let expected = GraphError::ImpossibleHeight {
        id: id(1),
        claimed: 7,
        counted: 1,
    };
    assert_eq!(refused, expected);
    assert_eq!(graph.len(), 1);
}

#[test]
fn a_block_that_would_join_parts_whose_heights_do_not_fit_is_refused() {
    let mut graph = Graph::new();
    let _ = graph.insert(Header::new(id(0), None)).unwrap();
    let _ = graph.anchor(Header::new(id(2), Some(id(1))), 9).unwrap();

    let refused = graph.insert(Header::new(id(1), Some(id(0)))).unwrap_err();

    let (height, anchor) = (1, 9);
    let expected = GraphError::AnchorsDisagree {
        id: id(1),
        height,
        anchor,
    };
    assert_eq!(refused, expected);
}

#[test]
fn orphans_are_bounded_and_the_oldest_is_given_up() {
    let mut graph = Graph::new();
    let mut orphans = Orphans::new(3);
    for block in 10..20 {
        let header = Header::new(id(block), Some(id(block + 100)));
        let _ = orphans.grow(&mut graph, header, None);
    }

    assert_eq!(orphans.len(), 3);
    let waited_for: BTreeSet<_> = orphans.parents().copied().collect();
    assert_eq!(waited_for, BTreeSet::from([id(117), id(118), id(119)]));
}

#[test]
fn a_branch_is_forgotten_down_to_where_it_parts_and_no_height_overflows() {
    let header = |n: usize, parent: Option<usize>| Header::new(id(n), parent.map(id));
    let mut graph = Graph::new();
    for (n, parent) in [
        (0, None),
        (1, Some(0)),
        (2, Some(1)),
        (3, Some(2)),
        (4, Some(1)),
    ] {
        let _ = graph.insert(header(n, parent)).unwrap();
    }

    let forgotten = graph.forget_branch(&id(3), |_| false);

    assert_eq!(forgotten.len(), 2);
    assert_eq!(graph.branches().len(), 1);
    assert_eq!(graph.at_height(2), [id(4)]);
    let kept = graph.forget_branch(&id(4), |it| *it == id(1));
    assert_eq!((kept.len(), graph.branches()[0].id), (1, id(1)));
    for height in [u64::MAX, HEIGHT_MAX + 1] {
        let refused = graph.anchor(header(9, Some(8)), height).unwrap_err();
        assert!(matches!(refused, GraphError::TooHigh { .. }));
    }
}
