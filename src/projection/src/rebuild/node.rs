//! The node: one shard for all that is served, one for each generation beside it, and what happens to them.
//!
//! Whatever changes what there is to do is written to the store first, and then the line-up is worked out anew from there. So a node that is killed goes on where it was.
//!
//! The tasks are in `work`, what operators ask for is in `commands`, and how parts that were made on the side come to be served in `exchanging`.

mod commands;
mod exchanging;
mod rest;
mod work;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use self::work::{BesideRun, ServedRun, SideRun};
pub use self::{
    commands::{Command, Done},
    rest::Rest,
};
use super::{
    Cutover, ExchangeLimits, Phase, Progress, RebuildError, RebuildOptions, Sources,
    lineup::{Lineup, lineup},
    records::{self, blocking},
};
use crate::{
    manifest::ProjectionManifest,
    pipeline::{ShardOptions, ShardState, ShardStatus},
    settings::Settings,
    storage::ViewStore,
    types::{GenerationState, Generations, ViewTable},
};

/// How many rebuilds that are over are still shown.
const OVER_MAX: usize = 16;

/// What a node is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeMode {
    /// To keep what is served up to date, and make what is wanted beside it, until it is told to stop.
    Serving,
    /// To do what it is asked for, with nothing beside it, and end.
    Job,
}

/// A node over one store.
pub struct Node {
    store: Arc<ViewStore>,
    manifest: ProjectionManifest,
    sources: Arc<dyn Sources>,
    mode: NodeMode,
    stays: bool,
    options: RebuildOptions,
    served_options: ShardOptions,
    replay_options: ShardOptions,
    status: watch::Sender<ShardStatus>,
    progress: watch::Sender<Vec<Progress>>,
    requests: mpsc::Receiver<Request>,
}

/// What a node that runs is asked by.
#[derive(Clone)]
pub struct NodeHandle {
    store: Arc<ViewStore>,
    cutover: Cutover,
    requests: mpsc::Sender<Request>,
    status: watch::Receiver<ShardStatus>,
    progress: watch::Receiver<Vec<Progress>>,
}

enum Request {
    Do {
        command: Command,
        answer: oneshot::Sender<Result<Done, RebuildError>>,
    },
    Rest(rest::Wanted),
}

/// What goes on.
#[derive(Default)]
struct Work {
    served: Option<ServedRun>,
    beside: Vec<BesideRun>,
    sides: Vec<SideRun>,
    retiring: Vec<ViewTable>,
    /// Parts whose exchange has failed in a way that may pass.
    unfinished: Vec<Progress>,
    over: Vec<Progress>,
    /// What was asked for, where the node is there for nothing else.
    jobs: BTreeSet<ViewTable>,
    asked: bool,
    /// Whether the store says something else than what goes on.
    stale: bool,
}

impl NodeHandle {
    /// Asks the node to do something. It answers when that is done, or begun where it takes long.
    ///
    /// # Errors
    /// It was not done, or the node has ended.
    pub async fn ask(&self, command: Command) -> Result<Done, RebuildError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.requests.send(Request::Do { command, answer }).await;
        sent.map_err(|_| RebuildError::NodeEnded)?;
        answered.await.map_err(|_| RebuildError::NodeEnded)?
    }

    /// Who decides that a generation is served.
    pub fn cutover(&self) -> Cutover {
        self.cutover
    }

    /// What is served, as it goes on.
    pub fn status(&self) -> watch::Receiver<ShardStatus> {
        self.status.clone()
    }

    /// What goes on beside that, and what is over.
    pub fn progress(&self) -> watch::Receiver<Vec<Progress>> {
        self.progress.clone()
    }

    /// The generations of each type.
    ///
    /// # Errors
    /// The store.
    pub fn generations(&self) -> Result<Vec<(String, Generations)>, RebuildError> {
        let snapshot = self.store.snapshot()?;
        let mut all = Vec::new();
        for view_type in snapshot.view_types()? {
            if let Some(generations) = snapshot.generations(&view_type)? {
                all.push((view_type.to_string(), generations));
            }
        }
        Ok(all)
    }
}

impl Node {
    /// How often the node looks at what goes on.
    const LOOKS_EVERY: Duration = Duration::from_millis(100);

