//! Preflight: refuses a scenario that wants what must not or cannot be done, before it does anything.

use std::fmt;

use thiserror::Error;
use trellis_domain::{
    NetworkMismatch, NodeHandle, NodeInventory, NodeName, Operation, OptIns, Permit, Refusal,
};

/// An operation that a scenario is known to carry out later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedOperation {
    /// On which node, by the name that the step uses.
    pub node: NodeName,
    /// What.
    pub operation: Operation,
    /// Which step: file, line and text.
    pub step: String,
}

/// A planned operation that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedRefusal {
    /// Which step: file, line and text.
    pub step: String,
    /// Why.
    pub refusal: Refusal,
}

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

/// Why preflight refuses a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ValidationError {
    /// Steps that must not or cannot be carried out.
    #[error("{} be carried out:{}", steps(.0), Lines(.0))]
    Refused(Vec<PlannedRefusal>),
    /// Nodes that are not on one network.
    #[error("the nodes do not fit together:{}", Lines(.0))]
    Incompatible(Vec<Incompatibility>),
}

fn steps(refusals: &[PlannedRefusal]) -> String {
    match refusals.len() {
        1 => "a step cannot".to_owned(),
        n => format!("{n} steps cannot"),
    }
}

struct Lines<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Lines<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|item| write!(f, "\n  {item}"))
    }
}

impl fmt::Display for PlannedRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.refusal)
    }
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

/// Checks every planned operation on a node of the inventory; names that come into it later are checked when they do.
pub(crate) fn check_operations(
    inventory: &NodeInventory,
    planned: &[PlannedOperation],
    opt_ins: &OptIns,
) -> Result<(), ValidationError> {
    let refusals: Vec<PlannedRefusal> = planned
        .iter()
        .filter_map(|planned| {
            let node = inventory.node(&planned.node).ok()?;
            let refusal = Permit::check_ever(node, planned.operation, opt_ins).err()?;
            Some(PlannedRefusal {
                step: planned.step.clone(),
                refusal,
            })
        })
        .collect();
    if refusals.is_empty() {
        Ok(())
    } else {
        Err(ValidationError::Refused(refusals))
    }
}

/// Checks that no two nodes contradict each other about their network. What a node does not say is not compared.
pub(crate) fn check_compatibility(nodes: &[NodeHandle]) -> Result<(), ValidationError> {
    let Some((first, others)) = nodes.split_first() else {
        return Ok(());
    };
    let mut found = Vec::new();
    let mut known = (first.clone(), first.network.clone());
    for node in others {
        for mismatch in known.1.mismatches(&node.network) {
            found.push(Incompatibility {
                left: known.0.name().clone(),
                right: node.name().clone(),
                mismatch,
            });
        }
        if let Ok(joined) = known.1.joined(&node.network) {
            known.1 = joined;
        }
    }
    if found.is_empty() {
        Ok(())
    } else {
        Err(ValidationError::Incompatible(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trellis_domain::{Capability, Endpoint, NetworkIdentity, NodeSighting, Origin};

    fn inventory(networks: &[(&str, Option<&str>)]) -> NodeInventory {
        let sightings = networks.iter().zip(1..).map(|((name, network), port)| {
            let origin = Origin::External {
                listed_in: "a.feature:2".into(),
            };
            let mut sighting = NodeSighting::new(name.parse().unwrap(), origin);
            let url = format!("http://10.0.0.1:{port}");
            sighting
                .endpoints
                .insert(Endpoint::new("http".parse().unwrap(), &url).unwrap());
            sighting.capabilities = Capability::ALL.into_iter().collect();
            sighting.network = NetworkIdentity {
                network: network.map(str::to_owned),
                ..NetworkIdentity::default()
            };
            sighting
        });
        let mut inventory = NodeInventory::default();
        inventory.merge(sightings).unwrap();
        inventory
    }

    #[test]
    fn all_refused_steps_are_named_at_once() {
        let planned = |operation, line: u32| PlannedOperation {
            node: "A".parse().unwrap(),
            operation,
            step: format!("a.feature:{line}: a step"),
        };
        let planned = [
            planned(Operation::Stop, 4),
            planned(Operation::Query, 5),
            planned(Operation::Kill, 6),
        ];
        let inventory = inventory(&[("A", None)]);
        let error = check_operations(&inventory, &planned, &OptIns::default()).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("2 steps cannot be carried out:"), "{text}");
        assert!(
            text.contains("a.feature:4: a step: refused to stop A"),
            "{text}"
        );
        assert!(
            text.contains("a.feature:6: a step: refused to kill A"),
            "{text}"
        );
    }

    #[test]
    fn nodes_of_two_networks_are_refused_with_both_values_and_both_nodes() {
        let inventory = inventory(&[("A", Some("x")), ("B", None), ("C", Some("y"))]);
        let nodes: Vec<NodeHandle> = inventory.nodes().cloned().collect();
        let error = check_compatibility(&nodes).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the nodes do not fit together:\n  network is \"x\" on A and \"y\" on C"
        );
    }

    #[test]
    fn a_node_that_does_not_say_fits_everywhere() {
        let inventory = inventory(&[("A", None), ("B", Some("y")), ("C", None)]);
        let nodes: Vec<NodeHandle> = inventory.nodes().cloned().collect();
        assert_eq!(check_compatibility(&nodes), Ok(()));
    }
}
