//! Served: what a node serves is read together where it is at one place of the stream, and what is far behind that by itself until it is near.
//!
//! Together, a projection that is new or has been halted for long would make all others wait for events that they have, and look as far behind as it is.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use futures::future::select_all;
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{Node, making::ASK_AGAIN};
use crate::{
    manifest::{Projection, ProjectionManifest},
    pipeline::{Shard, ShardOptions, ShardState, ShardStatus},
    rebuild::{Pace, Paced, Sources},
    settings::{Settings, SourceKind},
    storage::ViewStore,
    stream::{BlockedReason, EventSource, StreamError},
    types::{Checkpoint, ViewTable},
};

/// How many events a projection is behind the others, at least, before it is read by itself: fewer are read again in no time.
const FAR_MIN: u64 = 1_000;

/// What is served, as it goes on.
pub(super) struct ServedRun {
    tables: Vec<ViewTable>,
    /// The first one has what is furthest.
    parts: Vec<Part>,
    /// What is shown of all, where there are several.
    combining: Option<JoinHandle<()>>,
}

/// Projections that are read together.
struct Part {
    stop: CancellationToken,
    task: JoinHandle<()>,
    status: watch::Receiver<ShardStatus>,
}

impl Part {
    fn has_panicked(&self) -> bool {
        let ended = matches!(
            self.status.borrow().state,
            ShardState::Blocked | ShardState::Stopped
        );
        self.task.is_finished() && !ended
    }

    /// Where it is: its lowest projection of those that go on. `None` where it does not run.
    fn floor(&self) -> Option<u64> {
        let status = self.status.borrow();
        if status.state != ShardState::Running {
            return None;
        }
        let going_on = status
            .projections
            .values()
            .filter(|state| state.blocked.is_none());
        going_on.map(|state| state.floor).min()
    }
}

impl ServedRun {
    pub(super) fn tables(&self) -> Vec<ViewTable> {
        self.tables.clone()
    }

    /// Whether a task of it has ended without a word about why.
    pub(super) fn has_panicked(&self) -> bool {
        self.parts.iter().any(Part::has_panicked)
    }

    /// Whether nothing of it goes on, for reasons that no waiting mends.
    pub(super) fn has_ended(&self) -> bool {
        self.parts.iter().all(|part| {
            part.task.is_finished() && part.status.borrow().state == ShardState::Blocked
        })
    }

    /// Whether something that was far behind is at most `lag_max` events behind the rest, so that it may be read with it.
    pub(super) fn has_come_near(&self, lag_max: u64) -> bool {
        let Some((first, behind)) = self.parts.split_first() else {
            return false;
        };
        let status = first.status.borrow();
        // Sequences of another stream mean nothing here.
        let here = status
            .projections
            .values()
            .filter(|state| state.blocked != Some(BlockedReason::StreamRecreated));
        // Before it has looked at its checkpoints nobody knows where it is.
        let Some(furthest) = here.map(|state| state.floor).max() else {
            return false;
        };
        let mut floors = behind.iter().filter_map(Part::floor);
        floors.any(|floor| floor.saturating_add(lag_max) >= furthest)
    }

    /// Ends it, with everything committed.
    pub(super) async fn stop(self) {
        for part in &self.parts {
            part.stop.cancel();
        }
        for part in self.parts {
            if let Err(error) = part.task.await {
                tracing::error!(%error, "what was served has not ended by itself");
            }
        }
        if let Some(combining) = self.combining {
            combining.await.expect("adding up does not panic");
        }
    }
}

impl Node {
    /// Starts what is served.
    pub(super) fn serve(&self, projections: Vec<Projection>) -> ServedRun {
        let tables: Vec<_> = projections
            .iter()
            .map(|served| served.table.clone())
            .collect();
        self.status.send_modify(|status| {
            status.state = ShardState::Starting;
            // Whoever begins to write says anew what storage says.
            status.storage_trouble = None;
            status.projections.retain(|table, _| tables.contains(table));
        });
        let mut groups = match self.far {
            Some(far) => groups(projections, &checkpoints(&self.store, &tables), far),
            None => vec![projections],
        };
        if groups.len() < 2 {
            let all = groups.pop().unwrap_or_default();
            return ServedRun {
                tables,
                parts: vec![self.part(all, self.status.clone(), None)],
                combining: None,
            };
        }
        let mut parts: Vec<Part> = Vec::new();
        for group in groups {
            let first = parts.first().map(|first| first.status.clone());
            if first.is_some() {
                let names: Vec<_> = group.iter().map(|one| one.table.to_string()).collect();
                let names = names.join(", ");
                tracing::info!(%names, "far behind the rest, and read by themselves until they are near");
            }
            let sender = watch::Sender::default();
            parts.push(self.part(group, sender, first));
        }
        let shown = parts.iter().map(|part| part.status.clone()).collect();
        let combining = tokio::spawn(combine(shown, self.status.clone()));
        ServedRun {
            tables,
            parts,
            combining: Some(combining),
        }
    }

    /// Starts projections that are read together: by the delivery of what is served, or behind `first` by one of their own.
    fn part(
        &self,
        projections: Vec<Projection>,
        sender: watch::Sender<ShardStatus>,
        first: Option<watch::Receiver<ShardStatus>>,
    ) -> Part {
        let stop = CancellationToken::new();
        let status = sender.subscribe();
        let reading = Reading {
            manifest: ProjectionManifest::of(projections),
            store: Arc::clone(&self.store),
            options: self.served_options.clone(),
            sources: Arc::clone(&self.sources),
            behind: first.map(|first| Pace::of(&self.options, Some(first))),
        };
        let task = tokio::spawn(reading.run(sender, stop.clone()).in_current_span());
        Part { stop, task, status }
    }
}

