//! What a rebuild is told, in a form that does not depend on the rest of the settings.

use std::time::Duration;

use crate::settings::{BatchLimits, Settings};

/// Who decides that a generation is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cutover {
    /// The node, as soon as the generation has caught up.
    Automatic,
    /// An operator.
    Command,
}

/// How rebuilds go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RebuildOptions {
    /// Who decides that a generation is served.
    pub cutover: Cutover,
    /// How many events behind is caught up.
    pub lag_max: u64,
    /// How long it must have been caught up.
    pub settled: Duration,
    /// How long the generation that was served before goes on.
    pub keep_old: Duration,
    /// How many events a second are replayed at most; `None` for as many as there are.
    pub rate_max: Option<u64>,
    /// How much of its time, in percent, a replay works while what is served is behind.
    pub share_percent: u32,
    /// The batches of a replay.
    pub batch: BatchLimits,
    /// How many entries are removed, or exchanged, in one transaction.
    pub entries_max: usize,
}

impl RebuildOptions {
    /// What `settings` say of it.
    pub fn of(settings: &Settings) -> Self {
        settings.rebuild
    }
}

impl Default for RebuildOptions {
    fn default() -> Self {
        Self {
            cutover: Cutover::Automatic,
            lag_max: 1_000,
            settled: Duration::from_secs(5),
            keep_old: Duration::from_hours(1),
            rate_max: None,
            share_percent: 25,
            batch: BatchLimits {
                events_max: 250_000,
                bytes_max: 128 << 20,
                within: Duration::from_secs(1),
            },
            entries_max: 10_000,
        }
    }
}
