//! The fleet: the nodes of a cluster that we start, from their plans to their first start.
//!
//! It joins what the application says (files, command) with what the backend gives (places, processes); files come through config delivery, for which every node registers. When a node counts as ready is the barrier's; what may be done to a running node is `trellis-runtime`'s.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use trellis_domain::{CapabilitySet, ManagedNode, NodeName, NodeSighting, Origin, UnknownNode};

use crate::{
    Application, BootstrapError, ClusterRequest, ConfigChannel, ConfigDelivery, Deployer, Instance,
    NodeControl, NodePlan, NodeRecord, PeerPlan, Placement, ProviderError, Rendering,
};

/// How many places are reserved at the same time, and how many nodes register.
const PLACES_MAX: usize = 16;

/// The nodes that we start, in one cluster on one backend.
pub struct Fleet {
    app: Arc<dyn Application>,
    control: Arc<dyn NodeControl>,
    origin: Origin,
    capabilities: CapabilitySet,
    network: String,
    indices_after: u64,
    rendering: Arc<Rendering>,
    channel: Arc<dyn ConfigChannel>,
    members: Mutex<BTreeMap<NodeName, NodeRecord>>,
    /// Of each node, so that two changes of one node follow each other.
    changes: Mutex<BTreeMap<NodeName, Arc<AsyncMutex<()>>>>,
}

impl Fleet {
    /// Opens an empty cluster on `deployer`, whose nodes get their files through `delivery`.
    ///
    /// # Errors
    /// A backend or a delivery that cannot be used.
    pub async fn open(
        app: Arc<dyn Application>,
        deployer: &dyn Deployer,
        delivery: &dyn ConfigDelivery,
        request: ClusterRequest,
    ) -> Result<Self, BootstrapError> {
        let network = request.network.clone();
        let rendering = Arc::new(Rendering::new(Arc::clone(&app)));
        let opened = delivery.open(Arc::clone(&rendering)).await;
        let channel = opened.map_err(|source| BootstrapError::NoDelivery { source })?;
        Ok(Self {
            rendering,
            channel,
            capabilities: app.capabilities().intersection(deployer.capabilities()),
            control: deployer.open(request).await?,
            origin: Origin::Managed {
                deployer: deployer.name().to_owned(),
            },
            app,
            network,
            indices_after: 0,
            members: Mutex::default(),
            changes: Mutex::default(),
        })
    }

    /// What controls its nodes.
    pub fn control(&self) -> &Arc<dyn NodeControl> {
        &self.control
    }

    /// Its application.
    pub fn app(&self) -> &Arc<dyn Application> {
        &self.app
    }

    /// Nodes that are placed from now on join `network` instead of one of their own, and their numbers begin after `indices_after`, so that they are nobody else's there.
    pub fn join_network(&mut self, network: Option<String>, indices_after: u64) {
        self.network = network.unwrap_or_else(|| self.network.clone());
        self.indices_after = indices_after;
    }

    /// Every node is told of these nodes of others from now on.
    pub fn set_borrowed_peers(&self, peers: Vec<PeerPlan>) {
        self.rendering.set_borrowed_peers(peers);
    }

    /// Reserves a place for each of `nodes` and registers it, several at once; nothing is started. They are `founding` when the cluster begins with them.
    ///
    /// # Errors
    /// What the backend could not reserve or the delivery could not take in; the places that were reserved go with the cluster.
    pub async fn place(
        &self,
        nodes: &[ManagedNode],
        founding: bool,
    ) -> Result<Vec<NodeSighting>, BootstrapError> {
        let ports = self.app.ports();
        // In the order of `nodes`, whoever is placed first: the index of a node is the same in every run.
        let placements: Vec<Placement> = stream::iter(nodes.to_vec())
            .map(|spec| {
                let ports = &ports;
                async move { self.control.place(&spec.name, ports).await }
            })
            .buffered(PLACES_MAX)
            .try_collect()
            .await?;
        self.rendering
            .admit(nodes.iter().map(|node| node.name.clone()));
        if founding {
            self.rendering
                .expect(nodes.iter().map(|node| node.name.clone()));
        }
        let placed = nodes.iter().zip(placements);
        let sightings = placed
            .map(|(spec, placement)| self.enter(spec.clone(), placement, founding))
            .collect::<Result<Vec<_>, _>>()?;
        self.register_all(nodes).await?;
        Ok(sightings)
    }

    async fn register_all(&self, nodes: &[ManagedNode]) -> Result<(), BootstrapError> {
        let names: Vec<NodeName> = nodes.iter().map(|node| node.name.clone()).collect();
        stream::iter(names.into_iter().map(Ok))
            .try_for_each_concurrent(PLACES_MAX, |name| async move {
                self.register(&self.member(&name)?).await
            })
            .await
    }

