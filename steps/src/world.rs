//! The World: one scenario's state, from its first step to its release.
//!
//! It holds what the scenario said (the draft), then the running cluster and what belongs to it. All of it is released in the `after` hook, whatever the outcome; dropping it kills what is left.

use std::{fmt, future::Future, path::PathBuf, sync::Arc, time::Duration};

use cucumber::World;
use tokio::{
    sync::OwnedSemaphorePermit,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};
use trellis_bootstrap::{BootstrapRequest, ClusterRequest};
use trellis_domain::{NodeHandle, NodeName, ScenarioSpec};
use trellis_runtime::{CfgsyncDelivery, Cluster, Journal, OperationError};

use crate::{
    Draft, NodeRef, ScenarioPlan, StepError, StepResult, Suite,
    cfgsync::CfgsyncPrograms,
    chain::{ChainSession, FaucetPlace, PublicPeers, WalletBook},
    kv::{KvSession, ReplicaView},
    lane::Lane,
    outsiders::OutsideClusters,
    projection::ProjectionSession,
    self_test::SelfTest,
};

/// How often somebody who watches is told what is awaited.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// How long a phrase that speaks of the leader waits for one; far longer than an election.
const LEADER_WITHIN: Duration = Duration::from_secs(15);

/// One scenario's state.
#[derive(World)]
#[world(init = Self::open)]
pub struct TrellisWorld {
    pub(crate) suite: Arc<Suite>,
    /// What the scenario is called in paths, reports and messages.
    pub(crate) title: String,
    /// What is known of it beforehand.
    pub(crate) plan: ScenarioPlan,
    /// The folder for everything that this attempt of the scenario leaves.
    pub(crate) folder: PathBuf,
    pub(crate) draft: Draft,
    pub(crate) journal: Journal,
    pub(crate) cluster: Option<Cluster>,
    pub(crate) kv: Option<KvSession>,
    pub(crate) chain: Option<ChainSession>,
    pub(crate) projection: Option<ProjectionSession>,
    /// Nodes whose start nobody waited for so far.
    pub(crate) starting: Vec<(NodeName, JoinHandle<Result<NodeHandle, OperationError>>)>,
    /// Where a faucet is, if the scenario said so.
    pub(crate) faucet: Option<FaucetPlace>,
    /// Nodes of a public chain, to compare ours with.
    pub(crate) public_peers: PublicPeers,
    /// For features about nodes that are not ours.
    pub(crate) outsiders: OutsideClusters,
    /// For features about the harness itself.
    pub(crate) self_test: SelfTest,
    /// For features about config delivery itself.
    pub(crate) cfgsync: CfgsyncPrograms,
    places: Option<OwnedSemaphorePermit>,
    lane: Option<Lane>,
}

/// Why a scenario could not begin.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(StepError);

impl fmt::Debug for TrellisWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrellisWorld")
            .field("title", &self.title)
            .finish_non_exhaustive()
    }
}

