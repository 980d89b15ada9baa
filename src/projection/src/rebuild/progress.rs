//! Progress: how far rebuilds are, and when they may be there.

use std::{
    fmt,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::types::Scope;

/// A rebuild as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The generation, such as `account@2`.
    pub generation: String,
    /// What it is made for.
    pub purpose: Purpose,
    /// What happens to it.
    pub phase: Phase,
    /// The sequence that it has come to.
    pub done: u64,
    /// The sequence that it has to come to.
    pub total: u64,
    /// Events a second.
    pub rate: f64,
    /// How many seconds it takes at this rate; `None` while that is not known.
    pub seconds_to_go: Option<u64>,
}

/// What a generation is made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// To be served.
    Serve,
    /// To be a way back.
    Keep,
    /// To replace a part of what is served.
    Part {
        /// Which.
        scope: Scope,
    },
    /// To be compared with what is served.
    Verify,
}

/// What happens to a rebuild.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It takes events in.
    Replaying,
    /// It is where the stream is.
    CaughtUp,
    /// It is served now.
    Served,
    /// Its views are put into what is served.
    Exchanging,
    /// Nothing is left to do.
    Done,
    /// It is being cleared.
    Retiring,
    /// It waits for something that may pass by itself.
    Waiting {
        /// For what.
        why: String,
    },
    /// It does not go on.
    Failed {
        /// Why not.
        why: String,
    },
}

impl Phase {
    /// Whether nothing more will happen to it.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Served | Self::Done | Self::Failed { .. })
    }
}

impl Progress {
    /// How much is done, from 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "it is shown to people")]
    pub fn ratio(&self) -> f64 {
        if self.total == 0 {
            1.0
        } else {
            (self.done as f64 / self.total as f64).min(1.0)
        }
    }

    pub(super) fn new(generation: String, purpose: Purpose) -> Self {
        Self {
            generation,
            purpose,
            phase: Phase::Replaying,
            done: 0,
            total: 0,
            rate: 0.0,
            seconds_to_go: None,
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WIDTH: u64 = 24;
        let Self {
            generation,
            done,
            total,
            rate,
            ..
        } = self;
        let filled = if *total == 0 {
            // Nothing is known yet, unless it is over.
            if self.phase == Phase::Replaying {
                0
            } else {
                WIDTH
            }
        } else {
            (done * WIDTH / total).min(WIDTH)
        };
        let bar: String = (0..WIDTH)
            .map(|at| if at < filled { '#' } else { '.' })
            .collect();
        write!(f, "{generation} [{bar}] {done}/{total} {rate:.0}/s")?;
        if let (Phase::Replaying, Some(seconds)) = (&self.phase, self.seconds_to_go) {
            let left = humantime::format_duration(Duration::from_secs(seconds));
            write!(f, ", {left} to go")?;
        }
        match &self.phase {
            Phase::Replaying => Ok(()),
            Phase::CaughtUp => f.write_str(", caught up"),
            Phase::Served => f.write_str(", served"),
            Phase::Exchanging => f.write_str(", exchanging"),
            Phase::Done => f.write_str(", done"),
            Phase::Retiring => f.write_str(", clearing"),
            Phase::Waiting { why } => write!(f, ", waiting: {why}"),
            Phase::Failed { why } => write!(f, ", failed: {why}"),
        }
    }
}

/// Measures a rate over the last seconds.
#[derive(Debug)]
pub(super) struct Meter {
    seen: u64,
    at: Instant,
    rate: f64,
}

impl Meter {
    /// How much the newest measurement counts.
    const NEWEST: f64 = 0.3;
    /// How long a measurement is.
    const SPAN: Duration = Duration::from_millis(500);

    pub(super) fn new() -> Self {
        Self {
            seen: 0,
            at: Instant::now(),
            rate: 0.0,
        }
    }

    /// Notes that `seen` events have come so far.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of events within seconds are far below 2^52"
    )]
    pub(super) fn note(&mut self, seen: u64) {
        let span = self.at.elapsed();
        if span < Self::SPAN {
            return;
        }
        let now = seen.saturating_sub(self.seen) as f64 / span.as_secs_f64();
        self.rate = if self.rate == 0.0 {
            now
        } else {
            self.rate + Self::NEWEST * (now - self.rate)
        };
        (self.seen, self.at) = (seen, Instant::now());
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate in whole seconds"
    )]
    pub(super) fn show(&self, pending: u64, progress: &mut Progress) {
        progress.rate = self.rate;
        progress.seconds_to_go =
            (self.rate >= 1.0).then(|| (pending as f64 / self.rate).ceil() as u64);
    }
}
