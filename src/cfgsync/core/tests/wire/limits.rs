//! Limits: what is too much, and what it is answered.

use std::time::Duration;

use cfgsync_core::{CfgsyncServerState, RegistrationLimits, ServerLimits};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    server::{SOON, Server, at, http, json, node, refusal},
    source::Peers,
};

async fn limited(limits: ServerLimits) -> Server {
    Server::start(
        CfgsyncServerState::new(Peers::new(&["a"])).with_limits(limits),
        0,
    )
    .await
}

/// What a server answers to bytes that no client sends.
async fn raw(server: &Server, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // A server that has seen enough may close before all is sent.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut answer)).await;
    let _ = read.expect("the server closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_however_it_is_sent() {
    let server = limited(ServerLimits::default()).await;
    let large = |length| {
        let registration = node("a").with_metadata(&"x".repeat(length)).unwrap();
        json(&registration)
    };
    assert_eq!(server.post("/register", large(60_000)).await.status(), 202);
    for length in [70_000, 900_000] {
        let (code, message) = refusal(server.post("/register", large(length)).await, 413).await;
        assert_eq!(code, "body_too_large");
        assert_eq!(message, "a body may have 65536 bytes");
    }
    let mut chunked = b"POST /node HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n\
        transfer-encoding: chunked\r\n\r\n"
        .to_vec();
    for _ in 0..70 {
        chunked.extend_from_slice(format!("400\r\n{}\r\n", "x".repeat(0x400)).as_bytes());
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let answer = raw(&server, &chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("body_too_large"), "{answer}");
}

#[tokio::test]
async fn a_registration_too_many_is_refused_and_the_others_stay() {
    let source = Peers::with_limits(
        &["a"],
        RegistrationLimits {
            nodes_max: 2,
            bytes_max: 100_000,
        },
    );
    let server = Server::of(source).await;
    for name in ["a", "b"] {
        assert_eq!(
            server.post("/register", json(&node(name))).await.status(),
            202
        );
    }
    let response = server.post("/register", json(&node("c"))).await;
    assert_eq!(response.headers()["retry-after"], "1");
    let (code, message) = refusal(response, 429).await;
    assert_eq!(code, "too_many_registrations");
    assert!(message.starts_with("2 nodes are registered"), "{message}");
    assert_eq!(
        server
            .post("/register", json(&at("a", "::1")))
            .await
            .status(),
        202
    );
    let heavy = node("b").with_metadata(&vec![0; 10_000]).unwrap();
    let (code, _) = refusal(server.post("/register", json(&heavy)).await, 413).await;
    assert_eq!(code, "metadata_too_large");
    assert_eq!(server.post("/node", json(&node("b"))).await.status(), 200);
}

#[tokio::test]
async fn too_many_or_too_long_headers_are_refused() {
    let server = limited(ServerLimits::default()).await;
    let with = |name: &'static str, count: usize, length: usize| {
        let mut request = http().post(format!("{}/node", server.url()));
        for _ in 0..count {
            request = request.header(name, "x".repeat(length));
        }
        request.send()
    };
    for (count, length) in [(70, 1), (101, 1), (400, 1), (2, 9_000)] {
        let (code, message) = refusal(with("x-a", count, length).await.unwrap(), 413).await;
        assert_eq!(code, "headers_too_large");
        assert_eq!(
            message,
            "a request may have 64 headers of 16384 bytes together"
        );
    }
    // Beyond what the HTTP library reads at all there is no body any more, but still an answer.
    let mut many = b"POST /node HTTP/1.1\r\n".to_vec();
    many.extend_from_slice("x: y\r\n".repeat(600).as_bytes());
    many.extend_from_slice(b"\r\n");
    let long = format!("POST /node HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(300_000));
    for head in [many, long.into_bytes()] {
        let answer = raw(&server, &head).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
            "{answer}"
        );
    }
    assert_eq!(
        server.post("/register", json(&node("a"))).await.status(),
        202
    );
}

#[tokio::test]
async fn an_identifier_that_is_too_long_is_refused() {
    let server = limited(ServerLimits::default()).await;
    let named = |length| json(&node(&"a".repeat(length)));
    for path in ["/register", "/node"] {
        let (code, message) = refusal(server.post(path, named(254)).await, 413).await;
        assert_eq!(code, "identifier_too_large");
        assert_eq!(message, "an identifier may have 253 bytes");
    }
    assert_eq!(server.post("/register", named(253)).await.status(), 202);
}

#[tokio::test]
async fn whoever_sends_slowly_is_not_waited_for() {
    let server = limited(ServerLimits {
        read_within: Duration::from_millis(50),
        ..ServerLimits::default()
    })
    .await;
    let answer = raw(&server, b"POST /node HTTP/1.1\r\nhost: ").await;
    assert_eq!(answer, "");
    let head = b"POST /node HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    let answer = raw(&server, head).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("request_timeout"), "{answer}");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let server = limited(ServerLimits {
        connections_max: 1,
        ..ServerLimits::default()
    })
    .await;
    let first = TcpStream::connect(server.address).await.unwrap();
    let mut second = TcpStream::connect(server.address).await.unwrap();
    let health = b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    second.write_all(health).await.unwrap();
    let mut answer = String::new();
    let patience = Duration::from_millis(100);
    let read = timeout(patience, second.read_to_string(&mut answer)).await;
    assert!(read.is_err(), "{answer}");
    drop(first);
    let read = timeout(SOON, second.read_to_string(&mut answer)).await;
    read.expect("there is room now").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
