//! Nodes that are slow or hang: what they cost is theirs, and what was had is kept.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_long_branch_comes_in_over_several_cycles() {
    let [one] = nodes(|n| n);
    let watched = Watched::start(from_genesis(), &[&one]);
    let _ = watched.look().await;
    one.grow(500, 1);
    one.trouble(Trouble::Slow(Duration::from_millis(300)));

    let mut view = watched.look().await;
    for _ in 0..8 {
        view = watched.look().await;
    }

    assert_eq!(view.node("NODE_1").unwrap().head.unwrap().height, 500);
    let head = view.node("NODE_1").unwrap().head.unwrap();
    assert!(
        view.graph
            .chain(&head.id)
            .all(|entry| entry.block.is_some())
    );
}

#[tokio::test(start_paused = true)]
async fn headers_that_were_had_are_not_asked_for_again() {
    let [one] = nodes(|n| n);
    let watched = Watched::start(from_genesis().headers_only(), &[&one]);
    let _ = watched.look().await;
    one.grow(1_900, 1);
    one.trouble(Trouble::Slow(Duration::from_millis(800)));

    let mut view = watched.look().await;
    for _ in 0..4 {
        one.grow(1, 1);
        view = watched.look().await;
    }

    assert!(view.node("NODE_1").unwrap().current_tip().is_some());
}

#[tokio::test(start_paused = true)]
async fn nodes_that_hang_are_not_waited_for_one_after_the_other() {
    let nodes: [_; 5] = nodes(|n| n);
    let watched = Watched::start(from_genesis(), &nodes.iter().collect::<Vec<_>>());
    let _ = watched.look().await;
    nodes[4].grow(30, 1);
    for node in &nodes[..4] {
        node.follow(&nodes[4]);
        node.trouble(Trouble::HangsOnBlocks);
    }

    let view = watched.look().await;

    assert_eq!(view.node("NODE_5").unwrap().head.unwrap().height, 30);
    assert!(view.converged(0));
}

#[tokio::test(start_paused = true)]
async fn bodies_are_fetched_while_a_slow_node_serves_its_branch() {
    let [slow, lost, holder] = nodes(|n| n);
    let watched = Watched::start(from_genesis(), &[&slow, &lost, &holder]);
    let _ = watched.look().await;
    let id = lost.grow(1, 1);
    lost.lose_body(id);
    let without = watched.look().await;
    assert!(without.graph.entry(&id).unwrap().block.is_none());
    holder.grow(1, 1);
    slow.grow(300, 9);
    slow.trouble(Trouble::Slow(Duration::from_millis(900)));

    let view = watched.look().await;

    assert!(view.graph.entry(&id).unwrap().block.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_body_is_asked_for_again_when_a_node_comes_back() {
    let [one, two] = nodes(|n| n);
    let watched = Watched::start(from_genesis(), &[&one, &two]);
    let _ = watched.look().await;
    let id = one.grow(1, 1);
    two.follow(&one);
    one.lose_body(id);
    two.trouble(Trouble::Refuses);
    for _ in 0..30 {
        let _ = watched.look().await;
    }

    two.trouble(Trouble::None);
    let _ = watched.look().await;
    let view = watched.look().await;

    assert!(view.graph.entry(&id).unwrap().block.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_body_is_not_given_up_while_those_who_may_have_it_do_not_answer() {
    let [one, two] = nodes(|n| n);
    let watched = Watched::start(from_genesis(), &[&one, &two]);
    let _ = watched.look().await;
    let id = one.grow(1, 1);
    two.follow(&one);
    one.lose_body(id);
    two.trouble(Trouble::HangsOnBlocks);
    for _ in 0..30 {
        let _ = watched.look().await;
    }

    two.trouble(Trouble::None);
    let view = watched.look().await;

    assert!(view.graph.entry(&id).unwrap().block.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_node_is_running_when_its_head_answers_whatever_else_hangs() {
    for call in ["mempool", "identity"] {
        let [one] = nodes(|n| n);
        one.trouble(Trouble::HangsOn(call));
        let watched = Watched::start(from_genesis().with_mempools(), &[&one]);

        let view = watched.look().await;

        assert_eq!(view.running().count(), 1, "{call}");
        let node = view.node("NODE_1").unwrap();
        assert_eq!(node.identity.is_some(), call != "identity");
        assert_eq!(node.mempool.is_some(), call != "mempool");
    }
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_takes_long_is_had_all_the_same() {
    let [one] = nodes(|n| n);
    one.trouble(Trouble::SlowOn("identity", Duration::from_millis(1_800)));
    let watched = Watched::start(from_genesis(), &[&one]);

    let _ = watched.look().await;
    let view = watched.look().await;

    assert!(view.node("NODE_1").unwrap().identity.is_some());
}

#[tokio::test(start_paused = true)]
async fn many_nodes_that_hang_silence_nobody() {
    let nodes: [_; 121] = nodes(|n| n);
    for node in &nodes[..120] {
        node.trouble(Trouble::Hangs);
    }
    let watched = Watched::start(from_genesis(), &nodes.iter().collect::<Vec<_>>());

    let view = watched.look().await;

    assert_eq!(view.running().count(), 1);
}
