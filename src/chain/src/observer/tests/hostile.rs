//! Nodes that say what cannot be: their word costs them, and nobody else.

use super::*;

/// Nodes whose headers carry no heights, as on the Logos wire.
fn without_heights<const N: usize>() -> [Arc<MemoryNode>; N] {
    let mut first = genesis(0);
    first.header.height = None;
    let name = |n| format!("NODE_{}", n + 1);
    std::array::from_fn(|n| Arc::new(MemoryNode::new(name(n), first.clone()).with_finality(4)))
}

fn from_final() -> ChainObserverConfig {
    from_genesis().with_start(StartAt::Lib)
}

fn contradicting(view: &ChainView) -> Vec<&str> {
    let nodes = view.nodes.values();
    let contradicting = nodes.filter(|node| node.contradiction.is_some());
    contradicting.map(|node| &*node.name).collect()
}

fn head_height(view: &ChainView, node: &str) -> Option<u64> {
    Some(view.node(node)?.head?.height)
}

#[tokio::test(start_paused = true)]
async fn a_height_that_no_chain_has_ends_no_cycle() {
    for alone in [false, true] {
        let [boaster, honest, also] = without_heights();
        honest.grow(50, 1);
        boaster.follow(&honest);
        also.follow(&honest);
        boaster.grow(1, 7);
        boaster.trouble(Trouble::Boasts(u64::MAX));
        let others = [&boaster, &honest, &also];
        let watched = Watched::start(from_final(), if alone { &others[..1] } else { &others });

        let _ = watched.look().await;
        boaster.grow(1, 7);
        let view = watched.look().await;

        assert_eq!(contradicting(&view), ["NODE_1"]);
        if !alone {
            assert_eq!(head_height(&view, "NODE_2"), Some(50));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn heights_are_what_most_nodes_say_whoever_is_asked_first() {
    for own_tip in [false, true] {
        let [boaster, two, three] = without_heights();
        two.grow(50, 1);
        boaster.follow(&two);
        three.follow(&two);
        if own_tip {
            boaster.grow(1, 7);
        }
        boaster.trouble(Trouble::Boasts(1_000_000));
        let watched = Watched::start(from_final(), &[&boaster, &two, &three]);

        let view = watched.look().await;

        assert_eq!(contradicting(&view), ["NODE_1"]);
        assert_eq!(head_height(&view, "NODE_2"), Some(50));
        assert_eq!(head_height(&view, "NODE_3"), Some(50));
    }
}

#[tokio::test(start_paused = true)]
async fn a_false_height_of_a_tip_keeps_no_honest_head_out() {
    let [boaster, two, three] = nodes(|n| n);
    two.grow(50, 1);
    boaster.follow(&two);
    three.follow(&two);
    boaster.trouble(Trouble::Boasts(1_000_000));
    let watched = Watched::start(from_final(), &[&boaster, &two, &three]);

    let view = watched.look().await;

    assert_eq!(contradicting(&view), ["NODE_1"]);
    assert_eq!(head_height(&view, "NODE_2"), Some(50));
}

#[tokio::test(start_paused = true)]
async fn who_served_a_false_header_is_blamed_and_another_is_asked() {
    let [teller, liar, honest] = nodes(|n| n);
    let watched = Watched::start(from_genesis(), &[&teller, &liar, &honest]);
    let _ = watched.look().await;
    honest.grow(3, 1);
    teller.follow(&honest);
    liar.follow(&honest);
    teller.trouble(Trouble::HangsOnBlocks);
    liar.trouble(Trouble::Misplaces(5));

    let first = watched.look().await;
    assert_eq!(contradicting(&first), ["NODE_2"]);
    let view = watched.look().await;

    assert_eq!(head_height(&view, "NODE_1"), Some(3));
    assert_eq!(head_height(&view, "NODE_3"), Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_contradiction_is_over_when_the_next_answer_fits() {
    let [one, two] = nodes(|n| n);
    two.trouble(Trouble::Boasts(7));
    let watched = Watched::start(from_final(), &[&one, &two]);
    assert_eq!(contradicting(&watched.look().await), ["NODE_2"]);

    two.trouble(Trouble::None);

    assert!(contradicting(&watched.look().await).is_empty());
}

#[tokio::test(start_paused = true)]
async fn made_up_tips_cost_no_more_memory_than_the_last_of_them() {
    let [one, liar, three] = without_heights();
    one.grow(20, 1);
    three.follow(&one);
    let mut config = from_genesis();
    config.branch_blocks_max = 10;
    let watched = Watched::start(config, &[&one, &liar, &three]);
    let _ = watched.look().await;
    liar.trouble(Trouble::Boasts(1_000_000));

    for salt in 2..40 {
        liar.move_to(genesis(0).header.id);
        liar.grow(30, salt);
        let _ = watched.look().await;
    }

    let view = watched.look().await;
    assert!(view.graph.len() <= 21 + 2 * 10, "{}", view.graph.len());
}

#[tokio::test(start_paused = true)]
async fn forks_without_end_are_forgotten_when_they_are_too_many() {
    let [one, liar] = nodes(|n| n);
    one.grow(20, 1);
    liar.follow(&one);
    let mut config = from_genesis();
    config.branch_blocks_max = 40;
    config.window_blocks_max = 100;
    let watched = Watched::start(config, &[&one, &liar]);
    let fork = one.tip().header.id;

    for salt in 2..60 {
        liar.move_to(fork);
        liar.grow(10, salt);
        let _ = watched.look().await;
    }

    let view = watched.look().await;
    assert!(view.graph.len() <= 300, "{}", view.graph.len());
    assert_eq!(
        head_height(&view, "NODE_2"),
        Some(30),
        "what a node has is kept"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_is_not_final_because_a_head_is_anchored_elsewhere() {
    let mut first = genesis(0);
    first.header.height = None;
    let one = Arc::new(MemoryNode::new("NODE_1", first.clone()));
    let liar = Arc::new(MemoryNode::new("NODE_2", first));
    let tx = TxId::from_bytes([7; 32]);
    let transaction = Transaction {
        id: tx,
        inputs: Vec::new(),
        outputs: Vec::new(),
    };
    let start = one.tip();
    let mut config = from_genesis();
    config.branch_blocks_max = 20;
    config.window_blocks_max = 20;
    let watched = Watched::start(config, &[&one, &liar]);
    let _ = watched.look().await;
    one.take(child_of(&start.header, 9, vec![transaction]));
    let _ = watched.look().await;
    one.move_to(start.header.id);
    one.grow(15, 1);
    liar.grow(30, 8);
    liar.trouble(Trouble::Boasts(1_000_000));
    let _ = watched.look().await;
    one.grow(15, 1);
    let _ = watched.look().await;
    one.grow(15, 1);

    let view = watched.look().await;

    assert!(view.graph.floor() > 1, "the block was forgotten");
    let inclusion = view.inclusion(&tx, "NODE_1").unwrap();
    assert!(
        !matches!(inclusion, Inclusion::Finalised { .. }),
        "{inclusion}"
    );
}
