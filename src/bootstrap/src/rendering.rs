//! Rendering: the files of a node, made from what the nodes of its cluster have registered.
//!
//! A function of its inputs, but for what it was told before the cluster began. How records get here and files from here to a node is [`crate::ConfigDelivery`]'s.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cfgsync_artifacts::ArtifactFile;
use serde::{Deserialize, Serialize};
use trellis_domain::{ManagedNode, NodeName};

use crate::{Application, BootstrapError, NodePlan, PatchError, PeerPlan, apply_overrides, seeds};

/// What a node registers: all that its own files and those of its peers may depend on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Where it is and what it is called.
    pub plan: NodePlan,
    /// What the scenario wants of it.
    pub spec: ManagedNode,
}

/// Makes the files of a cluster's nodes.
pub struct Rendering {
    app: Arc<dyn Application>,
    known: Mutex<Known>,
}

/// What is known besides registrations.
#[derive(Default)]
struct Known {
    /// Nodes without which nobody can start: those that the cluster begins with.
    founders: BTreeSet<NodeName>,
    /// All nodes that are ours, founders among them; nobody else registers.
    placed: BTreeSet<NodeName>,
    /// Nodes of others, which never register.
    borrowed: Vec<PeerPlan>,
}

impl Rendering {
    /// Renders the files that `app` makes.
    pub fn new(app: Arc<dyn Application>) -> Self {
        Self {
            app,
            known: Mutex::default(),
        }
    }

    /// No files before these have registered, too.
    pub fn expect(&self, founders: impl IntoIterator<Item = NodeName>) {
        self.known().founders.extend(founders);
    }

    /// Every node is told of these nodes of others from now on.
    pub fn set_borrowed_peers(&self, peers: Vec<PeerPlan>) {
        self.known().borrowed = peers;
    }

    /// These are nodes of the cluster from now on, and may register.
    pub fn admit(&self, placed: impl IntoIterator<Item = NodeName>) {
        self.known().placed.extend(placed);
    }

    /// Whether `name` is a node of the cluster.
    pub fn admits(&self, name: &str) -> bool {
        name.parse()
            .is_ok_and(|name: NodeName| self.known().placed.contains(&name))
    }

    /// The nodes of the cluster.
    pub fn admitted(&self) -> Vec<NodeName> {
        self.known().placed.iter().cloned().collect()
    }

    /// Those that have to register before anybody gets files.
    pub fn expected(&self) -> Vec<NodeName> {
        self.known().founders.iter().cloned().collect()
    }

    /// The files of `node` among `registered`, with its overrides in them.
    ///
    /// # Errors
    /// What the application could not make, or an override that does not fit.
    pub fn files<'a>(
        &self,
        node: &NodeRecord,
        registered: impl IntoIterator<Item = &'a NodeRecord>,
    ) -> Result<Vec<ArtifactFile>, BootstrapError> {
        let name = &node.plan.name;
        let peers = self.peers_of(node, registered);
        let mut files =
            self.app
                .artifacts(&node.plan, &peers)
                .map_err(|source| BootstrapError::Artifacts {
                    app: self.app.name().to_string(),
                    node: name.clone(),
                    source,
                })?;
        if !node.spec.overrides.is_empty() {
            self.patch(&mut files, &node.spec.overrides)
                .map_err(|source| BootstrapError::Patch {
                    node: name.clone(),
                    source,
                })?;
        }
        Ok(files)
    }

    fn patch(
        &self,
        files: &mut [ArtifactFile],
        overrides: &BTreeMap<String, String>,
    ) -> Result<(), PatchError> {
        let config = self.app.config_artifact();
        let Some(file) = files.iter_mut().find(|a| Some(a.path.as_str()) == config) else {
            return Err(PatchError::NoConfig {
                app: self.app.name().to_string(),
            });
        };
        let text = String::from_utf8_lossy(file.content.as_bytes());
        file.content = apply_overrides(&file.path, &text, overrides)?.into();
        Ok(())
    }

    /// The bootstrap policy for peers: a node is told of those that it is connected to. Where it is connected to nobody by name, a founding one is told of all founders, and one that joins of every other. All are told of the nodes of others.
    fn peers_of<'a>(
        &self,
        node: &NodeRecord,
        registered: impl IntoIterator<Item = &'a NodeRecord>,
    ) -> Vec<PeerPlan> {
        let others = registered
            .into_iter()
            .filter(|other| other.plan.name != node.plan.name);
        let wanted = &node.spec.connected_to;
        let told = others.filter(|other| {
            if wanted.is_empty() {
                other.plan.founding || !node.plan.founding
            } else {
                wanted.contains(&other.plan.name)
            }
        });
        let managed = told.map(|other| other.plan.as_peer());
        seeds(managed, self.known().borrowed.clone())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
