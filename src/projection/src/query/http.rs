//! Queries over HTTP: `POST /v1/query` and `GET /v1/views/{type}/{id}`.
//!
//! Whose views are shown is known of the token that comes with a request, or of the settings where there is one tenant only. What the request says about tenants does not count, and a query that says something is refused.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{
        DefaultBodyLimit, FromRequestParts, Path, Query as Parameters, State,
        rejection::{BytesRejection, PathRejection, QueryRejection},
    },
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use sha2::{Digest, Sha256};

use super::{Consistency, Query, QueryEngine, QueryError};
use crate::{
    http::ApiError,
    settings::Settings,
    types::{FieldPath, TenantId},
};

/// The largest query that is read.
const BODY_BYTES_MAX: usize = 1 << 20;
/// The parameters of a view.
const PARAMETERS: [&str; 3] = ["fields", "min_seq", "within_ms"];

/// Who may see whose views.
#[derive(Clone)]
pub struct Authority {
    /// The tenant of whoever comes without a token; `None` where nobody may.
    anyone: Option<TenantId>,
    /// Tenants by the hashes of tokens, so that the time that a wrong token takes says nothing about right ones.
    tokens: BTreeMap<[u8; 32], TenantId>,
}

impl Authority {
    /// What the settings say: tokens, where there are any; else the one tenant there is, or nobody.
    pub fn of(settings: &Settings) -> Self {
        let tokens = settings.query_tokens.iter();
        let tokens = tokens.map(|(token, tenant)| (digest(token), tenant.clone()));
        let open = settings.query_tokens.is_empty() && !settings.multi_tenant;
        Self {
            anyone: open.then(|| settings.default_tenant.clone()),
            tokens: tokens.collect(),
        }
    }

    pub(crate) fn tenant(&self, headers: &HeaderMap) -> Result<TenantId, ApiError> {
        if let Some(tenant) = &self.anyone {
            return Ok(tenant.clone());
        }
        let refused =
            |message: &str| ApiError::new(StatusCode::UNAUTHORIZED, "unauthenticated", message);
        if self.tokens.is_empty() {
            return Err(refused(
                "there are tenants here and no tokens; set query_tokens",
            ));
        }
        let header = headers.get(header::AUTHORIZATION);
        let header = header.and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let (_, token) = token.ok_or_else(|| refused("send Authorization: Bearer with a token"))?;
        let tenant = self.tokens.get(&digest(token.trim()));
        tenant
            .cloned()
            .ok_or_else(|| refused("the token is not known"))
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The routes of queries, for whoever has a server.
pub fn routes(engine: QueryEngine, authority: Authority) -> Router {
    Router::new()
        .route("/v1/query", post(query))
        .route("/v1/views/{view}/{id}", get(view))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Asked { engine, authority })
}

#[derive(Clone)]
struct Asked {
    engine: QueryEngine,
    authority: Authority,
}

/// The tenant of whoever asks. There is no other way to one.
struct Tenant(TenantId);

impl FromRequestParts<Asked> for Tenant {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &Asked) -> Result<Self, Refusal> {
        Ok(Self(state.authority.tenant(&parts.headers)?))
    }
}

async fn query(
    Tenant(tenant): Tenant,
    State(asked): State<Asked>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let body = body.map_err(|rejection| {
        let status = rejection.status();
        let message = format!("a query has at most {BODY_BYTES_MAX} bytes: {rejection}");
        ApiError::new(status, "too_large", message)
    })?;
    let query = Query::from_json(&body)?;
    let answer = asked.engine.query(&tenant, &query).await?;
    Ok(Json(answer).into_response())
}

async fn view(
    Tenant(tenant): Tenant,
    State(asked): State<Asked>,
    path: Result<Path<(String, String)>, PathRejection>,
    parameters: Result<Parameters<BTreeMap<String, String>>, QueryRejection>,
) -> Result<Response, Refusal> {
    let unreadable = |what: String| QueryError::malformed("the address", what);
    let Path((view, id)) = path.map_err(|rejection| unreadable(rejection.to_string()))?;
    let Parameters(parameters) =
        parameters.map_err(|rejection| unreadable(rejection.to_string()))?;
    let (fields, consistency) = read(&parameters)?;
    let got = asked
        .engine
        .get(&tenant, &view, &id.as_str().into(), fields, &consistency)
        .await?;
    if got.row.is_none() {
        let message = format!("there is no {view} {id:?} at {}", got.checkpoint);
        return Err(ApiError::not_found(message).into());
    }
    Ok(Json(got).into_response())
}

fn read(
    parameters: &BTreeMap<String, String>,
) -> Result<(Option<Vec<FieldPath>>, Consistency), QueryError> {
    if let Some(name) = parameters
        .keys()
        .find(|name| !PARAMETERS.contains(&&***name))
    {
        let what = format!("is not a parameter; allowed are {}", PARAMETERS.join(", "));
        return Err(QueryError::malformed(name, what));
    }
    let fields = parameters.get("fields").map(|text| {
        let paths = text.split(',').map(str::parse);
        let paths = paths.collect::<Result<Vec<FieldPath>, _>>();
        paths.map_err(|error| QueryError::malformed("fields", error.to_string()))
    });
    let number = |name: &str| {
        let number = parameters.get(name).map(|text| text.parse::<u64>());
        number
            .transpose()
            .map_err(|_| QueryError::malformed(name, "must be a whole number"))
    };
    let consistency = Consistency {
        min_seq: number("min_seq")?,
        within: number("within_ms")?.map(Duration::from_millis),
    };
    Ok((fields.transpose()?, consistency))
}

/// A query that is not answered, and how that is said.
pub(crate) struct Refusal {
    error: ApiError,
    header: Option<(HeaderName, &'static str)>,
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self {
            error,
            header: None,
        }
    }
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        let status = match &error {
            QueryError::UnknownView { .. } => StatusCode::NOT_FOUND,
            QueryError::CursorOutdated { .. } => StatusCode::GONE,
            QueryError::Busy { .. } => StatusCode::TOO_MANY_REQUESTS,
            QueryError::Behind { .. } | QueryError::Stalled { .. } | QueryError::Storage { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::BAD_REQUEST,
        };
        let again = matches!(error, QueryError::Busy { .. } | QueryError::Behind { .. });
        Self {
            error: ApiError::new(status, error.code(), with_cause(&error)),
            header: again.then_some((header::RETRY_AFTER, "1")),
        }
    }
}

fn with_cause(error: &QueryError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.error.into_response();
        if response.status() == StatusCode::UNAUTHORIZED {
            let header = (header::WWW_AUTHENTICATE, "Bearer");
            return ([header], response).into_response();
        }
        if let Some((name, value)) = self.header {
            let value = HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
        }
        response
    }
}
