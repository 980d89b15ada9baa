//! Stalls: events wait, and nothing is committed. A node that looks as if it ran and does not is the worst of all.
//!
//! It keeps no time of its own: whoever asks says what time it is.

use std::time::{Duration, Instant};

/// Notices when nothing is committed for too long.
#[derive(Debug, Clone, Default)]
pub(super) struct StallDetector {
    /// How many commits there were, and since when there were no more while events wait.
    still: Option<(u64, Instant)>,
}

impl StallDetector {
    /// For how long events wait without a commit, where that is `after` or longer.
    pub(super) fn look(
        &mut self,
        now: Instant,
        waiting: bool,
        commits: u64,
        after: Duration,
    ) -> Option<Duration> {
        if !waiting {
            self.still = None;
            return None;
        }
        match self.still {
            Some((seen, since)) if seen == commits => {
                let stands = now.saturating_duration_since(since);
                (stands >= after).then_some(stands)
            }
            _ => {
                self.still = Some((commits, now));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_events_that_wait_without_any_commit_for_long_enough_are_a_stall() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let after = Duration::from_secs(30);
        let mut stall = StallDetector::default();
        assert_eq!(stall.look(at(0), true, 5, after), None);
        assert_eq!(stall.look(at(29), true, 5, after), None);
        assert_eq!(stall.look(at(30), true, 5, after), Some(after));
        // A commit ends it, and time counts anew.
        assert_eq!(stall.look(at(31), true, 6, after), None);
        assert_eq!(stall.look(at(60), true, 6, after), None);
        assert!(stall.look(at(61), true, 6, after).is_some());
        // Where nothing waits, nothing has to be committed.
        assert_eq!(stall.look(at(100), false, 6, after), None);
        assert_eq!(stall.look(at(101), true, 6, after), None);
    }
}
