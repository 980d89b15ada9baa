//! Long poll: requests that are held until their configuration is there.

use std::time::{Duration, Instant};

use cfgsync_core::{CfgsyncServerState, ServerLimits};
use reqwest::Response;
use tokio::{task::JoinHandle, time::timeout};

use crate::{
    server::{SOON, Server, http, json, node, refusal},
    source::{Failure, Peers},
};

/// Asks for the configuration of `name` and would wait.
fn held(server: &Server, name: &str, prefer: &'static str) -> JoinHandle<Response> {
    let request = http()
        .post(format!("{}/node", server.url()))
        .header("prefer", prefer)
        .header("content-type", "application/json")
        .body(json(&node(name)));
    tokio::spawn(async { request.send().await.unwrap() })
}

async fn register(server: &Server, name: &str) {
    let response = server.post("/register", json(&node(name))).await;
    assert_eq!(response.status(), 202);
}

#[tokio::test]
async fn a_held_request_is_released_by_the_last_registration() {
    let server = Server::of(Peers::new(&["a", "b", "c"])).await;
    register(&server, "a").await;
    let started = Instant::now();
    let waiting = held(&server, "a", "wait=60");
    server.holds(1).await;
    register(&server, "b").await;
    server.holds(1).await;
    register(&server, "c").await;
    let response = timeout(SOON, waiting)
        .await
        .expect("it is released")
        .unwrap();
    assert!(started.elapsed() < SOON);
    assert_eq!(response.headers()["preference-applied"], "wait=60");
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_held_request_is_answered_when_its_time_is_up() {
    let limits = ServerLimits {
        hold_max: Duration::from_secs(1),
        ..ServerLimits::default()
    };
    let state = CfgsyncServerState::new(Peers::new(&["a", "b"])).with_limits(limits);
    let server = Server::start(state, 0).await;
    register(&server, "a").await;
    let started = Instant::now();
    let response = held(&server, "a", "respond-async, wait=3600")
        .await
        .unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(response.headers()["preference-applied"], "wait=1");
    let (_, message) = refusal(response, 425).await;
    assert_eq!(message, "not ready: 1 of 2 registered, missing b");
}

#[tokio::test]
async fn what_is_ready_or_missing_is_answered_at_once() {
    let server = Server::of(Peers::new(&["a"])).await;
    refusal(held(&server, "a", "wait=60").await.unwrap(), 404).await;
    register(&server, "a").await;
    assert_eq!(held(&server, "a", "wait=60").await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_held_request_too_many_is_answered_at_once_as_if_it_had_not_asked() {
    let limits = ServerLimits {
        held_max: 1,
        ..ServerLimits::default()
    };
    let state = CfgsyncServerState::new(Peers::new(&["a", "b"])).with_limits(limits);
    let server = Server::start(state, 0).await;
    register(&server, "a").await;
    let waiting = held(&server, "a", "wait=60");
    server.holds(1).await;
    let response = held(&server, "a", "wait=60").await.unwrap();
    assert!(!response.headers().contains_key("preference-applied"));
    assert_eq!(response.headers()["retry-after"], "1");
    refusal(response, 425).await;
    register(&server, "b").await;
    assert_eq!(waiting.await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_client_that_goes_away_makes_room_for_another_one() {
    let limits = ServerLimits {
        held_max: 1,
        ..ServerLimits::default()
    };
    let state = CfgsyncServerState::new(Peers::new(&["a", "b"])).with_limits(limits);
    let server = Server::start(state, 0).await;
    register(&server, "a").await;
    let gone = held(&server, "a", "wait=60");
    server.holds(1).await;
    gone.abort();
    server.holds(0).await;
}

#[tokio::test]
async fn a_server_that_ends_answers_those_it_holds() {
    let server = Server::of(Peers::new(&["a", "b"])).await;
    register(&server, "a").await;
    let waiting = held(&server, "a", "wait=60");
    server.holds(1).await;
    let started = Instant::now();
    server.stop().await;
    assert!(started.elapsed() < Duration::from_secs(3));
    let response = timeout(SOON, waiting)
        .await
        .expect("it is answered")
        .unwrap();
    let (code, message) = refusal(response, 425).await;
    assert_eq!(code, "not_ready");
    assert_eq!(message, "not ready: 1 of 2 registered, missing b");
}

#[tokio::test]
async fn a_source_that_does_not_answer_holds_nobody_for_longer_than_the_limit() {
    let limits = ServerLimits {
        hold_max: Duration::from_secs(1),
        ..ServerLimits::default()
    };
    let source = Peers::new(&["a", "b"]);
    let state = CfgsyncServerState::new(source.clone()).with_limits(limits);
    let server = Server::start(state, 0).await;
    register(&server, "a").await;
    source.fail(Failure::Hang);
    let plain = server.post("/node", json(&node("a")));
    let asked = async { held(&server, "a", "wait=60").await.unwrap() };
    for request in [timeout(SOON, plain).await, timeout(SOON, asked).await] {
        let response = request.expect("it is answered");
        let (_, message) = refusal(response, 425).await;
        assert_eq!(message, "not ready: 1 of 2 registered, missing b");
    }
}
