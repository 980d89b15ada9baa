//! The control of one cluster on this machine: finds the node, checks that it is in its turn, and lets it do the work. How all of it is removed is in `teardown`.

mod teardown;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use trellis_bootstrap::{
    ArtifactFile, ClusterRequest, Doing, ExitReport, Instance, LogTail, NodeCommand, NodeControl,
    NodeOperations, Placement, PortSpec, ProviderError, Resource, RunLedger, StopReport,
};
use trellis_domain::{NodeName, Operation, OwnedNode, Permit};

use crate::{
    artifacts,
    copies::Copies,
    deployer::unusable,
    files::{FileError, copy_folder, copy_public},
    folder::{self, ClusterFolder},
    label::Label,
    log,
    node::{Node, Turn},
    ports::PortPool,
    reap::{folder_entry, processes_entry},
    spawner::Spawner,
};

/// Controls the nodes of one cluster.
#[derive(Debug)]
pub(crate) struct LocalControl {
    label: Label,
    folder: ClusterFolder,
    ledger: Arc<RunLedger>,
    entries: [Resource; 2],
    pool: Arc<PortPool>,
    spawner: Spawner,
    nodes: Mutex<Nodes>,
    /// Whether all is removed; held while it is being removed.
    removed: tokio::sync::Mutex<bool>,
}

#[derive(Debug, Default)]
struct Nodes {
    by_name: BTreeMap<NodeName, Arc<Node>>,
    /// Teardown has begun; nothing is placed or started any more.
    is_closed: bool,
}

impl LocalControl {
    /// Writes down what the cluster will own, then creates its folder. Blocks.
    pub(crate) fn open(
        request: ClusterRequest,
        pool: Arc<PortPool>,
        spawner: Spawner,
    ) -> Result<Self, ProviderError> {
        let run = request.ledger.run().clone();
        let root = std::path::absolute(&request.folder).unwrap_or(request.folder);
        let entries = [processes_entry(&request.network), folder_entry(&root)];
        let own = |entry| {
            request.ledger.own(entry).map_err(|error| {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                unusable(format!("{error}: {}", cause.unwrap_or_default()))
            })
        };
        own(&entries[1])?;
        let folder = ClusterFolder::create(root.clone(), &run).map_err(|error| {
            if folder::disown(&root, &run) {
                // A line too many in the ledger is no reason to hide the first failure.
                let _ = request.ledger.removed(&entries[1]);
            }
            unusable(format!(
                "its folder cannot be used: {}; choose a folder that is empty and can be written",
                error.in_words()
            ))
        })?;
        own(&entries[0])?;
        Ok(Self {
            label: Label::run(run).cluster(&request.network),
            folder,
            ledger: request.ledger,
            entries,
            pool,
            spawner,
            nodes: Mutex::default(),
            removed: tokio::sync::Mutex::new(false),
        })
    }

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn node(&self, doing: Doing, name: &NodeName) -> Result<Arc<Node>, ProviderError> {
        self.nodes()
            .by_name
            .get(name)
            .cloned()
            .ok_or_else(|| misplaced(doing, name, "it has no place in this cluster"))
    }

    /// Gives the node when every operation before this one is done with it.
    async fn in_turn(
        &self,
        doing: Doing,
        name: &NodeName,
    ) -> Result<(Arc<Node>, Turn), ProviderError> {
        let node = self.node(doing, name)?;
        let turn = node.turn().await;
        if self.nodes().is_closed {
            return Err(torn_down(doing, name));
        }
        Ok((node, turn))
    }

    async fn operate(&self, permit: &Permit) -> Result<(Arc<Node>, Turn), ProviderError> {
        self.in_turn(Doing::Operating(permit.operation()), permit.name())
            .await
    }

    /// As [`Self::operate`], for something that blocks. The turn goes with the work, which goes on when the future is dropped.
    async fn rearrange(
        &self,
        permit: &Permit,
        work: impl FnOnce(&Node, Copies) -> Result<(), ProviderError> + Send + 'static,
    ) -> Result<(), ProviderError> {
        let doing = Doing::Operating(permit.operation());
        let (node, turn) = self.operate(permit).await?;
        node.must_be_down(doing).await?;
        let copies = Copies {
            root: self.folder.copies(),
        };
        node.blocking(doing, move |node| {
            let _turn = turn;
            work(node, copies)
        })
        .await?
    }

    /// Enters a new node; its turn is taken before anybody else can find it.
    async fn enter(&self, name: &NodeName) -> Result<(Arc<Node>, Turn), ProviderError> {
        let label = self.label.clone().node(name);
        let node = Node::new(name.clone(), self.folder.node(name), label);
        let turn = node.turn().await;
        let mut nodes = self.nodes();
        if nodes.is_closed {
            return Err(torn_down(Doing::Placing, name));
        }
        if nodes.by_name.contains_key(name) {
            return Err(misplaced(Doing::Placing, name, "it has a place already"));
        }
        nodes.by_name.insert(name.clone(), node.clone());
        Ok((node, turn))
    }

