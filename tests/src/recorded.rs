//! What of the applications of the suite is put on record.

use std::{sync::Arc, time::SystemTime};

use openraft_kv::{OpenRaftKv, OpenRaftObserver, RaftEvent, RaftSnapshot};
use trellis::{
    NodeHandle,
    record::{Delta, Fact, Leaders, Recording, Watched, chain::ChainRecording},
};
use trellis_bootstrap::SharedInventory;
use trellis_chain::{ChainObserver, ChainObserverConfig, ChainSource, StartAt};
use trellis_observation::ObservationConfig;

use crate::devchain::node_source;

/// Who leads an openraft-kv cluster.
pub fn leaders(app: &OpenRaftKv, inventory: &SharedInventory) -> Watched {
    let app = app.clone();
    Watched::nodes(
        LeaderRecording::default(),
        OpenRaftObserver::default(),
        inventory.clone(),
        move |node: &NodeHandle| app.client(node).ok(),
        ObservationConfig::default(),
        "leaders",
    )
}

/// Where the nodes of a devchain are.
pub fn heads(inventory: &SharedInventory) -> Watched {
    let config = ChainObserverConfig::default().with_start(StartAt::Genesis);
    Watched::nodes(
        ChainRecording::default(),
        ChainObserver::new(config),
        inventory.clone(),
        |node: &NodeHandle| -> Option<Arc<dyn ChainSource>> { node_source(node).ok() },
        ObservationConfig::default(),
        "chain",
    )
}

/// Puts on record who leads.
#[derive(Debug, Default)]
pub struct LeaderRecording {
    leaders: Leaders,
}

impl Recording for LeaderRecording {
    type Observer = OpenRaftObserver;

    fn record(&mut self, delta: &Delta<'_, RaftEvent>) -> Vec<Fact> {
        let events = delta.events.iter();
        let facts = events.flat_map(|event| match event {
            RaftEvent::LeaderChanged { term, to, .. } => self.leaders.leads(delta.at, *term, to),
            RaftEvent::LeaderLost { .. } => self.leaders.nobody(delta.at),
            // Whether nodes are up is known of the inventory.
            _ => Vec::new(),
        });
        facts.collect()
    }

    fn after_gap(&mut self, at: SystemTime, snapshot: &RaftSnapshot) -> Vec<Fact> {
        match snapshot.agreed_leader() {
            Some(leader) => self.leaders.leads(at, leader.term, &leader.name),
            None => self.leaders.nobody(at),
        }
    }
}
