//! Readiness policies: how many nodes must be ready before a cluster may be used.
//!
//! The barrier that asks the nodes and counts them is in `trellis-bootstrap`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// When a cluster counts as ready.
///
/// No policy hides a failed managed deployment: a managed node that ended, or that never answered while there was time, is [`ReadinessVerdict::Impossible`] under each of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadinessPolicy {
    /// Every known node is ready.
    #[default]
    AllReady,
    /// At least so many nodes are ready, of whatever origin; where we start nodes, one of those at least.
    Quorum(usize),
    /// At least `managed` of the nodes that we started, and `total` of all.
    SourceAware {
        /// How many managed nodes must be ready.
        managed: usize,
        /// How many nodes must be ready in all.
        total: usize,
    },
}

/// A count of nodes at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadinessTally {
    /// Nodes that there should be: those in the inventory, and those that were to be found and were not.
    pub total: usize,
    /// Of these, ready ones.
    pub ready: usize,
    /// Nodes that we started.
    pub managed: usize,
    /// Of these, ready ones.
    pub managed_ready: usize,
    /// Of the managed, those that ended before they were ready, and at the deadline those that never answered.
    pub managed_failed: usize,
}

/// What a policy says of a tally.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadinessVerdict {
    /// The cluster may be used.
    Ready,
    /// More nodes must become ready.
    NotYet,
    /// It cannot be met by waiting.
    Impossible,
}

impl ReadinessPolicy {
    /// Judges one count. No nodes at all is never ready.
    pub fn judge(self, tally: ReadinessTally) -> ReadinessVerdict {
        let (managed_wanted, total_wanted) = match self {
            Self::AllReady => (tally.managed, tally.total),
            Self::Quorum(total) => (tally.managed.min(1), total.max(1)),
            Self::SourceAware { managed, total } => (managed, total.max(1)),
        };
        if tally.managed_failed > 0
            || tally.total == 0
            || managed_wanted > tally.managed
            || total_wanted > tally.total
        {
            return ReadinessVerdict::Impossible;
        }
        if tally.managed_ready >= managed_wanted && tally.ready >= total_wanted {
            ReadinessVerdict::Ready
        } else {
            ReadinessVerdict::NotYet
        }
    }
}

impl fmt::Display for ReadinessPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllReady => f.write_str("all nodes ready"),
            Self::Quorum(nodes) => write!(f, "at least {nodes} nodes ready"),
            Self::SourceAware { managed, total } => {
                write!(
                    f,
                    "at least {managed} managed nodes and {total} nodes in all ready"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ReadinessVerdict::{Impossible, NotYet, Ready};

    #[track_caller]
    fn check(
        policy: ReadinessPolicy,
        managed_ready: usize,
        borrowed_ready: usize,
        expected: ReadinessVerdict,
    ) {
        let tally = ReadinessTally {
            total: 5,
            managed: 3,
            managed_ready,
            ready: managed_ready + borrowed_ready,
            managed_failed: 0,
        };
        assert_eq!(policy.judge(tally), expected, "{policy} with {tally:?}");
    }

    #[test]
    fn each_policy_counts_what_it_names() {
        check(ReadinessPolicy::AllReady, 3, 1, NotYet);
        check(ReadinessPolicy::AllReady, 3, 2, Ready);
        check(ReadinessPolicy::Quorum(3), 1, 2, Ready);
        check(ReadinessPolicy::Quorum(3), 2, 0, NotYet);
        check(ReadinessPolicy::Quorum(6), 3, 2, Impossible);
        let aware = ReadinessPolicy::SourceAware {
            managed: 2,
            total: 4,
        };
        check(aware, 1, 2, NotYet);
        check(aware, 2, 1, NotYet);
        check(aware, 2, 2, Ready);
        check(
            ReadinessPolicy::SourceAware {
                managed: 4,
                total: 1,
            },
            3,
            2,
            Impossible,
        );
    }

    #[test]
    fn nothing_is_never_ready() {
        for policy in [
            ReadinessPolicy::AllReady,
            ReadinessPolicy::Quorum(0),
            ReadinessPolicy::SourceAware {
                managed: 0,
                total: 0,
            },
        ] {
            assert_eq!(
                policy.judge(ReadinessTally::default()),
                Impossible,
                "{policy}"
            );
        }
    }

    #[test]
    fn a_quorum_of_nodes_that_are_not_ours_does_not_hide_that_none_of_ours_is_ready() {
        check(ReadinessPolicy::Quorum(2), 0, 2, NotYet);
        check(ReadinessPolicy::Quorum(2), 1, 1, Ready);
        let external_only = ReadinessTally {
            total: 3,
            ready: 2,
            ..ReadinessTally::default()
        };
        assert_eq!(ReadinessPolicy::Quorum(2).judge(external_only), Ready);
    }

    #[test]
    fn a_quorum_does_not_hide_a_failed_managed_node() {
        let tally = ReadinessTally {
            total: 5,
            ready: 4,
            managed: 3,
            managed_ready: 2,
            managed_failed: 1,
        };
        assert_eq!(ReadinessPolicy::Quorum(1).judge(tally), Impossible);
    }
}
