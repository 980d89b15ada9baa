//! The cluster: one scenario's nodes while it runs, from bootstrap to release.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use trellis_bootstrap::{
    Application, BootstrapError, BootstrapRequest, Cleanup, Fleet, JoinRequest, LogTail,
    MissingNode, NodeOperations, PlannedOperation, Progress, ProviderError, Settling,
    SharedInventory, UnknownField, bootstrap, join,
};
use trellis_domain::{
    ManagedNode, NodeHandle, NodeName, NodeState, Operation, Permit, ReadinessPolicy,
    ScenarioSources, ScenarioSpec, UnknownNode,
};
use trellis_observation::{ObservationConfig, ObservationHandle, ObservationRuntime, Observer};

use crate::{Journal, NodeSources, OperationError, Tasks, monitor::watch_exits};

/// How long background tasks may take to end after they were cancelled.
const TASKS_END_WITHIN: Duration = Duration::from_secs(5);

/// A running cluster. Cheap to clone; clones are the same cluster.
///
/// It is released by [`Cluster::release`]. A cluster that is dropped instead has its processes killed by its backend and its files left for `trellis clean`.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) spec: ScenarioSpec,
    pub(crate) app: Arc<dyn Application>,
    pub(crate) fleet: Option<Arc<Fleet>>,
    pub(crate) inventory: SharedInventory,
    pub(crate) operations: Option<Arc<dyn NodeOperations>>,
    pub(crate) missing: Vec<MissingNode>,
    pub(crate) unknown: Vec<UnknownField>,
    pub(crate) planned: Vec<PlannedOperation>,
    pub(crate) progress: Arc<dyn Progress>,
    pub(crate) tasks: Tasks,
    pub(crate) journal: Journal,
}

impl Cluster {
    /// Brings up what `request` wants and watches over it.
    ///
    /// # Errors
    /// As for [`bootstrap`]; nothing is left then.
    pub async fn boot(request: BootstrapRequest, journal: Journal) -> Result<Self, BootstrapError> {
        let spec = request.spec.clone();
        let app = Arc::clone(&request.app);
        let planned = request.planned.clone();
        let progress = Arc::clone(&request.progress);
        let cancel: CancellationToken = request.cancel.clone();
        journal.note(format!("bringing up {} of {}", wanted(&spec), spec.app));
        let bootstrapped = bootstrap(request)
            .await
            .inspect_err(|error| journal.note(format!("the cluster did not come up: {error}")))?;
        journal.note("the cluster is ready");
        for missing in &bootstrapped.missing {
            journal.note(format!("it lacks {missing}"));
        }
        for unknown in &bootstrapped.unknown {
            journal.note(format!("not known: {unknown}"));
        }
        let cluster = Self {
            inner: Arc::new(Inner {
                spec,
                app,
                fleet: bootstrapped.fleet,
                inventory: bootstrapped.inventory,
                operations: bootstrapped.operations,
                missing: bootstrapped.missing,
                unknown: bootstrapped.unknown,
                planned,
                progress,
                tasks: Tasks::below(&cancel),
                journal,
            }),
        };
        for node in cluster.inventory().snapshot().nodes() {
            cluster.monitor(node.name());
        }
        Ok(cluster)
    }

    /// Its nodes: read, watched and waited for by anybody, changed only here.
    pub fn inventory(&self) -> &SharedInventory {
        &self.inner.inventory
    }

    /// The application that its nodes run.
    pub fn app(&self) -> &Arc<dyn Application> {
        &self.inner.app
    }

    /// What the scenario wanted.
    pub fn spec(&self) -> &ScenarioSpec {
        &self.inner.spec
    }

    /// Its background tasks; they end with it.
    pub fn tasks(&self) -> &Tasks {
        &self.inner.tasks
    }

    /// What happened so far.
    pub fn journal(&self) -> &Journal {
        &self.inner.journal
    }

    /// The nodes of the attached cluster that should have been found and were not.
    pub fn missing(&self) -> &[MissingNode] {
        &self.inner.missing
    }

    /// What some nodes said of their network, and others did not, when the cluster came up.
    pub fn unknown(&self) -> &[UnknownField] {
        &self.inner.unknown
    }

    /// The node of this name, as it is now.
    ///
    /// # Errors
    /// Lists the known names when there is none.
    pub fn node(&self, name: &NodeName) -> Result<NodeHandle, UnknownNode> {
        self.inner.inventory.node(name)
    }

