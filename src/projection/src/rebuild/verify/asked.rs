//! Verification that a node is asked for, of the store that it owns and beside what it serves: one at a time, and what the last one came to.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use axum::{Json, Router, extract::State, routing::get};
use serde::{Deserialize, Serialize};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{Verified, verify_until};
use crate::{
    http::ApiError,
    manifest::ProjectionManifest,
    pipeline::{ShardOptions, ShardStatus},
    rebuild::{JetStreamSources, Pace, Paced, Progress, RebuildOptions, Sources},
    settings::Settings,
    shards::Share,
    spans::spawn_blocking,
    storage::ViewStore,
    stream::{EventSource, StreamError},
};

/// Where it is.
pub const PATH: &str = "/verify";

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verify {
    /// What is compared: a projection, or one generation of it.
    pub projection: String,
    /// What the verification is called. Asked for again by the same name, it is not begun a second time.
    pub id: String,
}

/// A verification as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// What was asked for.
    #[serde(flatten)]
    pub asked: Verify,
    /// How far it is.
    pub progress: Option<Progress>,
    /// What it came to; `None` while it goes on.
    pub outcome: Option<VerifyOutcome>,
}

/// What a verification came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerifyOutcome {
    /// Both were compared.
    Verified(Verified),
    /// The shard was let go before they were.
    Stopped,
    /// They were not.
    Failed {
        /// Why not.
        why: String,
    },
}

/// Verifies the store of one shard when it is asked to. Clones are the same.
#[derive(Clone)]
pub struct Verifier {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<ViewStore>,
    manifest: ProjectionManifest,
    options: ShardOptions,
    sources: Held,
    scratch: PathBuf,
    stop: CancellationToken,
    last: Mutex<Option<Verification>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Deliveries that leave what is served its share.
struct Held {
    sources: JetStreamSources,
    pace: Pace,
}

#[async_trait]
impl Sources for Held {
    async fn served(&self) -> Result<Box<dyn EventSource>, StreamError> {
        self.sources.served().await
    }

    async fn replay(&self) -> Result<Box<dyn EventSource>, StreamError> {
        let source = self.sources.replay().await?;
        Ok(Box::new(Paced::new(source, self.pace.clone())))
    }
}

impl Verifier {
    /// One for `store`, which is the `share` of a node with these `settings`, and served as `served` says.
    pub fn new(
        settings: &Settings,
        manifest: ProjectionManifest,
        store: Arc<ViewStore>,
        share: Share,
        served: watch::Receiver<ShardStatus>,
    ) -> Self {
        let options = RebuildOptions::of(settings);
        let mut scratch = settings.storage_path.clone().into_os_string();
        scratch.push(".verify");
        Self {
            inner: Arc::new(Inner {
                store,
                manifest,
                options: ShardOptions::of(settings)
                    .of_share(share)
                    .with_batches(options.batch),
                sources: Held {
                    sources: JetStreamSources::new(settings),
                    pace: Pace::of(&options, Some(served)),
                },
                scratch: scratch.into(),
                stop: CancellationToken::new(),
                last: Mutex::default(),
                task: Mutex::default(),
            }),
        }
    }

    /// `GET` shows the last one, and `POST` of a [`Verify`] begins one.
    pub fn routes(&self) -> Router {
        Router::new()
            .route(PATH, get(show).post(begin))
            .with_state(self.clone())
    }

    /// Ends what goes on, and begins nothing more. The store is let go then.
    pub async fn end(&self) {
        self.inner.stop.cancel();
        let task = locked(&self.inner.task).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::warn!(%error, "a verification has panicked");
        }
    }

    fn begin(&self, asked: Verify) -> Result<Verification, ApiError> {
        let mut last = locked(&self.inner.last);
        if let Some(known) = &*last {
            if known.asked.id == asked.id {
                return Ok(known.clone());
            }
            if known.outcome.is_none() {
                let message = format!("{} is being verified; wait for it", known.asked.projection);
                return Err(ApiError::conflict(message));
            }
        }
        if self.inner.stop.is_cancelled() {
            return Err(ApiError::unavailable("the shard is being let go"));
        }
        let begun = Verification {
            asked: asked.clone(),
            progress: None,
            outcome: None,
        };
        *last = Some(begun.clone());
        let inner = Arc::clone(&self.inner);
        // What it has read of the store stays on one thread.
        let task = spawn_blocking(move || {
            Handle::current().block_on(inner.run(&asked.projection));
        });
        *locked(&self.inner.task) = Some(task);
        Ok(begun)
    }
}

impl Inner {
    async fn run(&self, projection: &str) {
        let mut show = |progress: Progress| self.note(|last| last.progress = Some(progress));
        let verified = verify_until(
            &self.store,
            &self.manifest,
            &self.options,
            &self.sources,
            projection,
            &self.scratch,
            &mut show,
            &self.stop,
        );
        let outcome = match verified.await {
            Ok(verified) => VerifyOutcome::Verified(verified),
            Err(_) if self.stop.is_cancelled() => VerifyOutcome::Stopped,
            Err(error) => VerifyOutcome::Failed {
                why: error.to_string(),
            },
        };
        self.note(|last| last.outcome = Some(outcome));
    }

    fn note(&self, change: impl FnOnce(&mut Verification)) {
        if let Some(last) = &mut *locked(&self.last) {
            change(last);
        }
    }
}

/// What is in there is whole between any two of its changes.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn show(State(verifier): State<Verifier>) -> Json<Option<Verification>> {
    Json(locked(&verifier.inner.last).clone())
}

async fn begin(
    State(verifier): State<Verifier>,
    Json(asked): Json<Verify>,
) -> Result<Json<Verification>, ApiError> {
    tracing::info!(projection = asked.projection, "verification asked for");
    verifier.begin(asked).map(Json)
}
