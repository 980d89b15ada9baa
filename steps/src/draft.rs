//! The draft: what a scenario's first steps say about the cluster that it wants, until there is one.

use std::{collections::BTreeMap, time::Duration};

use trellis_domain::{
    AppName, ExternalNode, ManagedNode, NodeName, ReadinessPolicy, ScenarioSources, ScenarioSpec,
};

use crate::StepError;

/// What the scenario said so far.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// The application, where one was named.
    pub app: Option<AppName>,
    /// The most nodes that there may be, where that was said.
    pub capacity: Option<usize>,
    /// Nodes that run already.
    pub external: Vec<ExternalNode>,
    /// Configuration overrides of every node that is started from now on.
    pub overrides: BTreeMap<String, String>,
    /// Configuration overrides of single nodes.
    pub node_overrides: BTreeMap<NodeName, BTreeMap<String, String>>,
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
        ManagedNode {
            overrides,
            ..ManagedNode::new(name)
        }
    }

    /// What the scenario wants, if it begins with the managed nodes `names`.
    pub fn spec(&self, app: AppName, names: impl IntoIterator<Item = NodeName>) -> ScenarioSpec {
        let nodes: Vec<ManagedNode> = names.into_iter().map(|name| self.node(name)).collect();
        let external = self.external.clone();
        let sources = if nodes.is_empty() {
            ScenarioSources::ExternalOnly { external }
        } else {
            ScenarioSources::Managed { nodes, external }
        };
        let mut spec = ScenarioSpec::new(app, sources);
        spec.readiness = self.readiness.unwrap_or(spec.readiness);
        spec.ready_within = self.ready_within.unwrap_or(spec.ready_within);
        spec
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