    /// The nodes that are neither stopped, paused, unreachable nor gone.
    pub fn running(&self) -> Vec<NodeHandle> {
        self.inner.inventory.snapshot().running().cloned().collect()
    }

    /// The one check that stands before every operation.
    ///
    /// # Errors
    /// An unknown node, or a refusal that names the node, the operation and what would be needed.
    pub fn permit(&self, name: &NodeName, operation: Operation) -> Result<Permit, OperationError> {
        let node = self.node(name)?;
        Ok(Permit::check(&node, operation, &self.inner.spec.opt_ins)?)
    }

    /// Adds a node. `ready_within` is how long it may take to become ready.
    ///
    /// # Errors
    /// As for [`join`].
    pub async fn join(
        &self,
        node: &ManagedNode,
        ready_within: Duration,
    ) -> Result<NodeHandle, BootstrapError> {
        self.join_with_data(node, ready_within, None).await
    }

    /// Adds a node that begins with what another one saved: a label and its node.
    ///
    /// # Errors
    /// As for [`join`], or an unknown copy with the known ones.
    pub async fn join_with_data(
        &self,
        node: &ManagedNode,
        ready_within: Duration,
        data: Option<(&str, &NodeName)>,
    ) -> Result<NodeHandle, BootstrapError> {
        let Some(fleet) = &self.inner.fleet else {
            let node = node.name.clone();
            return Err(BootstrapError::NoFleet { node });
        };
        self.inner
            .journal
            .note(format!("starting new node {}", node.name));
        let is_new = self.node(&node.name).is_err();
        let joined = join(JoinRequest {
            fleet,
            inventory: &self.inner.inventory,
            node,
            data,
            planned: &self.inner.planned,
            opt_ins: &self.inner.spec.opt_ins,
            unknown: self.inner.spec.unknown_identity,
            ready_within,
            progress: &*self.inner.progress,
        })
        .await;
        if is_new {
            self.monitor(&node.name);
        }
        joined
    }

    /// Starts a node, a new one or one that is down, and goes on at once; what becomes of it is the task's result. The start is given up when the cluster is released.
    pub fn begin_start(
        &self,
        node: &ManagedNode,
        ready_within: Duration,
    ) -> JoinHandle<Result<NodeHandle, OperationError>> {
        let (cluster, node) = (self.clone(), node.clone());
        let cancelled = self.inner.tasks.token().clone();
        tokio::spawn(async move {
            let is_new = cluster.node(&node.name).is_err();
            let failed = |source| OperationError::Bootstrap {
                operation: Operation::Start,
                node: node.name.clone(),
                source: Box::new(source),
            };
            let start = async {
                if is_new {
                    cluster.join(&node, ready_within).await.map_err(failed)
                } else {
                    cluster.start(&node.name).await
                }
            };
            tokio::select! {
                started = start => started,
                () = cancelled.cancelled() => Err(failed(BootstrapError::Cancelled("starting a node"))),
            }
        })
    }

    /// Starts observing the running nodes through clients that `client` makes; ends with the cluster.
    pub fn observe<O, F>(
        &self,
        observer: O,
        client: F,
        config: ObservationConfig,
    ) -> ObservationHandle<O>
    where
        O: Observer,
        F: Fn(&NodeHandle) -> Option<O::Source> + Send + Sync + 'static,
    {
        let token = self.inner.tasks.token().clone();
        let sources = NodeSources::new(self.inner.inventory.clone(), client);
        let config = config.with_cancel(token.clone());
        let runtime = ObservationRuntime::start(observer, sources, config);
        let handle = runtime.handle();
        self.inner.tasks.spawn_to_end("observation", async move {
            token.cancelled().await;
            runtime.shutdown().await;
        });
        handle
    }

    /// The last `lines` lines that a node logged.
    ///
    /// # Errors
    /// A node without a log that we can read.
    pub async fn log_tail(&self, name: &NodeName, lines: usize) -> Result<LogTail, OperationError> {
        let permit = self.permit(name, Operation::ReadLogs)?;
        let operations = self.operations(&permit)?;
        let tail = operations.log_tail(permit.name(), lines).await;
        tail.map_err(|source| OperationError::Provider {
            operation: Operation::ReadLogs,
            node: name.clone(),
            log: None,
            source: Box::new(source),
        })
    }

