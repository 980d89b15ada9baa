//! Left: which generations have ceased to be served while this node watched, and since when by a clock that nobody sets.
//!
//! The records have the time of day, which is all that is known after a restart. Where it is set forward, a generation that was served a minute ago would seem to be of last year, and the way back to it would be cleared.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::types::{ViewTable, ViewType};

/// What was seen to be served, and what is not any more.
#[derive(Debug, Default)]
pub(super) struct Left {
    served: BTreeMap<ViewType, ViewTable>,
    since: BTreeMap<ViewTable, Instant>,
}

impl Left {
    /// Notes what is served now.
    pub(super) fn note(&mut self, served: ViewTable) {
        self.since.remove(&served);
        let before = self.served.insert(served.view_type.clone(), served.clone());
        if let Some(before) = before.filter(|before| *before != served) {
            self.since.insert(before, Instant::now());
        }
    }

    /// Whether nobody here knows that `table` was served less than `within` ago.
    pub(super) fn is_longer_ago(&self, table: &ViewTable, within: Duration) -> bool {
        let since = self.since.get(table);
        since.is_none_or(|since| since.elapsed() >= within)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn table(generation: u32) -> ViewTable {
        ViewTable {
            view_type: "account".into(),
            generation,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_served_here_is_kept_for_its_time_whatever_the_time_of_day_is() {
        let keep_old = Duration::from_hours(24);
        let mut left = Left::default();
        left.note(table(1));
        left.note(table(2));
        assert!(!left.is_longer_ago(&table(1), keep_old));
        advance(keep_old / 2).await;
        left.note(table(2));
        assert!(!left.is_longer_ago(&table(1), keep_old));
        advance(keep_old / 2).await;
        assert!(left.is_longer_ago(&table(1), keep_old));
        // Nothing is known of what ceased to be served before this node was there.
        assert!(left.is_longer_ago(&table(7), keep_old));
    }
}
