//! Catching up with nodes that are behind, boast, are slow or have not everything.

use super::*;

/// The heights of all blocks below the head of this node, which must be without a gap.
fn heights_below(view: &ChainView, node: &str) -> Vec<u64> {
    let head = view.node(node).unwrap().head.unwrap();
    let mut heights: Vec<_> = view.graph.chain(&head.id).map(|e| e.height).collect();
    heights.reverse();
    heights
}

fn from_floor(view: &ChainView, height: u64) -> Vec<u64> {
    (view.graph.floor()..=height).collect()
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_behind_answers_for_nothing_that_it_has_not() {
    for with_finality in [true, false] {
        let [behind, ahead] = nodes(|n| if with_finality { n.with_finality(4) } else { n });
        ahead.grow(1_000, 1);
        behind.follow(&ahead);
        behind.move_to(genesis(0).header.id);
        let mut config = from_genesis().with_ledger(crate::LedgerConfig {
            genesis: Some(Vec::new()),
            ..crate::LedgerConfig::default()
        });
        config.branch_blocks_max = 100;
        let watched = Watched::start(config, &[&behind, &ahead]);

        let view = watched.look().await;

        assert_eq!(heights_below(&view, "NODE_2"), from_floor(&view, 1_000));
        let owner = "anybody".into();
        let wallet = view.wallet(&owner, Standpoint::Node("NODE_2"), &Submitted::new());
        assert!(wallet.is_ok(), "{wallet:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_parent_of_the_first_block_is_genesis_only_when_the_nodes_say_so() {
    let [one] = nodes(|n| n.with_finality(4));
    one.grow(60, 1);
    one.trouble(Trouble::RangesFrom(90));
    let watched = Watched::start(from_genesis(), &[&one]);

    let mut view = watched.look().await;
    if view.node("NODE_1").unwrap().head.is_none() {
        view = watched.look().await;
    }

    assert_eq!(heights_below(&view, "NODE_1"), from_floor(&view, 60));
}

#[tokio::test(start_paused = true)]
async fn one_node_that_says_that_it_is_far_ahead_keeps_nobody_catching_up() {
    for count in [1_u64 << 40, u64::MAX] {
        let [one, two, boaster] = nodes(|n| n);
        one.grow(300, 1);
        two.follow(&one);
        boaster.follow(&one);
        boaster.trouble(Trouble::Boasts(count));
        let watched = Watched::start(from_genesis(), &[&boaster, &one, &two]);

        let mut view = watched.look().await;
        for _ in 0..20 {
            view = watched.look().await;
        }

        assert!(view.catch_up.is_none(), "{:?}", view.catch_up);
        assert_eq!(heights_below(&view, "NODE_1"), from_floor(&view, 300));
    }
}

#[tokio::test(start_paused = true)]
async fn batches_that_are_too_long_for_the_nodes_are_halved_and_the_reason_is_told() {
    let [one, two] = nodes(|n| n);
    one.grow(400, 1);
    two.follow(&one);
    one.trouble(Trouble::HangsOnRangesOver(30));
    two.trouble(Trouble::HangsOnRangesOver(30));
    let mut config = from_genesis();
    config.fetch_within = Duration::from_millis(2_500);
    let watched = Watched::start(config, &[&one, &two]);

    let first = watched.look().await;
    let trouble = first.catch_up.expect("it is not done yet").trouble;
    let mut view = watched.look().await;
    for _ in 0..5 {
        view = watched.look().await;
    }

    assert!(trouble.is_some_and(|why| why.contains("NODE_1")));
    assert_eq!(heights_below(&view, "NODE_1"), from_floor(&view, 400));
}

#[tokio::test(start_paused = true)]
async fn after_a_long_time_without_nodes_nothing_is_skipped_though_they_share_a_tip() {
    let [one, two, three] = nodes(|n| n);
    one.grow(10, 1);
    two.follow(&one);
    let mut config = from_genesis();
    config.branch_blocks_max = 50;
    let watched = Watched::start(config, &[&one, &two, &three]);
    let _ = watched.look().await;
    one.grow(500, 1);
    two.follow(&one);
    three.follow(&one);

    let _ = watched.look().await;
    let view = watched.look().await;

    assert_eq!(heights_below(&view, "NODE_1"), from_floor(&view, 510));
    assert!(view.converged(0));
}
