//! Preflight: refuses a scenario that wants what must not or cannot be done, before it does anything. Whether its nodes fit together is in `compatibility`.

use std::fmt;

use thiserror::Error;
use tracing::debug;
use trellis_domain::{
    NodeHandle, NodeInventory, NodeName, Operation, OptIns, Ownership, Permit, Refusal,
    UnknownIdentity,
};

use crate::{
    Application, BootstrapError, Incompatibility, Progress, SharedInventory, UnknownField,
    compatibility::{incompatibilities, unknown_fields},
    identity::{ask_ready, with_auth_class},
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
    /// Nodes that may be on one network, where that must be known.
    #[error("whether the nodes fit together is not known, and this scenario wants it to be:{}", Lines(.0))]
    Unknown(Vec<UnknownField>),
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

/// Checks that no two nodes contradict each other.
pub(crate) fn check_fit(nodes: &[NodeHandle]) -> Result<(), ValidationError> {
    let found = incompatibilities(nodes);
    if found.is_empty() {
        Ok(())
    } else {
        Err(ValidationError::Incompatible(found))
    }
}

/// The half of preflight that needs ready nodes: who they are, and whether they fit together.
pub(crate) struct Preflight<'a> {
    /// Whom to ask how to ask.
    pub(crate) app: &'a dyn Application,
    /// The list in which their answers are recorded.
    pub(crate) inventory: &'a SharedInventory,
    /// Whether they may keep something to themselves.
    pub(crate) unknown: UnknownIdentity,
    /// Who is told what they kept to themselves.
    pub(crate) progress: &'a dyn Progress,
}

impl Preflight<'_> {
    /// Asks `ready` nodes who they are; gives what they do not say and others do.
    ///
    /// # Errors
    /// A node of ours that does not answer, nodes that do not fit together, or an answer that makes two nodes one whose owners differ. A borrowed node that does not answer stays known by its address.
    pub(crate) async fn check(
        &self,
        ready: &[NodeHandle],
    ) -> Result<Vec<UnknownField>, BootstrapError> {
        for (node, answer) in ask_ready(self.app, ready).await {
            match answer {
                Ok(said) => {
                    let network = with_auth_class(said.network, &node);
                    let peer_id = said.peer_id.as_ref();
                    self.inventory
                        .update(|nodes| nodes.identify(node.name(), peer_id, &network))?;
                }
                Err(source) if node.ownership == Ownership::Owned => {
                    let node = node.name().clone();
                    return Err(BootstrapError::Identify { node, source });
                }
                Err(error) => debug!(%node, %error, "a borrowed node does not say who it is"),
            }
        }
        let nodes: Vec<NodeHandle> = self.inventory.snapshot().nodes().cloned().collect();
        check_fit(&nodes)?;
        self.check_known(&nodes, ready)
    }

    /// Shows what is unknown of `asked` nodes among all, or refuses it.
    fn check_known(
        &self,
        nodes: &[NodeHandle],
        asked: &[NodeHandle],
    ) -> Result<Vec<UnknownField>, BootstrapError> {
        let mut unknown = unknown_fields(nodes);
        unknown.retain(|field| {
            let mut involved = field.nodes.iter().chain([&field.stated_by]);
            involved.any(|name| asked.iter().any(|node| node.answers_to(name)))
        });
        if self.unknown == UnknownIdentity::Refuse && !unknown.is_empty() {
            return Err(ValidationError::Unknown(unknown).into());
        }
        for field in &unknown {
            self.progress.note(&field.to_string());
        }
        Ok(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trellis_domain::{Capability, Endpoint, NodeSighting, Origin};

    fn inventory() -> NodeInventory {
        let origin = Origin::External {
            listed_in: "a.feature:2".into(),
        };
        let mut sighting = NodeSighting::new("A".parse().unwrap(), origin);
        let endpoint = Endpoint::new("http".parse().unwrap(), "http://10.0.0.1:1").unwrap();
        sighting.endpoints.insert(endpoint);
        sighting.capabilities = Capability::ALL.into_iter().collect();
        let mut inventory = NodeInventory::default();
        inventory.merge([sighting]).unwrap();
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
        let error = check_operations(&inventory(), &planned, &OptIns::default()).unwrap_err();
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
}
