//! Observing: what has to be asked for, once a second, so that whoever wants a report gets one without waiting.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Health, lock, stall::StallDetector};
use crate::{
    pipeline::{ShardState, ShardStatus},
    spans::spawn_blocking,
    stream::{Probed, StreamProbe},
    types::ViewTable,
};

/// How often.
const EVERY: Duration = Duration::from_secs(1);
/// How often the store is written where nobody else does.
const PROBED_EVERY: Duration = Duration::from_secs(10);
/// How long a write may take. A commit that is being written is waited for.
const WRITTEN_WITHIN: Duration = Duration::from_secs(5);
/// Over how many observations rates are told.
const RATED_OVER: usize = 5;

/// What was seen last.
#[derive(Debug, Clone, Default)]
pub(super) struct Observed {
    pub(super) probed: Probed,
    /// The last sequence of the stream that was ever told.
    pub(super) last: u64,
    pub(super) quarantine: BTreeMap<ViewTable, Quarantined>,
    pub(super) unwritable: Option<String>,
    pub(super) used_bytes: u64,
    pub(super) rates: BTreeMap<ViewTable, f64>,
    pub(super) stalled: Option<String>,
}

impl Observed {
    /// The last sequence that is known of: what was delivered since the server told is of the stream too.
    pub(super) fn known(&self, floor: u64) -> u64 {
        self.last.max(self.probed.delivered).max(floor)
    }
}

/// How much is in quarantine.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Quarantined {
    pub(super) events: usize,
    /// When the oldest was published.
    pub(super) oldest: Option<i128>,
}

/// What is remembered from one observation to the next.
#[derive(Default)]
struct Memory {
    stall: StallDetector,
    rates: VecDeque<(Instant, BTreeMap<ViewTable, u64>)>,
    /// How often it was looked for a connection.
    looks: u32,
}

impl Health {
    /// Observes until `stop` is cancelled.
    pub async fn observe(self: Arc<Self>, probe: StreamProbe, stop: CancellationToken) {
        let of_store = Arc::clone(&self).observe_store(stop.clone());
        let of_stream = self.observe_stream(probe, stop);
        tokio::join!(of_store, of_stream);
    }

    async fn observe_stream(self: Arc<Self>, probe: StreamProbe, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut memory = Memory::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let probed = probe.probe().await;
            let status = self.status.borrow().clone();
            let before = self.observed();
            tell_of_connection(
                &probe,
                before.probed.connected,
                probed.connected,
                &mut memory,
            );
            let stalled = self.stalled(&status, &probed, &mut memory.stall);
            tell_of_stall(before.stalled.as_deref(), stalled.as_deref());
            let rates = memory.rate(self.metrics.folded_in_all());
            let mut observed = lock(&self.observed);
            observed.last = probed.last.unwrap_or(observed.last);
            observed.probed = probed;
            observed.rates = rates;
            observed.stalled = stalled;
        }
    }

    /// What events wait for that are not committed, where they wait for too long.
    fn stalled(
        &self,
        status: &ShardStatus,
        probed: &Probed,
        stall: &mut StallDetector,
    ) -> Option<String> {
        let going_on = status
            .projections
            .values()
            .filter(|state| state.blocked.is_none());
        let behind = going_on.map(|state| probed.behind(state.floor)).max();
        let behind = behind.unwrap_or(0);
        let commits = self.metrics.commits();
        let stands = stall.look(Instant::now(), behind > 0, commits, self.stall_after)?;
        Some(format!(
            "{behind} events wait and nothing was committed for {} s: it waits for {}",
            stands.as_secs(),
            waits_for(status, probed)
        ))
    }

    /// Looks at the store where something was committed, and now and then, until `stop` is cancelled.
    ///
    /// Beside the rest, because a write may hang, which is just what somebody wants to be told.
    async fn observe_store(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked_at: Option<(u64, Instant)> = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let changes = self.metrics.changes();
            let quiet = looked_at.is_some_and(|(seen, _)| seen == changes);
            if quiet && looked_at.is_some_and(|(_, at)| at.elapsed() < PROBED_EVERY) {
                continue;
            }
            looked_at = Some((changes, Instant::now()));
            let health = Arc::clone(&self);
            // What was just committed shows that the store can be written.
            let mut looking = spawn_blocking(move || health.look_at_store(quiet));
            tokio::select! {
                () = stop.cancelled() => return,
                _ = &mut looking => continue,
                () = tokio::time::sleep(WRITTEN_WITHIN) => {}
            }
            let hangs = format!("a write takes longer than {WRITTEN_WITHIN:?}");
            lock(&self.observed).unwritable = Some(hangs);
            tokio::select! {
                () = stop.cancelled() => return,
                _ = looking => {}
            }
        }
    }

    fn look_at_store(&self, by_writing: bool) {
        let written = if by_writing {
            self.store.probe()
        } else {
            Ok(())
        };
        let quarantine = self.quarantine();
        let used_bytes = self.store.used_bytes();
        let mut observed = lock(&self.observed);
        observed.quarantine = quarantine;
        observed.used_bytes = used_bytes.unwrap_or(observed.used_bytes);
        observed.unwritable = written.err().map(|error| error.to_string());
    }

    /// What is in quarantine, of what can be read.
    fn quarantine(&self) -> BTreeMap<ViewTable, Quarantined> {
        let tables = self.tables(&self.status.borrow());
        let found = tables.into_iter().filter_map(|table| {
            let (events, oldest) = self.store.snapshot().ok()?.quarantined(&table).ok()?;
            let oldest = oldest.map(|record| record.published);
            Some((table, Quarantined { events, oldest }))
        });
        found.collect()
    }
}

