//! Work: the tasks of a node, each with its own shard, its own delivery, and one end.

use std::{sync::Arc, time::Instant};

use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{Node, OVER_MAX, Work, making::Making};
use crate::{
    manifest::Projection,
    pipeline::{ShardState, ShardStatus},
    rebuild::{
        Beside, Pace, Phase, Progress, Purpose, RebuildError, RebuildOptions, progress::Meter,
    },
    stream::BlockedReason,
    types::{GenerationState, Scope, ViewTable, ViewType},
};

/// A generation beside what is served, as it goes on.
pub(super) struct BesideRun {
    beside: Beside,
    /// `None` when it was told to stop.
    running: Option<Running>,
    status: watch::Receiver<ShardStatus>,
    meter: Meter,
    caught_up_since: Option<Instant>,
    progress: Progress,
}

/// A task that is told when to end.
pub(super) struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), RebuildError>>,
}

/// A part of what is served that is made on the side.
pub(super) struct SideRun {
    made: Made,
    task: JoinHandle<Result<(), RebuildError>>,
    stop: CancellationToken,
    progress: watch::Receiver<Progress>,
}

/// What a side has made.
pub(super) struct Made {
    pub(super) projection: Projection,
    /// What it was made for.
    pub(super) served: ViewTable,
}

impl Running {
    pub(super) async fn stop(self) {
        self.stop.cancel();
        ended(self.task.await);
    }
}

fn ended(ended: Result<Result<(), RebuildError>, tokio::task::JoinError>) {
    if let Err(error) = ended.expect("a rebuild does not panic") {
        tracing::warn!(%error, "a rebuild has ended");
    }
}

impl BesideRun {
    pub(super) fn table(&self) -> ViewTable {
        self.beside.projection.table.clone()
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Takes over what the store says of it now.
    pub(super) fn is_now(&mut self, beside: &Beside) {
        self.beside.wanted = beside.wanted;
        self.beside.state = beside.state.clone();
        self.progress.purpose = purpose(beside);
    }

    pub(super) fn take(&mut self) -> Option<Running> {
        self.running.take()
    }

    pub(super) fn goes_on(&self) -> bool {
        !self.progress.phase.is_over()
    }

    /// How many events it is behind what is served, or behind the stream.
    pub(super) fn lag(&self, served: &ShardStatus) -> u64 {
        let status = self.status.borrow();
        let table = &self.beside.projection.table;
        let at = |status: &ShardStatus, table: &ViewTable| {
            status.projections.get(table).map_or(0, |state| state.floor)
        };
        let of_type = served
            .projections
            .keys()
            .find(|known| known.view_type == table.view_type);
        // Sequences of different streams cannot be compared.
        let of_this_stream = |known: &&ViewTable| {
            let state = served.projections.get(known);
            state.is_none_or(|state| state.blocked != Some(BlockedReason::StreamRecreated))
        };
        let ahead = of_type.filter(of_this_stream);
        let ahead = ahead.map_or(0, |known| at(served, known));
        status.pending.max(ahead.saturating_sub(at(&status, table)))
    }

    /// Whether the lag is more than a guess. Before the first event nobody knows how many there are, and what is served, which is further, may itself have only begun.
    fn knows_its_lag(&self, served: &ShardStatus) -> bool {
        let status = self.status.borrow();
        let table = &self.beside.projection.table;
        let own = status.projections.get(table).map_or(0, |state| state.floor);
        let mut of_type = served
            .projections
            .iter()
            .filter(|(known, _)| known.view_type == table.view_type);
        status.received > 0 || own > 0 || of_type.all(|(_, state)| state.floor == 0)
    }

    /// Notes how far it is. Whether it is to be served now.
    pub(super) fn look(&mut self, served: &ShardStatus, options: &RebuildOptions) -> bool {
        let Some(running) = &self.running else {
            return false;
        };
        let lag = self.lag(served);
        let status = self.status.borrow().clone();
        let state = status.projections.get(&self.beside.projection.table);
        self.progress.done = state.map_or(0, |state| state.floor);
        self.progress.total = self.progress.done + lag;
        self.meter.note(status.received);
        self.meter.show(lag, &mut self.progress);
        let blocked = state.and_then(|state| state.blocked.as_ref());
        let well = status.state == ShardState::Running && blocked.is_none();
        let near = well && lag <= options.lag_max && self.knows_its_lag(served);
        if near {
            self.caught_up_since.get_or_insert_with(Instant::now);
        } else {
            self.caught_up_since = None;
        }
        self.progress.phase = match (&status.state, blocked) {
            (_, Some(reason)) => Phase::Failed {
                why: reason.to_string(),
            },
            (ShardState::Waiting { why }, _) => Phase::Waiting { why: why.clone() },
            _ if near => Phase::CaughtUp,
            _ => Phase::Replaying,
        };
        if running.task.is_finished() {
            self.end();
            return false;
        }
        let settled = self
            .caught_up_since
            .is_some_and(|since| since.elapsed() >= options.settled);
        settled && self.beside.wanted
    }

    /// Notes why its task has ended.
    fn end(&mut self) {
        use futures::FutureExt;
        let ended = self
            .running
            .take()
            .and_then(|running| running.task.now_or_never());
        let why = match ended {
            Some(Ok(Err(error))) => Some(error.to_string()),
            Some(Err(_)) => Some("its task has panicked".to_owned()),
            _ => None,
        };
        if let Some(why) = why {
            tracing::error!(generation = %self.table(), %why, "is not made");
            self.progress.phase = Phase::Failed { why };
        } else if self.goes_on() {
            self.progress.phase = Phase::Done;
        }
    }
}

fn purpose(beside: &Beside) -> Purpose {
    if beside.wanted {
        Purpose::Serve
    } else {
        Purpose::Keep
    }
}

impl SideRun {
    pub(super) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    pub(super) fn table(&self) -> ViewTable {
        self.made.projection.table.clone()
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// What it has made.
    pub(super) async fn finish(self) -> Result<Made, RebuildError> {
        self.task.await.expect("a rebuild does not panic")?;
        Ok(self.made)
    }
}

impl Work {
    pub(super) async fn pause_served(&mut self) {
        if let Some(run) = self.served.take() {
            run.stop().await;
            self.stale = true;
        }
    }

