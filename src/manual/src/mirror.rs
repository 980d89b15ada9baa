//! The mirror: the inventory of a cluster that another process keeps, for those who only look at it.
//!
//! Credentials are not in it: a supervisor tells them to nobody.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use trellis_bootstrap::SharedInventory;
use trellis_domain::{
    Endpoint, InventoryError, NodeInventory, NodeName, NodeSighting, NodeState, Origin,
};

use crate::{ClientError, ClusterClient, ClusterStatus, NodeStatus, Phase};

/// How often the supervisor is asked.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What a supervisor says of the nodes of its cluster, as an inventory.
#[derive(Debug)]
pub struct Mirror {
    client: ClusterClient,
    inventory: SharedInventory,
}

impl Mirror {
    /// That of the cluster that `client` asks about. Its nodes are there when this returns.
    ///
    /// # Errors
    /// A supervisor that does not answer, or nodes that cannot be told apart.
    pub async fn of(client: ClusterClient) -> Result<Self, ClientError> {
        let mirror = Self {
            client,
            inventory: SharedInventory::new(NodeInventory::default()),
        };
        let status = mirror.client.status().await?;
        mirror.show(&status);
        Ok(mirror)
    }

    /// The inventory; it is up to date while the mirror is kept.
    pub fn inventory(&self) -> &SharedInventory {
        &self.inventory
    }

    /// Keeps the inventory up to date until the cluster ends, and says how that is known.
    ///
    /// # Cancel safety
    /// Dropping it leaves the inventory as it is.
    pub async fn keep(&self) -> String {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.client.status().await {
                Ok(status) if status.phase == Phase::Ending => {
                    return format!("{} is being ended", status.name);
                }
                Ok(status) => self.show(&status),
                Err(error) => return trellis_bootstrap::in_one_line(&error),
            }
        }
    }

    fn show(&self, status: &ClusterStatus) {
        let origin = Origin::Attached {
            cluster: format!("up:{}", status.name),
        };
        let shown = self.inventory.update(|nodes| {
            for node in &status.nodes {
                show(nodes, node, &origin)?;
            }
            let told = |name: &NodeName| status.nodes.iter().any(|node| node.name == *name);
            let gone = nodes.nodes().map(|node| node.name().clone());
            let gone: Vec<NodeName> = gone.filter(|name| !told(name)).collect();
            gone.iter().try_for_each(|name| nodes.leave(name))
        });
        if let Err(error) = shown {
            // The next answer may fit again; until then the nodes are as they were.
            tracing::warn!(%error, "a supervisor tells of nodes that do not fit together");
        }
    }
}

/// Brings one node in line with what is told of it.
fn show(
    nodes: &mut NodeInventory,
    told: &NodeStatus,
    origin: &Origin,
) -> Result<(), InventoryError> {
    let endpoints: BTreeMap<_, Endpoint> = told
        .endpoints
        .iter()
        .map(|endpoint| (endpoint.name().clone(), endpoint.clone()))
        .collect();
    let endpoints = endpoints.into_values().collect();
    match nodes.node(&told.name) {
        Ok(node) if node.endpoints == endpoints => {}
        Ok(_) => nodes.relocate(&told.name, &endpoints)?,
        Err(_) => {
            let mut sighting = NodeSighting::new(told.name.clone(), origin.clone());
            sighting.endpoints = endpoints;
            nodes.merge([sighting])?;
        }
    }
    let known = nodes.node(&told.name)?.incarnation;
    for _ in known..told.incarnation {
        nodes.started(&told.name, told.instance.clone())?;
    }
    nodes.set_state(&told.name, state_in(&told.state))?;
    Ok(())
}

/// The state that a supervisor means by these words.
fn state_in(words: &str) -> NodeState {
    let plain = [
        NodeState::Starting,
        NodeState::Running,
        NodeState::Paused,
        NodeState::Stopped,
        NodeState::Unreachable,
    ];
    let exited = || {
        let status = words.strip_prefix("exited (")?.strip_suffix(')')?;
        Some(NodeState::Exited(status.to_owned()))
    };
    let plain = plain.into_iter().find(|state| state.to_string() == words);
    // What is not known of a newer supervisor is no node that could be asked.
    plain.or_else(exited).unwrap_or(NodeState::Unreachable)
}

#[cfg(test)]
mod tests {
    use trellis_domain::CapabilitySet;

    use super::*;

    #[test]
    fn every_state_is_understood_as_it_was_told() {
        for state in [
            NodeState::Starting,
            NodeState::Running,
            NodeState::Paused,
            NodeState::Stopped,
            NodeState::Unreachable,
            NodeState::Exited("killed by signal 9 (SIGKILL)".to_owned()),
        ] {
            assert_eq!(state_in(&state.to_string()), state);
        }
    }

    #[test]
    fn starts_states_and_places_are_mirrored() {
        let origin = Origin::Attached {
            cluster: "up:demo".to_owned(),
        };
        let told = |state: &str, incarnation, port: u16| NodeStatus {
            name: "NODE_1".parse().unwrap(),
            ownership: "owned".to_owned(),
            origin: "managed (local)".to_owned(),
            state: state.to_owned(),
            is_running: state == "running",
            capabilities: CapabilitySet::NONE,
            endpoints: vec![
                Endpoint::new("http".parse().unwrap(), &format!("http://127.0.0.1:{port}"))
                    .unwrap(),
            ],
            instance: Some("pid 7".to_owned()),
            incarnation,
            log: Vec::new(),
        };
        let mut nodes = NodeInventory::default();
        show(&mut nodes, &told("running", 3, 1), &origin).unwrap();
        let version = nodes.version();
        show(&mut nodes, &told("running", 3, 1), &origin).unwrap();
        assert_eq!(nodes.version(), version, "nothing is new");
        show(&mut nodes, &told("stopped", 3, 1), &origin).unwrap();
        show(&mut nodes, &told("running", 4, 2), &origin).unwrap();
        let node = nodes.node(&"NODE_1".parse().unwrap()).unwrap();
        assert_eq!((node.incarnation, &node.state), (4, &NodeState::Running));
        assert_eq!(node.endpoint("http").unwrap().url().port(), Some(2));
    }
}
