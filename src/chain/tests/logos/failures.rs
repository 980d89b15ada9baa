//! Failures: each way not to answer is told apart, with node, call and what to try.

use std::{convert::Infallible, future::pending, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{
        HeaderMap, StatusCode,
        header::{AUTHORIZATION, CONTENT_LENGTH},
    },
    routing::{get, post},
};
use futures::stream;
use tokio::net::TcpListener;
use trellis_chain::{
    ChainSource, SourceError, SourceErrorKind,
    http::{HttpAuth, HttpConfig, HttpConfigError},
    logos::LogosSource,
};

use crate::captured::{Server, id};

const INFO: &str = "/cryptarchia/info";

/// A server whose info is answered like this.
async fn info(answer: &'static str) -> Server {
    Server::with(Router::new().route(INFO, get(async move || answer))).await
}

async fn head_of(server: &Server) -> SourceError {
    server.source().head().await.unwrap_err()
}

#[tokio::test]
async fn a_node_that_is_not_there_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let source = LogosSource::new(HttpConfig::new("NODE_1", url.parse().unwrap())).unwrap();

    let error = source.head().await.unwrap_err();
    assert!(
        matches!(error.kind, SourceErrorKind::Refused { .. }),
        "{error}"
    );
    assert_eq!(
        error.to_string(),
        "NODE_1: GET /cryptarchia/info: no connection; is the node running, and is this its address?"
    );
}

