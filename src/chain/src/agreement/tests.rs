//! Tests of agreement: against counting for every block, on generated forks.

use proptest::prelude::*;

use super::*;
use crate::generated::{Tree, id};

fn any_heads() -> impl Strategy<Value = (Tree, Vec<usize>)> {
    Tree::any().prop_flat_map(|tree| {
        let count = tree.len();
        (Just(tree), prop::collection::vec(0..count, 0..8))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_agreed_block_is_the_highest_that_enough_chains_have(
        (tree, heads) in any_heads(), quorum in 1..8_usize
    ) {
        let graph = tree.graph();
        let ids: Vec<_> = heads.iter().map(|head| id(*head)).collect();
        let chains: Vec<_> = heads.iter().map(|head| tree.chain(*head)).collect();
        let enough = |block: &usize| chains.iter().filter(|c| c.contains(block)).count() >= quorum;
        let highest = (0..tree.len()).filter(enough).map(|block| tree.place(block)).max();

        prop_assert_eq!(agreed(&graph, &ids, quorum), highest);
    }

    #[test]
    fn convergence_is_one_chain_and_a_bounded_distance(
        (tree, heads) in any_heads(), within in 0..12_u64
    ) {
        let graph = tree.graph();
        let ids: Vec<_> = heads.iter().map(|head| id(*head)).collect();
        let holds = heads.iter().max_by_key(|head| tree.height(**head)).is_some_and(|best| {
            heads.iter().all(|head| {
                tree.chain(*best).contains(head)
                    && tree.height(*best) - tree.height(*head) <= within
            })
        });

        prop_assert_eq!(converged(&graph, &ids, within), holds);
    }
}

#[test]
fn a_head_that_the_graph_does_not_know_agrees_with_nothing_and_converges_with_nobody() {
    let tree = Tree::chain_of(3);
    let graph = tree.graph();

    assert_eq!(agreed(&graph, &[id(2), id(77)], 2), None);
    assert_eq!(agreed(&graph, &[id(2), id(77)], 1), Some(tree.place(2)));
    assert!(!converged(&graph, &[id(2), id(77)], 100));
    assert!(!converged(&graph, &[], 100), "nobody agrees with nobody");
}
