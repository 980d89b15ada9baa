//! Scenario sources: where the nodes of a scenario are to come from, so that an impossible mix cannot be written.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{AppName, Credential, Endpoint, NodeName, OptIns, ReadinessPolicy, UnknownIdentity};

/// How long the nodes of a scenario may take to become ready unless it says otherwise.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A node that the harness is to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedNode {
    /// Its name in the feature.
    pub name: NodeName,
    /// Nodes that it must find at start and that must be started before it; empty for nodes that all begin together.
    pub connected_to: Vec<NodeName>,
    /// Changes to the configuration that the application generates: dotted path (numbers index lists) to YAML value.
    pub overrides: BTreeMap<String, String>,
}

impl ManagedNode {
    /// A node with the application's own configuration that waits for no other.
    pub fn new(name: NodeName) -> Self {
        Self {
            name,
            connected_to: Vec::new(),
            overrides: BTreeMap::new(),
        }
    }
}

/// A node that runs somewhere already and whose address the scenario knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalNode {
    /// Its name in the feature.
    pub name: NodeName,
    /// Where it answers.
    pub endpoints: BTreeSet<Endpoint>,
    /// How a client proves itself to it, where it asks for that; never written down.
    #[serde(skip)]
    pub credential: Option<Credential>,
    /// Where it is listed, for people: a feature and line, or a file.
    pub listed_in: String,
}

/// A running cluster in which nodes are to be discovered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachSpec {
    /// The attach provider, such as `static`, `compose` or `k8s`.
    pub provider: String,
    /// Which cluster, in the provider's own terms.
    pub cluster: String,
}

/// Where the nodes of a scenario come from.
///
/// The variant is the intent; what was found when the scenario ran validates it and never redefines it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScenarioSources {
    /// Nodes that the harness starts, beside external ones if there are any.
    Managed {
        /// The nodes to start; at least one.
        nodes: Vec<ManagedNode>,
        /// Nodes that run already.
        external: Vec<ExternalNode>,
    },
    /// Nodes discovered in a running cluster, beside external ones if there are any; none are started.
    Attached {
        /// The cluster to look in.
        attach: AttachSpec,
        /// Nodes that run already and are not part of it.
        external: Vec<ExternalNode>,
    },
    /// Nothing but external nodes.
    ExternalOnly {
        /// The nodes; at least one.
        external: Vec<ExternalNode>,
    },
}

/// Why sources are not valid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SourcesError {
    /// A managed scenario without a managed node.
    #[error("the scenario wants managed nodes but names none; ask for at least one")]
    NoManagedNodes,
    /// An external-only scenario without a node.
    #[error("the scenario wants external nodes but names none; list at least one endpoint")]
    NoExternalNodes,
    /// One name for two nodes.
    #[error("two nodes of the scenario are called {0}; node names are unique within a scenario")]
    DuplicateName(NodeName),
    /// An external node without an address.
    #[error("external node {0} has no endpoint")]
    NoEndpoint(NodeName),
    /// A connection to a node that the scenario does not have.
    #[error(
        "{node} is to be connected to {wanted}, which the scenario does not have; known nodes: {}",
        list(known)
    )]
    UnknownPeer {
        /// The node.
        node: NodeName,
        /// The name it refers to.
        wanted: NodeName,
        /// The names that there are.
        known: Vec<NodeName>,
    },
    /// Nodes that wait for each other.
    #[error("nodes wait for each other and none can start first: {}", cycle(nodes))]
    Cycle {
        /// The nodes of the cycle; each waits for the next, and the last for the first.
        nodes: Vec<NodeName>,
    },
}

fn list(names: &[NodeName]) -> String {
    names
        .iter()
        .map(NodeName::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

fn cycle(names: &[NodeName]) -> String {
    let closed = names.iter().chain(names.first());
    closed
        .map(NodeName::as_str)
        .collect::<Vec<_>>()
        .join(" -> ")
}

impl ScenarioSources {
    /// The nodes to start; none unless [`ScenarioSources::Managed`].
    pub fn managed(&self) -> &[ManagedNode] {
        match self {
            Self::Managed { nodes, .. } => nodes,
            Self::Attached { .. } | Self::ExternalOnly { .. } => &[],
        }
    }

    /// The external nodes of any variant.
    pub fn external(&self) -> &[ExternalNode] {
        match self {
            Self::Managed { external, .. }
            | Self::Attached { external, .. }
            | Self::ExternalOnly { external } => external,
        }
    }

    /// Checks what the variants' types cannot: counts, names, and the start order.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), SourcesError> {
        match self {
            Self::Managed { nodes, .. } if nodes.is_empty() => {
                return Err(SourcesError::NoManagedNodes);
            }
            Self::ExternalOnly { external } if external.is_empty() => {
                return Err(SourcesError::NoExternalNodes);
            }
            _ => {}
        }
        let managed = self.managed().iter().map(|node| &node.name);
        let mut names = BTreeSet::new();
        for name in managed.chain(self.external().iter().map(|node| &node.name)) {
            if !names.insert(name) {
                return Err(SourcesError::DuplicateName(name.clone()));
            }
        }
        if let Some(node) = self
            .external()
            .iter()
            .find(|node| node.endpoints.is_empty())
        {
            return Err(SourcesError::NoEndpoint(node.name.clone()));
        }
        let known = names.into_iter().cloned().collect::<Vec<_>>();
        start_waves(self.managed(), &known).map(drop)
    }
}

/// Sorts `nodes` into waves: each node of a wave waits only for nodes of earlier waves, or for one of `known` that is not among them.
///
/// # Errors
/// [`SourcesError::UnknownPeer`] and [`SourcesError::Cycle`].
pub fn start_waves<'a>(
    nodes: &'a [ManagedNode],
    known: &[NodeName],
) -> Result<Vec<Vec<&'a ManagedNode>>, SourcesError> {
    let by_name: BTreeMap<&NodeName, &ManagedNode> = nodes.iter().map(|n| (&n.name, n)).collect();
    for node in nodes {
        let unknown = node
            .connected_to
            .iter()
            .find(|peer| !by_name.contains_key(peer) && !known.contains(peer));
        if let Some(wanted) = unknown {
            return Err(SourcesError::UnknownPeer {
                node: node.name.clone(),
                wanted: wanted.clone(),
                known: known.to_vec(),
            });
        }
    }
    let mut left = by_name;
    let mut waves = Vec::new();
    while !left.is_empty() {
        let waits =
            |node: &ManagedNode| node.connected_to.iter().any(|peer| left.contains_key(peer));
        let wave: Vec<&ManagedNode> = left.values().filter(|node| !waits(node)).copied().collect();
        if wave.is_empty() {
            return Err(SourcesError::Cycle {
                nodes: find_cycle(&left),
            });
        }
        for node in &wave {
            left.remove(&node.name);
        }
        waves.push(wave);
    }
    Ok(waves)
}