    /// Reserves ports for a node that does not run.
    async fn settle(
        &self,
        node: &Arc<Node>,
        turn: Turn,
        ports: &[PortSpec],
    ) -> Result<Placement, ProviderError> {
        let (pool, ports) = (self.pool.clone(), ports.to_vec());
        node.blocking(Doing::Placing, move |node| {
            let _turn = turn;
            node.settle(&pool, &ports)
        })
        .await?
    }
}

fn misplaced(doing: Doing, node: &NodeName, detail: &str) -> ProviderError {
    ProviderError::Misplaced {
        doing,
        node: node.clone(),
        detail: detail.to_owned(),
    }
}

fn torn_down(doing: Doing, node: &NodeName) -> ProviderError {
    misplaced(doing, node, "the cluster was torn down")
}

#[async_trait]
impl NodeOperations for LocalControl {
    async fn start(&self, permit: &Permit) -> Result<Instance, ProviderError> {
        let (node, _turn) = self.operate(permit).await?;
        let doing = Doing::Operating(permit.operation());
        node.start(&self.spawner, doing).await
    }

    async fn stop(&self, permit: &Permit, grace: Duration) -> Result<StopReport, ProviderError> {
        let (node, _turn) = self.operate(permit).await?;
        node.stop(grace).await
    }

    async fn kill(&self, permit: &Permit) -> Result<(), ProviderError> {
        let (node, _turn) = self.operate(permit).await?;
        node.kill().await
    }

    async fn pause(&self, permit: &Permit) -> Result<(), ProviderError> {
        let (node, _turn) = self.operate(permit).await?;
        node.pause().await
    }

    async fn resume(&self, permit: &Permit) -> Result<(), ProviderError> {
        let (node, _turn) = self.operate(permit).await?;
        node.resume().await
    }

    async fn save_data(&self, permit: &Permit, label: &str) -> Result<(), ProviderError> {
        let label = label.to_owned();
        self.rearrange(permit, move |node, copies| {
            copies.save(&node.name, &label, &node.folder.data())
        })
        .await
    }

    async fn restore_data(
        &self,
        permit: &Permit,
        label: &str,
        source: &NodeName,
    ) -> Result<(), ProviderError> {
        let (label, source) = (label.to_owned(), source.clone());
        self.rearrange(permit, move |node, copies| {
            copies.restore(&node.name, &label, &source, &node.folder.data())
        })
        .await
    }

    async fn log_tail(&self, name: &NodeName, lines: usize) -> Result<LogTail, ProviderError> {
        let doing = Doing::Operating(Operation::ReadLogs);
        let node = self.node(doing, name)?;
        node.blocking(doing, move |node| log::tail(&node.folder.log_file(), lines))
            .await?
            .map_err(|error| error.of(doing, name))
    }
}

#[async_trait]
impl NodeControl for LocalControl {
    async fn place(&self, name: &NodeName, ports: &[PortSpec]) -> Result<Placement, ProviderError> {
        let (node, turn) = self.enter(name).await?;
        let settled = self.settle(&node, turn, ports).await;
        if settled.is_err() {
            self.nodes().by_name.remove(name);
        }
        settled
    }

    async fn replace_ports(
        &self,
        name: &NodeName,
        ports: &[PortSpec],
    ) -> Result<Placement, ProviderError> {
        let (node, turn) = self.in_turn(Doing::Placing, name).await?;
        node.must_be_down(Doing::Placing).await?;
        self.settle(&node, turn, ports).await
    }

    async fn configure(
        &self,
        name: &NodeName,
        artifacts: &[ArtifactFile],
    ) -> Result<(), ProviderError> {
        let (node, turn) = self.in_turn(Doing::Configuring, name).await?;
        let artifacts = artifacts.to_vec();
        node.blocking(Doing::Configuring, move |node| {
            let _turn = turn;
            artifacts::write(&node.name, &node.folder.config(), &artifacts)
        })
        .await?
    }

    async fn launch(
        &self,
        name: &NodeName,
        command: &NodeCommand,
    ) -> Result<Instance, ProviderError> {
        let (node, _turn) = self.in_turn(Doing::Launching, name).await?;
        node.launch(&self.spawner, command.clone()).await
    }

    async fn exited(&self, name: &NodeName) -> ExitReport {
        match self.node(Doing::Launching, name) {
            Ok(node) => node.exited().await,
            // What has no place has no process that could end.
            Err(_) => std::future::pending().await,
        }
    }

    async fn collect(&self, node: &OwnedNode, target: &Path) -> Result<(), ProviderError> {
        let name = node.name();
        let node = self.node(Doing::Collecting, name)?;
        let target = target.to_owned();
        node.blocking(Doing::Collecting, move |node| collect(node, target))
            .await?
            .map_err(|error| error.of(Doing::Collecting, name))
    }

    async fn teardown(&self) -> Result<(), ProviderError> {
        self.remove().await
    }
}

/// Copies logs and configuration of a node; its data may be large and is left, and so are its secrets.
fn collect(node: &Node, target: PathBuf) -> Result<(), FileError> {
    copy_folder(&node.folder.logs(), &target.join("logs"))?;
    copy_public(&node.folder.config(), &target.join("config"))
}