    /// A node that is ready to run, and what it is asked by.
    pub fn new(
        manifest: ProjectionManifest,
        store: Arc<ViewStore>,
        sources: Arc<dyn Sources>,
        settings: &Settings,
        mode: NodeMode,
    ) -> (Self, NodeHandle) {
        let options = RebuildOptions::of(settings);
        let served_options = ShardOptions::of(settings);
        let (requests, received) = mpsc::channel(8);
        let node = Self {
            replay_options: served_options.clone().with_batches(options.batch),
            served_options,
            options,
            store: Arc::clone(&store),
            manifest,
            sources,
            mode,
            stays: false,
            status: watch::Sender::default(),
            progress: watch::Sender::default(),
            requests: received,
        };
        let handle = NodeHandle {
            store,
            cutover: node.options.cutover,
            requests,
            status: node.status.subscribe(),
            progress: node.progress.subscribe(),
        };
        (node, handle)
    }

    /// The same for shards that work as `options` say.
    #[must_use]
    pub fn with_shard_options(self, options: ShardOptions) -> Self {
        Self {
            replay_options: options.clone().with_batches(self.options.batch),
            served_options: options,
            ..self
        }
    }

    /// The same for a node that stays where nothing goes on, and looks again when its store was changed.
    #[must_use]
    pub fn staying(self) -> Self {
        Self {
            stays: true,
            ..self
        }
    }

    /// Runs until `stop` is cancelled, until nothing goes on, or until what it was asked for is done. All that was folded is in the store when it returns.
    ///
    /// # Errors
    /// The store does not say what there is to do.
    pub async fn run(mut self, stop: &CancellationToken) -> Result<(), RebuildError> {
        let mut work = Work {
            stale: true,
            ..Work::default()
        };
        let ended = self.go_on(&mut work, stop).await;
        work.stop().await;
        self.show(&work);
        ended
    }

