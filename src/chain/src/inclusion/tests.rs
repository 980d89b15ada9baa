//! Tests of inclusion: against a search along the chain, on generated forks and moves of a head.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{
    generated::{Tree, id, tx},
    model::Transaction,
};

/// Few transactions, so that several branches have the same one.
const TRANSACTIONS: usize = 12;

#[derive(Debug, Clone)]
struct Case {
    tree: Tree,
    /// What each block has; nothing twice on one chain.
    bodies: Vec<BTreeSet<usize>>,
    heads: Vec<usize>,
    final_depth: u64,
    floor: u64,
    pending: BTreeSet<usize>,
}

fn any_case() -> impl Strategy<Value = Case> {
    Tree::any()
        .prop_flat_map(|tree| {
            let count = tree.len();
            let wanted = prop::collection::btree_set(0..TRANSACTIONS, 0..4);
            (
                Just(tree),
                prop::collection::vec(wanted, count),
                prop::collection::vec(0..count, 1..6),
                0..8_u64,
                0..20_u64,
                prop::collection::btree_set(0..TRANSACTIONS, 0..4),
            )
        })
        .prop_map(|(tree, wanted, heads, final_depth, floor, pending)| {
            let mut bodies: Vec<BTreeSet<usize>> = Vec::new();
            for (block, mut wanted) in wanted.into_iter().enumerate() {
                for ancestor in tree.chain(block).into_iter().skip(1) {
                    wanted.retain(|n| !bodies[ancestor].contains(n));
                }
                bodies.push(wanted);
            }
            Case {
                tree,
                bodies,
                heads,
                final_depth,
                floor,
                pending,
            }
        })
}

impl Case {
    fn block(&self, block: usize) -> Block {
        let transactions = self.bodies[block].iter().map(|n| Transaction {
            id: tx(*n),
            inputs: Vec::new(),
            outputs: Vec::new(),
        });
        Block::new(self.tree.header(block), transactions.collect())
    }

    /// The blocks that were on the chain and are not any more.
    fn left(&self) -> BTreeSet<usize> {
        let had = self.heads.iter().flat_map(|head| self.tree.chain(*head));
        let has = self.tree.chain(*self.heads.last().unwrap());
        had.filter(|block| !has.contains(block)).collect()
    }

    fn model(&self, number: usize, final_height: Option<u64>) -> Inclusion {
        let head = *self.heads.last().unwrap();
        let chain = self.tree.chain(head);
        let with: Vec<_> = (0..self.tree.len())
            .filter(|b| self.bodies[*b].contains(&number))
            .collect();
        if let Some(block) = with.iter().find(|block| chain.contains(block)) {
            let block = self.tree.place(*block);
            return match final_height {
                Some(height) if block.height <= height => Inclusion::Finalised { block },
                _ => {
                    let depth = self.tree.height(head) - block.height + 1;
                    Inclusion::Included { block, depth }
                }
            };
        }
        let left = self.left();
        let places = |blocks: &[usize]| {
            blocks
                .iter()
                .map(|b| self.tree.place(*b))
                .collect::<Vec<_>>()
        };
        let by: Vec<_> = with
            .iter()
            .copied()
            .filter(|block| left.contains(block))
            .collect();
        if self.pending.contains(&number) {
            Inclusion::Pending {
                elsewhere: places(&with),
            }
        } else if with.is_empty() {
            Inclusion::Unseen
        } else if by.is_empty() {
            Inclusion::Elsewhere {
                blocks: places(&with),
            }
        } else {
            Inclusion::Dropped {
                by_leaving: places(&by),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn inclusion_is_what_a_search_along_the_chain_finds(case in any_case()) {
        let (mut graph, mut inclusions) = (case.tree.graph(), Inclusions::new());
        for block in 0..case.tree.len() {
            inclusions.add(&case.block(block), case.tree.place(block));
            inclusions.add(&case.block(block), case.tree.place(block));
        }
        let head = case.tree.place(*case.heads.last().unwrap());
        let final_height = head.height.checked_sub(case.final_depth);
        let finalised = final_height.and_then(|height| graph.ancestor_at(&head.id, height));
        let left = case.left().into_iter().map(id).collect();
        let of = |inclusions: &Inclusions, graph: &Graph, n: usize| {
            let pending = case.pending.contains(&n);
            let vantage = Vantage { head, finalised, left: &left, pending };
            inclusions.of(&tx(n), graph, vantage)
        };
        for n in 0..TRANSACTIONS {
            prop_assert_eq!(of(&inclusions, &graph, n), case.model(n, final_height));
        }
        // What is final may leave the graph: those who ask do not notice.
        let finalised = finalised.filter(|finalised| finalised.height >= case.floor);
        let Some(finalised) = finalised else { return Ok(()) };
        let before = graph.clone();
        let mut order = SettledOrder::new(TRANSACTIONS);
        for entry in graph.prune_below(case.floor) {
            let block = case.block((0..case.tree.len()).find(|b| id(*b) == entry.header.id).unwrap());
            let is_final = before.is_on_chain_of(&entry.header.id, &finalised.id) == Some(true);
            inclusions.forget(&block, entry.place(), is_final, &mut order);
        }
        for n in 0..TRANSACTIONS {
            let model = case.model(n, final_height);
            if let Inclusion::Finalised { .. } | Inclusion::Included { .. } = model {
                prop_assert_eq!(of(&inclusions, &graph, n), model);
            } else {
                prop_assert!(!of(&inclusions, &graph, n).is_included());
            }
        }
    }
}

#[test]
fn only_so_many_settled_transactions_are_kept() {
    let graph = Graph::new();
    let mut inclusions = Inclusions::new();
    let mut order = SettledOrder::new(2);
    let left = HashTrieSetSync::default();
    for n in 0..5 {
        let place = Place {
            height: n as u64,
            id: id(n),
        };
        let transaction = Transaction {
            id: tx(n),
            inputs: Vec::new(),
            outputs: Vec::new(),
        };
        let block = Block::new(crate::model::Header::new(id(n), None), vec![transaction]);
        inclusions.add(&block, place);
        inclusions.forget(&block, place, true, &mut order);
    }
    let head = Place {
        height: 9,
        id: id(9),
    };
    let vantage = Vantage {
        head,
        finalised: None,
        left: &left,
        pending: false,
    };
    let seen: Vec<_> = (0..5)
        .filter(|n| inclusions.of(&tx(*n), &graph, vantage).is_included())
        .collect();

    assert_eq!(seen, [3, 4]);
}
