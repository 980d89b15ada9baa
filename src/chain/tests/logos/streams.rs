//! Streams: new blocks as lines that come when they come.

use std::{
    convert::Infallible,
    future::ready,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, routing::get};
use futures::{StreamExt as _, stream};
use tokio::{sync::mpsc, time::timeout};
use trellis_chain::{BlockId, ChainSource, SourceErrorKind, Streamed, logos::LogosSource};

use crate::captured::{Server, expanded, id};

/// Far longer than anything here takes.
const STALLED: Duration = Duration::from_secs(20);

async fn all(source: &LogosSource) -> Vec<Result<Streamed, SourceErrorKind>> {
    let blocks = source.stream().await.unwrap().unwrap();
    let all = blocks
        .map(|block| block.map_err(|error| error.kind))
        .collect();
    timeout(STALLED, all).await.unwrap()
}

fn ids(items: &[Result<Streamed, SourceErrorKind>]) -> Vec<BlockId> {
    let blocks = items.iter().flatten();
    blocks.map(|item| item.block.header.id).collect()
}

#[tokio::test]
async fn blocks_alone_come_in_the_order_of_the_node_with_doubles_and_empty_lines() {
    let server = Server::of("dec-2025").await;
    let items = all(&server.source()).await;

    let told = ["a05a0000..0016", "0503adce..b681", "a05a0000..0016"].map(id);
    assert_eq!(ids(&items), told);
    assert_eq!(items.len(), 3);
    let first = items[0].as_ref().unwrap();
    assert_eq!((first.tip, first.finalised), (None, None));
    let transaction = &first.block.transactions[0];
    assert_eq!(transaction.id, id("a828c31f..0001"));
    let values: Vec<u64> = transaction
        .outputs
        .iter()
        .map(|output| output.value)
        .collect();
    assert_eq!(values, [700, 99_300]);
}

#[tokio::test]
async fn events_tell_tip_and_last_final_block_and_a_broken_line_is_the_last_item() {
    let server = Server::of("0.2.0").await;
    let items = all(&server.source()).await;
    let event = items[0].as_ref().unwrap();
    assert_eq!(event.tip, Some(id("02b00000..0002")));
    let finalised = event.finalised.unwrap();
    assert_eq!((finalised.id, finalised.slot), (id("6e600000..0000"), None));

    let server = Server::of("0.3.0").await;
    let items = all(&server.source()).await;
    assert_eq!(ids(&items), ["03b00000..0003", "71b00000..0004"].map(id));
    let finalised = items[1].as_ref().unwrap().finalised.unwrap();
    assert_eq!(finalised.slot, Some(173_060));
    let error = items[2].as_ref().unwrap_err();
    assert!(
        matches!(error, SourceErrorKind::WrongShape { .. }),
        "{error}"
    );
    assert_eq!(items.len(), 3);
}

#[tokio::test]
async fn a_node_without_a_stream_has_none() {
    let server = Server::of("0.1.2").await;
    assert!(server.source().stream().await.unwrap().is_none());
}

#[tokio::test]
async fn blocks_are_told_of_as_they_become_final() {
    let server = Server::of("dec-2025").await;
    let source = server.source();
    let blocks = source.http().finality().await.unwrap();
    let blocks: Vec<_> = blocks.map(Result::unwrap).collect().await;

    assert_eq!(blocks[0].height, 15);
    assert_eq!(blocks[1].id, id("a05a0000..0016"));
}

/// A line that comes in pieces, with a tail that never ends while the test runs.
#[tokio::test]
async fn a_block_is_told_of_when_its_line_ends_and_not_when_the_stream_does() {
    let (pieces, sent) = mpsc::unbounded_channel::<String>();
    let body = stream::unfold(sent, async |mut sent| {
        let piece = sent.recv().await?;
        Some((Ok::<_, Infallible>(piece), sent))
    });
    let body = Arc::new(Mutex::new(Some(Body::from_stream(body))));
    let open = get(move || ready(body.lock().unwrap().take().unwrap()));
    let info = expanded(
        r#"{"cryptarchia_info":{"lib":"6e600000..0000","lib_slot":0,"tip":"02b00000..0002","slot":14,"height":2,"state":"Online"},"phase":"Following"}"#,
    );
    let router = Router::new()
        .route("/cryptarchia/info", get(async move || info))
        .route("/cryptarchia/events/blocks/stream", open);
    let server = Server::with(router).await;
    let mut blocks = server.source().stream().await.unwrap().unwrap();

    let line = |id: &str| {
        expanded(&format!(
            r#"{{"block":{{"header":{{"id":"{id}","parent_block":"6e600000..0000","slot":1}},"transactions":[]}},"tip":"{id}","lib":"6e600000..0000"}}"#
        ))
    };
    let (first, second) = (line("01b00000..0001"), line("01b00000..0002"));
    let (half, rest) = first.split_at(100);
    pieces.send(half.to_owned()).unwrap();
    pieces.send(format!("{rest}\r\n{second}")).unwrap();
    let block = timeout(STALLED, blocks.next()).await.unwrap().unwrap();
    assert_eq!(block.unwrap().block.header.id, id("01b00000..0001"));

    pieces.send("\n".to_owned()).unwrap();
    let block = timeout(STALLED, blocks.next()).await.unwrap().unwrap();
    assert_eq!(block.unwrap().block.header.id, id("01b00000..0002"));

    // Whoever no longer reads is no longer sent to.
    drop(blocks);
    timeout(STALLED, pieces.closed()).await.unwrap();
}

#[tokio::test]
async fn a_line_without_end_is_too_large() {
    let endless = || stream::repeat_with(|| Ok::<_, Infallible>("x".repeat(1 << 14)));
    let open = get(async move || Body::from_stream(endless()));
    let router = Router::new().route("/cryptarchia/lib-stream", open);
    let server = Server::with(router).await;
    let source = server.source();

    let mut lines = source.http().finality().await.unwrap();
    let error = timeout(STALLED, lines.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    let SourceErrorKind::TooLarge { bytes_max } = error.kind else {
        panic!("{error}");
    };
    assert_eq!(bytes_max, 100_000);
    assert!(lines.next().await.is_none());
}
