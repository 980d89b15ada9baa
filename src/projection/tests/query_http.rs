//! Queries over HTTP: what is answered, what is refused, and that nobody comes to a tenant but by a token.

mod queried;

use std::{collections::BTreeMap, net::SocketAddr};

use projection::{
    http::Server,
    query::http::{Authority, routes},
    settings::{Engine, Settings},
};
use queried::Queried;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

struct Served {
    _folder: tempfile::TempDir,
    base: String,
    client: reqwest::Client,
    stop: CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Views of three tenants behind a server with these settings.
async fn serve(change: impl FnOnce(&mut Settings)) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let mut queried = Queried::open(folder.path(), Engine::Mdbx, &["n"]);
    let views = [
        ("", "one"),
        ("north", "a:1"),
        ("north", "a/b %3A?"),
        ("south", "a:1"),
    ];
    let view = |tenant: &str, id: &str| json!({"owner": tenant, "n": id.len(), "deep": {"id": id}});
    let views =
        views.map(|(tenant, id)| ((tenant.to_owned(), id.to_owned()), Some(view(tenant, id))));
    queried.put(&views.into());
    let mut settings = Settings::default();
    change(&mut settings);
    let server = Server::bind(Some(SocketAddr::from(([127, 0, 0, 1], 0)))).await;
    let server = server.unwrap().unwrap();
    let base = format!("http://{}", server.address());
    let stop = CancellationToken::new();
    let queries = routes(queried.engine.clone(), Authority::of(&settings));
    tokio::spawn(server.mount(queries).serve(stop.clone()));
    Served {
        _folder: folder,
        base,
        client: reqwest::Client::new(),
        stop,
    }
}

fn tenants(settings: &mut Settings) {
    settings.multi_tenant = true;
    let tokens = [
        ("t-north", "north"),
        ("t-south", "south"),
        ("t-none", "nobody"),
    ];
    let tokens = tokens.map(|(token, tenant)| (token.to_owned(), tenant.into()));
    settings.query_tokens = tokens.into_iter().collect();
}

impl Served {
    async fn post(&self, token: Option<&str>, body: impl Into<String>) -> (StatusCode, Value) {
        let request = self
            .client
            .post(format!("{}/v1/query", self.base))
            .body(body.into());
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        read(request.send().await.unwrap()).await
    }

    async fn get(&self, token: Option<&str>, path: &str) -> (StatusCode, Value) {
        let request = self.client.get(format!("{}/v1/views/{path}", self.base));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        read(request.send().await.unwrap()).await
    }
}

async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let body: Value = response.json().await.expect("every answer is JSON");
    if !status.is_success() {
        let members: Vec<_> = body.as_object().unwrap().keys().collect();
        assert_eq!(members, ["code", "message"], "{body}");
    }
    (status, body)
}

