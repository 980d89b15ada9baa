//! The orchestrator: nine steps from a scenario's sources to an inventory of ready nodes.
//!
//! Each step is a function with a typed input and output, called in order by [`Attempt::run`]:
//! resolve sources, discover what is attached, normalise and ask who that is, deploy managed, merge, apply bootstrap policy, readiness barrier, preflight, hand over.
//! Nodes of others come first, since ours join the network that those are on.
//! Deploying is done in two halves: places are reserved first, so that the merge and the first half of preflight refuse a scenario before any process runs; processes start when the bootstrap policy has decided who is told of whom.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;
use trellis_domain::{
    NodeHandle, NodeInventory, NodeName, NodeSighting, NodeState, Ownership, ReadinessPolicy,
    ScenarioSpec, start_waves,
};

use crate::{
    Application, AttachProvider, BootstrapError, Cleanup, ClusterRequest, ConfigDelivery, Deployer,
    Fleet, MissingNode, NodeOperations, PlannedOperation, Progress, ReadinessBarrier,
    SharedInventory, UnknownField, borrowed_peers, discovery,
    identity::{Asked, ask_borrowed},
    preflight::{self, Preflight, check_fit},
};

/// How often a cluster is brought up anew because another process took one of its ports.
pub(crate) const PORT_ATTEMPTS: u32 = 3;
/// How many nodes are launched at the same time.
const LAUNCHES_MAX: usize = 16;

/// What the orchestrator needs to know.
pub struct BootstrapRequest {
    /// What the scenario wants.
    pub spec: ScenarioSpec,
    /// The application of its nodes.
    pub app: Arc<dyn Application>,
    /// The backend for managed nodes.
    pub deployer: Arc<dyn Deployer>,
    /// How managed nodes get their files.
    pub delivery: Arc<dyn ConfigDelivery>,
    /// What finds the nodes of clusters that run already; scenarios name them.
    pub attach: Vec<Arc<dyn AttachProvider>>,
    /// Where managed nodes are to be. Each attempt uses a folder of its own below `cluster.folder`.
    pub cluster: ClusterRequest,
    /// What the scenario's steps will do, as far as it is known.
    pub planned: Vec<PlannedOperation>,
    /// Where the logs and configurations of a cluster that failed are copied to, if anywhere.
    pub keep_on_failure: Option<PathBuf>,
    /// Who is told meanwhile.
    pub progress: Arc<dyn Progress>,
    /// Ends the bootstrap early; what had been started is removed then, too.
    pub cancel: CancellationToken,
}

/// A cluster that is ready.
pub struct Bootstrapped {
    /// Its nodes.
    pub inventory: SharedInventory,
    /// The nodes that we started; `None` when there are none.
    pub fleet: Option<Arc<Fleet>>,
    /// What can be done to attached nodes that the scenario opts in, where their provider can do anything.
    pub operations: Option<Arc<dyn NodeOperations>>,
    /// Nodes of the attached cluster that should be there and are not.
    pub missing: Vec<MissingNode>,
    /// What some nodes say of their network and others do not.
    pub unknown: Vec<UnknownField>,
}

/// What an attempt ends with, besides the fleet.
struct Ready {
    inventory: SharedInventory,
    operations: Option<Arc<dyn NodeOperations>>,
    missing: Vec<MissingNode>,
    unknown: Vec<UnknownField>,
}

/// Brings up what the scenario wants.
///
/// # Errors
/// Any failure is final for the scenario, and what had been started is removed before it is returned; only a port that another process took in the meantime is answered by a new attempt with other ports.
///
/// # Cancel safety
/// Cancel the token of the request instead of dropping the future: a dropped one kills its processes but leaves their folders for `trellis clean`.
pub async fn bootstrap(request: BootstrapRequest) -> Result<Bootstrapped, BootstrapError> {
    for number in 1.. {
        let mut attempt = Attempt {
            request: &request,
            number,
            fleet: None,
            inventory: None,
        };
        let result = tokio::select! {
            result = attempt.run() => result,
            () = request.cancel.cancelled() => Err(BootstrapError::Cancelled("bringing the cluster up")),
        };
        let error = match result {
            Ok(ready) => {
                return Ok(Bootstrapped {
                    inventory: ready.inventory,
                    fleet: attempt.fleet,
                    operations: ready.operations,
                    missing: ready.missing,
                    unknown: ready.unknown,
                });
            }
            Err(error) => error,
        };
        let again = taken_port(&error).filter(|_| number < PORT_ATTEMPTS);
        attempt.abandon(again.is_none()).await;
        let Some((node, port)) = again else {
            return Err(error);
        };
        request.progress.note(&format!(
            "another process listens on port {port}, which was {node}'s; bringing the cluster up with other ports"
        ));
    }
    unreachable!("the last attempt returns")
}