    pub(super) async fn pause_beside(&mut self) {
        for mut run in self.beside.drain(..) {
            if let Some(running) = run.take() {
                running.stop().await;
            }
        }
        self.stale = true;
    }

    pub(super) async fn stop_beside(&mut self, table: &ViewTable) {
        if let Some(at) = self.beside.iter().position(|run| run.table() == *table) {
            let mut run = self.beside.swap_remove(at);
            if let Some(running) = run.take() {
                running.stop().await;
            }
            self.stale = true;
        }
    }

    /// Stops what is made on the side of a type. Its tables are nobody's then.
    pub(super) async fn stop_sides(&mut self, view_type: &ViewType) {
        let of_type = |side: &mut SideRun| side.table().view_type == *view_type;
        let stopped: Vec<_> = self.sides.extract_if(.., of_type).collect();
        for side in stopped {
            side.stop.cancel();
            let progress = side.progress();
            ended(side.task.await);
            let why = "the views are made again in place".to_owned();
            self.is_over(progress, Phase::Failed { why });
            self.stale = true;
        }
    }

    /// What is being made on the side.
    pub(super) fn on_the_side(&self) -> Vec<ViewTable> {
        self.sides.iter().map(SideRun::table).collect()
    }

    pub(super) async fn stop(&mut self) {
        for side in self.sides.drain(..) {
            side.stop.cancel();
            ended(side.task.await);
        }
        for run in &mut self.beside {
            if let Some(running) = run.take() {
                running.stop().await;
            }
        }
        self.pause_served().await;
    }

    pub(super) fn is_over(&mut self, mut progress: Progress, phase: Phase) {
        progress.phase = phase;
        self.over
            .retain(|over| over.generation != progress.generation);
        self.over.push(progress);
        let excess = self.over.len().saturating_sub(OVER_MAX);
        self.over.drain(..excess);
    }

    pub(super) fn shown(&self) -> Vec<Progress> {
        let retiring = self.retiring.iter().map(|table| {
            let mut progress = Progress::new(table.to_string(), Purpose::Keep);
            progress.phase = Phase::Retiring;
            progress
        });
        let beside = self.beside.iter().map(BesideRun::progress);
        let sides = self.sides.iter().map(SideRun::progress);
        let unfinished = self.unfinished.iter().cloned();
        let going_on: Vec<_> = beside
            .chain(sides)
            .chain(unfinished)
            .chain(retiring)
            .collect();
        // What is kept going after it was served is both.
        let over = self.over.iter().filter(|over| {
            !going_on
                .iter()
                .any(|now| now.generation == over.generation && now.purpose == over.purpose)
        });
        over.cloned().chain(going_on.iter().cloned()).collect()
    }
}

impl Node {
    /// Starts a generation beside what is served.
    pub(super) fn make(&self, beside: Beside) -> BesideRun {
        let stop = CancellationToken::new();
        let sender = watch::Sender::<ShardStatus>::default();
        let status = sender.subscribe();
        let options = match beside.state {
            GenerationState::Shadow => self.replay_options.clone(),
            _ => self.served_options.clone(),
        };
        let making = Making {
            store: Arc::clone(&self.store),
            projection: beside.projection.clone(),
            from: beside.from,
            options,
            sources: Arc::clone(&self.sources),
            pace: Pace::of(&self.options, Some(self.status.subscribe())),
        };
        let task = tokio::spawn(making.run(sender, stop.clone()).in_current_span());
        let generation = beside.projection.table.to_string();
        BesideRun {
            progress: Progress::new(generation, purpose(&beside)),
            beside,
            running: Some(Running { stop, task }),
            status,
            meter: Meter::new(),
            caught_up_since: None,
        }
    }

    /// Starts to make the part `scope` of `served` on the side, by `projection`, which makes nothing else.
    pub(super) fn make_part(
        &self,
        projection: Projection,
        served: ViewTable,
        from: u64,
        scope: Scope,
    ) -> SideRun {
        let stop = CancellationToken::new();
        let shown = Progress::new(projection.table.to_string(), Purpose::Part { scope });
        let (progress, watched) = watch::channel(shown);
        let making = Making {
            store: Arc::clone(&self.store),
            projection: projection.clone(),
            from,
            options: self.replay_options.clone(),
            sources: Arc::clone(&self.sources),
            pace: Pace::of(&self.options, Some(self.status.subscribe())),
        };
        let making = making.follow(served.clone(), self.options.lag_max, progress, stop.clone());
        let task = tokio::spawn(making.in_current_span());
        SideRun {
            made: Made { projection, served },
            task,
            stop,
            progress: watched,
        }
    }
}