    async fn go_on(
        &mut self,
        work: &mut Work,
        stop: &CancellationToken,
    ) -> Result<(), RebuildError> {
        let mut looks =
            interval(Self::LOOKS_EVERY.min(self.options.settled.max(Duration::from_millis(5))));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if work.stale {
                self.arrange(work).await?;
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                request = self.requests.recv() => match request {
                    Some(Request::Do { command, answer }) => {
                        work.asked = true;
                        let done = self.obey(work, command).await;
                        if work.stale {
                            self.arrange(work).await?;
                        }
                        // Before it is answered, so that whoever looks next sees what was begun.
                        self.show(work);
                        // Whoever asked may have gone.
                        let _ = answer.send(done);
                    }
                    Some(Request::Rest(wanted)) => self.hold_still(work, wanted, stop).await,
                    None => {}
                },
                _ = looks.tick() => self.look(work, stop).await?,
            }
            self.show(work);
            if !work.stale && self.is_over(work) {
                return Ok(());
            }
        }
    }

    fn is_over(&self, work: &Work) -> bool {
        let waits_for_a_command = |run: &BesideRun| {
            self.mode == NodeMode::Job
                && self.options.cutover == Cutover::Command
                && run.progress().phase == Phase::CaughtUp
        };
        let mut beside = work.beside.iter();
        let busy = !work.sides.is_empty()
            || !work.unfinished.is_empty()
            || beside.any(|run| run.goes_on() && !waits_for_a_command(run));
        match self.mode {
            NodeMode::Serving if self.stays => false,
            NodeMode::Serving => !busy && work.served.as_ref().is_some_and(ServedRun::has_ended),
            NodeMode::Job => work.asked && !busy && work.retiring.is_empty(),
        }
    }

    fn limits(&self) -> ExchangeLimits {
        ExchangeLimits {
            entries_max: self.options.entries_max,
        }
    }

    /// Brings what goes on to what the store says.
    async fn arrange(&self, work: &mut Work) -> Result<(), RebuildError> {
        let taken_up = transient(self.take_up(work).await)?;
        let manifest = self.manifest.clone();
        let found = blocking(&self.store, move |store| lineup(store, &manifest)).await;
        let found = match found {
            Err(RebuildError::Storage(error)) if error.is_transient() => {
                tracing::warn!(%error, "storage fails; nothing is begun until it does not");
                return Ok(());
            }
            found => found?,
        };
        // Until everything is taken up, it is tried again at each look.
        work.stale = taken_up.is_none();
        work.retiring.clone_from(&found.retiring);
        let Lineup {
            served,
            beside,
            exchanging,
            ..
        } = found;
        // First what ends, because a generation has one writer.
        let mut leaving = Vec::new();
        work.beside.retain_mut(|run| {
            let stays = beside
                .iter()
                .find(|beside| beside.projection.table == run.table());
            match stays {
                Some(beside) => run.is_now(beside),
                None => leaving.push(run.take()),
            }
            stays.is_some()
        });
        for run in leaving.into_iter().flatten() {
            run.stop().await;
        }
        let tables: Vec<_> = served.iter().map(|served| served.table.clone()).collect();
        if work
            .served
            .as_ref()
            .is_some_and(|run| run.tables() != tables)
        {
            work.pause_served().await;
        }
        if self.mode == NodeMode::Serving && work.served.is_none() {
            if served.is_empty() && !exchanging.is_empty() {
                let why = "an exchange of views is not finished".to_owned();
                let waiting = ShardState::Waiting { why };
                self.status.send_modify(|status| status.state = waiting);
            } else {
                work.served = Some(self.serve(served));
            }
        }
        for beside in beside {
            let table = &beside.projection.table;
            let asked_for = self.mode == NodeMode::Serving || work.jobs.contains(table);
            let known = work.beside.iter().any(|run| run.table() == *table);
            let holds_a_part = matches!(beside.state, GenerationState::Side { .. });
            if asked_for && !known && !holds_a_part {
                work.beside.push(self.make(beside));
            }
        }
        Ok(())
    }

    /// Looks at what goes on, and does what is due.
    async fn look(&self, work: &mut Work, stop: &CancellationToken) -> Result<(), RebuildError> {
        if work.served.as_ref().is_some_and(ServedRun::has_panicked) {
            return Err(RebuildError::Panicked {
                what: "what folds the served views",
            });
        }
        for at in 0..work.beside.len() {
            let served = self.status.borrow().clone();
            let due = work.beside[at].look(&served, &self.options);
            if due && self.options.cutover == Cutover::Automatic {
                self.serve_instead(work, at).await?;
            }
        }
        self.retire_expired(work).await?;
        if let Some(table) = work.retiring.first().cloned() {
            let entries_max = self.options.entries_max;
            let clearing = table.clone();
            let left = blocking(&self.store, move |store| {
                records::retire_some(store, &clearing, entries_max)
            });
            if !transient(left.await)?.unwrap_or(true) {
                work.retiring.retain(|retiring| *retiring != table);
            }
        }
        if let Some(run) = &work.served {
            for table in run.tables() {
                transient(records::settle_in_place(&self.store, &table).map_err(Into::into))?;
            }
        }
        while let Some(at) = work.sides.iter().position(SideRun::is_finished) {
            let side = work.sides.swap_remove(at);
            self.conclude(work, side, stop).await;
        }
        Ok(())
    }

    /// Serves the generation that has caught up.
    async fn serve_instead(&self, work: &mut Work, at: usize) -> Result<(), RebuildError> {
        let table = work.beside[at].table();
        let lag_max = self.options.lag_max;
        let to = table.clone();
        let flipped = blocking(&self.store, move |store| {
            records::cut_over(store, &to, lag_max, SystemTime::now())
        })
        .await;
        match flipped {
            Ok(()) => {
                tracing::info!(generation = %table, "is served now");
                work.is_over(work.beside[at].progress(), Phase::Served);
                work.jobs.remove(&table);
                work.stale = true;
                Ok(())
            }
            // What is served has moved on since it was looked at; the next look sees that.
            Err(RebuildError::Behind { .. }) => Ok(()),
            Err(error) => transient::<()>(Err(error)).map(drop),
        }
    }

    async fn retire_expired(&self, work: &mut Work) -> Result<(), RebuildError> {
        let expired = records::expired(&self.store, &self.options, SystemTime::now());
        for table in transient(expired)?.unwrap_or_default() {
            work.stop_beside(&table).await;
            let retired = blocking(&self.store, move |store| records::retire(store, &table));
            match retired.await {
                // It goes when that is done.
                Ok(()) | Err(RebuildError::Exchanging { .. }) => {}
                Err(error) => drop(transient(Err::<(), _>(error))?),
            }
            work.stale = true;
        }
        Ok(())
    }

    fn show(&self, work: &Work) {
        let all = work.shown();
        self.progress.send_if_modified(|progress| {
            let changed = *progress != all;
            *progress = all;
            changed
        });
    }

    fn show_with(&self, work: &Work, progress: &Progress) {
        let mut all = work.shown();
        all.push(progress.clone());
        self.progress.send_replace(all);
    }
}

/// What may pass is said and left for the next look.
fn transient<T>(result: Result<T, RebuildError>) -> Result<Option<T>, RebuildError> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(RebuildError::Storage(error)) if error.is_transient() => {
            tracing::warn!(%error, "storage fails; it is tried again");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl ServedRun {
    /// Whether its task has ended without a word about why.
    fn has_panicked(&self) -> bool {
        self.is_finished() && !matches!(self.state(), ShardState::Blocked | ShardState::Stopped)
    }

    fn has_ended(&self) -> bool {
        self.is_finished() && self.state() == ShardState::Blocked
    }
}