#[tokio::test]
async fn a_node_that_hangs_up_in_an_answer_breaks_the_connection() {
    let broken = || stream::iter([Ok("{"), Err(std::io::Error::other("gone"))]);
    let broken = get(async move || Body::from_stream(broken()));
    let server = Server::with(Router::new().route(INFO, broken)).await;

    let error = head_of(&server).await;
    assert!(
        matches!(error.kind, SourceErrorKind::Broken { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_node_that_answers_too_late_or_never_ends_has_its_time() {
    let silent = get(async || pending::<()>().await);
    let endless = || {
        stream::unfold((), async |()| {
            pending::<Option<(Result<&str, Infallible>, ())>>().await
        })
    };
    let begun = get(async move || Body::from_stream(endless()));
    let streams = get(async || pending::<()>().await);
    let router = Router::new()
        .route(INFO, silent)
        .route("/network/info", begun)
        .route("/cryptarchia/lib-stream", streams);
    let server = Server::with(router).await;
    let mut config = server.config();
    config.limits.within = Duration::from_millis(50);
    let source = LogosSource::new(config).unwrap();

    let finality = async { source.http().finality().await.map(drop) };
    for error in [
        source.head().await.unwrap_err(),
        source.peers().await.unwrap_err(),
        finality.await.unwrap_err(),
    ] {
        let SourceErrorKind::TimedOut { within } = error.kind else {
            panic!("{error}");
        };
        assert_eq!(within, Duration::from_millis(50));
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_read_to_its_end() {
    let endless = || stream::repeat_with(|| Ok::<_, Infallible>("x".repeat(1 << 14)));
    let endless = get(async move || Body::from_stream(endless()));
    let announced = get(async || "x".repeat(100_001));
    let fitting = post(async || format!("\"{}\"", "x".repeat(99_998)));
    let router = Router::new()
        .route(INFO, endless)
        .route("/network/info", announced)
        .route("/network/dial_peer", fitting);
    let server = Server::with(router).await;
    let source = server.source();

    for error in [
        source.head().await.unwrap_err(),
        source.peers().await.unwrap_err(),
    ] {
        let SourceErrorKind::TooLarge { bytes_max } = error.kind else {
            panic!("{error}");
        };
        assert_eq!(bytes_max, 100_000);
    }
    assert_eq!(source.http().dial("a").await.unwrap().len(), 99_998);
}

#[tokio::test]
async fn an_answer_that_says_it_is_too_large_is_not_waited_for() {
    let silent = || stream::pending::<Result<&str, Infallible>>();
    let announced = get(async move || {
        let length = [(CONTENT_LENGTH, "100001")];
        (length, Body::from_stream(silent()))
    });
    let server = Server::with(Router::new().route(INFO, announced)).await;

    let error = head_of(&server).await;
    assert!(
        matches!(error.kind, SourceErrorKind::TooLarge { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_number_that_is_no_whole_number_is_of_another_shape_where_it_stands() {
    let server = info(
        r#"{"cryptarchia_info":{"lib":"0100000000000000000000000000000000000000000000000000000000000000","tip":"0100000000000000000000000000000000000000000000000000000000000000","slot":1e3,"height":1,"state":"Online"}}"#,
    )
    .await;
    assert_eq!(
        head_of(&server).await.to_string(),
        "NODE_1: GET /cryptarchia/info: an answer of another shape at cryptarchia_info.slot: expected u64, found 1000.0; is this the right port, and a version that is known?"
    );
}

#[tokio::test]
async fn what_no_node_says_is_of_another_shape() {
    for (answer, path) in [
        ("<html>", "$"),
        ("{}", "$"),
        (r#"{"cryptarchia_info":{"state":1}}"#, "cryptarchia_info"),
        (r#"{"lib":"zz"}"#, "lib"),
    ] {
        let SourceErrorKind::WrongShape { path: at, .. } = head_of(&info(answer).await).await.kind
        else {
            panic!("{answer} is of another shape");
        };
        assert_eq!(at, path, "{answer}");
    }
}

#[tokio::test]
async fn a_node_says_what_is_wrong_as_an_object_or_as_a_text_or_not_at_all() {
    for (body, code, message) in [
        (r#"{"code":500,"message":"no chain"}"#, 500, "no chain"),
        ("no chain yet", 503, "no chain yet"),
        ("", 503, "an HTTP status and no words"),
    ] {
        let failing = get(async move || (StatusCode::SERVICE_UNAVAILABLE, body));
        let server = Server::with(Router::new().route(INFO, failing)).await;
        let SourceErrorKind::Node {
            code: told,
            message: words,
        } = head_of(&server).await.kind
        else {
            panic!("the node fails");
        };
        assert_eq!((told, words.as_str()), (code, message));
    }
}

#[tokio::test]
async fn a_node_that_is_asked_what_it_has_no_path_for_does_not_support_it() {
    let server = Server::of("0.1.2").await;
    let error = server.source().connect("/ip4/127.0.0.1").await.unwrap_err();
    assert!(
        matches!(error.kind, SourceErrorKind::Unsupported),
        "{error}"
    );
    let error = server
        .source()
        .funds(&id("b1f50000..0001"), None)
        .await
        .unwrap_err();
    assert!(
        matches!(error.kind, SourceErrorKind::Unsupported),
        "{error}"
    );
}

#[tokio::test]
async fn who_asks_is_told_to_the_node_and_never_shown() {
    let asked = async |headers: HeaderMap| {
        let told = headers
            .get(AUTHORIZATION)
            .map(|value| value.to_str().unwrap());
        match told {
            // user:hidden
            Some("Basic dXNlcjpoaWRkZW4=" | "Bearer hidden") => (StatusCode::OK, r#"["12D3"]"#),
            _ => (StatusCode::UNAUTHORIZED, "who are you?"),
        }
    };
    let router = Router::new()
        .route("/mempool/view", get(async || "[]"))
        .route(INFO, get(asked));
    let server = Server::with(router).await;
    let basic = |password: &str| HttpAuth::Basic {
        user: "user".to_owned(),
        password: password.to_owned(),
    };
    let head = async |auth: HttpAuth| {
        let mut config = server.config();
        config.auth = auth;
        let source = LogosSource::new(config).unwrap();
        let shown = format!("{source:?}");
        assert!(
            !shown.contains("hidden") && !shown.contains("wrong"),
            "{shown}"
        );
        let error = source.head().await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(
            !shown.contains("hidden") && !shown.contains("wrong"),
            "{shown}"
        );
        error.kind
    };

    for believed in [basic("hidden"), HttpAuth::Bearer("hidden".to_owned())] {
        let kind = head(believed).await;
        assert!(matches!(kind, SourceErrorKind::WrongShape { .. }), "{kind}");
    }
    for unbelieved in [
        HttpAuth::None,
        basic("wrong"),
        HttpAuth::Bearer("wrong".to_owned()),
    ] {
        let kind = head(unbelieved).await;
        assert!(
            matches!(kind, SourceErrorKind::Unauthorised { status: 401 }),
            "{kind}"
        );
    }
}

#[test]
fn a_node_that_cannot_be_asked_is_refused_before_it_is_asked() {
    let refused = |url: &str, auth| {
        let mut config = HttpConfig::new("NODE_1", url.parse().unwrap());
        config.auth = auth;
        LogosSource::new(config).unwrap_err()
    };
    let scheme = refused("ftp://localhost", HttpAuth::None);
    assert_eq!(
        scheme.to_string(),
        "ftp is not a scheme that nodes are asked by; use http or https"
    );
    let shown = refused("http://user:hidden@localhost", HttpAuth::None);
    assert_eq!(shown, HttpConfigError::CredentialInUrl);
    let unsendable = refused("http://localhost", HttpAuth::Bearer("a\nb".to_owned()));
    assert_eq!(unsendable, HttpConfigError::Credential);
}
