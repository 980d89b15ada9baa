//! The journal: what was done to a cluster and what happened to it, in order, for reports.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How many entries are kept; the oldest go first.
const ENTRIES_MAX: usize = 1_000;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// How long after the journal was begun.
    pub at: Duration,
    /// What happened, in words.
    pub text: String,
}

impl fmt::Display for JournalEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8.3}s  {}", self.at.as_secs_f64(), self.text)
    }
}

/// A bounded record of what happened. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct Journal {
    begun: Instant,
    entries: Arc<Mutex<VecDeque<JournalEntry>>>,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            entries: Arc::default(),
        }
    }
}

impl Journal {
    /// Writes an entry.
    pub fn note(&self, text: impl Into<String>) {
        let entry = JournalEntry {
            at: self.begun.elapsed(),
            text: text.into(),
        };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() == ENTRIES_MAX {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    /// All entries that are kept, oldest first.
    pub fn entries(&self) -> Vec<JournalEntry> {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_bounded_and_keeps_the_newest() {
        let journal = Journal::default();
        for n in 0..ENTRIES_MAX + 5 {
            journal.note(n.to_string());
        }
        let entries = journal.entries();
        assert_eq!(entries.len(), ENTRIES_MAX);
        assert_eq!(entries[0].text, "5");
    }
}
