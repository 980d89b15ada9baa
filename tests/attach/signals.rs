//! An attach provider that can do something to the nodes that it finds: it has their process ids.

use std::{collections::BTreeMap, process::Command, sync::Arc, time::Duration};

use async_trait::async_trait;
use trellis_bootstrap::{
    AttachError, AttachProvider, DiscoveredNode, Discovery, Instance, LogTail, NodeOperations,
    ProviderError, StopReport,
};
use trellis_domain::{Capability, CapabilitySet, NodeName, Permit};

use crate::theirs::Theirs;

/// Finds the nodes of one cluster, whatever it is called, and can pause them.
pub(crate) struct Signals {
    nodes: Vec<DiscoveredNode>,
    pids: BTreeMap<NodeName, u32>,
}

impl Signals {
    /// A provider of the first `size` nodes of `theirs`.
    pub(crate) fn of(theirs: &Theirs, size: u8) -> Self {
        let nodes: Vec<DiscoveredNode> = (1..=size)
            .map(|id| {
                let node = theirs.external(&format!("LISTED_{id}"), id);
                DiscoveredNode {
                    name: node.name,
                    endpoints: node.endpoints,
                    credential: None,
                }
            })
            .collect();
        let pids = nodes.iter().map(|node| node.name.clone());
        Self {
            pids: pids.zip((1..=size).map(|id| theirs.pid(id))).collect(),
            nodes,
        }
    }
}

#[async_trait]
impl AttachProvider for Signals {
    fn name(&self) -> &'static str {
        "signals"
    }

    fn capabilities(&self) -> CapabilitySet {
        // A teardown or a patch is not what a provider of borrowed nodes could offer, whatever it says.
        CapabilitySet::NONE
            .with(Capability::Pause)
            .with(Capability::ConfigPatch)
    }

    async fn discover(&self, _: &str) -> Result<Discovery, AttachError> {
        Ok(Discovery {
            nodes: self.nodes.clone(),
            missing: Vec::new(),
            operations: Some(Arc::new(Pauses(self.pids.clone()))),
        })
    }
}

struct Pauses(BTreeMap<NodeName, u32>);

impl Pauses {
    fn send(&self, signal: &str, permit: &Permit) {
        let pid = self.0.get(permit.name()).expect("it found this node");
        let status = Command::new("kill")
            .args([signal, &pid.to_string()])
            .status()
            .expect("there is a kill command");
        assert!(status.success());
    }
}

#[async_trait]
impl NodeOperations for Pauses {
    async fn start(&self, permit: &Permit) -> Result<Instance, ProviderError> {
        Err(self.unsupported(permit))
    }

    async fn stop(&self, permit: &Permit, _: Duration) -> Result<StopReport, ProviderError> {
        Err(self.unsupported(permit))
    }

    async fn kill(&self, permit: &Permit) -> Result<(), ProviderError> {
        Err(self.unsupported(permit))
    }

    async fn pause(&self, permit: &Permit) -> Result<(), ProviderError> {
        self.send("-STOP", permit);
        Ok(())
    }

    async fn resume(&self, permit: &Permit) -> Result<(), ProviderError> {
        self.send("-CONT", permit);
        Ok(())
    }

    async fn save_data(&self, permit: &Permit, _: &str) -> Result<(), ProviderError> {
        Err(self.unsupported(permit))
    }

    async fn restore_data(
        &self,
        permit: &Permit,
        _: &str,
        _: &NodeName,
    ) -> Result<(), ProviderError> {
        Err(self.unsupported(permit))
    }

    async fn log_tail(&self, _: &NodeName, _: usize) -> Result<LogTail, ProviderError> {
        Ok(LogTail::default())
    }
}
