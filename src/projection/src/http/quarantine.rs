//! Quarantine over HTTP: what the command does on a folder, on a node that runs. The shard holds still while something is changed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    routing::{delete, get, post},
};
use serde::{Deserialize, Serialize};
use tokio::{task::spawn_blocking, time::timeout};

use super::ApiError;
use crate::{
    admin::{self, AdminError, Retried},
    manifest::{Projection, ProjectionManifest},
    pipeline::ShardOptions,
    quarantine::Record,
    rebuild::{self, NodeHandle, RebuildError, Rest},
    settings::Settings,
    storage::{StorageError, ViewStore},
    stream::{EventSource, JetStreamSource},
    types::{TenantId, ViewId},
};

/// How long a shard may take to hold still: a commit that is being written ends first.
const HOLDS_STILL_WITHIN: Duration = Duration::from_secs(30);

/// What the routes work on.
pub struct QuarantineApi {
    /// The projections.
    pub manifest: ProjectionManifest,
    /// Their store.
    pub store: Arc<ViewStore>,
    /// What runs on it.
    pub node: NodeHandle,
    /// How the stream is found.
    pub settings: Settings,
    /// How it is read.
    pub options: ShardOptions,
}

/// An event in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Which event.
    pub sequence: u64,
    /// What is known of it.
    pub record: Record,
}

/// The routes below `/quarantine`.
pub fn routes(api: QuarantineApi) -> Router {
    Router::new()
        .route("/quarantine/{projection}", get(list))
        .route("/quarantine/{projection}/retry", post(retry))
        .route("/quarantine/{projection}/{sequence}", get(show))
        .route("/quarantine/{projection}/{sequence}", delete(drop_event))
        .with_state(Arc::new(api))
}

type Api = State<Arc<QuarantineApi>>;

impl QuarantineApi {
    async fn projection(self: &Arc<Self>, name: &str) -> Result<Projection, ApiError> {
        let (api, name) = (Arc::clone(self), name.to_owned());
        let found = spawn_blocking(move || meant(&api.store, &api.manifest, &name)).await;
        found
            .expect("looking does not panic")
            .map_err(|error| of_admin(&error))
    }

    async fn rest(&self) -> Result<Rest, ApiError> {
        match timeout(HOLDS_STILL_WITHIN, self.node.rest()).await {
            Ok(rest) => rest.map_err(|error| ApiError::unavailable(error.to_string())),
            Err(_) => Err(ApiError::unavailable(format!(
                "the node did not come to rest within {HOLDS_STILL_WITHIN:?}; see /ready"
            ))),
        }
    }

    async fn listed(self: &Arc<Self>, name: &str) -> Result<Vec<Listed>, ApiError> {
        let projection = self.projection(name).await?;
        let api = Arc::clone(self);
        let records = spawn_blocking(move || api.store.snapshot()?.records(&projection.table));
        let records = records.await.expect("reading does not panic");
        let records = records.map_err(|error| of_storage(&error))?;
        let listed = records.into_iter().map(|(key, record)| Listed {
            sequence: key.sequence,
            record,
        });
        Ok(listed.collect())
    }
}

async fn list(
    State(api): Api,
    Path(projection): Path<String>,
) -> Result<Json<Vec<Listed>>, ApiError> {
    Ok(Json(api.listed(&projection).await?))
}

async fn show(
    State(api): Api,
    Path((projection, sequence)): Path<(String, u64)>,
) -> Result<Json<Vec<Listed>>, ApiError> {
    let mut listed = api.listed(&projection).await?;
    listed.retain(|listed| listed.sequence == sequence);
    if listed.is_empty() {
        let what = format!("event {sequence} is not in quarantine");
        return Err(ApiError::not_found(what));
    }
    Ok(Json(listed))
}

/// Which view is to be tried again.
#[derive(Debug, Serialize, Deserialize)]
pub struct RetryView {
    /// Its id.
    pub view: String,
    /// Whose it is.
    #[serde(default)]
    pub tenant: String,
}

