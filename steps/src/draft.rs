//! The draft: what a scenario's first steps say about the cluster that it wants, until there is one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use trellis_domain::{
    AppName, AttachSpec, Credential, ExternalNode, ManagedNode, NodeName, OptIns, ReadinessPolicy,
    ScenarioSources, ScenarioSpec, UnknownIdentity,
};

use crate::{
    StepError,
    chain::{ChainWish, WalletBook},
    projection::ProjectionWish,
};

/// What is wrong with two clusters to attach to.
pub(crate) const TWO_CLUSTERS: &str =
    "the scenario attaches to a cluster already; list the nodes of another one as external nodes";
/// What is wrong with nodes of ours beside an attached cluster.
pub(crate) const MANAGED_AND_ATTACHED: &str = "nodes of ours cannot be started beside an attached cluster; list its nodes as external nodes instead";

/// What the scenario said so far.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// The application, where one was named.
    pub app: Option<AppName>,
    /// The most nodes that there may be, where that was said.
    pub capacity: Option<usize>,
    /// Nodes that run already.
    pub external: Vec<ExternalNode>,
    /// The running cluster whose nodes are to be discovered, where one was named.
    pub attach: Option<AttachSpec>,
    /// How to prove oneself to those of its nodes for which the provider knows nothing of their own.
    pub attached_credential: Option<Credential>,
    /// Nodes whose ownership clash is settled as owned.
    pub adopted: BTreeSet<NodeName>,
    /// What may be done to borrowed nodes, by name.
    pub opt_ins: OptIns,
    /// Whether nodes may keep parts of their network identity to themselves.
    pub unknown_identity: UnknownIdentity,
    /// Configuration overrides of every node that is started from now on.
    pub overrides: BTreeMap<String, String>,
    /// Configuration overrides of single nodes.
    pub node_overrides: BTreeMap<NodeName, BTreeMap<String, String>>,
    /// Of which nodes single nodes are told, where that was said.
    pub connections: BTreeMap<NodeName, BTreeSet<NodeName>>,
    /// What the scenario said about the chain that the nodes keep.
    pub chain: ChainWish,
    /// What the scenario said about nodes that fold events.
    pub projection: ProjectionWish,
    /// Wallets and groups of nodes that it spoke of before there was a cluster.
    pub(crate) wallets: WalletBook,
    /// How long a node may take to take part in the chain after a start that waits for it.
    pub online_within: Option<Duration>,
    /// How long the start that is under way may take, where it was said for this one.
    pub(crate) start_within: Option<Duration>,
    /// The label under which the data of nodes is saved whenever they are stopped.
    pub save_when_stopping: Option<String>,
    /// The copy of data that new nodes begin with: its label and its node.
    pub begin_from: Option<(String, NodeName)>,
    /// When the cluster counts as ready, where that was said.
    pub readiness: Option<ReadinessPolicy>,
    /// How long that may take, where that was said.
    pub ready_within: Option<Duration>,
}

impl Draft {
    /// The usual names of the first `count` nodes.
    pub fn names(count: usize) -> impl Iterator<Item = NodeName> {
        (1..=count).map(|n| format!("NODE_{n}").parse().expect("NODE_n is a node name"))
    }

    /// A managed node called `name`, with the overrides that it should have.
    pub fn node(&self, name: NodeName) -> ManagedNode {
        let mut overrides = self.overrides.clone();
        overrides.extend(self.node_overrides.get(&name).cloned().unwrap_or_default());
        let connected = self.connections.get(&name).into_iter().flatten();
        ManagedNode {
            overrides,
            connected_to: connected.cloned().collect(),
            ..ManagedNode::new(name)
        }
    }

    /// Takes the nodes of `attach` instead of starting any.
    pub(crate) fn attach_to(
        &mut self,
        attach: AttachSpec,
        credential: Option<Credential>,
    ) -> Result<(), StepError> {
        if self.attach.is_some() {
            return Err(StepError::new(TWO_CLUSTERS));
        }
        self.attach = Some(attach);
        self.attached_credential = credential;
        Ok(())
    }

    /// What the scenario wants, if it begins with the managed nodes `names`.
    ///
    /// # Errors
    /// Managed nodes beside an attached cluster.
    pub fn spec(
        &self,
        app: AppName,
        names: impl IntoIterator<Item = NodeName>,
    ) -> Result<ScenarioSpec, StepError> {
        let nodes: Vec<ManagedNode> = names.into_iter().map(|name| self.node(name)).collect();
        let external = self.external.clone();
        let sources = match (&self.attach, nodes.is_empty()) {
            (Some(_), false) => return Err(StepError::new(MANAGED_AND_ATTACHED)),
            (Some(attach), true) => ScenarioSources::Attached {
                attach: attach.clone(),
                external,
            },
            (None, true) => ScenarioSources::ExternalOnly { external },
            (None, false) => ScenarioSources::Managed { nodes, external },
        };
        let defaults = ScenarioSpec::new(app, sources);
        Ok(ScenarioSpec {
            readiness: self.readiness.unwrap_or(defaults.readiness),
            ready_within: self.ready_within.unwrap_or(defaults.ready_within),
            adopted: self.adopted.clone(),
            opt_ins: self.opt_ins.clone(),
            attached_credential: self.attached_credential.clone(),
            unknown_identity: self.unknown_identity,
            ..defaults
        })
    }

    /// Checks that there is room for `more` nodes beside the `present` ones.
    pub(crate) fn check_capacity(&self, present: usize, more: &NodeName) -> Result<(), StepError> {
        match self.capacity {
            Some(capacity) if present >= capacity => Err(StepError::new(format!(
                "cannot start {more}: the cluster has a capacity of {capacity} nodes and {present} are in it already"
            ))),
            _ => Ok(()),
        }
    }
}
