//! The shard: looks at the stream and its checkpoints, runs a session, and starts again after whatever ended it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    decode::Tenancy,
    fold::{CHANGED_MAX, FoldLimits, Folder, lowest_floor},
    lane::CACHE_BYTES_MAX,
    note,
    pieces::PIECE_EVENTS,
    session::{self, Ready, SessionEnd},
    status::{ProjectionState, ShardState, ShardStatus},
};
use crate::{
    hex,
    manifest::{Projection, ProjectionManifest},
    metrics::Metrics,
    settings::{BatchLimits, Durability, Settings},
    shards::{ShardId, Share},
    spans::spawn_blocking,
    storage::{StorageError, ViewStore},
    stream::{BlockedReason, EventSource, Expected, StreamError, StreamFacts, examine},
    types::Checkpoint,
};

const IDLE: Duration = Duration::from_millis(100);
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How a shard works.
#[derive(Debug, Clone)]
pub struct ShardOptions {
    pub(super) batch: BatchLimits,
    pub(super) catch_up: BatchLimits,
    pub(super) catch_up_lag: u64,
    pub(super) queue_bytes_max: usize,
    pub(super) piece_events: usize,
    pub(super) event_bytes_max: usize,
    pub(super) fold: FoldLimits,
    pub(super) tenancy: Tenancy,
    pub(super) durability: Durability,
    pub(super) breaker_pause: Duration,
    pub(super) metrics: Arc<Metrics>,
    /// How long a receiver waits for a first message before it looks at what else there is to do.
    pub(super) idle: Duration,
    /// How long to wait before a server is asked again that did not answer.
    pub(super) ask_again: Duration,
    filter_hash: String,
}

impl ShardOptions {
    /// What `settings` say of it.
    pub fn of(settings: &Settings) -> Self {
        Self {
            batch: settings.batch,
            catch_up: settings.catch_up,
            catch_up_lag: settings.catch_up_lag,
            queue_bytes_max: settings.queue_bytes_max,
            piece_events: PIECE_EVENTS,
            event_bytes_max: settings.event_bytes_max,
            fold: FoldLimits {
                view_bytes_max: settings.view_bytes_max,
                parked_keys_max: settings.parked_keys_max,
                parked_events_max: settings.parked_events_max,
                changed_max: CHANGED_MAX,
                held_bytes_max: CACHE_BYTES_MAX,
                lanes: settings.lanes,
                share: Share::default(),
            },
            tenancy: Tenancy {
                multi_tenant: settings.multi_tenant,
                default_tenant: settings.default_tenant.clone(),
                subject_token: settings.subject_tenant_token,
                share: Share::default(),
            },
            durability: settings.durability,
            breaker_pause: settings.breaker_pause,
            metrics: Arc::default(),
            idle: IDLE,
            ask_again: ASK_AGAIN,
            filter_hash: filter_hash(settings),
        }
    }