async fn retry(
    State(api): Api,
    Path(projection): Path<String>,
    Query(wanted): Query<RetryView>,
) -> Result<Json<Retried>, ApiError> {
    let projection = api.projection(&projection).await?;
    let rest = api.rest().await?;
    let api = Arc::clone(&api);
    // By itself, because who asked may go away: the node holds still until it is done.
    let retried = tokio::spawn(async move {
        let (tenant, view) = (TenantId::from(wanted.tenant), ViewId::from(wanted.view));
        let (settings, options) = (&api.settings, &api.options);
        let retried =
            retry_at_rest(&api.store, &projection, settings, options, &tenant, &view).await;
        drop(rest);
        retried
    });
    let retried = retried.await.expect("retrying does not panic");
    Ok(Json(retried.map_err(|error| of_admin(&error))?))
}

async fn drop_event(
    State(api): Api,
    Path((projection, sequence)): Path<(String, u64)>,
) -> Result<StatusCode, ApiError> {
    let projection = api.projection(&projection).await?;
    let rest = api.rest().await?;
    let api = Arc::clone(&api);
    let dropped = tokio::spawn(async move {
        let (settings, options) = (&api.settings, &api.options);
        let dropped = drop_at_rest(&api.store, &projection, settings, options, sequence).await;
        drop(rest);
        if dropped.is_ok() {
            tracing::info!(projection = %projection.table, sequence, "an operator dropped the event");
        }
        dropped
    });
    let dropped = dropped.await.expect("dropping does not panic");
    dropped.map_err(|error| of_admin(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// The projection that `name` stands for: what is served of a type, or one generation of it.
pub(crate) fn meant(
    store: &ViewStore,
    manifest: &ProjectionManifest,
    name: &str,
) -> Result<Projection, AdminError> {
    match rebuild::find(store, manifest, name) {
        Ok((projection, _)) => Ok(projection),
        // Of a store that no node has run on yet.
        Err(error @ RebuildError::NothingServed { .. }) => {
            let found = manifest.find(name).cloned();
            found.ok_or_else(|| AdminError::NoProjection {
                what: error.to_string(),
            })
        }
        Err(RebuildError::Storage(error)) => Err(error.into()),
        Err(error) => Err(AdminError::NoProjection {
            what: error.to_string(),
        }),
    }
}

/// Folds what is in quarantine for a view, with the events that only the stream keeps.
pub(crate) async fn retry_at_rest(
    store: &ViewStore,
    projection: &Projection,
    settings: &Settings,
    options: &ShardOptions,
    tenant: &TenantId,
    view: &ViewId,
) -> Result<Retried, AdminError> {
    let mut bodies = BTreeMap::new();
    let unkept = admin::unkept(store, projection, tenant.as_str(), view)?;
    if !unkept.is_empty() {
        let mut source = JetStreamSource::connect(settings).await?;
        let stored = store.snapshot()?.checkpoint(&projection.table)?;
        let created = source.facts(0).await?.created;
        // Sequences of another stream are other events.
        if stored.is_some_and(|stored| stored.stream_created == created) {
            for sequence in unkept {
                if let Some(payload) = source.payload(sequence).await? {
                    bodies.insert(sequence, payload);
                }
            }
        }
    }
    admin::retry(store, projection, options, tenant.as_str(), view, &bodies)
}

/// Drops an event, be it in quarantine or the one that the projection halted before.
pub(crate) async fn drop_at_rest(
    store: &ViewStore,
    projection: &Projection,
    settings: &Settings,
    options: &ShardOptions,
    sequence: u64,
) -> Result<(), AdminError> {
    let stored = store.snapshot()?.checkpoint(&projection.table)?;
    if stored.is_some_and(|stored| sequence <= stored.floor) {
        return admin::drop_record(store, projection, sequence).map(drop);
    }
    let mut source = JetStreamSource::connect(settings).await?;
    admin::drop_halted(store, projection, options, &mut source, sequence).await
}

fn of_storage(error: &StorageError) -> ApiError {
    ApiError::unavailable(error.to_string())
}

fn of_admin(error: &AdminError) -> ApiError {
    let message = error.to_string();
    match error {
        AdminError::NotInQuarantine { .. } | AdminError::NoProjection { .. } => {
            ApiError::not_found(message)
        }
        AdminError::Storage(_) | AdminError::Stream(_) => ApiError::unavailable(message),
        AdminError::Key(_) => ApiError::bad_request(message),
        _ => ApiError::conflict(message),
    }
}
