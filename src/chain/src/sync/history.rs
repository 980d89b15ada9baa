//! Sync history: what peers and nodes did over time: who stalls, who lies, how fast it goes.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::verdict::SyncVerdict;
use crate::{id::BlockId, view::ChainView};

/// How many samples a pace is computed from.
const SAMPLES_MAX: usize = 64;

/// What was seen of each node over time.
#[derive(Clone, Debug, Default)]
pub struct SyncHistory {
    began: Option<Instant>,
    tracks: BTreeMap<Arc<str>, Track>,
    lies: BTreeMap<Arc<str>, Arc<str>>,
}

#[derive(Clone, Debug)]
struct Track {
    tip: BlockId,
    moved: Instant,
    samples: VecDeque<(Instant, u64)>,
}

/// How fast one local node comes nearer.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    /// The node.
    pub name: Arc<str>,
    /// Where it is.
    pub height: Option<u64>,
    /// How many blocks it takes each second.
    pub blocks_per_second: f64,
    /// How many blocks are left.
    pub behind: Option<u64>,
    /// When it will be there, if it goes on like this.
    pub time_to_go: Option<Duration>,
}

/// How far sync is: what is shown while one waits.
#[derive(Clone, Debug)]
pub struct SyncProgress {
    /// How long it has taken by now.
    pub elapsed: Duration,
    /// What is found at this moment.
    pub verdict: SyncVerdict,
    /// Each local node.
    pub paces: Vec<Pace>,
}

impl SyncHistory {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in where all nodes are at this moment.
    pub fn observe(&mut self, view: &ChainView, now: Instant) {
        self.began.get_or_insert(now);
        for node in view.running() {
            let Some(head) = &node.reported else {
                continue;
            };
            let new = || Track {
                tip: head.tip,
                moved: now,
                samples: VecDeque::new(),
            };
            let track = self
                .tracks
                .entry(Arc::clone(&node.name))
                .or_insert_with(new);
            if track.tip != head.tip {
                track.tip = head.tip;
                track.moved = now;
            }
            track.samples.push_back((now, head.height));
            if track.samples.len() > SAMPLES_MAX {
                track.samples.pop_front();
            }
        }
    }

    /// Remembers what a peer said and cannot be. It is not believed again.
    pub fn lied(&mut self, name: &str, why: impl Into<Arc<str>>) {
        self.lies.entry(name.into()).or_insert_with(|| why.into());
    }

    /// What a peer said that cannot be.
    pub fn lie_of(&self, name: &str) -> Option<&Arc<str>> {
        self.lies.get(name)
    }

    /// For how long a node has had the same tip.
    pub fn still_for(&self, name: &str, now: Instant) -> Option<Duration> {
        let track = self.tracks.get(name)?;
        Some(now.saturating_duration_since(track.moved))
    }

    /// How many blocks a node takes each second.
    pub fn blocks_per_second(&self, name: &str) -> f64 {
        let samples = self.tracks.get(name).map(|track| &track.samples);
        let ends = samples.and_then(|samples| samples.front().zip(samples.back()));
        let Some(((from, low), (to, high))) = ends else {
            return 0.0;
        };
        let seconds = to.saturating_duration_since(*from).as_secs_f64();
        let blocks = u32::try_from(high.saturating_sub(*low)).unwrap_or(u32::MAX);
        if seconds > 0.0 {
            f64::from(blocks) / seconds
        } else {
            0.0
        }
    }

    /// What to show at this moment.
    pub fn progress(&self, verdict: SyncVerdict, now: Instant) -> SyncProgress {
        let target = verdict.target;
        let target_pace = verdict
            .peers
            .iter()
            .map(|peer| self.blocks_per_second(&peer.name));
        let target_pace = target_pace.fold(0.0, f64::max);
        let paces = verdict.locals.iter().map(|local| {
            let pace = self.blocks_per_second(&local.name);
            let behind = target.zip(local.height);
            let behind = behind.map(|(target, height)| target.height.saturating_sub(height));
            let nearing = pace - target_pace;
            let left = behind.map(|blocks| f64::from(u32::try_from(blocks).unwrap_or(u32::MAX)));
            let time = left.filter(|_| nearing > 0.0).map(|left| left / nearing);
            Pace {
                name: Arc::clone(&local.name),
                height: local.height,
                blocks_per_second: pace,
                behind,
                time_to_go: time.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            }
        });
        let paces = paces.collect();
        let elapsed = self.began.map(|began| now.saturating_duration_since(began));
        SyncProgress {
            elapsed: elapsed.unwrap_or_default(),
            verdict,
            paces,
        }
    }
}

impl fmt::Display for SyncProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0?}: ", self.elapsed)?;
        match self.verdict.target {
            Some(target) => write!(f, "target {target}")?,
            None => write!(f, "no target: {}", self.verdict)?,
        }
        for pace in &self.paces {
            let Some(height) = pace.height else {
                write!(f, "; {} is not reachable", pace.name)?;
                continue;
            };
            write!(f, "; {} at {height}", pace.name)?;
            if let Some(behind) = pace.behind.filter(|behind| *behind > 0) {
                write!(
                    f,
                    ", {behind} to go at {:.1} blocks/s",
                    pace.blocks_per_second
                )?;
            }
            if let Some(time) = pace.time_to_go.filter(|time| *time > Duration::ZERO) {
                write!(f, ", done in {time:.0?}")?;
            }
        }
        Ok(())
    }
}
