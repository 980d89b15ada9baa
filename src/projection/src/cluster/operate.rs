//! Operating: what operators ask of one shard, such as a rebuild, at whichever node they ask.
//!
//! Below `/shards/{shard}` is what a node of one shard answers: rebuilds, verification, quarantine, health. The owner answers; any other node passes the question on to it, once.

use std::time::Duration;

use axum::{
    Router,
    body::{Bytes, to_bytes},
    extract::{Path, Request, State},
    http::{StatusCode, header, uri::PathAndQuery},
    response::{IntoResponse, Response},
    routing::any,
};
use tower::ServiceExt;
use tracing::Instrument;

use super::{
    ClusterView, Route,
    ask::{nobody, not_here},
};
use crate::{http::ApiError, lease::Owner, shards::ShardId};

/// The largest question that is read.
const BODY_BYTES_MAX: usize = 64 << 10;
/// A node holds still while its quarantine is changed, and its last commit ends first.
const ANSWERS_WITHIN: Duration = Duration::from_secs(45);
/// Says that another node passed the question on, so that two nodes that take each other for the owner do not go on with that for ever.
const PASSED_ON: &str = "x-projection-passed-on";

#[derive(Clone)]
struct Operated {
    view: ClusterView,
    client: reqwest::Client,
}

/// The routes below `/shards/{shard}`.
pub(super) fn routes(view: ClusterView) -> Router {
    let client = reqwest::Client::builder().timeout(ANSWERS_WITHIN).build();
    Router::new()
        .route("/shards/{shard}", any(operate))
        .route("/shards/{shard}/{*rest}", any(operate))
        .with_state(Operated {
            view,
            client: client.expect("a client without TLS can always be made"),
        })
}

async fn operate(
    State(operated): State<Operated>,
    Path(of): Path<Vec<(String, String)>>,
    request: Request,
) -> Result<Response, ApiError> {
    let shard = of.first().and_then(|(_, shard)| shard.parse().ok());
    let shard: ShardId = shard.ok_or_else(|| ApiError::not_found("a shard has a number"))?;
    let view = &operated.view;
    let count = view.layout().count();
    if shard.number() >= count {
        let message = format!("there are {count} shards, from 0");
        return Err(ApiError::not_found(message));
    }
    let here = view
        .hosted()
        .borrow()
        .get(&shard)
        .map(|hosted| hosted.operations.clone());
    match here {
        Some(Some(operations)) => answer(shard, operations, request).await,
        // Its store is being opened.
        Some(None) => Err(nobody(shard)),
        None => match view.route(shard) {
            Route::There(owner) if request.headers().contains_key(PASSED_ON) => {
                Err(not_here(shard, owner))
            }
            Route::There(owner) => operated.pass_on(shard, &owner, request).await,
            _ => Err(nobody(shard)),
        },
    }
}

/// What is asked below the shard.
fn below(shard: ShardId, request: &Request) -> String {
    let path = request
        .uri()
        .path_and_query()
        .map_or("", PathAndQuery::as_str);
    let below = path.strip_prefix(&format!("/shards/{shard}"));
    let below = below.filter(|path| !path.is_empty());
    below.unwrap_or("/").to_owned()
}

async fn answer(
    shard: ShardId,
    operations: Router,
    mut request: Request,
) -> Result<Response, ApiError> {
    *request.uri_mut() = below(shard, &request)
        .parse()
        .map_err(|_| ApiError::bad_request("the address cannot be read"))?;
    // The names in the path, which would be taken for those of the routes below it.
    request.extensions_mut().clear();
    let span = tracing::info_span!("shard", %shard);
    let Ok(response) = operations.oneshot(request).instrument(span).await;
    Ok(response)
}

impl Operated {
    async fn pass_on(
        &self,
        shard: ShardId,
        owner: &Owner,
        request: Request,
    ) -> Result<Response, ApiError> {
        let node = &owner.member.node;
        let Some(address) = &owner.member.address else {
            let message = format!("shard {shard} is on {node}, which has no node_address");
            return Err(ApiError::unavailable(message));
        };
        let away = |error: reqwest::Error| {
            let error = error.without_url();
            let message =
                format!("shard {shard} is on {node} at {address}, which does not answer: {error}");
            ApiError::unavailable(message)
        };
        let address = address.trim_end_matches('/');
        let url = format!("{address}/shards/{shard}{}", below(shard, &request));
        let mut asked = self
            .client
            .request(request.method().clone(), url)
            .header(PASSED_ON, "1");
        // The owner asks for the operator's token too.
        for name in [header::CONTENT_TYPE, header::AUTHORIZATION] {
            if let Some(value) = request.headers().get(&name) {
                asked = asked.header(name, value);
            }
        }
        let body = to_bytes(request.into_body(), BODY_BYTES_MAX).await;
        let body = body.map_err(|_| ApiError::bad_request("the question is too large"))?;
        let answered = asked.body(body).send().await.map_err(away)?;
        let status = answered.status();
        if status == StatusCode::MISDIRECTED_REQUEST {
            // It has let the shard go since this node looked.
            return Err(nobody(shard));
        }
        let kind = answered.headers().get(header::CONTENT_TYPE).cloned();
        let body: Bytes = answered.bytes().await.map_err(away)?;
        let mut response = (status, body).into_response();
        if let Some(kind) = kind {
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        Ok(response)
    }
}