    /// Makes a member known to the delivery as `record` has it.
    async fn register(&self, record: &NodeRecord) -> Result<(), BootstrapError> {
        let registered = self.channel.register(record).await;
        registered.map_err(|source| BootstrapError::Delivery {
            node: record.plan.name.clone(),
            source,
        })
    }

    /// The turn of whoever changes `node`.
    async fn turn(&self, node: &NodeName) -> OwnedMutexGuard<()> {
        let turns = {
            let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(changes.entry(node.clone()).or_default())
        };
        turns.lock_owned().await
    }

    /// Makes a placed node a member, with the next index.
    fn enter(
        &self,
        spec: ManagedNode,
        placement: Placement,
        founding: bool,
    ) -> Result<NodeSighting, BootstrapError> {
        let mut members = self.members();
        let last = members.values().map(|member| member.plan.index).max();
        let plan = NodePlan {
            name: spec.name.clone(),
            index: last.unwrap_or(self.indices_after) + 1,
            network: self.network.clone(),
            founding,
            addresses: placement.addresses,
            config_dir: placement.config_dir,
            data_dir: placement.data_dir,
        };
        let sighting = self.sighting(&plan)?;
        members.insert(spec.name.clone(), NodeRecord { plan, spec });
        Ok(sighting)
    }

    /// Gives a node that does not run other ports than it has.
    ///
    /// # Errors
    /// What the backend could not reserve.
    pub async fn replace_ports(&self, node: &NodeName) -> Result<NodeSighting, BootstrapError> {
        let _turn = self.turn(node).await;
        let mut member = self.member(node)?;
        let placement: Placement = self.control.replace_ports(node, &self.app.ports()).await?;
        member.plan.addresses = placement.addresses;
        let sighting = self.sighting(&member.plan)?;
        // It has these ports now, whether that can be told or not.
        self.members().insert(node.clone(), member.clone());
        self.register(&member).await?;
        Ok(sighting)
    }

    /// Writes a placed node's files and starts it for the first time.
    ///
    /// # Errors
    /// What the application or the backend could not do.
    pub async fn launch(&self, node: &NodeName) -> Result<Instance, BootstrapError> {
        self.configure(node).await?;
        let command = self.app.command(&self.member(node)?.plan);
        Ok(self.control.launch(node, &command).await?)
    }

    /// Fetches a node's files and writes them anew; they take effect at its next start.
    ///
    /// # Errors
    /// What the application, the delivery or the backend could not do.
    pub async fn configure(&self, node: &NodeName) -> Result<(), BootstrapError> {
        let fetched = self.channel.fetch(&self.member(node)?).await;
        let files = fetched.map_err(|source| {
            self.unmakeable().unwrap_or(BootstrapError::Delivery {
                node: node.clone(),
                source,
            })
        })?;
        Ok(self.control.configure(node, &files).await?)
    }

    /// Why files cannot be made, if that is so. What comes through the delivery has lost its type and gained the words of everything in between.
    fn unmakeable(&self) -> Option<BootstrapError> {
        let members = self.members();
        let made = |node| self.rendering.files(node, members.values());
        members.values().find_map(|node| made(node).err())
    }

    /// Adds configuration overrides to a node, after checking that they fit; [`Fleet::configure`] writes them.
    ///
    /// # Errors
    /// An override that does not fit, or a delivery that does not take it in; none of them is kept then.
    pub async fn override_config(
        &self,
        node: &NodeName,
        overrides: &BTreeMap<String, String>,
    ) -> Result<(), BootstrapError> {
        let _turn = self.turn(node).await;
        let mut member = self.member(node)?;
        member.spec.overrides.extend(overrides.clone());
        self.rendering.files(&member, self.members().values())?;
        self.register(&member).await?;
        // Not before that has succeeded: what was refused must not come back with a later change.
        self.members().insert(node.clone(), member);
        Ok(())
    }

    /// Ends every node and removes everything that the cluster kept. May be called again.
    ///
    /// # Errors
    /// What is left, after trying everything.
    pub async fn teardown(&self) -> Result<(), ProviderError> {
        self.channel.close().await;
        self.control.teardown().await
    }

    fn sighting(&self, plan: &NodePlan) -> Result<NodeSighting, BootstrapError> {
        let mut sighting = NodeSighting::new(plan.name.clone(), self.origin.clone());
        sighting.capabilities = self.capabilities;
        for (name, address) in &plan.addresses {
            let endpoint =
                address
                    .endpoint(name.clone())
                    .map_err(|source| BootstrapError::Address {
                        node: plan.name.clone(),
                        source,
                    })?;
            sighting.endpoints.insert(endpoint);
        }
        Ok(sighting)
    }

    fn member(&self, node: &NodeName) -> Result<NodeRecord, UnknownNode> {
        let members = self.members();
        members.get(node).cloned().ok_or_else(|| UnknownNode {
            name: node.to_string(),
            known: members.keys().cloned().collect(),
        })
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<NodeName, NodeRecord>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
