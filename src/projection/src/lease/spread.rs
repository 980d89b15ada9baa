//! The spread: how many shards a node may take and when it gives one up, so that shares are even and no shard moves without need.

/// What a node counts before it takes or gives up: its own shards and those of each other node that is there.
pub(super) struct Spread<'n> {
    pub(super) shards: usize,
    pub(super) me: &'n str,
    pub(super) mine: usize,
    pub(super) others: &'n [(String, usize)],
}

impl Spread<'_> {
    fn nodes(&self) -> usize {
        self.others.len() + 1
    }

    /// The most that a node has where all have their share.
    pub(super) fn most(&self) -> usize {
        self.shards.div_ceil(self.nodes())
    }

    fn least(&self) -> usize {
        self.shards / self.nodes()
    }

    /// How many this node gives up now.
    ///
    /// All above the most; and one at a time, by the node that has the most, where another has too few.
    pub(super) fn over(&self) -> usize {
        let over = self.mine.saturating_sub(self.most());
        if over > 0 {
            return over;
        }
        let lacking = self.others.iter().any(|(_, count)| *count < self.least());
        let mut all = self.others.iter().map(|(id, count)| (*count, id.as_str()));
        let richest = all.all(|other| other < (self.mine, self.me));
        usize::from(lacking && richest && self.mine > self.least())
    }

    /// Where this node begins to look for shards, so that not all of them run for the same one.
    pub(super) fn first(&self) -> usize {
        let before = self.others.iter().filter(|(id, _)| id.as_str() < self.me);
        before.count() * self.shards / self.nodes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn over(counts: &[usize], me: usize) -> usize {
        let name = |at: usize| format!("node-{at}");
        let others: Vec<_> = (0..counts.len())
            .filter(|at| *at != me)
            .map(|at| (name(at), counts[at]))
            .collect();
        let spread = Spread {
            shards: counts.iter().sum(),
            me: &name(me),
            mine: counts[me],
            others: &others,
        };
        assert!(spread.first() < spread.shards);
        spread.over()
    }

    proptest! {
        #[test]
        fn shares_become_even_and_stay_where_they_are(mut counts in proptest::collection::vec(0_usize..9, 1..6), first in 1_usize..9) {
            counts[0] += first;
            let shards: usize = counts.iter().sum();
            for _ in 0..100 {
                let given: Vec<_> = (0..counts.len()).map(|me| over(&counts, me)).collect();
                for (count, given) in counts.iter_mut().zip(&given) {
                    *count -= given;
                }
                // Whoever has least is quickest.
                for _ in 0..given.iter().sum() {
                    *counts.iter_mut().min().unwrap() += 1;
                }
            }
            prop_assert_eq!(counts.iter().sum::<usize>(), shards);
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{:?}", counts);
            prop_assert!((0..counts.len()).all(|me| over(&counts, me) == 0));
        }
    }

    #[test]
    fn a_node_without_a_share_to_come_takes_none_from_others() {
        assert_eq!(over(&[1, 0], 0), 0);
        assert_eq!(over(&[2, 1, 1], 0), 0);
        assert_eq!(over(&[3, 3, 1], 1), 1);
        assert_eq!(over(&[3, 3, 1], 0), 0, "one at a time");
    }
}
