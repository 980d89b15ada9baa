//! Agreement: on which block nodes agree, by ancestry.
//!
//! A node agrees with its head and with all that is before it. So a node that is a block ahead
//! agrees with the others, and two that are on two branches agree up to the fork.

use crate::{
    graph::{Graph, Place},
    id::BlockId,
};

/// The highest block that at least `quorum` of `heads` have on their chains. `None` when there is
/// none in the graph. Heads that the graph does not know agree with nothing.
pub fn agreed(graph: &Graph, heads: &[BlockId], quorum: usize) -> Option<Place> {
    let mut known: Vec<(Place, usize)> = Vec::new();
    for place in heads.iter().filter_map(|head| graph.place(head)) {
        match known.iter_mut().find(|(other, _)| *other == place) {
            Some((_, count)) => *count += 1,
            None => known.push((place, 1)),
        }
    }
    // The set of nodes that have a block changes along a chain only at heads and where chains part,
    // so the highest such block is one of these.
    let pairs = known.iter().enumerate();
    let forks = pairs.flat_map(|(n, (a, _))| {
        let others = known[n + 1..].iter();
        others.filter_map(|(b, _)| graph.common_ancestor(&a.id, &b.id))
    });
    let mut candidates: Vec<Place> = forks.chain(known.iter().map(|(head, _)| *head)).collect();
    candidates.sort_unstable_by(|a, b| b.cmp(a));
    candidates.dedup();
    candidates
        .into_iter()
        .find(|block| support(graph, block, &known) >= quorum.max(1))
}

fn support(graph: &Graph, block: &Place, heads: &[(Place, usize)]) -> usize {
    let has = |head: &Place| graph.is_on_chain_of(&block.id, &head.id) == Some(true);
    let counts = heads
        .iter()
        .filter(|(head, _)| has(head))
        .map(|(_, count)| count);
    counts.sum()
}

/// More than half of `count`.
pub fn majority_of(count: usize) -> usize {
    count / 2 + 1
}

/// Whether all `heads` are on one chain and at most `within` blocks behind the highest of them.
/// Not so when there is none, or when the graph cannot tell.
pub fn converged(graph: &Graph, heads: &[BlockId], within: u64) -> bool {
    let places: Option<Vec<Place>> = heads.iter().map(|head| graph.place(head)).collect();
    let Some((places, best)) = places.and_then(|p| p.iter().max().copied().map(|best| (p, best)))
    else {
        return false;
    };
    places.iter().all(|place| {
        best.height - place.height <= within
            && graph.is_on_chain_of(&place.id, &best.id) == Some(true)
    })
}

#[cfg(test)]
mod tests;
