//! Asking: one shard, wherever it is. What comes back is the answer of its owner, or why there is none.

use std::time::Duration;

use axum::{
    body::{Body, Bytes, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use tower::ServiceExt;

use super::{ClusterView, Route};
use crate::{
    http::ApiError,
    lease::Owner,
    query::{
        QueryLimits,
        http::{Authority, routes},
    },
    shards::ShardId,
};

/// The largest answer that is taken from another node.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// What another node may need beside the time of the query itself.
const HOP: Duration = Duration::from_secs(5);

/// A question, whomever it goes to.
#[derive(Clone)]
pub(super) struct Question {
    pub(super) method: Method,
    /// As it is without a shard, with its parameters, such as `/v1/query`.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// What was answered.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl IntoResponse for Answered {
    fn into_response(self) -> Response {
        let json = (header::CONTENT_TYPE, "application/json");
        (self.status, [json], self.body).into_response()
    }
}

/// Asks shards.
#[derive(Clone)]
pub(super) struct Asker {
    view: ClusterView,
    authority: Authority,
    client: reqwest::Client,
}

impl Asker {
    pub(super) fn new(view: ClusterView, authority: Authority, limits: QueryLimits) -> Self {
        let client = reqwest::Client::builder()
            .timeout(limits.within + limits.wait_max + HOP)
            .build();
        Self {
            view,
            authority,
            client: client.expect("a client without TLS can always be made"),
        }
    }

    pub(super) fn view(&self) -> &ClusterView {
        &self.view
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Asks the owner of `shard`.
    pub(super) async fn ask(
        &self,
        shard: ShardId,
        question: Question,
    ) -> Result<Answered, ApiError> {
        match self.view.route(shard) {
            Route::Here(_) => self.ask_here(shard, question).await,
            Route::There(owner) => {
                let Some(address) = &owner.member.address else {
                    let node = owner.member.node;
                    return Err(ApiError::unavailable(format!(
                        "shard {shard} is on {node}, which has no node_address"
                    )));
                };
                self.ask_there(shard, address, question).await
            }
            Route::Nobody => Err(nobody(shard)),
        }
    }

    /// Asks this node, or says who should be asked.
    pub(super) async fn ask_here(
        &self,
        shard: ShardId,
        question: Question,
    ) -> Result<Answered, ApiError> {
        let engine = match self.view.route(shard) {
            Route::Here(engine) => engine,
            Route::There(owner) => return Err(not_here(shard, owner)),
            Route::Nobody => return Err(nobody(shard)),
        };
        let uri: Uri = question
            .path
            .parse()
            .map_err(|_| ApiError::bad_request("the address cannot be read"))?;
        let mut request = Request::new(Body::from(question.body));
        *request.method_mut() = question.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = question.headers;
        let Ok(response) = routes(engine, self.authority.clone())
            .oneshot(request)
            .await;
        let status = response.status();
        let body = to_bytes(response.into_body(), ANSWER_BYTES_MAX).await;
        let body = body.map_err(|error| ApiError::internal(error.to_string()))?;
        Ok(Answered { status, body })
    }

    async fn ask_there(
        &self,
        shard: ShardId,
        address: &str,
        question: Question,
    ) -> Result<Answered, ApiError> {
        let rest = question.path.trim_start_matches("/v1");
        let url = format!("{}/v1/shards/{shard}{rest}", address.trim_end_matches('/'));
        let unreachable = |error: reqwest::Error| {
            ApiError::unavailable(format!(
                "shard {shard} is at {address}, which does not answer: {error}"
            ))
        };
        let mut request = self.client.request(question.method, url);
        if let Some(token) = question.headers.get(header::AUTHORIZATION) {
            request = request.header(header::AUTHORIZATION, token);
        }
        let response = request
            .body(question.body)
            .send()
            .await
            .map_err(unreachable)?;
        let status = response.status();
        if status == StatusCode::MISDIRECTED_REQUEST {
            // It has let the shard go since this node looked.
            return Err(nobody(shard));
        }
        let body = response.bytes().await.map_err(unreachable)?;
        Ok(Answered { status, body })
    }
}

pub(super) fn not_here(shard: ShardId, owner: Owner) -> ApiError {
    let address = owner.member.address.unwrap_or(owner.member.node);
    ApiError::new(
        StatusCode::MISDIRECTED_REQUEST,
        "not_the_owner",
        format!("shard {shard} is at {address}"),
    )
}

pub(super) fn nobody(shard: ShardId) -> ApiError {
    ApiError::unavailable(format!("shard {shard} is being taken over; ask again soon"))
}
