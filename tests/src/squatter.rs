//! An application with bad luck: as soon as its first node knows its port, another process listens there.
//!
//! It is openraft-kv otherwise. Features use it to show that a port which is taken between its reservation and the node's start is answered by another port.

use std::{
    net::TcpListener,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use openraft_kv::OpenRaftKv;
use trellis_bootstrap::{
    Application, ArtifactFile, DynError, NodeCommand, NodePlan, PeerPlan, PortSpec, Probe,
    SelfDescription,
};
use trellis_domain::{AppName, CapabilitySet, NodeHandle};

/// openraft-kv with a squatter on the first port that it is told of.
pub struct Squatted {
    name: AppName,
    app: OpenRaftKv,
    /// Listens until the process ends.
    squatter: Mutex<Option<TcpListener>>,
}

impl Squatted {
    /// `app` under the name `openraft-kv-squatted`.
    pub fn new(app: OpenRaftKv) -> Self {
        let name = "openraft-kv-squatted"
            .parse()
            .expect("the name is a valid one");
        Self {
            name,
            app,
            squatter: Mutex::default(),
        }
    }

    fn squat(&self, node: &NodePlan) -> Result<(), DynError> {
        let mut squatter = self.squatter.lock().unwrap_or_else(PoisonError::into_inner);
        if squatter.is_none() {
            let address = node
                .addresses
                .values()
                .next()
                .ok_or("the node has no port")?;
            *squatter = Some(TcpListener::bind((address.host.as_str(), address.port))?);
        }
        Ok(())
    }
}

#[async_trait]
impl Application for Squatted {
    fn name(&self) -> &AppName {
        &self.name
    }

    fn capabilities(&self) -> CapabilitySet {
        self.app.capabilities()
    }

    fn ports(&self) -> Vec<PortSpec> {
        self.app.ports()
    }

    fn command(&self, node: &NodePlan) -> NodeCommand {
        self.app.command(node)
    }

    fn artifacts(
        &self,
        node: &NodePlan,
        peers: &[PeerPlan],
    ) -> Result<Vec<ArtifactFile>, DynError> {
        self.squat(node)?;
        self.app.artifacts(node, peers)
    }

    fn config_artifact(&self) -> Option<&str> {
        self.app.config_artifact()
    }

    async fn probe(&self, node: &NodeHandle) -> Result<Probe, DynError> {
        self.app.probe(node).await
    }

    async fn identify(&self, node: &NodeHandle) -> Result<SelfDescription, DynError> {
        self.app.identify(node).await
    }
}
