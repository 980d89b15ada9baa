//! Waiting: clients that wait for their configuration while servers come, go and lose their memory.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Json, Router, http::StatusCode, routing::post};
use cfgsync_core::{
    CfgsyncClient, CfgsyncServerState, ClientError, ClientLimits, ConfigStatus, WaitState,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    server::{SOON, Server, at, node},
    source::{Failure, Peers},
};

const BRIEFLY: Duration = Duration::from_millis(500);

/// A client that keeps what it says.
fn telling(url: String) -> (CfgsyncClient, Arc<Mutex<Vec<String>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&told);
    let client = CfgsyncClient::new(url).with_progress(move |progress| {
        kept.lock().unwrap().push(progress.state.to_string());
    });
    (client, told)
}

/// A server of somebody else, which answers all questions in the same way.
async fn foreign(status: u16, body: Value) -> String {
    let status = StatusCode::from_u16(status).unwrap();
    let answer = move || async move { (status, Json(body.clone())) };
    let router = Router::new()
        .route("/register", post(async || StatusCode::ACCEPTED))
        .route("/node", post(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// A port that nobody listens on, until somebody does.
async fn free_port() -> u16 {
    let listener = cfgsync_core::bind_loopback(0).await.unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn a_status_is_ready_not_ready_or_missing() {
    let server = Server::of(Peers::new(&["a", "b"])).await;
    let client = server.client();
    let missing = client.fetch_node_config_status(&node("a")).await.unwrap();
    assert!(
        matches!(missing, ConfigStatus::Missing { .. }),
        "{missing:?}"
    );
    let unknown = client.fetch_node_config(&node("a")).await.unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "unknown node \"a\": \"a\" has not registered"
    );
    client.register_node(&node("a")).await.unwrap();
    let message = "not ready: 1 of 2 registered, missing b".to_owned();
    let status = client.fetch_node_config_status(&node("a")).await.unwrap();
    assert_eq!(status, ConfigStatus::NotReady { message });
    let early = client.fetch_node_config(&node("a")).await.unwrap_err();
    assert!(matches!(early, ClientError::NotReady { .. }), "{early}");
    client.register_node(&node("b")).await.unwrap();
    let status = client.fetch_node_config_status(&node("a")).await.unwrap();
    assert!(matches!(status, ConfigStatus::Ready(_)));
}

#[tokio::test]
async fn nodes_wait_for_each_other() {
    let server = Server::of(Peers::new(&["a", "b", "c"])).await;
    let client = server.client();
    let started = Instant::now();
    let (a, b, c) = (at("a", "10.0.0.1"), at("b", "fd00::1"), at("c", "10.0.0.3"));
    let (a, b, c) = tokio::join!(
        client.wait_for_node_config(&a, SOON),
        client.wait_for_node_config(&b, SOON),
        client.wait_for_node_config(&c, SOON),
    );
    let a = a.unwrap();
    let peers = a.files.get("peers").unwrap();
    assert_eq!(
        peers.content.as_text(),
        Some("10.0.0.1\nfd00::1\n10.0.0.3\n")
    );
    assert_eq!((&a, &a), (&b.unwrap(), &c.unwrap()));
    // They were held and released, and did not poll.
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_wait_survives_that_the_server_is_not_up_yet() {
    let port = free_port().await;
    let (client, told) = telling(format!("http://127.0.0.1:{port}"));
    let waiting = tokio::spawn(async move { client.wait_for_node_config(&node("a"), SOON).await });
    while told.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let state = CfgsyncServerState::new(Peers::new(&["a"]));
    let _server = Server::start(state, port).await;
    waiting.await.unwrap().unwrap();
    let told = told.lock().unwrap();
    let first = format!("server not up yet: nothing answers at http://127.0.0.1:{port}: ");
    assert!(told[0].starts_with(&first), "{told:?}");
    assert!(told[0].ends_with("(os error 111)"), "{told:?}");
}

#[tokio::test]
async fn a_wait_survives_a_server_that_restarts_and_forgets() {
    let server = Server::of(Peers::new(&["a", "b"])).await;
    let port = server.address.port();
    let (client, told) = telling(server.url());
    let waiting = tokio::spawn(async move { client.wait_for_node_config(&node("a"), SOON).await });
    server.holds(1).await;
    server.stop().await;
    // The new one knows nobody, and only what comes over the wire can tell it.
    let peers = Peers::new(&["a", "b"]);
    let server = Server::start(CfgsyncServerState::new(peers), port).await;
    server.client().register_node(&node("b")).await.unwrap();
    waiting.await.unwrap().unwrap();
    let told = told.lock().unwrap();
    assert_eq!(told[0], "not ready: 1 of 2 registered, missing b");
}

#[tokio::test]
async fn a_wait_survives_a_server_that_is_killed() {
    let server = Server::of(Peers::new(&["a", "b"])).await;
    let port = server.address.port();
    let (client, told) = telling(server.url());
    let waiting = tokio::spawn(async move { client.wait_for_node_config(&node("a"), SOON).await });
    server.holds(1).await;
    server.kill().await;
    let peers = Peers::new(&["a", "b"]);
    let server = Server::start(CfgsyncServerState::new(peers), port).await;
    server.client().register_node(&node("b")).await.unwrap();
    waiting.await.unwrap().unwrap();
    let told = told.lock().unwrap();
    let broken = format!("the server at http://127.0.0.1:{port} did not finish its answer");
    assert!(
        told.iter().any(|state| state.starts_with(&broken)),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_timeout_says_what_was_waited_for_last() {
    let last = async |url: String| {
        let client = CfgsyncClient::new(url);
        let error = client.wait_for_node_config(&node("a"), BRIEFLY).await;
        let error = error.unwrap_err();
        let text = error.to_string();
        let start = "waited 500ms for the configuration of \"a\"; last state: ";
        assert!(text.starts_with(start), "{text}");
        match error {
            ClientError::TimedOut { last, .. } => (last, text),
            other => panic!("{other}"),
        }
    };
    let port = free_port().await;
    let (state, text) = last(format!("http://127.0.0.1:{port}")).await;
    assert!(matches!(state, WaitState::Unreachable { .. }), "{text}");
    assert!(text.contains("server not up yet"), "{text}");

    let server = Server::of(Peers::new(&["a", "node-4", "node-5"])).await;
    let (state, text) = last(server.url()).await;
    assert!(matches!(state, WaitState::NotReady { .. }), "{text}");
    assert!(
        text.ends_with("not ready: 1 of 3 registered, missing node-4, node-5"),
        "{text}"
    );

    let source = Peers::new(&["a"]);
    source.fail(Failure::Error);
    let server = Server::of(source).await;
    let (state, text) = last(server.url()).await;
    assert!(matches!(state, WaitState::ServerError { .. }), "{text}");
    assert!(
        text.contains("server error (500): ") && text.contains("the disk is full"),
        "{text}"
    );
}

#[tokio::test]
async fn what_waiting_would_not_help_ends_it_at_once() {
    let wait = async |client: CfgsyncClient| {
        let waited = client.wait_for_node_config(&node("a"), SOON).await;
        waited.expect_err("it cannot succeed")
    };
    let no_bundle = cfgsync_core::NodeArtifactsBundle::from_yaml("nodes: [{identifier: b}]");
    let source = cfgsync_core::BundleConfigSource::new(&no_bundle.unwrap());
    let server = Server::of(Arc::new(source)).await;
    let unknown = wait(server.client()).await;
    assert!(
        matches!(unknown, ClientError::UnknownNode { .. }),
        "{unknown}"
    );
    assert!(unknown.to_string().contains("known nodes: b"), "{unknown}");

    let missing = json!({"code": "unknown_node", "message": "never heard of it"});
    let unknown = wait(CfgsyncClient::new(foreign(404, missing).await)).await;
    assert_eq!(unknown.to_string(), "unknown node \"a\": never heard of it");

    let state = CfgsyncServerState::new(Peers::new(&["a"])).with_bearer_token("right");
    let server = Server::start(state, 0).await;
    let refused = wait(server.client().with_bearer_token("wrong")).await;
    assert!(
        refused.to_string().contains("(401 unauthorised)"),
        "{refused}"
    );
    let refused = wait(server.client().with_bearer_token("two\nlines")).await;
    assert!(matches!(refused, ClientError::Token), "{refused}");

    let newer = json!({"schema_version": 2, "files": []});
    let schema = wait(CfgsyncClient::new(foreign(200, newer).await)).await;
    assert_eq!(
        schema.to_string(),
        "the payload has schema version 2; this client reads version 1"
    );

    for url in ["", "127.0.0.1:4400", "https://127.0.0.1:4400", "http://"] {
        let refused = wait(CfgsyncClient::new(url)).await;
        assert!(matches!(refused, ClientError::Url { .. }), "{refused}");
    }
    let foreign = wait(CfgsyncClient::new(foreign(200, json!("hello")).await)).await;
    assert!(
        matches!(foreign, ClientError::Foreign { status: 200, .. }),
        "{foreign}"
    );
}

#[tokio::test]
async fn a_payload_that_is_too_large_is_not_read() {
    let large =
        json!({"schema_version": 1, "files": [{"path": "a", "content": "x".repeat(10_000)}]});
    let url = foreign(200, large).await;
    let limits = |body_bytes_max| ClientLimits {
        body_bytes_max,
        ..ClientLimits::default()
    };
    let client = CfgsyncClient::new(url);
    let refused = client.clone().with_limits(limits(9_000));
    let refused = refused.fetch_node_config(&node("a")).await.unwrap_err();
    assert!(
        matches!(refused, ClientError::TooLarge { limit: 9_000 }),
        "{refused}"
    );
    let client = client.with_limits(limits(11_000));
    client.fetch_node_config(&node("a")).await.unwrap();
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let router = Router::new()
        .fallback(async || axum::response::Redirect::temporary("http://127.0.0.1:1/elsewhere"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let refused = CfgsyncClient::new(url).register_node(&node("a")).await;
    let refused = refused.unwrap_err();
    assert!(
        matches!(refused, ClientError::Foreign { status: 307, .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn a_server_that_does_not_hold_requests_is_polled() {
    let late = json!({"code": "not_ready", "message": "not ready: 0 registered"});
    let client = CfgsyncClient::new(foreign(425, late).await);
    let error = client.wait_for_node_config(&node("a"), BRIEFLY).await;
    let text = error.unwrap_err().to_string();
    assert!(
        text.ends_with("last state: not ready: 0 registered"),
        "{text}"
    );
}

#[tokio::test]
async fn a_password_in_the_url_is_refused_and_not_repeated() {
    for url in [
        "http://bob:hunter2@127.0.0.1:1",
        "http://hunter2@127.0.0.1:1",
        "http://bob:hunter2@",
    ] {
        let client = CfgsyncClient::new(url);
        assert!(!format!("{client:?}").contains("hunter2"), "{client:?}");
        let waited = client.wait_for_node_config(&node("a"), SOON).await;
        let Err(error @ ClientError::Credentials) = waited else {
            panic!("{waited:?}");
        };
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
