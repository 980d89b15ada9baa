//! The node: a shard for what is served, one for each generation beside it, and what happens to them.
//!
//! Whatever changes what there is to do is written to the store first, and then the line-up is worked out anew from there. So a node that is killed goes on where it was.
//!
//! What goes on is worked out and looked at in `looks`, the tasks are in `served`, `work` and `making`, what operators ask for is in `commands`, and how parts that were made on the side come to be served in `exchanging`.

mod commands;
mod exchanging;
mod left;
mod looks;
mod making;
mod rest;
mod served;
mod work;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

pub use self::{
    commands::{Command, Done},
    rest::Rest,
};
use self::{
    left::Left,
    served::ServedRun,
    work::{BesideRun, SideRun},
};
use super::{Cutover, Phase, Progress, RebuildError, RebuildOptions, Sources};
use crate::{
    manifest::ProjectionManifest,
    pipeline::{ShardOptions, ShardStatus},
    settings::Settings,
    storage::ViewStore,
    types::{Generations, ViewTable},
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
    /// How many events a served projection may be behind the others that it is read with; `None` for any number.
    far: Option<u64>,
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
    /// What has ceased to be served here.
    left: Left,
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
            far: served::far(settings),
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
