//! The attach provider for clusters that people keep: features find their nodes through the supervisor, and have it do what they opt in to.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use trellis_bootstrap::{
    AttachError, AttachProvider, DiscoveredNode, Discovery, Instance, LogTail, MissingNode,
    NodeOperations, ProviderError, StopReport, in_one_line,
};
use trellis_domain::{Capability, CapabilitySet, NodeName, Operation, Ownership, Permit};

use crate::{
    Action, ClientError, ClusterClient, ClusterName, ClusterStatus, Done, NodeStatus, Phase,
};

/// What features, settings and reports call it.
const PROVIDER: &str = "up";

/// Finds clusters that `trellis up` keeps.
///
/// Their nodes are borrowed, whoever attaches: ending them is `trellis down`'s alone. What a feature opts in to is done by the supervisor, which writes down who asked.
#[derive(Debug, Clone)]
pub struct UpClusters {
    state: PathBuf,
    by: String,
}

impl UpClusters {
    /// Looks for clusters whose state is below `state`, on behalf of this process.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self {
            state: state.into(),
            by: asked_by("a feature run"),
        }
    }

    /// Tells supervisors that `by` asks, such as a run id.
    #[must_use]
    pub fn asked_by(mut self, by: impl Into<String>) -> Self {
        self.by = by.into();
        self
    }

    async fn look(&self, cluster: &str) -> Result<(ClusterClient, ClusterStatus), AttachError> {
        let unknown = |hint: String| AttachError::UnknownCluster {
            cluster: cluster.to_owned(),
            hint,
        };
        let failed = |error: ClientError| AttachError::Failed {
            cluster: cluster.to_owned(),
            source: error.into(),
        };
        let name: ClusterName = cluster
            .parse()
            .map_err(|error: crate::ClusterNameError| unknown(error.to_string()))?;
        let client = match ClusterClient::find(&self.state, &name, &self.by) {
            Err(error @ (ClientError::NoCluster { .. } | ClientError::Killed { .. })) => {
                return Err(unknown(error.to_string()));
            }
            found => found.map_err(failed)?,
        };
        let status = client.status().await.map_err(failed)?;
        match status.phase {
            Phase::Running => Ok((client, status)),
            Phase::Starting => Err(unknown(format!("{name} is still being brought up"))),
            Phase::Ending => Err(unknown(format!("{name} is being ended"))),
        }
    }
}

/// What a supervisor is told of this process: what it is for, and its number.
pub fn asked_by(what: &str) -> String {
    format!("{what} (pid {})", std::process::id())
}

#[async_trait]
impl AttachProvider for UpClusters {
    fn name(&self) -> &'static str {
        PROVIDER
    }

    fn capabilities(&self) -> CapabilitySet {
        [
            Capability::Lifecycle,
            Capability::Pause,
            Capability::Logs,
            Capability::Snapshot,
        ]
        .into_iter()
        .collect()
    }

    async fn discover(&self, cluster: &str) -> Result<Discovery, AttachError> {
        let (client, status) = self.look(cluster).await?;
        let (running, down): (Vec<NodeStatus>, Vec<NodeStatus>) =
            status.nodes.into_iter().partition(|node| node.is_running);
        Ok(Discovery {
            nodes: running.into_iter().map(discovered).collect(),
            missing: down.into_iter().map(missing).collect(),
            operations: Some(Arc::new(UpOperations(client))),
        })
    }
}

/// A node as features may borrow it. What the supervisor borrows itself, it does nothing to for anybody.
fn discovered(node: NodeStatus) -> DiscoveredNode {
    let is_its_own = node.ownership == Ownership::Owned.to_string();
    DiscoveredNode {
        name: node.name,
        endpoints: node.endpoints.into_iter().collect(),
        credential: None,
        capabilities: if is_its_own {
            node.capabilities
        } else {
            CapabilitySet::NONE
        },
    }
}

fn missing(node: NodeStatus) -> MissingNode {
    MissingNode {
        name: node.name,
        why: node.state,
    }
}

/// What the supervisor can do to the nodes of its cluster.
#[derive(Debug)]
struct UpOperations(ClusterClient);

impl UpOperations {
    async fn act(&self, permit: &Permit, action: Action) -> Result<Done, ProviderError> {
        let done = self.0.act(permit.name(), action).await;
        done.map_err(|error| unfinished(permit.name(), permit.operation(), &error))
    }
}

fn unfinished(node: &NodeName, operation: Operation, error: &ClientError) -> ProviderError {
    ProviderError::Unfinished {
        node: node.clone(),
        operation,
        detail: in_one_line(error),
    }
}

#[async_trait]
impl NodeOperations for UpOperations {
    /// It is ready, too, when this returns: the supervisor waits for that.
    async fn start(&self, permit: &Permit) -> Result<Instance, ProviderError> {
        let done = self.act(permit, Action::Start).await?;
        Ok(Instance {
            label: done.instance.unwrap_or_else(|| "unknown".to_owned()),
        })
    }

    /// The grace is the supervisor's own.
    async fn stop(&self, permit: &Permit, _grace: Duration) -> Result<StopReport, ProviderError> {
        let done = self.act(permit, Action::Stop).await?;
        Ok(StopReport {
            took: done.took.unwrap_or_default(),
            forced: done.forced,
        })
    }

    async fn kill(&self, permit: &Permit) -> Result<(), ProviderError> {
        self.act(permit, Action::Kill).await.map(drop)
    }

    async fn pause(&self, permit: &Permit) -> Result<(), ProviderError> {
        self.act(permit, Action::Pause).await.map(drop)
    }

    async fn resume(&self, permit: &Permit) -> Result<(), ProviderError> {
        self.act(permit, Action::Resume).await.map(drop)
    }

    async fn save_data(&self, permit: &Permit, label: &str) -> Result<(), ProviderError> {
        let label = label.to_owned();
        self.act(permit, Action::SaveData { label }).await.map(drop)
    }

    async fn restore_data(
        &self,
        permit: &Permit,
        label: &str,
        source: &NodeName,
    ) -> Result<(), ProviderError> {
        let (label, source) = (label.to_owned(), source.clone());
        let action = Action::RestoreData { label, source };
        self.act(permit, action).await.map(drop)
    }

    async fn log_tail(&self, node: &NodeName, lines: usize) -> Result<LogTail, ProviderError> {
        let tail = self.0.log(node, lines).await;
        tail.map_err(|error| unfinished(node, Operation::ReadLogs, &error))
    }
}
