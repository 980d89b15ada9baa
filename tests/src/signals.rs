//! Signals: an attach provider that can do something to the nodes that it finds, since it knows their processes.
//!
//! For features about opt-ins; the providers for real use know addresses only.

use std::{
    collections::BTreeMap,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::process::Command;
use trellis_bootstrap::{
    AttachError, AttachProvider, DiscoveredNode, Discovery, Instance, LogTail, NodeOperations,
    ProviderError, StopReport,
};
use trellis_domain::{Capability, CapabilitySet, ExternalNode, NodeName, Permit};

#[derive(Clone)]
struct Known {
    nodes: Vec<ExternalNode>,
    pids: BTreeMap<NodeName, u32>,
}

/// Finds the clusters that it was told of, and can pause their nodes. Clones know the same.
#[derive(Clone, Default)]
pub struct Signals(Arc<Mutex<BTreeMap<String, Known>>>);

impl Signals {
    /// Takes note of a cluster.
    pub fn learn(&self, cluster: &str, nodes: Vec<ExternalNode>, pids: BTreeMap<NodeName, u32>) {
        let mut clusters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clusters.insert(cluster.to_owned(), Known { nodes, pids });
    }
}

#[async_trait]
impl AttachProvider for Signals {
    fn name(&self) -> &'static str {
        "signals"
    }

    fn capabilities(&self) -> CapabilitySet {
        // A patch is not what a provider of borrowed nodes could offer, whatever it says.
        CapabilitySet::NONE
            .with(Capability::Pause)
            .with(Capability::ConfigPatch)
    }

    async fn discover(&self, cluster: &str) -> Result<Discovery, AttachError> {
        let clusters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Known { nodes, pids }) = clusters.get(cluster).cloned() else {
            return Err(AttachError::UnknownCluster {
                cluster: cluster.to_owned(),
                hint: "nobody told of it".to_owned(),
            });
        };
        let nodes = nodes.into_iter().map(|node| DiscoveredNode {
            name: node.name,
            endpoints: node.endpoints,
            credential: node.credential,
            capabilities: self.capabilities(),
        });
        Ok(Discovery {
            nodes: nodes.collect(),
            missing: Vec::new(),
            operations: Some(Arc::new(Pauses(pids))),
        })
    }
}

struct Pauses(BTreeMap<NodeName, u32>);

impl Pauses {
    async fn send(&self, signal: &str, permit: &Permit) -> Result<(), ProviderError> {
        let pid = self.0.get(permit.name()).map(u32::to_string);
        let Some(pid) = pid else {
            return Err(self.unsupported(permit));
        };
        let mut kill = Command::new("kill");
        kill.args([signal, &pid]).stdin(Stdio::null());
        match kill.status().await {
            Ok(status) if status.success() => Ok(()),
            _ => Err(self.unsupported(permit)),
        }
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
        self.send("-STOP", permit).await
    }

    async fn resume(&self, permit: &Permit) -> Result<(), ProviderError> {
        self.send("-CONT", permit).await
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
