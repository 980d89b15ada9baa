//! Tests of the ledger: against states that are computed for each block alone, on generated forks.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::{
    generated::{Economy, id, owner_named, tx},
    graph::Orphans,
    model::{Block, Header, Output, Transaction},
    wallet::Wallet,
};

fn expected(economy: &Economy, block: usize, owner: &Owner) -> BTreeMap<OutputId, u64> {
    let held = economy.holdings[block].iter();
    let own = held.filter(|(_, (whose, _))| whose == owner);
    own.map(|(id, (_, value))| (id.clone(), *value)).collect()
}

fn check(economy: &Economy, graph: &Graph, ledger: &Ledger, blocks: impl Iterator<Item = usize>) {
    for block in blocks {
        for owner in (0..7).map(owner_named) {
            let place = economy.tree.place(block);
            let wallet = Wallet::at(graph, ledger, &owner, place, []).unwrap();
            let outputs = wallet.on_chain.outputs();
            let outputs: BTreeMap<_, _> = outputs.map(|(id, value)| (id.clone(), value)).collect();
            let model = expected(economy, block, &owner);
            let sum: u128 = model.values().map(|value| u128::from(*value)).sum();
            assert_eq!(wallet.balance(), sum);
            assert_eq!(wallet.on_chain.outputs_count(), model.len());
            assert_eq!(outputs, model);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn holdings_on_every_branch_are_those_of_a_walk_from_genesis(
        (economy, order, late) in Economy::any().prop_flat_map(|economy| {
            let count = economy.tree.len();
            let order: Vec<_> = (0..count).collect();
            let late = prop::collection::btree_set(0..count, 0..4);
            (Just(economy), Just(order).prop_shuffle(), late)
        })
    ) {
        let (mut graph, mut ledger) = (Graph::new(), Ledger::default());
        let mut orphans = Orphans::new(economy.tree.len());
        for block in order {
            let body = Arc::new(economy.blocks[block].clone());
            let body = (!late.contains(&block)).then_some(body);
            let grown = orphans.grow(&mut graph, economy.tree.header(block), body);
            for place in grown.added {
                ledger.follow(&graph, &place.id);
            }
        }
        for &block in late.iter().filter(|block| **block > 0) {
            let owner = owner_named(0);
            let wallet = Wallet::at(&graph, &ledger, &owner, economy.tree.place(block), []);
            prop_assert!(wallet.is_err(), "a block that was not served makes wallets unknown");
        }
        for block in late {
            graph.fill(Arc::new(economy.blocks[block].clone()));
            ledger.follow(&graph, &id(block));
            if block == 0 {
                ledger.fold_again(&graph, &id(block));
            }
        }
        check(&economy, &graph, &ledger, (0..economy.tree.len()).step_by(3));
    }

    #[test]
    fn what_a_node_tells_at_a_block_makes_later_blocks_known(
        (economy, told_at) in Economy::any().prop_flat_map(|economy| {
            let count = economy.tree.len();
            (Just(economy), 0..count)
        })
    ) {
        let mut graph = Graph::new();
        let config = LedgerConfig::default();
        let mut ledger = Ledger::new(config);
        // The genesis block is served by nobody, so all are unknown.
        for block in 0..economy.tree.len() {
            let _ = graph.insert(economy.tree.header(block)).unwrap();
            if block > 0 {
                graph.fill(Arc::new(economy.blocks[block].clone()));
            }
            ledger.follow(&graph, &id(block));
        }
        let owner = owner_named(1);
        let told: Vec<_> = expected(&economy, told_at, &owner).into_iter().collect();
        prop_assert!(ledger.learn(&graph, &id(told_at), &owner, &told));
        for block in 0..economy.tree.len() {
            let known = economy.tree.chain(block).contains(&told_at);
            let holds = ledger.at(&id(block)).unwrap().of(&owner);
            prop_assert_eq!(holds.is_ok(), known);
            if let Ok(account) = holds {
                let outputs: BTreeMap<_, _> =
                    account.outputs().map(|(id, value)| (id.clone(), value)).collect();
                prop_assert_eq!(outputs, expected(&economy, block, &owner));
            }
            let other = ledger.at(&id(block)).unwrap().of(&owner_named(2));
            prop_assert_eq!(other.unwrap_err().reason, GapReason::GenesisUnknown);
        }
    }
}

fn chain_of(blocks: Vec<Vec<Transaction>>) -> (Graph, Vec<Place>) {
    let mut graph = Graph::new();
    let mut places = Vec::new();
    for (number, transactions) in blocks.into_iter().enumerate() {
        let header = Header::new(id(number), number.checked_sub(1).map(id));
        let _ = graph.insert(header.clone()).unwrap();
        graph.fill(Arc::new(Block::new(header, transactions)));
        places.push(graph.place(&id(number)).unwrap());
    }
    (graph, places)
}

fn pays(number: usize, output: Option<&str>, owner: u8, value: u64) -> Transaction {
    let id = output.map(OutputId::from);
    let owner = owner_named(owner);
    Transaction {
        id: tx(number),
        inputs: Vec::new(),
        outputs: vec![Output {
            id,
            owner,
            value,
            operation: 0,
        }],
    }
}

#[test]
fn an_output_without_an_id_makes_its_owner_unknown_and_nobody_else() {
    let blocks = vec![
        vec![pays(0, Some("a"), 1, 5)],
        vec![pays(1, None, 1, 7), pays(2, Some("b"), 2, 3)],
    ];
    let (graph, places) = chain_of(blocks);
    let mut ledger = Ledger::default();
    ledger.follow(&graph, &id(0));

    let unknown = Wallet::at(&graph, &ledger, &owner_named(1), places[1], []).unwrap_err();
    let other = Wallet::at(&graph, &ledger, &owner_named(2), places[1], []).unwrap();

    let id = places[1].id.short();
    assert_eq!(
        unknown.to_string(),
        format!("unknown since block {id} at height 1: an output came without an id")
    );
    assert_eq!(other.balance(), 3);
}

#[test]
fn a_rule_gives_ids_where_the_wire_does_not() {
    let (graph, places) = chain_of(vec![vec![], vec![pays(1, None, 1, 7)]]);
    let rule = OutputRule::new(|tx, index| Some(format!("{}:{index}", tx.id).into()));
    let mut ledger = Ledger::new(LedgerConfig {
        rule: Some(rule),
        ..LedgerConfig::default()
    });
    ledger.follow(&graph, &id(0));

    let wallet = Wallet::at(&graph, &ledger, &owner_named(1), places[1], []).unwrap();

    assert_eq!(wallet.balance(), 7);
}

#[test]
fn an_output_that_a_waiting_transaction_spends_is_encumbered() {
    let blocks = vec![vec![pays(0, Some("a"), 1, 5), pays(1, Some("b"), 1, 2)]];
    let (graph, places) = chain_of(blocks);
    let mut ledger = Ledger::default();
    ledger.follow(&graph, &id(0));
    let waiting = Transaction {
        id: tx(9),
        inputs: vec!["a".into(), "of somebody else".into()],
        outputs: Vec::new(),
    };

    let wallet = Wallet::at(&graph, &ledger, &owner_named(1), places[0], [&waiting]).unwrap();

    assert_eq!(wallet.encumbered.len(), 1);
    assert_eq!((wallet.balance(), wallet.available_balance()), (7, 2));
}

#[test]
fn a_ledger_that_began_later_knows_nobody_and_says_since_when() {
    let mut graph = Graph::new();
    let _ = graph.anchor(Header::new(id(5), Some(id(4))), 5).unwrap();
    graph.fill(Arc::new(Block::new(
        Header::new(id(5), Some(id(4))),
        vec![pays(0, Some("a"), 1, 5)],
    )));
    let mut ledger = Ledger::default();
    ledger.follow(&graph, &id(5));

    let gap = ledger.at(&id(5)).unwrap().of(&owner_named(1)).unwrap_err();

    assert_eq!((gap.reason, gap.since.height), (GapReason::StartedLater, 5));
}

#[test]
fn only_those_who_are_watched_are_followed() {
    let (graph, places) = chain_of(vec![vec![
        pays(0, Some("a"), 1, 5),
        pays(1, Some("b"), 2, 2),
    ]]);
    let watch = Watch::Only(Arc::new(HashSet::from([owner_named(2)])));
    let mut ledger = Ledger::new(LedgerConfig {
        watch,
        ..LedgerConfig::default()
    });
    ledger.follow(&graph, &id(0));

    let other = Wallet::at(&graph, &ledger, &owner_named(1), places[0], []).unwrap_err();
    let watched = Wallet::at(&graph, &ledger, &owner_named(2), places[0], []).unwrap();

    assert_eq!(other.reason, GapReason::NotWatched);
    assert_eq!(watched.balance(), 2);
    assert_eq!(ledger.at(&id(0)).unwrap().outputs_count(), 1);
}
