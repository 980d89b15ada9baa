//! What is told of moves, transactions and wallets.

use super::*;

#[tokio::test(start_paused = true)]
async fn random_moves_of_many_nodes_are_told_such_that_they_can_be_replayed() {
    for seed in 0..40_u64 {
        let nodes: [_; 4] = nodes(|n| n);
        let all: Vec<_> = nodes.iter().collect();
        let mut watched = Watched::start(from_genesis(), &all);
        let mut random = seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1;
        let mut dice = |sides: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % sides
        };
        let mut heads: HashMap<Arc<str>, BlockId> = HashMap::new();
        let mut known = BTreeSet::new();
        for _ in 0..30 {
            for node in &nodes {
                match dice(6) {
                    0 | 1 => drop(node.grow(dice(3), dice(3))),
                    2 => node.follow(&nodes[usize::try_from(dice(4)).unwrap()]),
                    3 => node.trouble(Trouble::Refuses),
                    _ => node.trouble(Trouble::None),
                }
            }
            let view = watched.look().await;
            for event in watched.events() {
                replay(&view, &event, &mut heads, &mut known);
            }
            for node in view.running() {
                assert_eq!(heads[&node.name], node.reported.as_ref().unwrap().tip);
            }
        }
    }
}

fn replay(
    view: &ChainView,
    event: &ChainEvent,
    heads: &mut HashMap<Arc<str>, BlockId>,
    known: &mut BTreeSet<BlockId>,
) {
    match event {
        ChainEvent::BlockSeen { block, .. } => assert!(known.insert(block.id), "told once"),
        ChainEvent::HeadMoved { node, from, to } => {
            assert!(
                known.contains(&to.id),
                "a block is told of before a head is there"
            );
            let before = heads.insert(Arc::clone(node), to.id);
            assert_eq!(before, from.map(|from| from.id));
        }
        ChainEvent::Reorg(reorg) => {
            let chain: Vec<_> = view
                .graph
                .chain(&reorg.from.id)
                .map(|e| e.header.id)
                .collect();
            let depth = usize::try_from(reorg.depth()).unwrap();
            assert_eq!(chain[depth], reorg.common_ancestor.id);
            assert_eq!(reorg.blocks_out.len(), depth);
            assert!(
                view.graph
                    .is_on_chain_of(&reorg.common_ancestor.id, &reorg.to.id)
                    .unwrap()
            );
        }
        _ => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_of_a_lost_branch_is_dropped_and_included_again() {
    let [one, two] = nodes(|n| n);
    let tx = TxId::from_bytes([7; 32]);
    let with = |parent: &Block, salt| {
        let transaction = Transaction {
            id: tx,
            inputs: Vec::new(),
            outputs: Vec::new(),
        };
        child_of(&parent.header, salt, vec![transaction])
    };
    let watched = Watched::start(from_genesis().with_mempools(), &[&one, &two]);
    one.take(with(&one.tip(), 1));
    one.grow(1, 1);
    two.grow(3, 2);
    let view = watched.look().await;
    let block = Place {
        height: 1,
        id: one.tip().header.parent.unwrap(),
    };
    let included = Inclusion::Included { block, depth: 2 };
    assert_eq!(view.inclusion(&tx, "NODE_1"), Some(included));
    let elsewhere = Inclusion::Elsewhere {
        blocks: vec![block],
    };
    assert_eq!(view.inclusion(&tx, "NODE_2"), Some(elsewhere));

    one.follow(&two);
    let dropped = Inclusion::Dropped {
        by_leaving: vec![block],
    };
    assert_eq!(watched.look().await.inclusion(&tx, "NODE_1"), Some(dropped));
    one.set_mempool([tx]);
    let pending = Inclusion::Pending {
        elsewhere: vec![block],
    };
    assert_eq!(watched.look().await.inclusion(&tx, "NODE_1"), Some(pending));

    one.set_mempool([]);
    one.take(with(&one.tip(), 3));
    let again = Inclusion::Included {
        block: Place {
            height: 4,
            id: one.tip().header.id,
        },
        depth: 1,
    };
    assert_eq!(watched.look().await.inclusion(&tx, "NODE_1"), Some(again));
    one.grow(4, 3);
    let last = watched.look().await.inclusion(&tx, "NODE_1").unwrap();
    assert!(matches!(last, Inclusion::Finalised { .. }), "{last}");
}

#[tokio::test(start_paused = true)]
async fn what_blocks_do_not_tell_of_a_wallet_is_asked_of_the_nodes() {
    let [one, two] = nodes(|n| n);
    let owner: crate::Owner = "owner".into();
    let ledger = crate::LedgerConfig {
        ask_for: vec![owner.clone()],
        ..crate::LedgerConfig::default()
    };
    let watched = Watched::start(from_genesis().with_ledger(ledger), &[&one, &two]);
    let output = crate::Output {
        operation: 0,
        id: None,
        owner: owner.clone(),
        value: 700,
    };
    let transaction = Transaction {
        id: TxId::from_bytes([7; 32]),
        inputs: Vec::new(),
        outputs: vec![output],
    };
    one.take(child_of(&one.tip().header, 1, vec![transaction]));
    let wallet =
        |view: &ChainView| view.wallet(&owner, Standpoint::Node("NODE_1"), &Submitted::new());
    let unknown = wallet(&watched.look().await).unwrap_err();
    assert!(
        unknown.to_string().contains("an output came without an id"),
        "{unknown}"
    );

    one.set_funds(owner.clone(), vec![("note".into(), 700)]);
    let known = wallet(&watched.look().await).unwrap();

    assert_eq!((known.balance(), known.available_balance()), (700, 700));
}
