//! Operations and permits: the one place that decides whether something may be done to a node.
//!
//! A [`Permit`] is the proof that it was decided; what carries the operation out takes a permit and so cannot be reached around the check.

use std::{collections::BTreeMap, fmt};

use thiserror::Error;

use crate::{Capability, CapabilitySet, NodeHandle, NodeName, NodeState, Ownership};

/// Something that a step may want done to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Ask for its state.
    Query,
    /// Hand it work.
    Submit,
    /// Start it again after a stop.
    Start,
    /// Ask it to end, then make it.
    Stop,
    /// End it without asking.
    Kill,
    /// Stop if it runs, then start, on the same data.
    Restart,
    /// Freeze it.
    Pause,
    /// Thaw it.
    Resume,
    /// Change its configuration for the next start.
    PatchConfig,
    /// Read its log.
    ReadLogs,
    /// Save the data folder of a stopped node.
    SaveData,
    /// Restore the data folder of a stopped node.
    RestoreData,
    /// Cut, delay or limit its network.
    DisturbNetwork,
}

impl Operation {
    /// The capability that it needs.
    pub fn capability(self) -> Capability {
        match self {
            Self::Query => Capability::Query,
            Self::Submit => Capability::Submit,
            Self::Start | Self::Stop | Self::Kill | Self::Restart => Capability::Lifecycle,
            Self::Pause | Self::Resume => Capability::Pause,
            Self::PatchConfig => Capability::ConfigPatch,
            Self::ReadLogs => Capability::Logs,
            Self::SaveData | Self::RestoreData => Capability::Snapshot,
            Self::DisturbNetwork => Capability::NetworkFault,
        }
    }

    /// The states that it needs, in words, or `None` where `state` will do.
    fn lacks(self, state: &NodeState) -> Option<&'static str> {
        let (fits, wanted) = match self {
            Self::Stop | Self::Kill => (!state.is_down(), "a node that is not stopped yet"),
            Self::Pause => (state.is_running(), "a running node"),
            Self::Resume => (*state == NodeState::Paused, "a paused node"),
            Self::Start | Self::SaveData | Self::RestoreData => (state.is_down(), "a stopped node"),
            _ => (true, ""),
        };
        (!fits).then_some(wanted)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Query => "query",
            Self::Submit => "submit to",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Kill => "kill",
            Self::Restart => "restart",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::PatchConfig => "patch the configuration of",
            Self::ReadLogs => "read the log of",
            Self::SaveData => "save the data of",
            Self::RestoreData => "restore the data of",
            Self::DisturbNetwork => "disturb the network of",
        })
    }
}

/// What a feature allows to be done to borrowed nodes, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OptIns(BTreeMap<NodeName, CapabilitySet>);

impl OptIns {
    /// Allows `capability` on the borrowed node `name`.
    pub fn allow(&mut self, name: NodeName, capability: Capability) {
        let set = self.0.entry(name).or_default();
        *set = set.with(capability);
    }

    /// What is allowed on whom, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeName, CapabilitySet)> {
        self.0.iter().map(|(name, set)| (name, *set))
    }

    fn allows(&self, node: &NodeHandle, capability: Capability) -> bool {
        self.0
            .iter()
            .any(|(name, set)| node.answers_to(name) && set.contains(capability))
    }
}

/// Why an operation is not permitted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The node is not ours.
    #[error(
        "refused to {operation} {node}: it is borrowed ({origins}), and borrowed nodes are only queried and submitted to; it would need an opt-in for {needs} that names {node} in the feature"
    )]
    Borrowed {
        /// The node.
        node: NodeName,
        /// What was to be done.
        operation: Operation,
        /// Where the node came from.
        origins: String,
        /// What the opt-in would have to allow.
        needs: Capability,
    },
    /// Its backend or application cannot do it.
    #[error(
        "cannot {operation} {node}: it would need the capability {needs}, and {node} has {has}"
    )]
    Incapable {
        /// The node.
        node: NodeName,
        /// What was to be done.
        operation: Operation,
        /// The missing capability.
        needs: Capability,
        /// What it has.
        has: CapabilitySet,
    },
    /// Not in the state it is in.
    #[error("cannot {operation} {node} while it is {state}: it would need {needs}")]
    WrongState {
        /// The node.
        node: NodeName,
        /// What was to be done.
        operation: Operation,
        /// The state it is in.
        state: NodeState,
        /// The state that would do.
        needs: &'static str,
    },
}

/// The proof that one operation on one node was checked and allowed.
#[derive(Debug, Clone)]
pub struct Permit {
    node: NodeHandle,
    operation: Operation,
}

impl Permit {
    /// Decides whether `operation` may be carried out on `node` now.
    ///
    /// # Errors
    /// [`Refusal`], in the order ownership, capability, state.
    pub fn check(
        node: &NodeHandle,
        operation: Operation,
        opt_ins: &OptIns,
    ) -> Result<Self, Refusal> {
        Self::check_ever(node, operation, opt_ins)?;
        if let Some(needs) = operation.lacks(&node.state) {
            return Err(Refusal::WrongState {
                node: node.name().clone(),
                operation,
                state: node.state.clone(),
                needs,
            });
        }
        Ok(Self {
            node: node.clone(),
            operation,
        })
    }