    /// Where what it does is counted.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The same, counted in `metrics`.
    #[must_use]
    pub fn counting_in(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// The same with batches of `limits`, however far behind it is, and counted apart: for views that nobody waits for yet.
    #[must_use]
    pub fn with_batches(self, limits: BatchLimits) -> Self {
        Self {
            batch: limits,
            catch_up: limits,
            metrics: Arc::default(),
            ..self
        }
    }

    /// What the views of `projection` must be made of.
    pub(crate) fn expected(&self, projection: &Projection) -> Expected {
        Expected {
            filter_hash: self.filter_hash.clone(),
            program_hash: projection.program.hash().to_owned(),
            shard: self.tenancy.share.mark(),
        }
    }

    /// The same for one shard of several.
    #[must_use]
    pub fn of_share(mut self, share: Share) -> Self {
        self.tenancy.share = share;
        self.fold.share = share;
        self
    }

    /// Which shard it is, where there are several.
    fn shard(&self) -> Option<ShardId> {
        self.tenancy.share.mark().map(|mark| mark.shard)
    }

    /// How the projection stands to the stream, as a node would find it when it starts.
    ///
    /// # Errors
    /// Why it would not go on.
    pub fn examine(
        &self,
        projection: &Projection,
        facts: &StreamFacts,
        stored: Option<&Checkpoint>,
    ) -> Result<Checkpoint, BlockedReason> {
        examine(facts, stored, &self.expected(projection))
    }
}

/// Which events there are, and to whom they belong: both decide what is in the views.
fn filter_hash(settings: &Settings) -> String {
    let mut said = settings.subjects.clone();
    said.sort_unstable();
    said.push(format!("tenants: {}", settings.multi_tenant));
    said.push(format!("default: {}", settings.default_tenant));
    said.push(format!("token: {:?}", settings.subject_tenant_token));
    hex::short(&Sha256::digest(said.join("\n")))
}

/// The projections of a manifest over one stream and one store.
pub struct Shard {
    manifest: ProjectionManifest,
    store: Arc<ViewStore>,
    options: ShardOptions,
    status: watch::Sender<ShardStatus>,
}

impl Shard {
    /// A shard that is ready to run.
    pub fn new(manifest: ProjectionManifest, store: Arc<ViewStore>, options: ShardOptions) -> Self {
        Self {
            manifest,
            store,
            options,
            status: watch::Sender::default(),
        }
    }

    /// Reports to `status`, where others have reported before.
    #[must_use]
    pub fn reporting_to(self, status: watch::Sender<ShardStatus>) -> Self {
        Self { status, ..self }
    }

    /// What the shard does, from now on.
    pub fn status(&self) -> watch::Receiver<ShardStatus> {
        self.status.subscribe()
    }

    /// Runs until `stop` is cancelled, or nothing goes on: then the status says why. All that was folded is in the store when it returns.
    pub async fn run(&self, source: &mut dyn EventSource, stop: &CancellationToken) {
        let last = loop {
            if stop.is_cancelled() {
                break ShardState::Stopped;
            }
            let again = match self.start(source).await {
                Ok(ready) if ready.folders.is_empty() => break ShardState::Blocked,
                Ok(ready) => {
                    self.show(ShardState::Running);
                    let session = session::run(
                        source,
                        ready,
                        &self.store,
                        &self.options,
                        &self.status,
                        stop,
                    );
                    self.after(session.await)
                }
                Err(again) => again,
            };
            match again {
                Again::AtOnce => {}
                Again::Later(why) => {
                    self.wait_for(why);
                    let _ = tokio::time::timeout(self.options.ask_again, stop.cancelled()).await;
                }
                Again::Never => break ShardState::Blocked,
            }
        };
        self.show(last);
    }

    fn show(&self, state: ShardState) {
        self.status.send_modify(|status| status.state = state);
    }

    /// Shows what it waits for, and says it where that is news.
    fn wait_for(&self, why: String) {
        let waiting = ShardState::Waiting { why };
        if let ShardState::Waiting { why } = &waiting
            && self.status.borrow().state != waiting
        {
            tracing::warn!(%why, "waiting");
        }
        self.show(waiting);
    }

