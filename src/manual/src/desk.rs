//! The desk: what a supervisor's connections know of its cluster, and what they can have it do.

use std::{future::Future, sync::Arc, time::Instant};

use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use trellis_bootstrap::{LogTail, Progress, in_one_line};
use trellis_domain::{AppName, NodeHandle, NodeName, NodeState};
use trellis_report::inventory_table;
use trellis_runtime::{Cluster, OperationError};

use crate::{Action, ClusterName, ClusterStatus, Done, NodeStatus, Phase, Released, SupervisorId};

/// How many lines of its log are shown of a node that ended by itself.
pub(crate) const LAST_LINES: usize = 5;

/// How far the cluster has come, with the cluster once there is one.
#[derive(Clone)]
pub(crate) enum Stage {
    Starting,
    Running(Cluster),
    Ending(Option<Cluster>),
}

/// A supervisor's desk.
pub(crate) struct Desk {
    pub(crate) name: ClusterName,
    pub(crate) supervisor: SupervisorId,
    pub(crate) spec: String,
    pub(crate) app: AppName,
    pub(crate) begun: Instant,
    pub(crate) stage: watch::Sender<Stage>,
    /// What became of the cluster, once it is ended.
    pub(crate) released: watch::Sender<Option<Released>>,
    /// Cancelled by whoever wants the cluster to end.
    pub(crate) end: CancellationToken,
    pub(crate) progress: Arc<dyn Progress>,
}

impl Desk {
    /// The cluster, while it can be used.
    fn cluster(&self) -> Result<Cluster, String> {
        match &*self.stage.borrow() {
            Stage::Running(cluster) => Ok(cluster.clone()),
            Stage::Starting => Err(format!(
                "{} is being brought up; ask again when it is ready",
                self.name
            )),
            Stage::Ending(_) => Err(self.ending()),
        }
    }

    fn ending(&self) -> String {
        format!("{} is being ended", self.name)
    }

    pub(crate) async fn status(&self) -> ClusterStatus {
        let stage = self.stage.borrow().clone();
        let (phase, cluster) = match stage {
            Stage::Starting => (Phase::Starting, None),
            Stage::Running(cluster) => (Phase::Running, Some(cluster)),
            Stage::Ending(cluster) => (Phase::Ending, cluster),
        };
        let mut nodes = Vec::new();
        let mut table = String::new();
        if let Some(cluster) = &cluster {
            let inventory = cluster.inventory().snapshot();
            table = inventory_table(&inventory);
            for node in inventory.nodes() {
                nodes.push(NodeStatus::of(node, last_lines(cluster, node).await));
            }
        }
        ClusterStatus {
            name: self.name.clone(),
            phase,
            supervisor: self.supervisor.clone(),
            up_for_seconds: self.begun.elapsed().as_secs(),
            spec: self.spec.clone(),
            app: self.app.clone(),
            nodes,
            table,
        }
    }

    pub(crate) async fn log(&self, node: &NodeName, lines: usize) -> Result<LogTail, String> {
        let tail = self.cluster()?.log_tail(node, lines).await;
        tail.map_err(|error| in_one_line(&error))
    }

    /// Carries out what `by` asks for, to its end, whether or not somebody still waits for it.
    pub(crate) async fn act(
        &self,
        by: &str,
        node: NodeName,
        action: Action,
    ) -> Result<Done, String> {
        let cluster = self.cluster()?;
        let operation = action.operation();
        self.progress
            .note(&format!("{by} asks: {operation} {node}"));
        let (said, hear) = oneshot::channel();
        let acting = cluster.clone();
        let of_node = node.clone();
        cluster
            .tasks()
            .spawn(format!("{operation} {node}"), async move {
                // Whoever asked may have gone.
                let _ = said.send(carry_out(&acting, &of_node, action).await);
            });
        let done = hear.await.map_err(|_| self.ending())?;
        done.map_err(|error| {
            let why = in_one_line(&error);
            self.progress.note(&why);
            why
        })
    }

    /// Has the cluster ended, and waits until it is.
    pub(crate) async fn down(&self, by: &str) -> Released {
        if !self.end.is_cancelled() {
            self.progress.note(&format!("{by} asks: end {}", self.name));
            self.end.cancel();
        }
        let mut released = self.released.subscribe();
        let released = released.wait_for(Option::is_some).await;
        let released = released.expect("the desk holds the sender");
        released.clone().expect("the wait was for it")
    }
}

/// What a node that ended by itself logged last.
pub(crate) async fn last_lines(cluster: &Cluster, node: &NodeHandle) -> Vec<String> {
    if !matches!(node.state, NodeState::Exited(_)) {
        return Vec::new();
    }
    let tail = cluster.log_tail(node.name(), LAST_LINES).await;
    tail.map(|tail| tail.lines).unwrap_or_default()
}

async fn carry_out(
    cluster: &Cluster,
    node: &NodeName,
    action: Action,
) -> Result<Done, OperationError> {
    let done = |said: &str| Done {
        said: format!("{node} {said}"),
        instance: None,
        took: None,
        forced: false,
    };
    match action {
        Action::Start => started(cluster.start(node), "started").await,
        Action::Restart { with } if with.is_empty() => {
            started(cluster.restart(node), "restarted").await
        }
        Action::Restart { with } => {
            started(
                cluster.restart_with(node, &with),
                "restarted with another configuration",
            )
            .await
        }
        Action::Stop => {
            let report = cluster.stop(node).await?;
            let how = if report.forced { "killed" } else { "stopped" };
            Ok(Done {
                took: Some(report.took),
                forced: report.forced,
                ..done(&format!("{how} after {:?}", report.took))
            })
        }
        Action::Kill => cluster.kill(node).await.map(|()| done("killed")),
        Action::Pause => cluster.pause(node).await.map(|()| done("paused")),
        Action::Resume => cluster.resume(node).await.map(|()| done("resumed")),
        Action::SaveData { label } => {
            let saved = cluster.save_data(node, &label).await;
            saved.map(|()| done("has its data saved"))
        }
        Action::RestoreData { label, source } => {
            let restored = cluster.restore_data(node, &label, &source).await;
            restored.map(|()| done("has its data replaced"))
        }
    }
}

/// What is said of a node that was started and is ready.
async fn started(
    starting: impl Future<Output = Result<NodeHandle, OperationError>>,
    how: &str,
) -> Result<Done, OperationError> {
    let node = starting.await?;
    let by = node.instance.as_deref();
    let by = by.map_or_else(String::new, |instance| format!(" ({instance})"));
    Ok(Done {
        said: format!("{node} {how}{by} and ready"),
        instance: node.instance.clone(),
        took: None,
        forced: false,
    })
}