/// Walks from one waiting node to the next until a name comes again.
fn find_cycle(waiting: &BTreeMap<&NodeName, &ManagedNode>) -> Vec<NodeName> {
    let mut path: Vec<NodeName> = Vec::new();
    let mut next = waiting.keys().next().map(|name| (*name).clone());
    while let Some(name) = next {
        if let Some(begin) = path.iter().position(|seen| *seen == name) {
            return path.split_off(begin);
        }
        next = waiting
            .get(&name)
            .and_then(|node| {
                node.connected_to
                    .iter()
                    .find(|peer| waiting.contains_key(peer))
            })
            .cloned();
        path.push(name);
    }
    path
}

/// What one scenario wants of its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioSpec {
    /// The application that its nodes run.
    pub app: AppName,
    /// Where the nodes come from.
    pub sources: ScenarioSources,
    /// When the cluster counts as ready.
    pub readiness: ReadinessPolicy,
    /// How long that may take.
    pub ready_within: Duration,
    /// Nodes whose ownership clash is settled as owned.
    pub adopted: BTreeSet<NodeName>,
    /// What may be done to borrowed nodes, by name.
    pub opt_ins: OptIns,
    /// How clients prove themselves to attached nodes for which the provider knows nothing of their own.
    pub attached_credential: Option<Credential>,
    /// Whether nodes may keep parts of their network identity to themselves.
    pub unknown_identity: UnknownIdentity,
}

impl ScenarioSpec {
    /// All nodes ready within 30 s, nothing adopted, nothing opted in, unknown identities allowed.
    pub fn new(app: AppName, sources: ScenarioSources) -> Self {
        Self {
            app,
            sources,
            readiness: ReadinessPolicy::default(),
            ready_within: READY_WITHIN,
            adopted: BTreeSet::new(),
            opt_ins: OptIns::default(),
            attached_credential: None,
            unknown_identity: UnknownIdentity::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, connected_to: &[&str]) -> ManagedNode {
        ManagedNode {
            connected_to: connected_to
                .iter()
                .map(|peer| peer.parse().unwrap())
                .collect(),
            ..ManagedNode::new(name.parse().unwrap())
        }
    }

    fn managed(nodes: Vec<ManagedNode>) -> ScenarioSources {
        ScenarioSources::Managed {
            nodes,
            external: Vec::new(),
        }
    }

    #[test]
    fn each_variant_wants_its_nodes() {
        assert_eq!(
            managed(vec![]).validate(),
            Err(SourcesError::NoManagedNodes)
        );
        let none = ScenarioSources::ExternalOnly { external: vec![] };
        assert_eq!(none.validate(), Err(SourcesError::NoExternalNodes));
        let attach = AttachSpec {
            provider: "static".into(),
            cluster: "shop".into(),
        };
        let attached = ScenarioSources::Attached {
            attach,
            external: vec![],
        };
        assert_eq!(attached.validate(), Ok(()));
        assert!(attached.managed().is_empty());
    }

    #[test]
    fn a_name_is_used_once() {
        let error = managed(vec![node("A", &[]), node("A", &[])])
            .validate()
            .unwrap_err();
        assert!(matches!(error, SourcesError::DuplicateName(name) if name.as_str() == "A"));
    }

    #[test]
    fn nodes_start_in_waves_as_parallel_as_their_connections_allow() {
        let nodes = [
            node("D", &["B", "C"]),
            node("B", &["A"]),
            node("C", &["A"]),
            node("A", &[]),
        ];
        let waves = start_waves(&nodes, &[]).unwrap();
        let names: Vec<Vec<&str>> = waves
            .iter()
            .map(|wave| wave.iter().map(|n| n.name.as_str()).collect())
            .collect();
        assert_eq!(names, [vec!["A"], vec!["B", "C"], vec!["D"]]);
    }

    #[test]
    fn a_cycle_is_shown_as_a_cycle() {
        let error = managed(vec![
            node("A", &["B"]),
            node("B", &["C"]),
            node("C", &["B"]),
        ])
        .validate();
        assert_eq!(
            error.unwrap_err().to_string(),
            "nodes wait for each other and none can start first: B -> C -> B"
        );
    }

    #[test]
    fn an_unknown_peer_lists_the_known_nodes() {
        let error = managed(vec![node("A", &["X"]), node("B", &[])])
            .validate()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "A is to be connected to X, which the scenario does not have; known nodes: A, B"
        );
    }
}
