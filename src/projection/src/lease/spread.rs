//! The spread: how many shards each node should have, from who is there alone, so that all who see the same come to the same.

/// How many of `shards` the node `me` should have beside the `others` that are there.
///
/// All shares together are all shards, and no two differ by more than one.
pub(super) fn quota(shards: usize, me: &str, others: &[&str]) -> usize {
    let nodes = others.len() + 1;
    let rank = others.iter().filter(|other| **other < me).count();
    shards / nodes + usize::from(rank < shards % nodes)
}

/// Where a node begins to look for shards, so that not all of them run for the same one.
pub(super) fn first(shards: usize, me: &str, others: &[&str]) -> usize {
    let rank = others.iter().filter(|other| **other < me).count();
    rank * shards / (others.len() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_fair_and_no_shard_is_left_over() {
        let names = ["a", "b", "c", "d", "e"];
        for shards in 1..20 {
            for count in 1..=names.len() {
                let quotas: Vec<_> = (0..count)
                    .map(|me| {
                        let others: Vec<_> = (0..count)
                            .filter(|other| *other != me)
                            .map(|other| names[other])
                            .collect();
                        assert!(first(shards, names[me], &others) < shards);
                        quota(shards, names[me], &others)
                    })
                    .collect();
                assert_eq!(quotas.iter().sum::<usize>(), shards, "{quotas:?}");
                assert!(quotas.iter().max().unwrap() - quotas.iter().min().unwrap() <= 1);
            }
        }
    }
}
