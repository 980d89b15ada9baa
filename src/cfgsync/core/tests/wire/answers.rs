//! Answers: every status of the contract, and the body that each has.

use cfgsync_core::{
    BundleConfigSource, CfgsyncServerState, NodeArtifactsBundle, build_cfgsync_router,
};
use serde_json::{Value, json as value};

use crate::{
    server::{Server, at, http, json, node, refusal},
    source::{Failure, Peers},
};

#[tokio::test]
async fn a_node_registers_waits_and_is_served() {
    let server = Server::of(Peers::new(&["a", "b"])).await;
    let registered = server.post("/register", json(&at("a", "10.0.0.1"))).await;
    assert_eq!(registered.status(), 202);
    assert!(registered.bytes().await.unwrap().is_empty());

    let early = server.post("/node", json(&node("a"))).await;
    assert_eq!(early.headers()["retry-after"], "1");
    let (code, message) = refusal(early, 425).await;
    assert_eq!(code, "not_ready");
    assert_eq!(message, "not ready: 1 of 2 registered, missing b");

    server.post("/register", json(&at("b", "fd00::2"))).await;
    let ready = server.post("/node", json(&node("a"))).await;
    assert_eq!(ready.status(), 200);
    assert_eq!(ready.headers()["content-type"], "application/json");
    let body: Value = ready.json().await.unwrap();
    let expected = value!({
        "schema_version": 1,
        "files": [{"path": "peers", "content": "10.0.0.1\nfd00::2\n"}],
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_changed_address_is_what_others_get() {
    let server = Server::of(Peers::new(&["a"])).await;
    let client = server.client();
    for ip in ["10.0.0.1", "10.0.0.1", "2001:db8::7"] {
        client.register_node(&at("a", ip)).await.unwrap();
        let payload = client.fetch_node_config(&at("a", ip)).await.unwrap();
        let file = payload.files.get("peers").unwrap();
        assert_eq!(file.content.as_text(), Some(&*format!("{ip}\n")));
    }
}

#[tokio::test]
async fn an_unknown_node_is_told_who_is_known() {
    let bundle = NodeArtifactsBundle::from_yaml("nodes: [{identifier: a}, {identifier: b}]");
    let source = BundleConfigSource::new(&bundle.unwrap());
    let server = Server::of(std::sync::Arc::new(source)).await;
    for path in ["/register", "/node"] {
        let (code, message) = refusal(server.post(path, json(&node("c"))).await, 404).await;
        assert_eq!(code, "unknown_node");
        assert_eq!(
            message,
            "\"c\" is not a node of this deployment; known nodes: a, b"
        );
    }
    assert_eq!(server.post("/node", json(&node("a"))).await.status(), 200);
}

#[tokio::test]
async fn errors_and_panics_of_an_application_are_server_errors() {
    let source = Peers::new(&["a"]);
    let server = Server::of(source.clone()).await;
    source.fail(Failure::Error);
    let (code, message) = refusal(server.post("/node", json(&node("a"))).await, 500).await;
    assert_eq!(code, "source_failed");
    assert!(
        message.ends_with("no genesis: the disk is full"),
        "{message}"
    );
    source.fail(Failure::Panic);
    let (code, message) = refusal(server.post("/node", json(&node("a"))).await, 500).await;
    assert_eq!(code, "source_failed");
    assert!(
        message.ends_with("panic: the materializer fell over"),
        "{message}"
    );
}

#[tokio::test]
async fn what_is_no_registration_is_refused_with_the_reason() {
    let server = Server::of(Peers::new(&[])).await;
    let check = async |body: &str, status, word: &str, reason: &str| {
        for path in ["/register", "/node"] {
            let (code, message) = refusal(server.post(path, body.to_owned()).await, status).await;
            assert_eq!(code, word, "{message}");
            assert!(message.contains(reason), "{message}");
        }
    };
    check("", 400, "malformed_json", "EOF").await;
    check("{\"identifier\": ", 400, "malformed_json", "line 1 column").await;
    check("[]", 422, "invalid_registration", "length 0").await;
    check(
        "{}",
        422,
        "invalid_registration",
        "missing field `identifier`",
    )
    .await;
    let wrong = r#"{"identifier": "a", "ip": 7}"#;
    check(wrong, 422, "invalid_registration", "expected IP address").await;
    let wrong = r#"{"identifier": "a", "ip": "node-1.local"}"#;
    check(wrong, 422, "invalid_registration", "invalid IP address").await;
    let empty = r#"{"identifier": "", "ip": "10.0.0.1"}"#;
    check(empty, 422, "invalid_identifier", "is empty").await;
    let control = r#"{"identifier": "a\u001b[2J", "ip": "10.0.0.1"}"#;
    check(control, 422, "invalid_identifier", "control characters").await;
}

#[tokio::test]
async fn wrong_routes_methods_and_types_are_refused_with_the_same_kind_of_body() {
    let server = Server::of(Peers::new(&[])).await;
    let url = |path: &str| format!("{}{path}", server.url());
    let (code, message) = refusal(http().get(url("/nodes")).send().await.unwrap(), 404).await;
    assert_eq!(code, "not_found");
    assert!(
        message.starts_with("there is nothing at /nodes"),
        "{message}"
    );

    let response = http().get(url("/node")).send().await.unwrap();
    assert_eq!(response.headers()["allow"], "POST");
    let (code, message) = refusal(response, 405).await;
    assert_eq!(code, "method_not_allowed");
    assert_eq!(message, "/node does not take GET");
    let response = http().post(url("/registrations")).send().await.unwrap();
    assert_eq!(refusal(response, 405).await.0, "method_not_allowed");

    let body = json(&node("a"));
    let response = http().post(url("/register")).body(body.clone());
    let (code, _) = refusal(response.send().await.unwrap(), 415).await;
    assert_eq!(code, "unsupported_media_type");
    let response = http()
        .post(url("/register"))
        .header("content-type", "Application/JSON; charset=utf-8")
        .body(body);
    assert_eq!(response.send().await.unwrap().status(), 202);
}

#[tokio::test]
async fn people_see_whether_it_runs_and_who_is_missing() {
    let server = Server::of(Peers::new(&["a", "b"])).await;
    let get = async |path: &str| {
        let response = http().get(format!("{}{path}", server.url())).send();
        response.await.unwrap().text().await.unwrap()
    };
    assert_eq!(get("/healthz").await, "ok\n");
    server.post("/register", json(&at("b", "::1"))).await;
    let text = get("/registrations").await;
    assert!(text.contains("\n  \"version\": 1,\n"), "{text}");
    let overview: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(overview["registered"][0]["identifier"], "b");
    assert_eq!(overview["registered"][0]["ip"], "::1");
    assert_eq!(overview["missing"], value!(["a"]));
    assert_eq!(overview["expected"], 2);
    assert_eq!(overview["ready"], false);
    assert!(overview["waiting_since"].as_u64().unwrap() > 1_700_000_000);
}

#[tokio::test]
async fn a_server_with_a_token_serves_those_only_who_know_it() {
    let state = CfgsyncServerState::new(Peers::new(&["a"])).with_bearer_token("s3cret");
    assert!(!format!("{state:?}").contains("s3cret"));
    let server = Server::start(state, 0).await;
    let body = json(&node("a"));
    for path in ["/register", "/node"] {
        let response = server.post(path, body.clone()).await;
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        assert_eq!(refusal(response, 401).await.0, "unauthorised");
    }
    for wrong in [
        "Bearer s3cre",
        "Bearer s3cret ",
        "Bearer s3cretly",
        "Basic s3cret",
        "Bearer",
    ] {
        let request = http().post(format!("{}/register", server.url()));
        let request = request.header("authorization", wrong.trim_start());
        let request = request.header("content-type", "application/json");
        let response = request.body(body.clone()).send().await.unwrap();
        // Space around a header's value is no part of it.
        let expected = if wrong.trim() == "Bearer s3cret" {
            202
        } else {
            401
        };
        assert_eq!(response.status(), expected, "{wrong:?}");
    }
    let overview = http().get(format!("{}/registrations", server.url()));
    refusal(overview.send().await.unwrap(), 401).await;
    let health = http().get(format!("{}/healthz", server.url()));
    assert_eq!(health.send().await.unwrap().status(), 200);

    let client = server.client().with_bearer_token("s3cret");
    assert!(!format!("{client:?}").contains("s3cret"));
    client.register_node(&node("a")).await.unwrap();
    client.fetch_node_config(&node("a")).await.unwrap();
}

#[tokio::test]
async fn a_server_of_somebody_else_can_have_the_router() {
    let router = build_cfgsync_router(CfgsyncServerState::new(Peers::new(&["a"])));
    let listener = tokio::net::TcpListener::bind("[::1]:0").await.unwrap();
    let url = format!("http://{}/cfgsync/", listener.local_addr().unwrap());
    let nested = axum::Router::new().nest("/cfgsync", router);
    let served = tokio::spawn(async move { axum::serve(listener, nested).await });
    let client = cfgsync_core::CfgsyncClient::new(url);
    client.register_node(&at("a", "::1")).await.unwrap();
    client.fetch_node_config(&at("a", "::1")).await.unwrap();
    served.abort();
}
