//! The fleet: the nodes of a cluster that we start, from their plans to their first start.
//!
//! It joins what the application says (files, command) with what the backend gives (places, processes). When a node counts as ready is the barrier's; what may be done to a running node is `trellis-runtime`'s.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt, TryStreamExt, stream};
use trellis_domain::{CapabilitySet, ManagedNode, NodeName, NodeSighting, Origin, UnknownNode};

use crate::{
    Application, Artifact, BootstrapError, ClusterRequest, Deployer, Instance, NodeControl,
    NodePlan, PatchError, PeerPlan, Placement, patch, seeds,
};

/// How many places are reserved at the same time.
const PLACES_MAX: usize = 16;

/// The nodes that we start, in one cluster on one backend.
pub struct Fleet {
    app: Arc<dyn Application>,
    control: Arc<dyn NodeControl>,
    origin: Origin,
    capabilities: CapabilitySet,
    network: String,
    indices_after: u64,
    borrowed: Mutex<Vec<PeerPlan>>,
    members: Mutex<BTreeMap<NodeName, Member>>,
}

#[derive(Clone)]
struct Member {
    plan: NodePlan,
    spec: ManagedNode,
}

impl Fleet {
    /// Opens an empty cluster on `deployer`.
    ///
    /// # Errors
    /// A backend that cannot be used.
    pub async fn open(
        app: Arc<dyn Application>,
        deployer: &dyn Deployer,
        request: ClusterRequest,
    ) -> Result<Self, BootstrapError> {
        let network = request.network.clone();
        Ok(Self {
            capabilities: app.capabilities().intersection(deployer.capabilities()),
            control: deployer.open(request).await?,
            origin: Origin::Managed {
                deployer: deployer.name().to_owned(),
            },
            app,
            network,
            indices_after: 0,
            borrowed: Mutex::default(),
            members: Mutex::default(),
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
        *self.borrowed.lock().unwrap_or_else(PoisonError::into_inner) = peers;
    }

    /// Reserves a place for each of `nodes`, several at once; nothing is started. They are `founding` when the cluster begins with them.
    ///
    /// # Errors
    /// What the backend could not reserve; the places that it did reserve go with the cluster.
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
        let placed = nodes.iter().zip(placements);
        placed
            .map(|(spec, placement)| self.enter(spec.clone(), placement, founding))
            .collect()
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
        members.insert(spec.name.clone(), Member { plan, spec });
        Ok(sighting)
    }

    /// Gives a node that does not run other ports than it has.
    ///
    /// # Errors
    /// What the backend could not reserve.
    pub async fn replace_ports(&self, node: &NodeName) -> Result<NodeSighting, BootstrapError> {
        let mut member = self.member(node)?;
        let placement: Placement = self.control.replace_ports(node, &self.app.ports()).await?;
        member.plan.addresses = placement.addresses;
        let sighting = self.sighting(&member.plan)?;
        self.members().insert(node.clone(), member);
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

    /// Writes a node's files anew; they take effect at its next start.
    ///
    /// # Errors
    /// What the application or the backend could not do.
    pub async fn configure(&self, node: &NodeName) -> Result<(), BootstrapError> {
        let artifacts = self.artifacts(&self.member(node)?)?;
        Ok(self.control.configure(node, &artifacts).await?)
    }

    /// Adds configuration overrides to a node, after checking that they fit; [`Fleet::configure`] writes them.
    ///
    /// # Errors
    /// An override that does not fit; none of them is kept then.
    pub fn override_config(
        &self,
        node: &NodeName,
        overrides: &BTreeMap<String, String>,
    ) -> Result<(), BootstrapError> {
        let mut member = self.member(node)?;
        member.spec.overrides.extend(overrides.clone());
        self.artifacts(&member)?;
        self.members().insert(node.clone(), member);
        Ok(())
    }

    /// The files of a member, with its overrides in them.
    fn artifacts(&self, member: &Member) -> Result<Vec<Artifact>, BootstrapError> {
        let node = &member.plan.name;
        let mut artifacts = self
            .app
            .artifacts(&member.plan, &self.peers_of(member))
            .map_err(|source| BootstrapError::Artifacts {
                app: self.app.name().to_string(),
                node: node.clone(),
                source,
            })?;
        if !member.spec.overrides.is_empty() {
            self.patch(&mut artifacts, &member.spec.overrides)
                .map_err(|source| BootstrapError::Patch {
                    node: node.clone(),
                    source,
                })?;
        }
        Ok(artifacts)
    }

    fn patch(
        &self,
        artifacts: &mut [Artifact],
        overrides: &BTreeMap<String, String>,
    ) -> Result<(), PatchError> {
        let config = self.app.config_artifact();
        let Some(file) = artifacts
            .iter_mut()
            .find(|a| Some(a.path.as_str()) == config)
        else {
            return Err(PatchError::NoConfig {
                app: self.app.name().to_string(),
            });
        };
        let text = String::from_utf8_lossy(&file.content);
        file.content = patch::apply(&file.path, &text, overrides)?.into_bytes();
        Ok(())
    }

    /// The bootstrap policy for managed peers: a founding node is told of all founders; one that joins is told of those it is connected to, or else of every other. Both are told of the nodes of others.
    fn peers_of(&self, member: &Member) -> Vec<PeerPlan> {
        let members = self.members();
        let others = members
            .values()
            .filter(|other| other.plan.name != member.plan.name);
        let known = others.filter(|other| {
            if member.plan.founding {
                other.plan.founding
            } else {
                member.spec.connected_to.is_empty()
                    || member.spec.connected_to.contains(&other.plan.name)
            }
        });
        let borrowed = self.borrowed.lock().unwrap_or_else(PoisonError::into_inner);
        seeds(known.map(|other| other.plan.as_peer()), borrowed.clone())
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

    fn member(&self, node: &NodeName) -> Result<Member, UnknownNode> {
        let members = self.members();
        members.get(node).cloned().ok_or_else(|| UnknownNode {
            name: node.to_string(),
            known: members.keys().cloned().collect(),
        })
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<NodeName, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
