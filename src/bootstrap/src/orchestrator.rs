//! The orchestrator: nine steps from a scenario's sources to an inventory of ready nodes.
//!
//! Each step is a function with a typed input and output, called in order by [`Attempt::run`]:
//! resolve sources, deploy managed, discover attached, normalise, merge, apply bootstrap policy, readiness barrier, preflight, hand over.
//! Deploying is done in two halves: places are reserved first, so that the merge and the first half of preflight refuse a scenario before any process runs; processes start when the bootstrap policy has decided who is told of whom.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use trellis_domain::{
    AttachSpec, CapabilitySet, ExternalNode, ManagedNode, NodeHandle, NodeInventory, NodeName,
    NodeSighting, NodeState, Origin, OwnedNode, ScenarioSources, ScenarioSpec, start_waves,
};

use crate::{
    Application, AttachProvider, BootstrapError, ClusterRequest, ConfigDelivery, Deployer, Fleet,
    MissingNode, NodeOperations, PlannedOperation, Progress, ReadinessBarrier, SharedInventory,
    preflight,
};

/// How often a cluster is brought up anew because another process took one of its ports.
pub(crate) const PORT_ATTEMPTS: u32 = 3;
/// How long a node that is ready may take to say who it is.
const IDENTIFY_WITHIN: Duration = Duration::from_secs(5);
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
            Ok(inventory) => {
                return Ok(Bootstrapped {
                    inventory,
                    fleet: attempt.fleet,
                    operations: None,
                    missing: Vec::new(),
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
    async fn run(&mut self) -> Result<SharedInventory, BootstrapError> {
        let sources = resolve(&self.request.spec)?;
        let managed = self.deploy(sources.managed()).await?;
        let attached = discover(sources)?;
        let sightings = normalise(managed, attached, sources.external());
        let inventory = SharedInventory::new(self.merge(sightings)?);
        self.inventory = Some(inventory.clone());
        self.apply_policy(&inventory, sources.managed()).await?;
        let ready = self.await_readiness(&inventory).await?;
        preflight_ready(&*self.request.app, &inventory, &ready).await?;
        info!(
            nodes = inventory.snapshot().len(),
            attempt = self.number,
            "cluster is ready"
        );
        Ok(inventory)
    }

    /// Step 2: reserves a place for every managed node.
    async fn deploy(&mut self, nodes: &[ManagedNode]) -> Result<Vec<NodeSighting>, BootstrapError> {
        if nodes.is_empty() {
            return Ok(Vec::new());
        }
        let mut cluster = self.request.cluster.clone();
        cluster.folder = cluster.folder.join(format!("attempt-{}", self.number));
        let app = Arc::clone(&self.request.app);
        let (deployer, delivery) = (&*self.request.deployer, &*self.request.delivery);
        let fleet = Arc::new(Fleet::open(app, deployer, delivery, cluster).await?);
        self.fleet = Some(Arc::clone(&fleet));
        fleet.place(nodes, true).await
    }

    /// Step 5: one list, and the half of preflight that needs no running node.
    fn merge(&self, sightings: Vec<NodeSighting>) -> Result<NodeInventory, BootstrapError> {
        let spec = &self.request.spec;
        let mut inventory = NodeInventory::adopting(spec.adopted.clone());
        inventory.merge(sightings)?;
        preflight::check_operations(&inventory, &self.request.planned, &spec.opt_ins)?;
        Ok(inventory)
    }

    /// Step 6: tells managed nodes of their peers and starts them, as many at once as their connections allow.
    async fn apply_policy(
        &self,
        inventory: &SharedInventory,
        nodes: &[ManagedNode],
    ) -> Result<(), BootstrapError> {
        let Some(fleet) = &self.fleet else {
            return Ok(());
        };
        let known: Vec<NodeName> = inventory
            .snapshot()
            .nodes()
            .map(|n| n.name().clone())
            .collect();
        let waves = start_waves(nodes, &known)?;
        let last = waves.len().saturating_sub(1);
        for (position, wave) in waves.iter().enumerate() {
            let names: Vec<NodeName> = wave.iter().map(|node| node.name.clone()).collect();
            launch_all(fleet, inventory, &names).await?;
            if position < last {
                self.barrier().wait(&handles(inventory, &names)?).await?;
            }
        }
        Ok(())
    }

    /// Step 7: waits until the policy is met, and gives the nodes that are ready.
    async fn await_readiness(
        &self,
        inventory: &SharedInventory,
    ) -> Result<Vec<NodeHandle>, BootstrapError> {
        let nodes: Vec<NodeHandle> = inventory.snapshot().nodes().cloned().collect();
        let ready = self.barrier().wait(&nodes).await?;
        mark_running(inventory, &ready)
    }

    fn barrier(&self) -> ReadinessBarrier<'_> {
        ReadinessBarrier {
            app: &self.request.app,
            control: self.fleet.as_ref().map(|fleet| fleet.control()),
            policy: self.request.spec.readiness,
            within: self.request.spec.ready_within,
            progress: &*self.request.progress,
        }
    }

    /// Removes what the attempt started; keeps logs and configurations first when the failure is final.
    async fn abandon(self, is_final: bool) {
        let Some(fleet) = self.fleet else { return };
        let keep = self.request.keep_on_failure.as_ref().filter(|_| is_final);
        // Before the merge nothing was started that could have left a log.
        if let (Some(target), Some(inventory)) = (keep, self.inventory) {
            collect_owned(&fleet, &inventory, target).await;
        }
        if let Err(error) = fleet.teardown().await {
            self.request.progress.note(&error.to_string());
        }
    }
}

/// Step 1: valid sources of a kind that can be resolved.
fn resolve(spec: &ScenarioSpec) -> Result<&ScenarioSources, BootstrapError> {
    spec.sources.validate()?;
    let not_wired = |what: String| BootstrapError::NotWired {
        what,
        hint: "only nodes that the harness starts itself are supported so far",
    };
    match &spec.sources {
        ScenarioSources::Managed { external, .. } if external.is_empty() => Ok(&spec.sources),
        ScenarioSources::Managed { external, .. } | ScenarioSources::ExternalOnly { external } => {
            Err(not_wired(format!("external nodes ({})", names(external))))
        }
        ScenarioSources::Attached {
            attach: AttachSpec { provider, cluster },
            ..
        } => Err(not_wired(format!(
            "the attached cluster {provider}:{cluster}"
        ))),
    }
}

fn names(external: &[ExternalNode]) -> String {
    external
        .iter()
        .map(|node| node.name.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

/// Step 3: the nodes of the cluster to attach to; `resolve` lets no attached sources through yet.
fn discover(sources: &ScenarioSources) -> Result<Vec<NodeSighting>, BootstrapError> {
    match sources {
        ScenarioSources::Managed { .. } | ScenarioSources::ExternalOnly { .. } => Ok(Vec::new()),
        ScenarioSources::Attached { attach, .. } => Err(BootstrapError::NotWired {
            what: format!("discovery in {}:{}", attach.provider, attach.cluster),
            hint: "no attach provider is registered",
        }),
    }
}

/// Step 4: every source's nodes in one form.
fn normalise(
    managed: Vec<NodeSighting>,
    attached: Vec<NodeSighting>,
    external: &[ExternalNode],
) -> Vec<NodeSighting> {
    let external = external.iter().map(|node| {
        let origin = Origin::External {
            listed_in: node.listed_in.clone(),
        };
        let mut sighting = NodeSighting::new(node.name.clone(), origin);
        sighting.capabilities = CapabilitySet::BORROWED;
        sighting.endpoints.clone_from(&node.endpoints);
        sighting
    });
    managed
        .into_iter()
        .chain(attached)
        .chain(external)
        .collect()
}

/// Step 8: asks ready nodes who they are and refuses those that do not fit together.
pub(crate) async fn preflight_ready(
    app: &dyn Application,
    inventory: &SharedInventory,
    ready: &[NodeHandle],
) -> Result<(), BootstrapError> {
    let ask = async |node: &NodeHandle| {
        let answer = timeout(IDENTIFY_WITHIN, app.identify(node)).await;
        answer.unwrap_or_else(|_| Err(format!("no answer within {IDENTIFY_WITHIN:?}").into()))
    };
    let mut answers = stream::iter(ready.to_vec())
        .map(|node| async move { (node.name().clone(), ask(&node).await) })
        .buffer_unordered(LAUNCHES_MAX);
    while let Some((node, answer)) = answers.next().await {
        let said = answer.map_err(|source| BootstrapError::Identify {
            node: node.clone(),
            source,
        })?;
        inventory.update(|nodes| nodes.identify(&node, said.peer_id.as_ref(), &said.network))?;
    }
    let nodes: Vec<NodeHandle> = inventory.snapshot().nodes().cloned().collect();
    Ok(preflight::check_compatibility(&nodes)?)
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

/// Copies the logs and configuration of every node of ours below `target`, a folder a node. What cannot be copied is skipped with a warning.
pub async fn collect_owned(fleet: &Fleet, inventory: &SharedInventory, target: &Path) {
    let nodes = inventory.snapshot();
    let ours = nodes
        .nodes()
        .filter_map(|node| OwnedNode::try_from(node).ok());
    for node in ours {
        let target = target.join(node.name().as_str());
        if let Err(error) = fleet.control().collect(&node, &target).await {
            warn!(%node, %error, "logs were not kept");
        }
    }
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