    /// Looks at everything, and starts delivery for the projections that may go on.
    async fn start(&self, source: &mut dyn EventSource) -> Result<Ready, Again> {
        let mut folders = Vec::new();
        // Shown together: one that is far would look like all of them.
        let mut states = BTreeMap::new();
        let mut drops_what_was_read = false;
        let mut created = None;
        for projection in self.manifest.projections() {
            let stored = self
                .store
                .snapshot()
                .and_then(|snapshot| snapshot.checkpoint(&projection.table));
            let stored = stored.map_err(storage_again)?;
            let floor = stored.as_ref().map_or(0, |stored| stored.floor);
            let facts = source.facts(floor).await.map_err(stream_again)?;
            drops_what_was_read |= facts.drops_what_was_read;
            // Another stream than the last projection was compared with: all of them look again.
            if *created.get_or_insert(facts.created) != facts.created {
                return Err(Again::AtOnce);
            }
            let checked = self.options.examine(projection, &facts, stored.as_ref());
            let mut state = ProjectionState {
                floor,
                published: stored.as_ref().and_then(|stored| stored.published),
                blocked: checked.as_ref().err().cloned(),
                parked_keys: 0,
            };
            match checked {
                Ok(checkpoint) => {
                    self.declare_indexes(projection).await?;
                    let folder = Folder::new(
                        projection.clone(),
                        self.options.fold,
                        checkpoint,
                        stored.is_some(),
                        &self.store,
                        &self.options.metrics,
                    );
                    let folder = folder.map_err(storage_again)?;
                    state.parked_keys = folder.parked_keys();
                    state.blocked = folder.blocked().cloned();
                    match folder.blocked() {
                        Some(reason) => {
                            note::blocked(&projection.table, reason, self.options.shard());
                        }
                        None => folders.push(folder),
                    }
                }
                Err(reason) => note::blocked(&projection.table, &reason, self.options.shard()),
            }
            states.insert(projection.table.clone(), state);
        }
        self.status
            .send_modify(|status| status.projections.extend(states));
        // What the others acknowledge would be gone for the one that is blocked.
        if drops_what_was_read && folders.len() < self.manifest.projections().len() {
            folders.clear();
        }
        if let Some(floor) = lowest_floor(&folders) {
            source.start(floor + 1).await.map_err(stream_again)?;
        }
        Ok(Ready {
            folders,
            drops_what_was_read,
        })
    }

    /// Before anything is folded, since a query may be answered by an index as soon as there are views.
    async fn declare_indexes(&self, projection: &Projection) -> Result<(), Again> {
        let store = Arc::clone(&self.store);
        let (table, fields) = (projection.table.clone(), projection.indexes.clone());
        let declared = spawn_blocking(move || store.declare_indexes(&table, &fields)).await;
        declared
            .expect("making an index does not panic")
            .map_err(storage_again)
    }

    fn after(&self, end: SessionEnd) -> Again {
        match end {
            SessionEnd::Stopped => Again::AtOnce,
            SessionEnd::Stream(StreamError::Interrupted(how)) => {
                tracing::info!(?how, "delivery starts again after the checkpoint");
                self.status
                    .send_modify(|status| *status.restarts.entry(how).or_default() += 1);
                self.options.metrics.restarted(how);
                Again::AtOnce
            }
            SessionEnd::Stream(error) => stream_again(error),
            SessionEnd::Storage(error) if error.is_transient() => storage_again(error),
            SessionEnd::Storage(error) => {
                self.block_all(&error);
                Again::Never
            }
            SessionEnd::HeldUp(why) => Again::Later(why),
            SessionEnd::AllBlocked => Again::Never,
        }
    }

    fn block_all(&self, error: &StorageError) {
        let reason = match error {
            StorageError::FloorMoved { .. } => BlockedReason::FloorMoved,
            StorageError::Fenced { .. } => BlockedReason::Fenced,
            error => BlockedReason::Storage {
                what: error.to_string(),
            },
        };
        tracing::error!(%error, "blocked");
        self.status.send_modify(|status| {
            for state in status.projections.values_mut() {
                state.blocked = Some(reason.clone());
            }
        });
    }
}

/// When to start again.
enum Again {
    AtOnce,
    Later(String),
    Never,
}

fn stream_again(error: StreamError) -> Again {
    match error {
        StreamError::Interrupted(_) => Again::AtOnce,
        StreamError::Server { operation, source } => {
            Again::Later(format!("the server did not {operation}: {source}"))
        }
        error @ (StreamError::Missing { .. } | StreamError::Unreachable { .. }) => {
            Again::Later(error.to_string())
        }
    }
}

fn storage_again(error: StorageError) -> Again {
    Again::Later(error.to_string())
}