struct Reading {
    manifest: ProjectionManifest,
    store: Arc<ViewStore>,
    options: ShardOptions,
    sources: Arc<dyn Sources>,
    /// How fast it may be beside what it is behind of.
    behind: Option<Pace>,
}

impl Reading {
    async fn run(self, status: watch::Sender<ShardStatus>, stop: CancellationToken) {
        let shard = Shard::new(self.manifest, self.store, self.options);
        let shard = shard.reporting_to(status.clone());
        while !stop.is_cancelled() {
            match source(&*self.sources, self.behind.clone()).await {
                Ok(mut source) => return shard.run(&mut *source, &stop).await,
                Err(error) => {
                    let why = error.to_string();
                    let waiting = ShardState::Waiting { why };
                    // Of several parts the state of one alone is shown, so each says it here, and once.
                    if status.borrow().state != waiting {
                        tracing::warn!(%error, "waiting for a connection");
                    }
                    status.send_modify(|status| status.state = waiting);
                    let _ = timeout(ASK_AGAIN, stop.cancelled()).await;
                }
            }
        }
    }
}

async fn source(
    sources: &dyn Sources,
    behind: Option<Pace>,
) -> Result<Box<dyn EventSource>, StreamError> {
    match behind {
        None => sources.served().await,
        Some(pace) => Ok(Box::new(Paced::new(sources.replay().await?, pace))),
    }
}

/// What is stored of each. What cannot be read is missing here, and whoever begins to work on it says why.
fn checkpoints(store: &ViewStore, tables: &[ViewTable]) -> BTreeMap<ViewTable, Checkpoint> {
    let Ok(snapshot) = store.snapshot() else {
        return BTreeMap::new();
    };
    let stored = |table: &ViewTable| snapshot.checkpoint(table).ok().flatten();
    let found = tables.iter().map(|table| (table.clone(), stored(table)));
    found
        .filter_map(|(table, stored)| Some((table, stored?)))
        .collect()
}

/// Those that are read together, what is furthest first. None of a group is more than `far` events behind another one.
fn groups(
    projections: Vec<Projection>,
    stored: &BTreeMap<ViewTable, Checkpoint>,
    far: u64,
) -> Vec<Vec<Projection>> {
    let current = stored.values().map(|stored| stored.stream_created).max();
    let of_another_stream = |projection: &Projection| {
        let stored = stored.get(&projection.table);
        stored.is_some_and(|stored| Some(stored.stream_created) != current)
    };
    let floor = |projection: &Projection| {
        let stored = stored.get(&projection.table);
        stored.map_or(0, |stored| stored.floor)
    };
    let (elsewhere, mut here): (Vec<_>, Vec<_>) =
        projections.into_iter().partition(of_another_stream);
    here.sort_by_key(|projection| Reverse(floor(projection)));
    let mut groups: Vec<Vec<Projection>> = Vec::new();
    for projection in here {
        let near = |group: &&mut Vec<Projection>| {
            let furthest = group.first().map_or(0, floor);
            furthest - floor(&projection) <= far
        };
        match groups.last_mut().filter(near) {
            Some(group) => group.push(projection),
            None => groups.push(vec![projection]),
        }
    }
    // What was made of another stream does not go on, so it holds up nobody, and its sequences mean nothing here.
    match groups.first_mut() {
        Some(first) => first.extend(elsewhere),
        None => groups.push(elsewhere),
    }
    groups
}

/// From when on a projection is read by itself; `None` where it never is, because there can be one delivery only: a durable consumer has one place in the stream.
pub(super) fn far(settings: &Settings) -> Option<u64> {
    let near = settings.rebuild.lag_max;
    let far = settings.catch_up_lag.max(2 * near).max(FAR_MIN);
    (settings.source == SourceKind::Ordered).then_some(far)
}

/// Shows what goes on in `parts` as one, until all of them have ended.
async fn combine(mut parts: Vec<watch::Receiver<ShardStatus>>, all: watch::Sender<ShardStatus>) {
    let mut before = vec![ShardStatus::default(); parts.len()];
    let mut going_on: Vec<usize> = (0..parts.len()).collect();
    while !going_on.is_empty() {
        let now: Vec<_> = parts
            .iter_mut()
            .map(|part| part.borrow_and_update().clone())
            .collect();
        all.send_modify(|all| add(all, &before, &now));
        before = now;
        let changes = parts.iter_mut().enumerate();
        let changes = changes.filter(|(at, _)| going_on.contains(at));
        let changes = changes.map(|(at, part)| Box::pin(async move { (at, part.changed().await) }));
        let ((at, changed), ..) = select_all(changes).await;
        if changed.is_err() {
            going_on.retain(|other| *other != at);
        }
    }
}

/// Brings `all` from what the parts were `before` to what they are `now`.
fn add(all: &mut ShardStatus, before: &[ShardStatus], now: &[ShardStatus]) {
    let has_ended =
        |part: &&ShardStatus| matches!(part.state, ShardState::Blocked | ShardState::Stopped);
    let leading = now.iter().find(|part| !has_ended(part)).or(now.first());
    if let Some(leading) = leading {
        all.state = leading.state.clone();
        all.pending = leading.pending;
    }
    all.storage_trouble = now.iter().find_map(|part| part.storage_trouble.clone());
    for (before, now) in before.iter().zip(now) {
        all.projections.extend(now.projections.clone());
        all.received += now.received - before.received;
        for (how, count) in &now.restarts {
            let known = before.restarts.get(how).copied().unwrap_or_default();
            *all.restarts.entry(*how).or_default() += count - known;
        }
    }
}

#[cfg(test)]
mod tests;
