//! `run`: the node, from its start until it is told to stop and has committed what it has.
//!
//! A node of one shard and one of several differ in what runs and in what answers; all else is the same, and is here.

use std::{
    error::Error,
    io,
    pin::Pin,
    process::{self, ExitCode},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Outcome, node::Node, remote::AddressNote};
use crate::{
    cluster::{self, Cluster, ClusterHealth},
    health::{Asked, Health},
    http::{
        Operators, Server, ops,
        quarantine::{self, QuarantineApi},
    },
    pipeline::ShardState,
    query::{self, CursorKey, QueryEngine, http::Authority},
    rebuild::{self, JetStreamSources, Node as RebuildNode, NodeMode, Verifier},
};

/// For a node that ended because no projection goes on. Where HTTP is answered it stays, and says why.
const BLOCKED: u8 = 3;
/// For a node that could not commit what it had within its grace.
const LATE: i32 = 4;
/// For a node that was told to stop at once, by a second signal.
const AT_ONCE: i32 = 130;
/// How long answers may take that were begun before the node ended.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// Runs until it is told to stop, or nothing goes on.
pub(super) async fn run(node: Node) -> Outcome {
    let mut signals = Signals::new()?;
    let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
    let tasks = TaskTracker::new();
    let settings = node.settings.clone();
    let Prepared {
        health,
        routes,
        running,
    } = if node.has_shards() {
        several(node, &stop).await?
    } else {
        one(node, &stop, &ended, &tasks).await?
    };
    // Bound before anything is begun, so that a port that is taken stops the start.
    let note = match Server::bind(settings.http_listen).await? {
        None => None,
        Some(server) => {
            let address = server.address();
            tracing::info!(%address, "HTTP is answered");
            let server = server
                .for_operators(Operators::of(&settings))
                .mount(ops::routes(Arc::clone(&health)))
                .mount(routes);
            // Answers go on, and to the owners of shards, until the last one was let go.
            tasks.spawn(server.serve(ended.clone()));
            Some(AddressNote::write(&settings.storage_path, address)?)
        }
    };
    let outcome = until_stopped(running, &mut signals, &*health, &stop, settings.grace).await;
    ended.cancel();
    tasks.close();
    let _ = timeout(ANSWERS_WITHIN, tasks.wait()).await;
    drop(note);
    match outcome {
        Ended::ByItself(code) | Ended::Told(code) => code,
        // A thread that hangs in storage would keep the process.
        Ended::Late => process::exit(LATE),
    }
}

/// A node that is ready to run.
struct Prepared {
    health: Arc<dyn Asked>,
    /// What it answers beside that.
    routes: Router,
    /// Its work, which has not begun.
    running: Pin<Box<dyn Future<Output = Outcome>>>,
}

/// A node of one shard, which is all of the stream.
async fn one(
    node: Node,
    stop: &CancellationToken,
    ended: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<Prepared, Box<dyn Error>> {
    let settings = &node.settings;
    let store = Arc::new(node.owned()?);
    let (sources, probe) = JetStreamSources::of_node(settings).await?;
    let options = node.options();
    let (work, handle) = RebuildNode::new(
        node.manifest.clone(),
        Arc::clone(&store),
        Arc::new(sources),
        settings,
        NodeMode::Serving,
    );
    let work = work.with_shard_options(options.clone());
    // Where nobody can ask why it is blocked, it ends and says so by its exit code.
    let work = if settings.http_listen.is_some() {
        work.staying()
    } else {
        work
    };
    let health = Health::new(
        settings,
        node.manifest.clone(),
        Arc::clone(&store),
        handle.status(),
        handle.progress(),
        Arc::clone(options.metrics()),
    );
    tasks.spawn(Arc::clone(&health).observe(probe, ended.clone()));
    let engine = QueryEngine::watching(
        node.manifest.clone(),
        Arc::clone(&store),
        settings.query_limits,
        CursorKey::of(settings),
        handle.status(),
    );
    let verifier = Verifier::new(
        settings,
        node.manifest.clone(),
        Arc::clone(&store),
        node.share,
        handle.status(),
    );
    let quarantine = QuarantineApi {
        manifest: node.manifest.clone(),
        store,
        node: handle.clone(),
        settings: settings.clone(),
        options,
    };
    let routes = query::http::routes(engine, Authority::of(settings))
        .merge(rebuild::http::routes(handle.clone()))
        .merge(quarantine::routes(quarantine))
        .merge(verifier.routes());
    let (stop, stays) = (stop.clone(), settings.http_listen.is_some());
    let running = Box::pin(async move {
        let ended = work.run(&stop).await;
        verifier.end().await;
        ended?;
        let blocked = handle.status().borrow().state == ShardState::Blocked;
        Ok(if blocked && !stays {
            BLOCKED.into()
        } else {
            ExitCode::SUCCESS
        })
    });
    Ok(Prepared {
        health,
        routes,
        running,
    })
}

/// A node of several shards, which goes on whatever becomes of one of them.
async fn several(node: Node, stop: &CancellationToken) -> Result<Prepared, Box<dyn Error>> {
    let settings = node.settings;
    let cluster = Cluster::connect(settings.clone(), node.manifest.clone()).await?;
    let view = cluster.view();
    let health = ClusterHealth::new(view.clone(), &settings, &node.manifest);
    let authority = Authority::of(&settings);
    let routes = cluster::http::routes(view, authority, settings.query_limits);
    let stop = stop.clone();
    let running = Box::pin(async move {
        cluster.run(&stop).await;
        Ok(ExitCode::SUCCESS)
    });
    Ok(Prepared {
        health,
        routes,
        running,
    })
}

enum Ended {
    ByItself(Outcome),
    Told(Outcome),
    Late,
}

/// Runs until a signal, and then as long as `grace` lets it commit what it has.
async fn until_stopped(
    mut running: Pin<Box<dyn Future<Output = Outcome>>>,
    signals: &mut Signals,
    health: &dyn Asked,
    stop: &CancellationToken,
    grace: Duration,
) -> Ended {
    tokio::select! {
        ended = &mut running => return Ended::ByItself(ended),
        signal = signals.next() => tracing::info!(signal, ?grace, "draining: nothing more is pulled, and what was folded is committed"),
    }
    // First not ready, so that nobody asks a node that is about to end.
    health.drain();
    stop.cancel();
    tokio::select! {
        ended = &mut running => {
            tracing::info!("drained: everything that was folded is on the disk");
            Ended::Told(ended)
        }
        () = tokio::time::sleep(grace) => {
            tracing::error!(?grace, "ended before everything was committed; the stream will deliver the rest again");
            Ended::Late
        }
        signal = signals.next() => {
            tracing::warn!(signal, "ended at once; the stream will deliver again what was not committed");
            process::exit(AT_ONCE)
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for one, and says which it was.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
