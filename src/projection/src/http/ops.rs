//! Operations: how a node is, for whoever runs it: `/health`, `/ready`, `/info`, `/status`, `/metrics`, and the page for people.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{Html, IntoResponse},
    routing::get,
};
use serde::Serialize;

use super::page::page;
use crate::{
    health::{Asked, Check, Info, Liveness, Report},
    metrics,
};

/// The routes of a node whose health is `health`.
pub fn routes(health: Arc<dyn Asked>) -> Router {
    Router::new()
        .route("/", get(shown))
        .route("/health", get(healthy))
        .route("/ready", get(ready))
        .route("/info", get(info))
        .route("/status", get(status))
        .route("/metrics", get(counted))
        .with_state(health)
}

fn code(right: bool) -> StatusCode {
    if right {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

async fn healthy(State(health): State<Arc<dyn Asked>>) -> (StatusCode, Json<Liveness>) {
    let liveness = health.liveness();
    (code(liveness.healthy), Json(liveness))
}

/// What a report says of being ready.
#[derive(Serialize)]
struct Readiness {
    ready: bool,
    state: String,
    checks: Vec<Check>,
}

async fn ready(State(health): State<Arc<dyn Asked>>) -> (StatusCode, Json<Readiness>) {
    let Report {
        ready,
        state,
        checks,
        ..
    } = health.report();
    let readiness = Readiness {
        ready,
        state,
        checks,
    };
    (code(ready), Json(readiness))
}

async fn info(State(health): State<Arc<dyn Asked>>) -> Json<Info> {
    Json(health.info())
}

async fn status(State(health): State<Arc<dyn Asked>>) -> Json<Report> {
    Json(health.report())
}

async fn counted(State(health): State<Arc<dyn Asked>>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)],
        health.metrics_text(),
    )
}

async fn shown(State(health): State<Arc<dyn Asked>>) -> impl IntoResponse {
    let page = page(&health.report(), &health.info());
    ([(header::CACHE_CONTROL, "no-store")], Html(page))
}
