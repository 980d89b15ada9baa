//! Router: which request gets which answer.

use std::{
    any::Any,
    error::Error,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::time::sleep;
use tracing::error;

use super::{
    hold::Hold,
    prefer,
    refusal::Refusal,
    request::{admit, receive},
    state::CfgsyncServerState,
};
use crate::{ConfigResolution, NodeRegistration, NotReady};

/// The whole wire contract. [`crate::serve_cfgsync`] serves it with limits on connections and request heads, too; a server that has this router only has to bring its own.
pub fn build_cfgsync_router(state: CfgsyncServerState) -> Router {
    Router::new()
        .route("/register", post(register))
        .route("/node", post(node))
        .route("/healthz", get(healthz))
        .route("/registrations", get(registrations))
        .method_not_allowed_fallback(no_method)
        .fallback(no_route)
        .with_state(state)
}

async fn register(
    State(state): State<CfgsyncServerState>,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let (_, registration) = receive(&state, request).await?;
    let identifier = registration.identifier.clone();
    let outcome = survive(state.source().register(registration)).await;
    outcome.map_err(|panic| failed(&identifier, "register", &panic))??;
    Ok(StatusCode::ACCEPTED)
}

async fn node(
    State(state): State<CfgsyncServerState>,
    request: Request,
) -> Result<Response, Refusal> {
    let (headers, registration) = receive(&state, request).await?;
    match asked_to_hold(&state, &headers) {
        None => {
            let mut end = pin!(sleep(state.limits().hold_max));
            let mut closed = pin!(state.closed());
            let resolution = resolve_before(&state, &registration, &mut end, &mut closed).await?;
            answer(&state, resolution.unwrap_or_else(|| still_made(&state)))
        }
        Some((hold, wait)) => {
            let resolution = resolve_within(&state, &registration, hold, wait).await?;
            let mut response = answer(&state, resolution).into_response();
            let applied = HeaderValue::try_from(format!("wait={}", wait.as_secs()));
            let applied = applied.expect("digits are header text");
            response.headers_mut().insert("preference-applied", applied);
            Ok(response)
        }
    }
}

/// How long this request is held, if it asks for that and there is room.
fn asked_to_hold(state: &CfgsyncServerState, headers: &HeaderMap) -> Option<(Hold, Duration)> {
    let wait = prefer::wait(headers)?.min(state.limits().hold_max);
    if wait.is_zero() {
        return None;
    }
    Some((state.hold()?, wait))
}

/// What there is once it is more than "not ready", or once the time is up or the server ends, even where the source does not answer.
async fn resolve_within(
    state: &CfgsyncServerState,
    registration: &NodeRegistration,
    mut hold: Hold,
    wait: Duration,
) -> Result<ConfigResolution, Refusal> {
    let mut end = pin!(sleep(wait));
    let mut closed = pin!(state.closed());
    loop {
        hold.listen();
        let resolution = match resolve_before(state, registration, &mut end, &mut closed).await? {
            Some(resolution @ ConfigResolution::NotReady(_)) => resolution,
            Some(resolution) => return Ok(resolution),
            None => return Ok(still_made(state)),
        };
        tokio::select! {
            () = hold.woken() => {}
            () = &mut end => return Ok(resolution),
            () = &mut closed => return Ok(resolution),
        }
    }
}

/// What the source says, unless one of the others is done first.
async fn resolve_before(
    state: &CfgsyncServerState,
    registration: &NodeRegistration,
    end: impl Future<Output = ()>,
    closed: impl Future<Output = ()>,
) -> Result<Option<ConfigResolution>, Refusal> {
    tokio::select! {
        biased;
        resolution = resolve(state, registration) => resolution.map(Some),
        () = end => Ok(None),
        () = closed => Ok(None),
    }
}

/// What is said of a configuration that the source takes long to make.
fn still_made(state: &CfgsyncServerState) -> ConfigResolution {
    let overview = state.source().overview();
    ConfigResolution::NotReady(NotReady {
        registered: overview.registered.len(),
        expected: overview.expected,
        missing: overview.missing,
    })
}

async fn resolve(
    state: &CfgsyncServerState,
    registration: &NodeRegistration,
) -> Result<ConfigResolution, Refusal> {
    let identifier = &registration.identifier;
    match survive(state.source().resolve(registration)).await {
        Ok(Ok(resolution)) => Ok(resolution),
        Ok(Err(cause)) => Err(failed(identifier, "resolve", &in_one_line(&*cause))),
        Err(panic) => Err(failed(identifier, "resolve", &panic)),
    }
}

fn answer(state: &CfgsyncServerState, resolution: ConfigResolution) -> Result<Response, Refusal> {
    match resolution {
        ConfigResolution::Ready(payload) => Ok(json(state.bodies().body(&payload))),
        ConfigResolution::NotReady(waits) => Err(not_ready(&waits)),
        ConfigResolution::Missing(message) => Err(Refusal::unknown_node(message)),
    }
}

fn not_ready(waits: &NotReady) -> Refusal {
    Refusal::not_ready(waits.to_string())
}

fn json(body: Bytes) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], body).into_response()
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn registrations(
    State(state): State<CfgsyncServerState>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    admit(&state, &headers)?;
    let overview = state.source().overview();
    let mut body = serde_json::to_vec_pretty(&overview)
        .map_err(|error| Refusal::source_failed(error.to_string()))?;
    body.push(b'\n');
    Ok(json(body.into()))
}

async fn no_method(method: Method, uri: Uri) -> Refusal {
    let text = format!("{} does not take {method}", uri.path());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text)
}

async fn no_route(uri: Uri) -> Refusal {
    let text = format!(
        "there is nothing at {}; a cfgsync server has /register, /node, /registrations and /healthz",
        uri.path()
    );
    Refusal::new(StatusCode::NOT_FOUND, "not_found", text)
}

fn failed(identifier: &str, operation: &str, cause: &str) -> Refusal {
    error!(node = identifier, operation, cause, "the source failed");
    Refusal::source_failed(format!(
        "the server could not {operation} {identifier:?}: {cause}"
    ))
}

fn in_one_line(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

/// Awaits what an application wrote; its panic is an answer like its error.
async fn survive<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = pin!(future);
    poll_fn(|context| {
        // After a panic the future is not polled again, and what it shares is the application's to keep whole.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Err(panic) => Poll::Ready(Err(format!("panic: {}", text_of(&*panic)))),
        }
    })
    .await
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}