impl TrellisWorld {
    #[expect(
        clippy::unused_async,
        reason = "cucumber wants a World to be made by an async function"
    )]
    async fn open() -> Result<Self, OpenError> {
        let suite = Suite::current().map_err(OpenError)?;
        if suite.cancel.is_cancelled() {
            return Err(OpenError(StepError::interrupted()));
        }
        Ok(Self {
            folder: suite.folder.join("unnamed"),
            suite,
            title: String::new(),
            plan: ScenarioPlan::default(),
            draft: Draft::default(),
            journal: Journal::default(),
            cluster: None,
            kv: None,
            chain: None,
            projection: None,
            starting: Vec::new(),
            faucet: None,
            public_peers: PublicPeers::default(),
            outsiders: OutsideClusters::default(),
            self_test: SelfTest::default(),
            cfgsync: CfgsyncPrograms::default(),
            places: None,
            lane: None,
        })
    }

    /// Tells the World which scenario it is for; called by the `before` hook.
    pub(crate) fn begin(&mut self, title: String, folder: PathBuf, plan: ScenarioPlan) {
        self.title = title;
        self.folder = folder;
        self.plan = plan;
    }

    /// Waits until the scenario may run, `alone` or beside others.
    ///
    /// # Errors
    /// An interruption.
    pub(crate) async fn take_lane(&mut self, alone: bool) -> StepResult {
        let lanes = self.suite.lanes.clone();
        self.lane = Some(self.interruptible(lanes.enter(alone)).await?);
        Ok(())
    }

    /// What the scenario says of the cluster that it wants.
    ///
    /// # Errors
    /// A cluster that is up already: it is too late to want another.
    pub fn draft(&mut self) -> StepResult<&mut Draft> {
        if self.cluster.is_some() {
            return Err(StepError::new(
                "the cluster runs already; say this before its first node starts",
            ));
        }
        Ok(&mut self.draft)
    }

    /// The running cluster.
    ///
    /// # Errors
    /// No cluster yet.
    pub fn cluster(&self) -> StepResult<&Cluster> {
        self.cluster.as_ref().ok_or_else(|| {
            StepError::new(
                "there is no cluster yet; begin with a step such as `a cluster of 3 nodes`",
            )
        })
    }

    /// Brings up a cluster that begins with the managed nodes `names`, and shows its inventory.
    ///
    /// # Errors
    /// A second cluster, or whatever keeps this one from coming up.
    pub async fn boot(&mut self, names: impl IntoIterator<Item = NodeName>) -> StepResult {
        self.draft()?;
        let app = self.suite.app(self.draft.app.as_ref())?.clone();
        self.draft.chain.nodes_max = self.plan.nodes_max.max(1);
        let deployment = app.chain.as_ref();
        if let Some(chain) = deployment
            && self.draft.chain.joins_existing
        {
            let known = self.public_peers.nodes().iter();
            let known: Vec<_> = known.chain(&self.draft.external).cloned().collect();
            let existing = self.interruptible(chain.existing(&known)).await??;
            self.draft.chain.existing = existing;
        }
        let deployment = deployment
            .map(|chain| chain.deploy(&self.draft.chain))
            .transpose()?;
        let projection = app.projection.as_ref();
        let projection = projection.map(|app| app.deploy(&self.draft.projection));
        let application = match (&deployment, &projection) {
            (Some(chain), _) => chain.application(),
            (None, Some(projection)) => projection.application(),
            (None, None) => Arc::clone(&app.application),
        };
        let spec = self.draft.spec(application.name().clone(), names)?;
        self.take_places(&spec).await?;
        let request = BootstrapRequest {
            app: application,
            deployer: Arc::clone(&self.suite.deployer),
            delivery: Arc::new(CfgsyncDelivery),
            attach: self.suite.attach.clone(),
            cluster: ClusterRequest {
                network: self.suite.next_network(),
                folder: self.folder.join("cluster"),
                ledger: Arc::clone(&self.suite.ledger),
            },
            planned: self.plan.operations.clone(),
            keep_on_failure: Some(self.folder.join("nodes")),
            progress: Arc::clone(&self.suite.progress),
            cancel: self.suite.cancel.child_token(),
            spec,
        };
        let journal = self.journal.clone();
        let boot = tokio::spawn(Cluster::boot(request, journal));
        let cluster = boot.await.map_err(StepError::from)??;
        self.kv = app.kv.map(|port| KvSession::new(port, cluster.clone()));
        let book = std::mem::take(&mut self.draft.wallets);
        let sponsor = self.draft.chain.sponsor;
        self.chain =
            deployment.map(|chain| ChainSession::new(chain, cluster.clone(), book, sponsor));
        self.projection =
            projection.map(|projection| ProjectionSession::new(projection, cluster.clone()));
        self.suite
            .progress
            .note(&format!("{}\n{}", self.title, shown_nodes(&cluster)));
        self.cluster = Some(cluster);
        Ok(())
    }

    /// Waits for room in the node budget. A scenario takes all its places at once, so that no two can wait for each other.
    async fn take_places(&mut self, spec: &ScenarioSpec) -> StepResult {
        let wanted = self
            .plan
            .nodes_max
            .max(spec.sources.managed().len())
            .min(self.suite.budget);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        let places = Arc::clone(&self.suite.places).acquire_many_owned(wanted);
        self.places = Some(self.interruptible(places).await??);
        Ok(())
    }

    /// What the key-value and leader phrases work on.
    ///
    /// # Errors
    /// No cluster yet, or an application without a port for these phrases.
    pub(crate) fn kv(&self) -> StepResult<&KvSession> {
        let cluster = self.cluster()?;
        self.kv.as_ref().ok_or_else(|| {
            StepError::new(format!(
                "the application {} has no keys, leaders or voters that steps could speak of",
                cluster.app().name()
            ))
        })
    }

    /// What the phrases about chains work on.
    ///
    /// # Errors
    /// No cluster yet, or an application without a port for these phrases.
    pub(crate) fn chain(&self) -> StepResult<&ChainSession> {
        let cluster = self.cluster()?;
        self.chain.as_ref().ok_or_else(|| {
            StepError::new(format!(
                "the application {} keeps no chain that steps could speak of",
                cluster.app().name()
            ))
        })
    }

    /// What the phrases about events and views work on.
    ///
    /// # Errors
    /// No cluster yet, or an application without a port for these phrases.
    pub(crate) fn projection(&self) -> StepResult<&ProjectionSession> {
        let cluster = self.cluster()?;
        self.projection.as_ref().ok_or_else(|| {
            StepError::new(format!(
                "the application {} folds no events that steps could speak of",
                cluster.app().name()
            ))
        })
    }

    /// Works on the wallets that the scenario spoke of, before or after its cluster has come up.
    pub(crate) fn with_wallets<T>(&mut self, work: impl FnOnce(&mut WalletBook) -> T) -> T {
        match &self.chain {
            Some(chain) => chain.with_book(work),
            None => work(&mut self.draft.wallets),
        }
    }

    /// The name of the node that is meant now; a role is waited for, since it may be changing hands.
    ///
    /// # Errors
    /// An unknown name with the known ones, or a role that nobody took in time, with the last view.
    pub(crate) async fn resolve(&self, node: &NodeRef) -> StepResult<NodeName> {
        match node {
            NodeRef::Named(name) => Ok(self.cluster()?.node(name)?.name().clone()),
            NodeRef::Leader => {
                let leader = self.agreed_leader(LEADER_WITHIN).await?;
                self.kv()?.remember_leader(&leader);
                Ok(leader)
            }
            NodeRef::Follower => {
                let leader = self.agreed_leader(LEADER_WITHIN).await?;
                let running = self.cluster()?.running();
                let follower = running.iter().find(|node| *node.name() != leader);
                follower.map(|node| node.name().clone()).ok_or_else(|| {
                    StepError::new(format!(
                        "no node follows: {leader} is the only one that runs"
                    ))
                })
            }
            NodeRef::FormerLeader => self.kv()?.former_leader().ok_or_else(|| {
                StepError::new("no step spoke of the leader yet, so there is no former one")
            }),
        }
    }

    /// Waits until a quorum agrees on a leader. Unlike [`TrellisWorld::resolve`], nobody is remembered as the former leader.
    ///
    /// # Errors
    /// As for [`TrellisWorld::await_replicas`].
    pub(crate) async fn agreed_leader(&self, within: Duration) -> StepResult<NodeName> {
        let goal = "a leader that a quorum agrees on";
        let view = self
            .await_replicas(goal, within, |view| view.leader.is_some())
            .await?;
        Ok(view.leader.expect("the wait was for a leader"))
    }

    /// Waits on the observation of replicas, and shows progress meanwhile.
    ///
    /// # Errors
    /// The goal, the time, and the last view in words; or an interruption.
    pub(crate) async fn await_replicas(
        &self,
        goal: &str,
        within: Duration,
        predicate: impl Fn(&ReplicaView) -> bool + Send + Sync + 'static,
    ) -> StepResult<ReplicaView> {
        let kv = self.kv()?;
        let wait = kv.watch.wait_for(goal, within, Box::new(predicate));
        let seen = || kv.watch.latest().unwrap_or_default().to_string();
        Ok(self.watched(goal, within, seen, wait).await??)
    }

    /// Awaits `work` and tells who watches what it is for, what was seen last, and how long is left.
    ///
    /// # Errors
    /// An interruption; what `work` returns is the caller's.
    pub(crate) async fn watched<T>(
        &self,
        goal: &str,
        within: Duration,
        seen: impl Fn() -> String,
        work: impl Future<Output = T>,
    ) -> StepResult<T> {
        let deadline = Instant::now() + within;
        let mut work = std::pin::pin!(work);
        let mut ticks = interval(PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = self.suite.cancel.cancelled() => return Err(StepError::interrupted()),
                _ = ticks.tick() => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.suite.progress.waiting(goal, &seen(), left);
                }
            }
        }
    }

    /// Awaits `work` unless the run is being stopped.
    ///
    /// # Errors
    /// An interruption; what `work` returns is the caller's.
    pub(crate) async fn interruptible<T>(&self, work: impl Future<Output = T>) -> StepResult<T> {
        tokio::select! {
            done = work => Ok(done),
            () = self.suite.cancel.cancelled() => Err(StepError::interrupted()),
        }
    }

    /// Ends everything that the scenario owns; called by the `after` hook.
    ///
    /// # Errors
    /// What is left, after trying everything.
    pub(crate) async fn release(&mut self) -> StepResult {
        std::mem::take(&mut self.self_test).end().await;
        std::mem::take(&mut self.cfgsync).end().await;
        self.kv = None;
        self.chain = None;
        self.projection = None;
        let failed = self.failed_starts().await;
        let released = match self.cluster.take() {
            Some(cluster) => release(&cluster).await,
            None => Ok(()),
        };
        let released = released.and(failed);
        self.outsiders = OutsideClusters::default();
        // Also when something is left: reports may keep this World for long, and others wait for its places.
        self.places = None;
        self.lane = None;
        released
    }

    /// What became of starts that nobody waited for; those that are still under way are given up.
    async fn failed_starts(&mut self) -> StepResult {
        for (name, start) in std::mem::take(&mut self.starting) {
            if !start.is_finished() {
                start.abort();
                // It is of no interest how it ended.
                let _ = start.await;
                continue;
            }
            if let Err(error) = start.await.map_err(StepError::from)? {
                return Err(StepError::from(error).within(format!("{name} did not come up")));
            }
        }
        Ok(())
    }
}

/// The nodes of a cluster as a table, with those that it lacks, and what is not known of them.
pub(crate) fn shown_nodes(cluster: &Cluster) -> String {
    let table = trellis_report::inventory_table(&cluster.inventory().snapshot());
    let missing = cluster.missing().iter();
    let missing = missing.map(|node| format!("\nmissing: {node}"));
    let unknown = cluster.unknown().iter();
    let unknown = unknown.map(|field| format!("\nnot known: {field}"));
    missing
        .chain(unknown)
        .fold(table, |text, line| text + &line)
}

/// Releases a cluster. A background task of it that panicked is a failure, too, also when it did so while it was ended.
async fn release(cluster: &Cluster) -> StepResult {
    let left = cluster.release().await.err();
    let left = left.map(|error| StepError::from(error).within("not everything could be released"));
    let panics = cluster.tasks().panics().into_iter().map(StepError::from);
    let complaints: Vec<String> = left
        .into_iter()
        .chain(panics)
        .map(|error| error.to_string())
        .collect();
    if complaints.is_empty() {
        Ok(())
    } else {
        Err(StepError::new(complaints.join("\n")))
    }
}