    /// Decides whether `operation` may be carried out on `node` in any state; for checks before a scenario acts.
    ///
    /// # Errors
    /// [`Refusal`], in the order ownership, capability.
    pub fn check_ever(
        node: &NodeHandle,
        operation: Operation,
        opt_ins: &OptIns,
    ) -> Result<(), Refusal> {
        let needs = operation.capability();
        let name = || node.name().clone();
        let free = CapabilitySet::BORROWED.contains(needs);
        if node.ownership == Ownership::Borrowed && !free && !opt_ins.allows(node, needs) {
            return Err(Refusal::Borrowed {
                node: name(),
                operation,
                origins: node.shown_origins(),
                needs,
            });
        }
        if !node.capabilities.contains(needs) {
            return Err(Refusal::Incapable {
                node: name(),
                operation,
                needs,
                has: node.capabilities,
            });
        }
        Ok(())
    }

    /// The node, as it was when the permit was given.
    pub fn node(&self) -> &NodeHandle {
        &self.node
    }

    /// Its name.
    pub fn name(&self) -> &NodeName {
        self.node.name()
    }

    /// What is permitted.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// Whether it took an opt-in: the node is not ours, and the operation is not one that every borrowed node allows.
    pub fn is_opted_in(&self) -> bool {
        self.node.ownership == Ownership::Borrowed
            && !CapabilitySet::BORROWED.contains(self.operation.capability())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Endpoint, NodeInventory, NodeSighting, Origin};

    fn inventory(origin: Origin, capabilities: CapabilitySet) -> NodeInventory {
        let mut sighting = NodeSighting::new("N".parse().unwrap(), origin);
        sighting.capabilities = capabilities;
        sighting
            .endpoints
            .insert(Endpoint::new("http".parse().unwrap(), "http://10.0.0.1:1").unwrap());
        let mut inventory = NodeInventory::default();
        inventory.merge([sighting]).unwrap();
        inventory
    }

    fn node(inventory: &NodeInventory) -> &NodeHandle {
        inventory.nodes().next().unwrap()
    }

    fn everything() -> CapabilitySet {
        Capability::ALL.into_iter().collect()
    }

    #[test]
    fn a_borrowed_node_is_queried_and_submitted_to_and_nothing_else() {
        let theirs = inventory(
            Origin::External {
                listed_in: "a.feature:3".into(),
            },
            everything(),
        );
        let node = node(&theirs);
        for operation in [Operation::Query, Operation::Submit] {
            assert!(Permit::check(node, operation, &OptIns::default()).is_ok());
        }
        let refusal = Permit::check(node, Operation::Restart, &OptIns::default()).unwrap_err();
        let text = refusal.to_string();
        assert!(
            text.starts_with("refused to restart N: it is borrowed (external (a.feature:3))"),
            "{text}"
        );
        assert!(
            text.ends_with("an opt-in for lifecycle that names N in the feature"),
            "{text}"
        );
    }

    #[test]
    fn an_opt_in_opens_what_it_names_and_no_more() {
        let theirs = inventory(
            Origin::Attached {
                cluster: "static:x".into(),
            },
            everything(),
        );
        let mut opt_ins = OptIns::default();
        opt_ins.allow("N".parse().unwrap(), Capability::Pause);
        let permit = Permit::check(node(&theirs), Operation::Pause, &opt_ins).unwrap();
        assert!(permit.is_opted_in());
        let query = Permit::check(node(&theirs), Operation::Query, &opt_ins).unwrap();
        assert!(!query.is_opted_in());
        assert!(Permit::check(node(&theirs), Operation::Kill, &opt_ins).is_err());
    }

    #[test]
    fn ownership_does_not_replace_a_missing_capability() {
        let ours = inventory(
            Origin::Managed {
                deployer: "local".into(),
            },
            CapabilitySet::BORROWED,
        );
        let refusal = Permit::check(node(&ours), Operation::Pause, &OptIns::default()).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "cannot pause N: it would need the capability pause, and N has query, submit"
        );
    }

    #[test]
    fn an_operation_waits_for_the_state_that_it_needs() {
        let mut ours = inventory(
            Origin::Managed {
                deployer: "local".into(),
            },
            everything(),
        );
        let none = OptIns::default();
        let name: NodeName = "N".parse().unwrap();
        let refusal = Permit::check(node(&ours), Operation::Start, &none).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "cannot start N while it is running: it would need a stopped node"
        );
        assert!(Permit::check(node(&ours), Operation::SaveData, &none).is_err());
        ours.set_state(&name, NodeState::Stopped).unwrap();
        for operation in [Operation::Start, Operation::Restart, Operation::SaveData] {
            assert!(
                Permit::check(node(&ours), operation, &none).is_ok(),
                "{operation}"
            );
        }
        for operation in [
            Operation::Stop,
            Operation::Kill,
            Operation::Pause,
            Operation::Resume,
        ] {
            assert!(
                Permit::check(node(&ours), operation, &none).is_err(),
                "{operation}"
            );
        }
        ours.set_state(&name, NodeState::Paused).unwrap();
        assert!(Permit::check(node(&ours), Operation::Resume, &none).is_ok());
        assert!(Permit::check(node(&ours), Operation::Stop, &none).is_ok());
    }
}
