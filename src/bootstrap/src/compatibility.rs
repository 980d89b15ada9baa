//! Compatibility: whether nodes can be in one scenario, by what each says of its network.
//!
//! What a node does not say contradicts nothing. It is shown, and the scenario decides whether it may go on.

use std::fmt;

use trellis_domain::{NetworkIdentity, NetworkMismatch, NodeHandle, NodeName, NodeState};

/// Two nodes that cannot be in one scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incompatibility {
    /// One node.
    pub left: NodeName,
    /// The other.
    pub right: NodeName,
    /// The field and both values, left first.
    pub mismatch: NetworkMismatch,
}

impl fmt::Display for Incompatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NetworkMismatch { field, left, right } = &self.mismatch;
        write!(
            f,
            "{field} is {left:?} on {} and {right:?} on {}",
            self.left, self.right
        )
    }
}

/// A field that some nodes state and others do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownField {
    /// Which field, by its name in [`trellis_domain::NetworkIdentity`].
    pub field: &'static str,
    /// The nodes on which it is unknown.
    pub nodes: Vec<NodeName>,
    /// A node that states it.
    pub stated_by: NodeName,
    /// What that node states.
    pub value: String,
}

impl fmt::Display for UnknownField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.nodes.iter().map(NodeName::as_str).collect();
        write!(
            f,
            "{} is unknown on {} and {:?} on {}",
            self.field,
            names.join(", "),
            self.value,
            self.stated_by
        )
    }
}

/// Every contradiction between `nodes`, each against the first node that states the field.
pub(crate) fn incompatibilities(nodes: &[NodeHandle]) -> Vec<Incompatibility> {
    let mut found = Vec::new();
    for (position, right) in nodes.iter().enumerate() {
        for (index, (field, value)) in right.network.fields().into_iter().enumerate() {
            let Some(value) = value else { continue };
            let first = first_to_state(&nodes[..position], index);
            if let Some((left, stated)) = first.filter(|(_, stated)| *stated != value) {
                found.push(Incompatibility {
                    left: left.name().clone(),
                    right: right.name().clone(),
                    mismatch: NetworkMismatch {
                        field,
                        left: stated.to_owned(),
                        right: value.to_owned(),
                    },
                });
            }
        }
    }
    found
}

/// Every field that some running node states and another does not. Nodes that do not run could not be asked.
pub(crate) fn unknown_fields(nodes: &[NodeHandle]) -> Vec<UnknownField> {
    let running: Vec<NodeHandle> = nodes
        .iter()
        .filter(|node| node.state == NodeState::Running)
        .cloned()
        .collect();
    let nothing = NetworkIdentity::default();
    let fields = nothing.fields();
    let unknown = fields
        .into_iter()
        .enumerate()
        .filter_map(|(index, (field, _))| {
            let (stated_by, value) = first_to_state(&running, index)?;
            let silent = running
                .iter()
                .filter(|node| node.network.fields()[index].1.is_none());
            let nodes: Vec<NodeName> = silent.map(|node| node.name().clone()).collect();
            (!nodes.is_empty()).then(|| UnknownField {
                field,
                nodes,
                stated_by: stated_by.name().clone(),
                value: value.to_owned(),
            })
        });
    unknown.collect()
}

fn first_to_state(nodes: &[NodeHandle], field: usize) -> Option<(&NodeHandle, &str)> {
    nodes
        .iter()
        .find_map(|node| Some((node, node.network.fields()[field].1?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use trellis_domain::{Endpoint, NodeInventory, NodeSighting, Origin};

    /// Nodes with a network and an auth class each.
    fn nodes(said: &[(&str, Option<&str>, Option<&str>)]) -> Vec<NodeHandle> {
        let said = said.iter().map(|(name, network, auth)| {
            let identity = NetworkIdentity {
                network: network.map(str::to_owned),
                auth: auth.map(str::to_owned),
                ..NetworkIdentity::default()
            };
            (*name, identity)
        });
        nodes_that_say(said)
    }

    fn nodes_that_say<'a>(
        said: impl IntoIterator<Item = (&'a str, NetworkIdentity)>,
    ) -> Vec<NodeHandle> {
        let sightings = said.into_iter().zip(1..).map(|((name, identity), port)| {
            let origin = Origin::External {
                listed_in: "a.feature:2".into(),
            };
            let mut sighting = NodeSighting::new(name.parse().unwrap(), origin);
            let url = format!("http://10.0.0.1:{port}");
            sighting
                .endpoints
                .insert(Endpoint::new("http".parse().unwrap(), &url).unwrap());
            sighting.network = identity;
            sighting
        });
        let mut inventory = NodeInventory::default();
        inventory.merge(sightings).unwrap();
        inventory.nodes().cloned().collect()
    }

    fn in_words<T: fmt::Display>(found: &[T]) -> Vec<String> {
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_contradiction_names_both_values_and_the_nodes_that_state_them() {
        let nodes = nodes(&[
            ("A", None, Some("basic")),
            ("B", Some("x"), None),
            ("C", Some("y"), Some("bearer")),
        ]);
        assert_eq!(
            in_words(&incompatibilities(&nodes)),
            [
                r#"network is "x" on B and "y" on C"#,
                r#"auth is "basic" on A and "bearer" on C"#
            ]
        );
    }

    #[test]
    fn each_field_keeps_nodes_apart_that_state_it_differently() {
        type Field = fn(&mut NetworkIdentity) -> &mut Option<String>;
        let fields: [(&str, Field); 5] = [
            ("network", |said| &mut said.network),
            ("genesis", |said| &mut said.genesis),
            ("protocol", |said| &mut said.protocol),
            ("api", |said| &mut said.api),
            ("auth", |said| &mut said.auth),
        ];
        let nothing = NetworkIdentity::default();
        let known = nothing.fields().map(|(name, _)| name);
        assert_eq!(fields.map(|(name, _)| name), known);
        for (name, field) in fields {
            let say = |value: &str| {
                let mut identity = NetworkIdentity::default();
                *field(&mut identity) = Some(value.to_owned());
                identity
            };
            let alike = nodes_that_say([("A", say("one")), ("B", say("one"))]);
            assert_eq!(incompatibilities(&alike), [], "{name}");
            let apart = nodes_that_say([("A", say("one")), ("B", say("another"))]);
            assert_eq!(
                in_words(&incompatibilities(&apart)),
                [format!(r#"{name} is "one" on A and "another" on B"#)]
            );
        }
    }

    #[test]
    fn a_node_that_does_not_say_fits_everywhere_and_is_shown() {
        let nodes = nodes(&[("A", None, None), ("B", Some("y"), None), ("C", None, None)]);
        assert_eq!(incompatibilities(&nodes), []);
        assert_eq!(
            in_words(&unknown_fields(&nodes)),
            [r#"network is unknown on A, C and "y" on B"#]
        );
    }

    #[test]
    fn what_nobody_states_is_nobodys_secret() {
        assert_eq!(
            unknown_fields(&nodes(&[("A", None, None), ("B", None, None)])),
            []
        );
        assert_eq!(unknown_fields(&[]), []);
    }
}
