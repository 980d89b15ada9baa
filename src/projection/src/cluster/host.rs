//! The host: opens the store of a shard, runs it, and closes it when the lease or the node ends.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Hosted, HostedShards};
use crate::{
    health::{Asked, Health},
    http::{
        ops,
        quarantine::{self, QuarantineApi},
    },
    lease::Tenure,
    manifest::ProjectionManifest,
    metrics::Metrics,
    pipeline::{ShardOptions, ShardState, ShardStatus},
    query::{CursorKey, QueryEngine},
    rebuild::{self, JetStreamSources, Node, NodeHandle, NodeMode, RebuildError, Verifier},
    settings::Settings,
    shards::{ShardId, ShardLayout, Share},
    spans::spawn_blocking,
    storage::{StorageError, StoreOptions, ViewStore},
};

/// Why a shard is not run any more.
pub(super) enum Ended {
    /// It was told to, or its lease ended.
    Stopped,
    /// This node cannot run it.
    Failed,
    /// Its store knows a later owner.
    Outbid {
        /// Which.
        stored: u64,
    },
}

/// What all shards of a node share.
pub(super) struct Host {
    pub(super) settings: Settings,
    pub(super) manifest: ProjectionManifest,
    pub(super) layout: ShardLayout,
    /// The same for all shards, so that one cursor is made of those of many.
    pub(super) cursors: CursorKey,
    pub(super) hosted: watch::Sender<HostedShards>,
}

impl Host {
    /// How long to wait before something is tried again that did not go.
    const TRY_AGAIN: Duration = Duration::from_millis(500);

    /// Runs `shard` until `stop`, which the end of the tenure cancels too. Its store is closed then.
    pub(super) async fn run(
        self: Arc<Self>,
        shard: ShardId,
        tenure: Tenure,
        stop: CancellationToken,
    ) -> Ended {
        let watching = async {
            tenure.ended().await;
            stop.cancel();
            std::future::pending::<()>().await;
        };
        let ended = tokio::select! {
            ended = self.work(shard, &tenure, &stop) => ended,
            () = watching => unreachable!("watching does not end"),
        };
        self.hosted.send_modify(|hosted| {
            hosted.remove(&shard);
        });
        ended
    }

    async fn work(&self, shard: ShardId, tenure: &Tenure, stop: &CancellationToken) -> Ended {
        let settings = self.settings.of_shard(shard);
        let starting = watch::Sender::default();
        self.show(shard, tenure, None, &starting);
        let store = loop {
            let why = match opened(&settings, tenure).await {
                Ok(store) => break store,
                Err(StorageError::Fenced {
                    stored: Some(stored),
                    ..
                }) => return Ended::Outbid { stored },
                // Another node on this host, which is stopping, or anything that somebody mends.
                Err(error) => error.to_string(),
            };
            if wait(&starting, why, stop).await {
                return Ended::Stopped;
            }
        };
        self.show(shard, tenure, Some(&store), &starting);
        let (sources, probe) = loop {
            match JetStreamSources::of_node(&settings).await {
                Ok(found) => break found,
                Err(error) => {
                    if wait(&starting, error.to_string(), stop).await {
                        return Ended::Stopped;
                    }
                }
            }
        };
        let share = Share {
            layout: self.layout,
            shard,
        };
        let options = ShardOptions::of(&settings)
            .of_share(share)
            .counting_in(Arc::new(Metrics::of_shard(shard)));
        let (node, handle) = Node::new(
            self.manifest.clone(),
            Arc::clone(&store),
            Arc::new(sources),
            &settings,
            NodeMode::Serving,
        );
        // Where nothing goes on, the views that are there are served, and the status says why.
        let node = node.staying().with_shard_options(options.clone());
        let verifier = Verifier::new(
            &settings,
            self.manifest.clone(),
            Arc::clone(&store),
            share,
            handle.status(),
        );
        let health = self.open(shard, &settings, &store, &handle, &options, &verifier);
        let observed = CancellationToken::new();
        let observing = health.observe(probe, observed.clone());
        let running = async {
            let ended = node.run(stop).await;
            observed.cancel();
            ended
        };
        let (ended, ()) = tokio::join!(running, observing);
        verifier.end().await;
        match ended {
            Ok(()) => Ended::Stopped,
            Err(RebuildError::Storage(StorageError::Fenced {
                stored: Some(stored),
                ..
            })) => Ended::Outbid { stored },
            Err(error) => {
                tracing::error!(%shard, %error, "cannot be run here, and is let go");
                Ended::Failed
            }
        }
    }

    /// Lets others ask it from now on.
    fn open(
        &self,
        shard: ShardId,
        settings: &Settings,
        store: &Arc<ViewStore>,
        node: &NodeHandle,
        options: &ShardOptions,
        verifier: &Verifier,
    ) -> Arc<Health> {
        let health = Health::new(
            settings,
            self.manifest.clone(),
            Arc::clone(store),
            node.status(),
            node.progress(),
            Arc::clone(options.metrics()),
        );
        let quarantine = QuarantineApi {
            manifest: self.manifest.clone(),
            store: Arc::clone(store),
            node: node.clone(),
            settings: settings.clone(),
            options: options.clone(),
        };
        let operations = ops::routes(Arc::clone(&health) as Arc<dyn Asked>)
            .merge(quarantine::routes(quarantine))
            .merge(rebuild::http::routes(node.clone()))
            .merge(verifier.routes());
        let queries = QueryEngine::watching(
            self.manifest.clone(),
            Arc::clone(store),
            settings.query_limits,
            self.cursors.clone(),
            node.status(),
        );
        self.hosted.send_modify(|hosted| {
            if let Some(hosted) = hosted.get_mut(&shard) {
                hosted.queries = Some(queries);
                hosted.status = node.status();
                hosted.health = Some(Arc::clone(&health));
                hosted.operations = Some(operations);
            }
        });
        health
    }

    fn show(
        &self,
        shard: ShardId,
        tenure: &Tenure,
        store: Option<&Arc<ViewStore>>,
        status: &watch::Sender<ShardStatus>,
    ) {
        let hosted = Hosted {
            epoch: tenure.epoch(),
            store: store.cloned(),
            queries: None,
            status: status.subscribe(),
            health: None,
            operations: None,
        };
        self.hosted.send_modify(|all| {
            all.insert(shard, hosted);
        });
    }
}

/// Opens the store of a shard for its owner, and keeps all earlier ones from it.
async fn opened(settings: &Settings, tenure: &Tenure) -> Result<Arc<ViewStore>, StorageError> {
    let options = StoreOptions {
        engine: settings.storage_engine,
        bytes_max: settings.storage_bytes_max,
        durability: settings.durability,
    };
    let (folder, fence) = (settings.storage_path.clone(), tenure.fence());
    let opening = spawn_blocking(move || {
        let store = ViewStore::open(&folder, options)?;
        Ok(Arc::new(store.behind(fence)?))
    });
    opening.await.expect("opening does not panic")
}

/// Shows what a shard waits for, and waits a little. Says whether it is over.
async fn wait(
    starting: &watch::Sender<ShardStatus>,
    why: String,
    stop: &CancellationToken,
) -> bool {
    tracing::warn!(%why, "waiting");
    starting.send_modify(|status| status.state = ShardState::Waiting { why });
    timeout(Host::TRY_AGAIN, stop.cancelled()).await.is_ok()
}