/// The node and port, when that is why the cluster did not come up.
fn taken_port(error: &BootstrapError) -> Option<(&NodeName, u16)> {
    match error {
        BootstrapError::Exited { node, report } => report.taken_port.map(|port| (node, port)),
        _ => None,
    }
}

/// One attempt to bring the cluster up. The fleet is kept apart from the running steps, so that they can be dropped and it can still be torn down.
struct Attempt<'a> {
    request: &'a BootstrapRequest,
    number: u32,
    fleet: Option<Arc<Fleet>>,
    /// The nodes as they were merged, once they were.
    inventory: Option<SharedInventory>,
}

impl Attempt<'_> {
    /// The nine steps.
    async fn run(&mut self) -> Result<Ready, BootstrapError> {
        let attach = discovery::resolve(self.request)?;
        let borrowed = discovery::discover(self.request, attach).await?;
        let app = &*self.request.app;
        let asked = ask_borrowed(app, borrowed.sightings, &*self.request.progress).await?;
        let managed = self.deploy(&asked).await?;
        let inventory = SharedInventory::new(self.merge(managed, &asked, &borrowed.missing)?);
        self.inventory = Some(inventory.clone());
        // However deep nodes depend on one another, the scenario's time is one.
        let since = Instant::now();
        self.apply_policy(&inventory, since).await?;
        let ready = self
            .await_readiness(&inventory, borrowed.missing.len(), since)
            .await?;
        let unknown = Preflight {
            app,
            inventory: &inventory,
            unknown: self.request.spec.unknown_identity,
            progress: &*self.request.progress,
        }
        .check(&ready)
        .await?;
        info!(
            nodes = inventory.snapshot().len(),
            missing = borrowed.missing.len(),
            attempt = self.number,
            "cluster is ready"
        );
        Ok(Ready {
            inventory,
            operations: borrowed.operations,
            missing: borrowed.missing,
            unknown,
        })
    }

    /// Step 4: reserves a place for every managed node. Beside nodes of others they found no cluster but join theirs, on its network and with numbers that nobody else has there.
    async fn deploy(&mut self, borrowed: &[Asked]) -> Result<Vec<NodeSighting>, BootstrapError> {
        let nodes = self.request.spec.sources.managed();
        if nodes.is_empty() {
            return Ok(Vec::new());
        }
        let mut cluster = self.request.cluster.clone();
        cluster.folder = cluster.folder.join(format!("attempt-{}", self.number));
        let app = Arc::clone(&self.request.app);
        let ours = cluster.network.clone();
        let (deployer, delivery) = (&*self.request.deployer, &*self.request.delivery);
        let mut fleet = Fleet::open(app, deployer, delivery, cluster).await?;
        if !borrowed.is_empty() {
            let mut theirs = borrowed.iter().map(|asked| &asked.sighting.network.network);
            let network = theirs.find_map(Clone::clone);
            let network_shown = network.as_deref().unwrap_or("unknown");
            self.request.progress.note(&format!(
                "nodes of ours join the network of the borrowed ones, which is {network_shown}"
            ));
            fleet.join_network(network, indices_of_guests(&ours));
        }
        let fleet = Arc::new(fleet);
        self.fleet = Some(Arc::clone(&fleet));
        fleet.place(nodes, borrowed.is_empty()).await
    }

    /// Step 5: one list, and the half of preflight that needs no node of ours to run.
    fn merge(
        &self,
        managed: Vec<NodeSighting>,
        borrowed: &[Asked],
        missing: &[MissingNode],
    ) -> Result<NodeInventory, BootstrapError> {
        let spec = &self.request.spec;
        let mut inventory = NodeInventory::adopting(spec.adopted.clone());
        let sightings = borrowed.iter().map(|asked| asked.sighting.clone());
        inventory.merge(managed.into_iter().chain(sightings))?;
        for name in silent(&inventory, borrowed) {
            inventory.set_state(&name, NodeState::Unreachable)?;
        }
        // What may be done to a node that is down just now is no mistake; nothing is done to it.
        let is_missing = |name: &NodeName| missing.iter().any(|missing| missing.name == *name);
        for (name, _) in spec.opt_ins.iter().filter(|(name, _)| !is_missing(name)) {
            inventory.node(name)?;
        }
        preflight::check_operations(&inventory, &self.request.planned, &spec.opt_ins)?;
        let nodes: Vec<NodeHandle> = inventory.nodes().cloned().collect();
        check_fit(&nodes)?;
        Ok(inventory)
    }

    /// Step 6: tells managed nodes of their peers and starts them, as many at once as their connections allow.
    async fn apply_policy(
        &self,
        inventory: &SharedInventory,
        since: Instant,
    ) -> Result<(), BootstrapError> {
        let Some(fleet) = &self.fleet else {
            return Ok(());
        };
        let nodes: Vec<NodeHandle> = inventory.snapshot().nodes().cloned().collect();
        fleet.set_borrowed_peers(borrowed_peers(&nodes, &self.request.app.ports()));
        let known: Vec<NodeName> = nodes.iter().map(|node| node.name().clone()).collect();
        let waves = start_waves(self.request.spec.sources.managed(), &known)?;
        let last = waves.len().saturating_sub(1);
        for (position, wave) in waves.iter().enumerate() {
            let names: Vec<NodeName> = wave.iter().map(|node| node.name.clone()).collect();
            launch_all(fleet, inventory, &names).await?;
            if position < last {
                // Who waits for a node waits for that node, whatever may do for the whole cluster.
                let barrier = self.barrier(ReadinessPolicy::AllReady, 0, since);
                barrier.wait(&handles(inventory, &names)?).await?;
            }
        }
        Ok(())
    }

    /// Step 7: waits until the policy is met, and gives the nodes that are ready.
    async fn await_readiness(
        &self,
        inventory: &SharedInventory,
        missing: usize,
        since: Instant,
    ) -> Result<Vec<NodeHandle>, BootstrapError> {
        let nodes: Vec<NodeHandle> = inventory.snapshot().nodes().cloned().collect();
        let barrier = self.barrier(self.request.spec.readiness, missing, since);
        let ready = barrier.wait(&nodes).await?;
        mark_running(inventory, &ready)
    }

    fn barrier(
        &self,
        policy: ReadinessPolicy,
        missing: usize,
        since: Instant,
    ) -> ReadinessBarrier<'_> {
        ReadinessBarrier {
            app: &self.request.app,
            control: self.fleet.as_ref().map(|fleet| fleet.control()),
            policy,
            missing,
            within: self.request.spec.ready_within,
            since,
            progress: &*self.request.progress,
        }
    }

    /// Removes what the attempt started; keeps logs and configurations first when the failure is final.
    async fn abandon(self, is_final: bool) {
        let Some(fleet) = self.fleet else { return };
        // Before the merge nothing was started that could have left a log.
        let cleanup = match self.inventory {
            Some(inventory) => Cleanup::of(&fleet, &inventory.snapshot()),
            None => Cleanup::new(&fleet, Vec::new()),
        };
        if let Some(target) = self.request.keep_on_failure.as_ref().filter(|_| is_final) {
            cleanup.collect(target).await;
        }
        if let Err(error) = cleanup.remove().await {
            self.request.progress.note(&error.to_string());
        }
    }
}