fn owners(answer: &Value) -> Vec<&str> {
    let rows = answer["rows"].as_array().unwrap();
    rows.iter()
        .map(|row| row["view"]["owner"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_tenant_comes_from_the_token_and_from_nothing_else() {
    let served = serve(tenants).await;
    let all = r#"{"view": "thing"}"#;
    let (_, north) = served.post(Some("t-north"), all).await;
    assert_eq!(owners(&north), ["north", "north"]);
    let (_, south) = served.post(Some("t-south"), all).await;
    assert_eq!(owners(&south), ["south"]);
    let (status, nobody) = served.post(Some("t-none"), all).await;
    assert_eq!((status, owners(&nobody).len()), (StatusCode::OK, 0));

    for token in [
        None,
        Some("t-nort"),
        Some(""),
        Some("north"),
        Some("t-north2"),
    ] {
        let (status, body) = served.post(token, all).await;
        assert_eq!(
            (status, body["code"].as_str()),
            (StatusCode::UNAUTHORIZED, Some("unauthenticated"))
        );
        let (status, _) = served.get(token, "thing/one").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    for name in ["tenant", "tenant_id"] {
        let body = json!({"view": "thing", name: "south"}).to_string();
        let (status, body) = served.post(Some("t-north"), body).await;
        assert_eq!(
            (status, body["code"].as_str()),
            (StatusCode::BAD_REQUEST, Some("malformed"))
        );
        let (status, body) = served
            .get(Some("t-north"), &format!("thing/a:1?{name}=south"))
            .await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    }
    // Nor does one tenant go on with the cursor of another.
    let (_, page) = served
        .post(Some("t-north"), r#"{"view": "thing", "limit": 1}"#)
        .await;
    let stolen = json!({"view": "thing", "limit": 1, "cursor": page["next_cursor"]}).to_string();
    let (status, body) = served.post(Some("t-south"), stolen).await;
    assert_eq!(
        (status, body["code"].as_str()),
        (StatusCode::BAD_REQUEST, Some("cursor_refused"))
    );
}

#[tokio::test]
async fn one_view_is_got_by_its_id_whatever_is_in_it() {
    let served = serve(tenants).await;
    let (status, got) = served.get(Some("t-north"), "thing/a%2Fb%20%253A%3F").await;
    assert_eq!(
        (status, got["id"].as_str()),
        (StatusCode::OK, Some("a/b %3A?"))
    );
    let (_, got) = served
        .get(Some("t-south"), "thing/a:1?fields=deep.id,n")
        .await;
    let expected = json!({"id": "a:1", "view": {"n": 3, "deep.id": "a:1"}, "last_seq": 1, "applied": 1, "checkpoint": 1});
    assert_eq!(got, expected);
    let refusals = [
        ("thing/none", StatusCode::NOT_FOUND, "not_found"),
        ("none/one", StatusCode::NOT_FOUND, "unknown_view"),
        ("thing/one", StatusCode::NOT_FOUND, "not_found"),
        ("thing/one?min_seq=x", StatusCode::BAD_REQUEST, "malformed"),
        ("thing/%ff", StatusCode::BAD_REQUEST, "malformed"),
        (
            "thing/one?min_seq=2",
            StatusCode::SERVICE_UNAVAILABLE,
            "behind",
        ),
    ];
    for (path, status, code) in refusals {
        let (found, body) = served.get(Some("t-north"), path).await;
        assert_eq!(
            (found, body["code"].as_str()),
            (status, Some(code)),
            "{path} {body}"
        );
    }
    let long = format!("thing/{}", "x".repeat(3_000));
    let (status, body) = served.get(Some("t-north"), &long).await;
    assert_eq!(
        (status, body["code"].as_str()),
        (StatusCode::BAD_REQUEST, Some("bad_id"))
    );
}

#[tokio::test]
async fn without_tenants_everybody_sees_the_default_tenant_unless_there_are_tokens() {
    let served = serve(|settings| settings.default_tenant = "south".into()).await;
    let (_, answer) = served.post(None, r#"{"view": "thing"}"#).await;
    assert_eq!(owners(&answer), ["south"]);
    // A token that nobody asked for does no harm, and makes nobody another tenant.
    let (_, answer) = served.post(Some("t-north"), r#"{"view": "thing"}"#).await;
    assert_eq!(owners(&answer), ["south"]);

    let served = serve(|settings| settings.multi_tenant = true).await;
    let (status, body) = served.post(None, r#"{"view": "thing"}"#).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(
        body["message"]
            .as_str()
            .unwrap()
            .contains("set query_tokens")
    );

    let closed = serve(|settings| {
        tenants(settings);
        settings.multi_tenant = false;
    });
    let (status, _) = closed.await.post(None, r#"{"view": "thing"}"#).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn what_is_wrong_or_too_large_is_refused_in_one_form() {
    let served = serve(|_| {}).await;
    let (status, body) = served.post(None, "{").await;
    assert_eq!(
        (status, body["code"].as_str()),
        (StatusCode::BAD_REQUEST, Some("malformed"))
    );
    let (status, body) = served.post(None, " ".repeat((1 << 20) + 1)).await;
    assert_eq!(
        (status, body["code"].as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, Some("too_large"))
    );
    let (status, body) = served
        .post(
            None,
            r#"{"view": "thing", "sort": [{"field": "n", "dir": "up"}]}"#,
        )
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(body["message"], "sort.0.dir must be asc or desc");
}

#[test]
fn tokens_are_read_from_a_variable_and_a_wrong_one_is_named_but_not_shown() {
    let load = |tokens: &str| {
        let variables = [
            ("PROJECTION_STREAM", "EVENTS"),
            ("PROJECTION_STORAGE_PATH", "store"),
            ("PROJECTION_MANIFEST", "manifest.yaml"),
            ("PROJECTION_QUERY_TOKENS", tokens),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Settings::load(None, &BTreeMap::from(variables))
    };
    let settings = load("t-1=north,t-2=south").unwrap();
    assert_eq!(settings.query_tokens.iter().count(), 2);
    let error = load("t-1=north,hidden").unwrap_err().to_string();
    assert!(
        error.contains("PROJECTION_QUERY_TOKENS must name tenants"),
        "{error}"
    );
    assert!(!error.contains("hidden"), "{error}");
}
