//! `run`: the node, until it is told to stop.

use std::{process::ExitCode, sync::Arc};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Outcome, node::Node};
use crate::{
    cluster::{self, Cluster},
    http::Server,
    pipeline::ShardState,
    query::{self, CursorKey, QueryEngine, http::Authority},
    rebuild::{self, JetStreamSources, Node as RebuildNode, NodeMode},
};

/// For a node that ended because no projection goes on.
const BLOCKED: u8 = 3;

/// Runs until it is told to stop, or no projection goes on.
pub(super) async fn run(node: Node) -> Outcome {
    if node.settings.shards > 1 || node.settings.leases.is_some() {
        return run_shards(node).await;
    }
    let store = Arc::new(node.owned()?);
    // Bound before anything else is begun, so that a port that is taken stops the start.
    let server = Server::bind(node.settings.http_listen).await?;
    let (work, handle) = RebuildNode::new(
        node.manifest.clone(),
        Arc::clone(&store),
        Arc::new(JetStreamSources::new(&node.settings)),
        &node.settings,
        NodeMode::Serving,
    );
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    if let Some(server) = server {
        let engine = QueryEngine::watching(
            node.manifest.clone(),
            Arc::clone(&store),
            node.settings.query_limits,
            CursorKey::of(&node.settings),
            handle.status(),
        );
        let queries = query::http::routes(engine, Authority::of(&node.settings));
        let rebuilds = rebuild::http::routes(handle.clone());
        tasks.spawn(server.mount(queries).mount(rebuilds).serve(stop.clone()));
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stopping = stop.clone();
    let signals = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: what was folded is committed first");
        stopping.cancel();
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = work.run(&stop) => ended,
        () = signals => Ok(()),
    };
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    ended?;
    let blocked = handle.status().borrow().state == ShardState::Blocked;
    Ok(if blocked {
        BLOCKED.into()
    } else {
        ExitCode::SUCCESS
    })
}

/// The same for a node of several shards, which goes on whatever becomes of one of them.
async fn run_shards(node: Node) -> Outcome {
    let server = Server::bind(node.settings.http_listen).await?;
    let cluster = Cluster::connect(node.settings.clone(), node.manifest).await?;
    let (stop, served) = (CancellationToken::new(), CancellationToken::new());
    let tasks = TaskTracker::new();
    if let Some(server) = server {
        let authority = Authority::of(&node.settings);
        let queries = cluster::http::routes(cluster.view(), authority, node.settings.query_limits);
        tasks.spawn(server.mount(queries).serve(served.clone()));
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let signals = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!(
            "stopping: what was folded is committed first, and then the shards are let go"
        );
        stop.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = cluster.run(&stop) => {}
        () = signals => {}
    }
    // Queries are answered, and sent to the owners, until the last shard was let go.
    served.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(ExitCode::SUCCESS)
}
