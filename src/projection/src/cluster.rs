//! A node of several shards: it runs those that it owns, and knows who owns the others.
//!
//! Each node has its own storage. A shard that moves is made on its new owner from the stream, or goes on there from the checkpoint that an earlier tenure left; so nothing has to be handed over, and what the old owner still had in its hands is neither lost nor there twice.
//! Without a bucket of leases, a node owns all shards of its own.
//!
//! Who owns what is decided in `lease`; what one shard does, in `pipeline`.

mod ask;
mod health;
mod host;
pub mod http;
mod operate;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use thiserror::Error;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use self::health::ClusterHealth;
use self::host::{Ended, Host};
use crate::{
    health::Health,
    lease::{
        Keeper, KeeperOptions, LeaseBoard, LeaseError, Member, MemoryBoard, NatsBoard, Owner,
        Owners, Tenure, Turn,
    },
    manifest::ProjectionManifest,
    pipeline::ShardStatus,
    query::{CursorKey, QueryEngine},
    settings::Settings,
    shards::{ShardId, ShardLayout},
    storage::ViewStore,
    types::TenantId,
};

/// Why a node cannot take part.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// The subjects and the number of shards do not go together.
    #[error("the subjects {what}")]
    Layout {
        /// What is wrong.
        what: String,
    },
    /// The bucket of leases.
    #[error("the bucket of leases cannot be used")]
    Leases(#[source] LeaseError),
}

/// A shard that this node owns.
#[derive(Clone)]
pub struct Hosted {
    /// Which owner of it this node is, counted from the first.
    pub epoch: u64,
    /// Its views; `None` while they are being opened.
    pub store: Option<Arc<ViewStore>>,
    /// Answers queries on them.
    pub queries: Option<QueryEngine>,
    /// What it does.
    pub status: watch::Receiver<ShardStatus>,
    /// What it says about itself.
    pub health: Option<Arc<Health>>,
    /// What operators ask of it: rebuilds and quarantine, as for a node of one shard.
    pub operations: Option<Router>,
}

/// The shards that this node owns.
pub type HostedShards = BTreeMap<ShardId, Hosted>;

/// Where a query goes.
#[derive(Clone)]
pub enum Route {
    /// This node has it.
    Here(QueryEngine),
    /// Another node has it.
    There(Owner),
    /// Nobody has it at the moment, or its views are being opened: ask again soon.
    Nobody,
}

/// What others may ask a node about its shards. Clones ask the same node.
#[derive(Clone)]
pub struct ClusterView {
    layout: ShardLayout,
    owners: watch::Receiver<Owners>,
    hosted: watch::Receiver<HostedShards>,
    looked: watch::Receiver<Instant>,
    lease_ttl: Duration,
}

impl ClusterView {
    /// Whether the node has tried to look at its leases within so many times the time of a lease.
    pub fn looked_within(&self, times: u32) -> bool {
        self.looked.borrow().elapsed() < self.lease_ttl * times
    }

    /// How the stream is divided.
    pub fn layout(&self) -> ShardLayout {
        self.layout
    }

    /// Who owns what, as far as this node knows.
    pub fn owners(&self) -> watch::Receiver<Owners> {
        self.owners.clone()
    }

    /// What this node owns, and what that does.
    pub fn hosted(&self) -> watch::Receiver<HostedShards> {
        self.hosted.clone()
    }

    /// The shards that a query for one view asks: one, or all where the id does not tell.
    pub fn shards_of(&self, tenant: &TenantId, id: &str) -> Vec<ShardId> {
        match self.layout.of_view(tenant, id) {
            Some(shard) => vec![shard],
            None => self.layout.ids().collect(),
        }
    }

    /// Where the views of `shard` are.
    pub fn route(&self, shard: ShardId) -> Route {
        if let Some(hosted) = self.hosted.borrow().get(&shard) {
            return hosted.queries.clone().map_or(Route::Nobody, Route::Here);
        }
        let owner = self.owners.borrow().get(&shard).cloned();
        owner.map_or(Route::Nobody, Route::There)
    }
}

/// A node of several shards.
pub struct Cluster {
    settings: Settings,
    keeper: Keeper,
    options: KeeperOptions,
    host: Arc<Host>,
    view: ClusterView,
    /// When the leases were last looked at, whatever came of it.
    looked: watch::Sender<Instant>,
}

impl Cluster {
    /// A node that is ready to run, on the bucket of leases that `settings` name.
    ///
    /// # Errors
    /// The subjects, or the bucket.
    pub async fn connect(
        settings: Settings,
        manifest: ProjectionManifest,
    ) -> Result<Self, ClusterError> {
        let board: Arc<dyn LeaseBoard> = match &settings.leases {
            None => Arc::new(MemoryBoard::default()),
            Some(bucket) => {
                let board = NatsBoard::connect(&settings.nats_url, bucket).await;
                Arc::new(board.map_err(ClusterError::Leases)?)
            }
        };
        Self::on(board, settings, manifest)
    }

