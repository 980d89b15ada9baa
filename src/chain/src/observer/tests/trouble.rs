//! Nodes that are away, hang, lose blocks or boast.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_node_that_was_away_loses_no_event() {
    let [one, two] = nodes(|n| n);
    let mut watched = Watched::start(from_genesis(), &[&one, &two]);
    let _ = watched.look().await;
    let _ = watched.events();

    two.trouble(Trouble::Refuses);
    two.grow(2, 7);
    let away = watched.look().await;
    assert_eq!(away.running().count(), 1);
    let why = away.node("NODE_2").unwrap().failing.clone().unwrap();
    assert!(why.contains("no connection"), "{why}");
    one.grow(5, 1);
    let _ = watched.look().await;
    two.follow(&one);
    two.trouble(Trouble::None);
    let back = watched.look().await;

    let events = watched.events();
    assert_eq!(
        blocks_seen(&events).len(),
        5,
        "each block once, whoever told of it"
    );
    let heads = events.iter().filter(|event| {
        matches!(event, ChainEvent::HeadMoved { node, to, .. } if &**node == "NODE_2" && to.height == 5)
    });
    assert_eq!(heads.count(), 1);
    assert!(
        events
            .iter()
            .any(|event| matches!(event, ChainEvent::Lost { .. }))
    );
    assert!(
        events
            .iter()
            .any(|event| matches!(event, ChainEvent::Found { .. }))
    );
    assert!(back.converged(0));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_costs_the_others_nothing() {
    for trouble in [Trouble::Hangs, Trouble::HangsOnBlocks] {
        let [one, two, three] = nodes(|n| n);
        let watched = Watched::start(from_genesis(), &[&one, &two, &three]);
        let _ = watched.look().await;
        one.trouble(trouble);
        one.grow(3, 1);
        two.grow(4, 1);
        three.grow(5, 1);

        let view = watched.look().await;

        assert_eq!(view.node("NODE_2").unwrap().head.unwrap().height, 4);
        assert_eq!(view.node("NODE_3").unwrap().head.unwrap().height, 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_one_node_lost_is_had_from_another_as_soon_as_that_is_there() {
    let [one, two] = nodes(|n| n);
    let config = from_genesis().with_ledger(crate::LedgerConfig::default());
    let watched = Watched::start(config, &[&one, &two]);
    let _ = watched.look().await;
    let id = one.grow(1, 1);
    one.lose_body(id);

    let without = watched.look().await;
    assert!(
        without.graph.entry(&id).unwrap().block.is_none(),
        "the header counts"
    );
    let owner = "anybody".into();
    let wallet = without.wallet(&owner, Standpoint::Node("NODE_1"), &Submitted::new());
    assert!(
        wallet
            .unwrap_err()
            .to_string()
            .contains("no node serves the block")
    );
    two.grow(1, 1);
    let _ = watched.look().await;
    let with = watched.look().await;

    assert!(with.graph.entry(&id).unwrap().block.is_some());
    assert!(
        with.wallet(&owner, Standpoint::Node("NODE_1"), &Submitted::new())
            .is_ok()
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_boasts_is_told_of_once_and_moves_nothing() {
    let [one, two] = nodes(|n| n);
    let mut watched = Watched::start(from_genesis(), &[&one, &two]);
    let _ = watched.look().await;
    two.trouble(Trouble::Boasts(1_000_000));
    two.grow(2, 1);
    one.grow(2, 1);
    let _ = watched.look().await;
    let view = watched.look().await;

    let told = watched.events();
    let told = told
        .iter()
        .filter(|event| matches!(event, ChainEvent::Contradiction { .. }));
    assert_eq!(told.count(), 1);
    assert_eq!(view.best_head().unwrap().height, 2);
    assert_eq!(view.graph.floor(), 0);
}
