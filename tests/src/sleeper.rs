//! The simplest application there is: a process that sleeps, and a record of what the harness asked of it.
//!
//! It is for tests of bootstrap and runtime, which care about order, deadlines and leftovers, not about what a node does.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use trellis_bootstrap::{
    Application, ArtifactFile, DynError, NodeCommand, NodePlan, PeerPlan, PortSpec, Probe,
    SelfDescription, Transport,
};
use trellis_domain::{AppName, Capability, CapabilitySet, NetworkIdentity, NodeHandle, PeerId};

/// An application whose nodes sleep. Clones share their record.
#[derive(Clone)]
pub struct Sleeper {
    name: AppName,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    events: Vec<String>,
    never_ready: BTreeSet<String>,
    silent: BTreeSet<String>,
    hanging: BTreeSet<String>,
    slow: BTreeMap<String, (Duration, Option<Instant>)>,
    unmakeable: BTreeSet<String>,
    networks: BTreeMap<String, String>,
}

impl Default for Sleeper {
    fn default() -> Self {
        Self::called("sleeper")
    }
}

impl Sleeper {
    /// The application under another name.
    ///
    /// # Panics
    /// When the name is not a valid one.
    pub fn called(name: &str) -> Self {
        Self {
            name: name.parse().expect("tests use valid names"),
            state: Arc::default(),
        }
    }

    /// Makes the node called `node` answer every probe with "not yet".
    pub fn never_ready(&self, node: &str) {
        self.state().never_ready.insert(node.to_owned());
    }

    /// Makes the node called `node` ready `after` its first probe, not before.
    pub fn slow(&self, node: &str, after: Duration) {
        self.state().slow.insert(node.to_owned(), (after, None));
    }

    /// Makes the node called `node` answer no probe at all.
    pub fn hangs(&self, node: &str) {
        self.state().hanging.insert(node.to_owned());
    }

    /// Makes the node called `node` ready, but silent about who it is.
    pub fn silent(&self, node: &str) {
        self.state().silent.insert(node.to_owned());
    }

    /// Makes the files of the node called `node` impossible to make.
    pub fn unmakeable(&self, node: &str) {
        self.state().unmakeable.insert(node.to_owned());
    }

    /// Makes the node called `node` claim that it is on `network`.
    pub fn on_network(&self, node: &str, network: &str) {
        self.state()
            .networks
            .insert(node.to_owned(), network.to_owned());
    }

    /// What the harness asked so far, such as `command A` and `ready A`.
    pub fn events(&self) -> Vec<String> {
        self.state().events.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Application for Sleeper {
    fn name(&self) -> &AppName {
        &self.name
    }

    fn capabilities(&self) -> CapabilitySet {
        Capability::ALL.into_iter().collect()
    }

    fn ports(&self) -> Vec<PortSpec> {
        let endpoint = "http".parse().expect("the name is a valid one");
        vec![PortSpec {
            endpoint,
            scheme: "http",
            transport: Transport::Tcp,
        }]
    }

    fn command(&self, node: &NodePlan) -> NodeCommand {
        self.state().events.push(format!("command {}", node.name));
        NodeCommand {
            program: "sleep".into(),
            args: vec!["1000".into()],
            env: BTreeMap::new(),
        }
    }

    fn artifacts(
        &self,
        node: &NodePlan,
        peers: &[PeerPlan],
    ) -> Result<Vec<ArtifactFile>, DynError> {
        if self.state().unmakeable.contains(node.name.as_str()) {
            return Err("its key ceremony failed".into());
        }
        let peers: Vec<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
        Ok(vec![ArtifactFile::new(
            "sleeper.yaml",
            format!("peers: [{}]\n", peers.join(", ")),
        )])
    }

    fn config_artifact(&self) -> Option<&str> {
        Some("sleeper.yaml")
    }

    async fn probe(&self, node: &NodeHandle) -> Result<Probe, DynError> {
        let is_hanging = self.state().hanging.contains(node.name().as_str());
        if is_hanging {
            std::future::pending::<()>().await;
        }
        let mut state = self.state();
        if state.never_ready.contains(node.name().as_str()) {
            return Ok(Probe::NotYet("still dreaming".to_owned()));
        }
        if let Some((after, first)) = state.slow.get_mut(node.name().as_str())
            && first.get_or_insert_with(Instant::now).elapsed() < *after
        {
            return Ok(Probe::NotYet("still yawning".to_owned()));
        }
        state.events.push(format!("ready {}", node.name()));
        Ok(Probe::Ready)
    }

    async fn identify(&self, node: &NodeHandle) -> Result<SelfDescription, DynError> {
        let is_silent = self.state().silent.contains(node.name().as_str());
        if is_silent {
            std::future::pending::<()>().await;
        }
        let network = self.state().networks.get(node.name().as_str()).cloned();
        Ok(SelfDescription {
            peer_id: Some(PeerId::new(node.name().as_str())),
            network: NetworkIdentity {
                network,
                ..NetworkIdentity::default()
            },
        })
    }
}
