//! Observing: what has to be asked for, once a second, so that whoever wants a report gets one without waiting.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{task::spawn_blocking, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{Health, lock, stall::StallDetector};
use crate::{
    pipeline::{ShardState, ShardStatus},
    stream::{Probed, StreamProbe},
    types::ViewTable,
};

/// How often.
const EVERY: Duration = Duration::from_secs(1);
/// How often the store is written where nobody else does.
const PROBED_EVERY: Duration = Duration::from_secs(10);
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
    /// How many commits there were when the store was last looked at, and when that was.
    looked_at: Option<(u64, Instant)>,
    told_of_connection: bool,
}

impl Health {
    /// Observes until `stop` is cancelled.
    pub async fn observe(self: Arc<Self>, probe: StreamProbe, stop: CancellationToken) {
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
            let mut observed = self.observed();
            tell_of_connection(
                &probe,
                observed.probed.connected,
                probed.connected,
                &mut memory,
            );
            observed.last = probed.last.unwrap_or(observed.last);
            observed.probed = probed;
            self.look_at_store(&mut observed, &mut memory).await;
            observed.rates = memory.rate(self.metrics.folded_in_all());
            let stalled = self.stalled(&status, &observed, &mut memory.stall);
            if let Some(waits) = &stalled
                && observed.stalled.is_none()
            {
                tracing::warn!(%waits, "stalled");
            }
            if stalled.is_none() && observed.stalled.is_some() {
                tracing::info!("it goes on after a stall");
            }
            observed.stalled = stalled;
            *lock(&self.observed) = observed;
        }
    }

    /// What events wait for that are not committed, where they wait for too long.
    fn stalled(
        &self,
        status: &ShardStatus,
        observed: &Observed,
        stall: &mut StallDetector,
    ) -> Option<String> {
        let going_on = status
            .projections
            .values()
            .filter(|state| state.blocked.is_none());
        let behind = going_on
            .map(|state| observed.probed.behind(state.floor))
            .max();
        let behind = behind.unwrap_or(0);
        let commits = self.metrics.commits();
        let stands = stall.look(Instant::now(), behind > 0, commits, self.stall_after)?;
        Some(format!(
            "{behind} events wait and nothing was committed for {} s: it waits for {}",
            stands.as_secs(),
            waits_for(status, &observed.probed)
        ))
    }

    /// Looks where something was committed, and now and then.
    async fn look_at_store(self: &Arc<Self>, observed: &mut Observed, memory: &mut Memory) {
        let commits = self.metrics.commits();
        let now = Instant::now();
        let quiet = match memory.looked_at {
            Some((seen, at)) if seen == commits && now - at < PROBED_EVERY => return,
            Some((seen, _)) => seen == commits,
            None => false,
        };
        memory.looked_at = Some((commits, now));
        let health = Arc::clone(self);
        // What was just committed shows that the store can be written.
        let looked = spawn_blocking(move || {
            let writable = if quiet { health.store.probe() } else { Ok(()) };
            (health.quarantine(), health.store.used_bytes(), writable)
        });
        let (quarantine, used_bytes, writable) = looked.await.expect("looking does not panic");
        observed.quarantine = quarantine;
        observed.used_bytes = used_bytes.unwrap_or(observed.used_bytes);
        observed.unwritable = writable.err().map(|error| error.to_string());
    }

    /// What is in quarantine, of what can be read.
    fn quarantine(&self) -> BTreeMap<ViewTable, Quarantined> {
        let tables = self.manifest.projections().iter();
        let found = tables.filter_map(|projection| {
            let table = &projection.table;
            let (events, oldest) = self.store.snapshot().ok()?.quarantined(table).ok()?;
            let oldest = oldest.map(|record| record.published);
            Some((table.clone(), Quarantined { events, oldest }))
        });
        found.collect()
    }
}

/// Says when NATS comes and goes.
fn tell_of_connection(probe: &StreamProbe, before: bool, now: bool, memory: &mut Memory) {
    let told = memory.told_of_connection;
    memory.told_of_connection = true;
    match (before, now) {
        (false, true) => tracing::info!(url = probe.url(), "NATS answers"),
        (true, false) => tracing::warn!(url = probe.url(), "NATS is away"),
        (false, false) if !told => tracing::warn!(
            url = probe.url(),
            "NATS cannot be reached; start it with JetStream (nats-server -js), or set nats_url: the node goes on by itself"
        ),
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