/// Says when NATS comes and goes.
fn tell_of_connection(probe: &StreamProbe, before: bool, now: bool, memory: &mut Memory) {
    memory.looks += 1;
    match (before, now) {
        (false, true) => tracing::info!(url = probe.url(), "NATS answers"),
        (true, false) => tracing::warn!(url = probe.url(), "NATS is away"),
        // A connection that is only being made is not missing yet.
        (false, false) if memory.looks == 2 => tracing::warn!(
            url = probe.url(),
            "NATS cannot be reached; start it with JetStream (nats-server -js), or set nats_url: the node goes on by itself"
        ),
        _ => {}
    }
}

/// Says when a stall begins and ends.
fn tell_of_stall(before: Option<&str>, now: Option<&str>) {
    match (before, now) {
        (None, Some(waits)) => tracing::warn!(waits, "stalled"),
        (Some(_), None) => tracing::info!("it goes on after a stall"),
        _ => {}
    }
}

fn waits_for(status: &ShardStatus, probed: &Probed) -> String {
    if let Some(trouble) = &status.storage_trouble {
        return format!("storage, which says: {trouble}");
    }
    if let Some(trouble) = &probed.trouble {
        return format!("NATS, because {trouble}");
    }
    let floors = status.projections.values().map(|state| state.floor);
    let floor = floors.min().unwrap_or(0);
    match &status.state {
        ShardState::Waiting { why } => why.clone(),
        ShardState::Running if probed.delivered > floor => format!(
            "the events up to {} to be folded and committed",
            probed.delivered
        ),
        ShardState::Running => format!("the server to deliver what is behind {}", probed.delivered),
        _ => "a look at the stream and the checkpoints".to_owned(),
    }
}

impl Memory {
    /// Events in a second since a few observations.
    #[expect(clippy::cast_precision_loss, reason = "it is shown to people")]
    fn rate(&mut self, folded: BTreeMap<ViewTable, u64>) -> BTreeMap<ViewTable, f64> {
        let now = Instant::now();
        self.rates.push_back((now, folded.clone()));
        if self.rates.len() > RATED_OVER {
            self.rates.pop_front();
        }
        let (begun, before) = self.rates.front().expect("one was just put there");
        let seconds = (now - *begun).as_secs_f64();
        let rate = |table: &ViewTable, folded: u64| {
            let new = folded - before.get(table).copied().unwrap_or(0);
            if seconds > 0.0 {
                new as f64 / seconds
            } else {
                0.0
            }
        };
        let rates = folded
            .into_iter()
            .map(|(table, folded)| (rate(&table, folded), table));
        rates.map(|(rate, table)| (table, rate)).collect()
    }
}