    /// Waits until so many nodes are ready that `policy` is met, instead of the scenario's own; nodes that were stopped or paused on purpose are left out. A borrowed node that was unreachable counts as running again when it is ready.
    ///
    /// # Errors
    /// As for [`bootstrap`], with every node as it was seen last; the nodes are left as they are.
    pub async fn await_ready(
        &self,
        policy: ReadinessPolicy,
        within: Duration,
    ) -> Result<(), BootstrapError> {
        let awaited =
            |node: &&NodeHandle| node.state.is_running() || node.state == NodeState::Unreachable;
        let inventory = self.inner.inventory.snapshot();
        let nodes: Vec<NodeHandle> = inventory.nodes().filter(awaited).cloned().collect();
        let missing = self.inner.missing.len();
        self.settling()
            .settle_all(&nodes, policy, missing, within)
            .await
    }

    /// Copies the logs and configuration of every node of ours below `target`, a folder a node. What cannot be copied is skipped with a warning.
    pub async fn collect(&self, target: &Path) {
        let Some(fleet) = &self.inner.fleet else {
            return;
        };
        let inventory = self.inner.inventory.snapshot();
        Cleanup::of(fleet, &inventory).collect(target).await;
    }

    /// Ends everything that is ours: background tasks, processes, folders. May be called again.
    ///
    /// # Errors
    /// What is left, after trying everything.
    pub async fn release(&self) -> Result<(), ProviderError> {
        if let Err(error) = self.inner.tasks.shutdown(TASKS_END_WITHIN).await {
            warn!(%error, "not all background tasks ended");
        }
        match &self.inner.fleet {
            Some(fleet) => {
                let inventory = self.inner.inventory.snapshot();
                Cleanup::of(fleet, &inventory).remove().await
            }
            None => Ok(()),
        }
    }

    /// What waits for nodes that were started.
    pub(crate) fn settling(&self) -> Settling<'_> {
        Settling {
            app: &self.inner.app,
            control: self.inner.fleet.as_ref().map(|fleet| fleet.control()),
            inventory: &self.inner.inventory,
            unknown: self.inner.spec.unknown_identity,
            progress: &*self.inner.progress,
        }
    }

    /// What carries out operations on the node that `permit` is for: the backend of our own nodes, or what the attach provider handed over. An operation that took an opt-in is written down.
    pub(crate) fn operations(
        &self,
        permit: &Permit,
    ) -> Result<&dyn NodeOperations, OperationError> {
        if permit.node().is_managed() {
            return Ok(&**self.fleet(permit)?.control());
        }
        let (node, operation) = (permit.node(), permit.operation());
        let Some(operations) = &self.inner.operations else {
            return Err(OperationError::NoOperations {
                operation,
                node: node.name().clone(),
            });
        };
        if permit.is_opted_in() {
            let origins = node.shown_origins();
            warn!(%node, %operation, %origins, "touching a borrowed node, opted in by the feature");
            self.inner.journal.note(format!(
                "opted in by the feature: {operation} {node}, which is borrowed ({origins})"
            ));
        }
        Ok(&**operations)
    }

    /// The nodes of ours that `permit` belongs to.
    pub(crate) fn fleet(&self, permit: &Permit) -> Result<&Arc<Fleet>, OperationError> {
        self.inner
            .fleet
            .as_ref()
            .ok_or_else(|| OperationError::NoOperations {
                operation: permit.operation(),
                node: permit.name().clone(),
            })
    }

    fn monitor(&self, name: &NodeName) {
        let managed = self.node(name).is_ok_and(|node| node.is_managed());
        if let Some(fleet) = self.inner.fleet.as_ref().filter(|_| managed) {
            let watch = watch_exits(
                name.clone(),
                Arc::clone(fleet.control()),
                self.inner.inventory.clone(),
                self.inner.journal.clone(),
            );
            self.inner.tasks.spawn(format!("monitor of {name}"), watch);
        }
    }
}

/// What a scenario wants, in words.
fn wanted(spec: &ScenarioSpec) -> String {
    let external = match spec.sources.external().len() {
        0 => String::new(),
        n => format!(" beside {n} external ones"),
    };
    match &spec.sources {
        ScenarioSources::Managed { nodes, .. } => format!("{} nodes{external}", nodes.len()),
        ScenarioSources::Attached { attach, .. } => format!(
            "the nodes of {}:{}{external}",
            attach.provider, attach.cluster
        ),
        ScenarioSources::ExternalOnly { external } => {
            format!("{} external nodes", external.len())
        }
    }
}