    /// The same on a given board.
    ///
    /// # Errors
    /// The subjects.
    pub fn on(
        board: Arc<dyn LeaseBoard>,
        settings: Settings,
        manifest: ProjectionManifest,
    ) -> Result<Self, ClusterError> {
        let layout = settings
            .layout()
            .map_err(|what| ClusterError::Layout { what })?;
        let options = KeeperOptions {
            member: Member::starting(&settings.node, settings.node_address.clone()),
            layout,
            ttl: settings.lease_ttl,
            preferred: stored(&settings, layout),
            alone: settings.leases.is_none(),
        };
        let keeper = Keeper::new(board, options.clone());
        let hosted = watch::Sender::new(HostedShards::new());
        let looked = watch::Sender::new(Instant::now());
        let view = ClusterView {
            layout,
            owners: keeper.owners(),
            hosted: hosted.subscribe(),
            looked: looked.subscribe(),
            lease_ttl: settings.lease_ttl,
        };
        Ok(Self {
            host: Arc::new(Host {
                settings: settings.clone(),
                manifest,
                layout,
                cursors: CursorKey::of(&settings),
                hosted,
            }),
            settings,
            keeper,
            options,
            view,
            looked,
        })
    }

    /// What others may ask of it.
    pub fn view(&self) -> ClusterView {
        self.view.clone()
    }

    /// Runs until `stop` is cancelled. Then all that was folded is in the stores, and every shard was let go.
    pub async fn run(mut self, stop: &CancellationToken) {
        let mut running = Running::default();
        let mut turns = interval_at(Instant::now(), self.options.turn_every());
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut leaving = false;
        while !(leaving && running.tasks.is_empty()) {
            tokio::select! {
                _ = turns.tick() => self.turn(&mut running).await,
                Some(ended) = running.tasks.join_next() => {
                    let (shard, ended) = ended.expect("shards do not panic");
                    self.after(shard, ended, &mut running).await;
                }
                () = stop.cancelled(), if !leaving => {
                    // Leases are renewed for as long as what was folded is being committed.
                    leaving = true;
                    self.keeper.leave();
                    running.waiting.clear();
                    running.stops.values().for_each(CancellationToken::cancel);
                }
            }
        }
        if let Err(error) = self.keeper.depart().await {
            tracing::warn!(%error, "the other nodes notice later that this one has gone");
        }
    }

    async fn turn(&mut self, running: &mut Running) {
        let (turns, told) = self.keeper.turn().await;
        self.looked.send_replace(Instant::now());
        if let Err(error) = told {
            tracing::warn!(%error, "the leases cannot be looked at");
        }
        for turn in turns {
            match turn {
                Turn::Taken(shard, tenure) => {
                    tracing::info!(%shard, epoch = tenure.epoch(), node = self.settings.node, "taken");
                    self.start(shard, tenure, running);
                }
                Turn::Lost(shard) => {
                    tracing::warn!(%shard, "lost: the lease was not renewed in time");
                    running.stop(shard);
                }
                Turn::GiveUp(shard) => {
                    tracing::info!(%shard, "given up: another node has too few");
                    running.stop(shard);
                }
            }
        }
    }

    fn start(&self, shard: ShardId, tenure: Tenure, running: &mut Running) {
        if running.stops.contains_key(&shard) {
            // What ran under an earlier lease is still stopping.
            running.waiting.insert(shard, tenure);
            return;
        }
        let stop = CancellationToken::new();
        running.stops.insert(shard, stop.clone());
        let host = Arc::clone(&self.host);
        // In every line that is about the shard, whoever writes it.
        let span = tracing::info_span!("shard", %shard);
        running
            .tasks
            .spawn(async move { (shard, host.run(shard, tenure, stop).instrument(span).await) });
    }

    async fn after(&mut self, shard: ShardId, ended: Ended, running: &mut Running) {
        running.stops.remove(&shard);
        if let Some(tenure) = running.waiting.remove(&shard) {
            self.start(shard, tenure, running);
            return;
        }
        if let Ended::Outbid { stored } = ended {
            tracing::warn!(%shard, stored, "the store knows a later owner than the leases do");
            self.keeper.outbid(shard, stored);
        }
        let released = match ended {
            // Held on to, it would be nobody's for as long as this node lives.
            Ended::Failed => self.keeper.fail(shard).await,
            Ended::Stopped | Ended::Outbid { .. } => self.keeper.release(shard).await,
        };
        match released {
            Ok(()) => tracing::info!(%shard, "let go"),
            Err(error) => {
                tracing::warn!(%shard, %error, "not let go; others have it when the lease has run out");
            }
        }
    }
}

/// What runs on a node.
#[derive(Default)]
struct Running {
    tasks: JoinSet<(ShardId, Ended)>,
    stops: BTreeMap<ShardId, CancellationToken>,
    /// Shards that were taken again before they had stopped.
    waiting: BTreeMap<ShardId, Tenure>,
}

impl Running {
    fn stop(&mut self, shard: ShardId) {
        self.waiting.remove(&shard);
        if let Some(stop) = self.stops.get(&shard) {
            stop.cancel();
        }
    }
}

/// The shards that this node has stores of: it catches up with them sooner than others would.
fn stored(settings: &Settings, layout: ShardLayout) -> BTreeSet<ShardId> {
    let exists = |shard: &ShardId| fs::exists(settings.of_shard(*shard).storage_path);
    layout
        .ids()
        .filter(|shard| exists(shard).unwrap_or(false))
        .collect()
}