/// The nodes that are not ours and did not say who they are, under any of their names.
fn silent(inventory: &NodeInventory, borrowed: &[Asked]) -> Vec<NodeName> {
    let theirs = inventory
        .nodes()
        .filter(|node| node.ownership == Ownership::Borrowed);
    let silent = theirs.filter(|node| {
        let mut answered = borrowed.iter().filter(|asked| asked.answered);
        !answered.any(|asked| node.answers_to(&asked.sighting.name))
    });
    silent.map(|node| node.name().clone()).collect()
}

/// Where the numbers of our nodes begin in a cluster of others, whose numbers we do not know: far above any that people give, at a place that follows from the name of our own network, which no other run has.
///
/// Below 2^53, so that every format and language can hold them.
fn indices_of_guests(network: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    network.hash(&mut hasher);
    ((hasher.finish() >> 32) + 1) << 16
}

/// Starts nodes that have a place, several at once, and records each start.
async fn launch_all(
    fleet: &Fleet,
    inventory: &SharedInventory,
    nodes: &[NodeName],
) -> Result<(), BootstrapError> {
    let mut launches = stream::iter(nodes.to_vec())
        .map(|node| async move { Ok::<_, BootstrapError>((fleet.launch(&node).await?, node)) })
        .buffer_unordered(LAUNCHES_MAX);
    while let Some((instance, node)) = launches.try_next().await? {
        inventory.update(|nodes| nodes.started(&node, Some(instance.label)))?;
    }
    Ok(())
}

/// Records which nodes are ready, and gives them.
pub(crate) fn mark_running(
    inventory: &SharedInventory,
    ready: &BTreeSet<NodeName>,
) -> Result<Vec<NodeHandle>, BootstrapError> {
    let names: Vec<NodeName> = ready.iter().cloned().collect();
    for name in &names {
        inventory.update(|nodes| nodes.set_state(name, NodeState::Running))?;
    }
    handles(inventory, &names)
}

fn handles(
    inventory: &SharedInventory,
    names: &[NodeName],
) -> Result<Vec<NodeHandle>, BootstrapError> {
    let snapshot = inventory.snapshot();
    Ok(names
        .iter()
        .map(|name| snapshot.node(name).cloned())
        .collect::<Result<_, _>>()?)
}
