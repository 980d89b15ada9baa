//! `run`: the node, from its start until it is told to stop and has committed what it has.

use std::{
    io,
    pin::pin,
    process::{self, ExitCode},
    sync::Arc,
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Outcome, node::Node, remote::AddressNote};
use crate::{
    health::Health,
    http::{
        Server, ops,
        quarantine::{self, QuarantineApi},
    },
    pipeline::{Shard, ShardOptions, ShardState},
    stream::JetStreamSource,
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
    let store = Arc::new(node.owned()?);
    // Bound before anything else is begun, so that a port that is taken stops the start.
    let server = Server::bind(node.settings.http_listen).await?;
    let mut source = JetStreamSource::connect_when_there(&node.settings).await?;
    let options = ShardOptions::of(&node.settings);
    let metrics = Arc::clone(options.metrics());
    let shard = Arc::new(Shard::new(
        node.manifest.clone(),
        Arc::clone(&store),
        options,
    ));
    let health = Health::new(
        &node.settings,
        node.manifest.clone(),
        Arc::clone(&store),
        shard.status(),
        metrics,
    );

    let ended = CancellationToken::new();
    let tasks = TaskTracker::new();
    tasks.spawn(Arc::clone(&health).observe(source.probe(), ended.clone()));
    let note = match server {
        None => None,
        Some(server) => {
            let address = server.address();
            tracing::info!(%address, "HTTP is answered");
            let api = QuarantineApi {
                manifest: node.manifest.clone(),
                store,
                shard: Arc::clone(&shard),
                settings: node.settings.clone(),
            };
            let server = server
                .mount(ops::routes(Arc::clone(&health)))
                .mount(quarantine::routes(api));
            tasks.spawn(server.serve(ended.clone()));
            Some(AddressNote::write(&node.settings.storage_path, address)?)
        }
    };

    let stop = CancellationToken::new();
    let served = note.is_some();
    let running = async {
        // Where nobody can ask why it is blocked, it ends and says so by its exit code.
        if served {
            shard.run_on(&mut source, &stop).await;
        } else {
            shard.run(&mut source, &stop).await;
        }
    };
    let outcome = until_stopped(running, &mut signals, &health, &stop, node.settings.grace).await;
    ended.cancel();
    tasks.close();
    let _ = timeout(ANSWERS_WITHIN, tasks.wait()).await;
    drop(note);
    let blocked = shard.status().borrow().state == ShardState::Blocked;
    match outcome {
        Ended::Told | Ended::ByItself if !blocked || served => Ok(ExitCode::SUCCESS),
        Ended::Told | Ended::ByItself => Ok(BLOCKED.into()),
        // A thread that hangs in storage would keep the process.
        Ended::Late => process::exit(LATE),
    }
}

enum Ended {
    ByItself,
    Told,
    Late,
}

/// Runs until a signal, and then as long as `grace` lets it commit what it has.
async fn until_stopped(
    running: impl Future<Output = ()>,
    signals: &mut Signals,
    health: &Health,
    stop: &CancellationToken,
    grace: Duration,
) -> Ended {
    let mut running = pin!(running);
    tokio::select! {
        () = &mut running => return Ended::ByItself,
        signal = signals.next() => tracing::info!(signal, ?grace, "draining: nothing more is pulled, and what was folded is committed"),
    }
    // First not ready, so that nobody asks a node that is about to end.
    health.drain();
    stop.cancel();
    tokio::select! {
        () = &mut running => {
            tracing::info!("drained: everything that was folded is on the disk");
            Ended::Told
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
