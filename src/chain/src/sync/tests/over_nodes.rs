//! The whole check, over nodes in memory.

use super::*;
use crate::{
    memory::{MemoryNode, Trouble, genesis},
    observer::ChainObserverConfig,
    source::ChainSource,
};

const LONG: Duration = Duration::from_mins(5);

fn named(name: &str) -> Arc<MemoryNode> {
    Arc::new(MemoryNode::new(name, genesis(0)))
}

fn peers_at(height: u64) -> Vec<Arc<MemoryNode>> {
    let peers: Vec<_> = (1..=3).map(|n| named(&format!("peer-{n}"))).collect();
    for peer in &peers {
        peer.grow(height, 1);
    }
    peers
}

fn check(local: &[&Arc<MemoryNode>], public: &[Arc<MemoryNode>]) -> SyncCheck {
    let source = |node: &Arc<MemoryNode>| -> Arc<dyn ChainSource> { Arc::clone(node) as _ };
    let local = local.iter().map(|node| source(node)).collect();
    let mut check = SyncCheck::new(local, public.iter().map(source).collect(), LONG);
    check.observer = ChainObserverConfig::default()
        .headers_only()
        .with_final_depth(20);
    check
}

#[tokio::test(start_paused = true)]
async fn a_node_that_catches_up_slowly_is_told_of_until_it_is_there() {
    let (local, peers) = (named("NODE_1"), peers_at(200));
    let source = Arc::clone(&peers[0]);
    let catching_up = Arc::clone(&local);
    let mut lines = Vec::new();

    let report = check(&[&local], &peers)
        .run(|progress| {
            lines.push(progress.to_string());
            let missing =
                source.tip().header.height.unwrap() - catching_up.tip().header.height.unwrap();
            catching_up.grow(missing.min(20), 1);
        })
        .await;

    assert!(report.verdict.is_synced(), "{}", report.verdict);
    assert!(!report.timed_out);
    let line = lines.iter().find(|line| line.contains("blocks/s")).unwrap();
    assert!(
        line.contains("NODE_1 at ") && line.contains("to go"),
        "{line}"
    );
    assert!(
        lines.iter().any(|line| line.contains("done in")),
        "{lines:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_target_that_moves_while_it_is_looked_at_is_followed() {
    let (local, peers) = (named("NODE_1"), peers_at(50));
    let moving = peers.clone();
    let following = Arc::clone(&local);
    let mut looks = 0;

    let report = check(&[&local], &peers)
        .run(|_| {
            looks += 1;
            for peer in moving.iter().take(1 + looks % 3) {
                peer.grow(1, 1);
            }
            following.grow(if looks == 1 { 49 } else { 4 }, 1);
        })
        .await;

    assert!(report.verdict.is_synced(), "{}", report.verdict);
}

/// Runs a check that never ends well, and gives what was found when the time was up.
async fn given_up(local: &[&Arc<MemoryNode>], public: &[Arc<MemoryNode>]) -> SyncVerdict {
    let report = check(local, public).run(|_| {}).await;
    assert!(report.timed_out, "{}", report.verdict);
    assert!(!report.verdict.is_synced());
    report.verdict
}

#[tokio::test(start_paused = true)]
async fn too_few_peers_is_no_target_even_if_the_node_agrees_with_all_that_answer() {
    let (local, peers) = (named("NODE_1"), peers_at(50));
    local.follow(&peers[0]);
    peers[1].trouble(Trouble::Refuses);
    peers[2].trouble(Trouble::Hangs);

    let verdict = given_up(&[&local], &peers).await;

    let few = NoTarget::TooFew {
        usable: 1,
        needed: 2,
    };
    assert_eq!(verdict.verdict, Verdict::NoTarget(few));
}

#[tokio::test(start_paused = true)]
async fn peers_that_are_split_are_no_target() {
    let (local, mut peers) = (named("NODE_1"), peers_at(30));
    peers.push(named("peer-4"));
    peers[3].follow(&peers[0]);
    for (n, peer) in peers.iter().enumerate() {
        peer.grow(10, if n < 2 { 5 } else { 6 });
    }
    local.follow(&peers[0]);

    let verdict = given_up(&[&local], &peers).await;

    let Verdict::NoTarget(NoTarget::Split { branches, common }) = verdict.verdict else {
        panic!("{verdict}");
    };
    assert_eq!(
        branches.iter().map(|(_, count)| *count).collect::<Vec<_>>(),
        [2, 2]
    );
    assert_eq!(common.unwrap().height, 30);
}

#[tokio::test(start_paused = true)]
async fn peers_that_stall_are_told_from_a_node_that_is_slow() {
    let (local, peers) = (named("NODE_1"), peers_at(30));
    local.grow(10, 1);

    let verdict = given_up(&[&local], &peers).await;

    assert!(
        matches!(
            verdict.verdict,
            Verdict::NoTarget(NoTarget::Stalled {
                at: Place { height: 30, .. },
                ..
            })
        ),
        "{verdict}"
    );
}

#[tokio::test(start_paused = true)]
async fn one_lying_peer_changes_nothing_and_is_named() {
    for trouble in [Trouble::Boasts(1_000), Trouble::Forges] {
        let (local, peers) = (named("NODE_1"), peers_at(30));
        local.follow(&peers[0]);
        peers[2].grow(5, 9);
        peers[2].trouble(trouble);

        let report = check(&[&local], &peers).run(|_| {}).await;

        assert!(report.verdict.is_synced(), "{}", report.verdict);
        assert_eq!(report.verdict.target.unwrap().height, 30);
        let liar = &report.verdict.peers[2].state;
        assert!(matches!(liar, PeerState::Lying { .. }), "{liar}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_puts_the_common_tip_on_top_of_a_fork_makes_nobody_synced() {
    let (local, peers) = (named("NODE_1"), peers_at(30));
    local.grow(28, 1);
    local.grow(1, 3);
    // The first that is asked: what it says is heard before the truth.
    peers[0].follow(&local);
    peers[0].follow(&peers[1]);
    peers[0].trouble(Trouble::Grafts(local.tip().header.id));
    let mut check = check(&[&local], &peers);
    check.spec.stall_after = None;

    let report = check.run(|_| {}).await;

    assert_eq!(
        report.verdict.verdict,
        Verdict::Forked,
        "{}",
        report.verdict
    );
    let LocalState::Forked { common, depth } = report.verdict.locals[0].state else {
        panic!("{}", report.verdict);
    };
    assert_eq!((common.height, depth), (28, 1));

    // And it cannot keep a node that follows from being synced.
    local.follow(&peers[1]);
    let report = self::check(&[&local], &peers).run(|_| {}).await;
    assert!(report.verdict.is_synced(), "{}", report.verdict);
}

#[tokio::test(start_paused = true)]
async fn chains_that_part_far_below_are_compared_down_to_where_they_do() {
    let (local, mut peers) = (named("NODE_1"), peers_at(300));
    for (n, peer) in peers.iter().enumerate() {
        peer.grow(2_000, if n < 2 { 5 } else { 6 });
    }
    local.follow(&peers[0]);
    peers.push(named("peer-4"));
    peers[3].follow(&peers[2]);
    let mut check = check(&[&local], &peers);
    check.within = Duration::from_secs(10);

    let verdict = check.run(|_| {}).await.verdict;

    let Verdict::NoTarget(NoTarget::Split { common, .. }) = verdict.verdict else {
        panic!("{verdict}");
    };
    assert_eq!(common.unwrap().height, 300);
}

#[tokio::test(start_paused = true)]
async fn a_peer_of_another_genesis_is_lying_and_a_node_of_one_fails_at_once() {
    let stranger = |name: &str| {
        let node = Arc::new(MemoryNode::new(name, genesis(1)));
        node.grow(30, 1);
        node
    };
    let (local, mut peers) = (named("NODE_1"), peers_at(30));
    local.follow(&peers[0]);
    peers[2] = stranger("peer-3");

    let report = check(&[&local], &peers).run(|_| {}).await;
    assert!(report.verdict.is_synced(), "{}", report.verdict);
    assert!(matches!(
        report.verdict.peers[2].state,
        PeerState::Lying { .. }
    ));

    let began = Instant::now();
    let report = check(&[&stranger("NODE_2")], &peers).run(|_| {}).await;
    assert!(
        matches!(report.verdict.verdict, Verdict::OtherNetwork { .. }),
        "{}",
        report.verdict
    );
    assert!(began.elapsed() < Duration::from_secs(5) && !report.timed_out);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_ahead_on_the_same_chain_is_synced_and_one_on_a_fork_is_not() {
    let (ahead, forked, peers) = (named("NODE_1"), named("NODE_2"), peers_at(30));
    ahead.follow(&peers[0]);
    ahead.grow(7, 1);
    let report = check(&[&ahead], &peers).run(|_| {}).await;
    assert!(report.verdict.is_synced());
    assert_eq!(
        report.verdict.locals[0].state,
        LocalState::Ahead { blocks: 7 }
    );

    forked.grow(28, 1);
    forked.grow(2, 3);
    let mut check = check(&[&forked], &peers);
    check.spec.stall_after = None;
    let report = check.run(|_| {}).await;
    assert_eq!(report.verdict.verdict, Verdict::Forked);
    let LocalState::Forked { common, depth } = report.verdict.locals[0].state else {
        panic!("{}", report.verdict);
    };
    assert_eq!((common.height, depth), (28, 2));
}

#[tokio::test(start_paused = true)]
async fn without_peers_there_is_nothing_to_wait_for() {
    let local = named("NODE_1");

    let report = check(&[&local], &[]).run(|_| {}).await;

    assert_eq!(report.verdict.verdict, Verdict::NoTarget(NoTarget::NoPeers));
    assert!(!report.timed_out);
}
