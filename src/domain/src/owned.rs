//! Owned nodes: the proof that a node is ours, for whatever ends, removes or collects nodes.
//!
//! Cleanup takes this type and nothing else, so a borrowed node cannot reach it, not even by mistake.

use std::fmt;

use thiserror::Error;

use crate::{NodeHandle, NodeName, Ownership};

/// A node that is ours. It is made from an owned handle and from nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedNode(NodeHandle);

/// A node that is somebody else's, where one of ours is needed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{node} is borrowed ({origins}), so it is not ours to end, remove or collect")]
pub struct NotOurs {
    /// The node.
    pub node: NodeName,
    /// Where it came from.
    pub origins: String,
}

impl TryFrom<&NodeHandle> for OwnedNode {
    type Error = NotOurs;

    fn try_from(node: &NodeHandle) -> Result<Self, NotOurs> {
        match node.ownership {
            Ownership::Owned => Ok(Self(node.clone())),
            Ownership::Borrowed => Err(NotOurs {
                node: node.name().clone(),
                origins: node.shown_origins(),
            }),
        }
    }
}

impl OwnedNode {
    /// Its name.
    pub fn name(&self) -> &NodeName {
        self.0.name()
    }

    /// The node, as it was when the proof was made.
    pub fn handle(&self) -> &NodeHandle {
        &self.0
    }
}

impl fmt::Display for OwnedNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Endpoint, NodeInventory, NodeSighting, Origin};

    fn inventory(origins: Vec<Origin>) -> NodeInventory {
        let sightings = origins.into_iter().map(|origin| {
            let mut sighting = NodeSighting::new("N".parse().unwrap(), origin);
            let endpoint = Endpoint::new("http".parse().unwrap(), "http://10.0.0.1:1").unwrap();
            sighting.endpoints.insert(endpoint);
            sighting
        });
        let mut inventory = NodeInventory::adopting(["N".parse().unwrap()].into());
        inventory.merge(sightings).unwrap();
        inventory
    }

    fn managed() -> Origin {
        Origin::Managed {
            deployer: "local".into(),
        }
    }

    fn attached() -> Origin {
        Origin::Attached {
            cluster: "static:shop".into(),
        }
    }

    #[test]
    fn ours_and_adopted_nodes_are_owned_and_a_borrowed_one_says_whose_it_is() {
        for origins in [vec![managed()], vec![managed(), attached()]] {
            let inventory = inventory(origins);
            let node = inventory.nodes().next().unwrap();
            assert_eq!(OwnedNode::try_from(node).unwrap().handle(), node);
        }
        let theirs = inventory(vec![attached()]);
        let error = OwnedNode::try_from(theirs.nodes().next().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "N is borrowed (attached (static:shop)), so it is not ours to end, remove or collect"
        );
    }
}
