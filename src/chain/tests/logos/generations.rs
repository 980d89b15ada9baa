//! Generations: each form of the wire gives the same kind of answer.

use trellis_chain::{
    AncestryEnd, Block, BlockAnswer, BlockId, ChainIdentity, ChainSource, Finalised, Head, Header,
    Mode, Output, Peers, Transaction, logos::Generation,
};

use crate::captured::{Server, id};

const ALL: AncestryEnd = AncestryEnd {
    until: None,
    headers_max: 100,
};

fn head(tip: &str, height: u64, slot: u64, lib: &str, lib_slot: Option<u64>, mode: Mode) -> Head {
    Head {
        tip: id(tip),
        height,
        slot: Some(slot),
        finalised: Some(Finalised {
            id: id(lib),
            height: None,
            slot: lib_slot,
        }),
        mode,
    }
}

fn link(child: &str, parent: &str) -> Header {
    Header::new(id(child), Some(id(parent)))
}

fn in_slot(header: Header, slot: u64) -> Header {
    let slot = Some(slot);
    Header { slot, ..header }
}

fn genesis(short: &str) -> Header {
    let height = Some(0);
    in_slot(
        Header {
            height,
            ..Header::new(id(short), None)
        },
        0,
    )
}

fn output(owner: &str, value: u64) -> Output {
    Output {
        id: None,
        owner: id(owner),
        value,
        operation: 0,
    }
}

#[tokio::test]
async fn where_a_node_is_is_read_from_each_form_and_tells_the_forms_apart() {
    let flat = head(
        "0503adce..b681",
        3,
        21,
        "63d91fdd..f100",
        None,
        Mode::Online,
    );
    let busy = Mode::Bootstrapping;
    let slotted = head("71b00000..0009", 9, 91, "11b00000..0007", Some(70), busy);
    let with_mode = head(
        "02b00000..0002",
        2,
        14,
        "6e600000..0000",
        Some(0),
        Mode::Online,
    );
    let lib_slot = Some(173_060);
    let with_state = head(
        "71b00000..0004",
        5333,
        176_851,
        "11b00000..0002",
        lib_slot,
        Mode::Online,
    );
    for (form, expected, generation, shape) in [
        ("dec-2025", flat, Generation::Flat, "up to 0.1"),
        ("0.1.2", slotted, Generation::Flat, "up to 0.1"),
        ("0.2.0", with_mode, Generation::Mode, "0.2.0"),
        ("0.3.0", with_state, Generation::State, "0.2.1 and newer"),
    ] {
        let server = Server::of(form).await;
        let source = server.source();
        assert_eq!(source.shape().0, "logos-http (not asked yet)");

        assert_eq!(source.head().await.unwrap(), expected, "{form}");
        assert_eq!(source.http().generation().await.unwrap(), generation);
        assert!(source.shape().0.contains(shape), "{}", source.shape());
        assert_eq!(server.asked(), ["GET /cryptarchia/info"], "asked once");
    }
}

#[tokio::test]
async fn who_a_node_is_is_told_as_far_as_its_form_has_it_and_genesis_always() {
    let identity = |chain: Option<&str>, genesis: &str, peer: Option<&str>| ChainIdentity {
        chain_id: chain.map(str::to_owned),
        genesis: Some(id(genesis)),
        protocol: chain.map(str::to_owned),
        peer_id: peer.map(str::to_owned),
    };
    for (form, expected) in [
        // All headers are there, so that the last one is genesis.
        ("dec-2025", identity(None, "63d91fdd..f100", None)),
        // The first block names it.
        ("0.1.2", identity(None, "6e600000..0000", Some("12D3KooWa"))),
        // The last final block is in slot 0.
        ("0.2.0", identity(None, "6e600000..0000", Some("12D3KooWb"))),
        // The first block names it, and is not in the first slots.
        (
            "0.3.0",
            identity(Some("0.3.0"), "6e600000..0000", Some("12D3KooWc")),
        ),
    ] {
        let server = Server::of(form).await;
        let source = server.source();
        assert_eq!(source.identity().await.unwrap(), expected, "{form}");
    }
}

#[tokio::test]
async fn a_block_is_had_by_id_from_whichever_call_the_node_has() {
    let server = Server::of("0.2.0").await;
    let transaction = Transaction {
        id: id("a8280000..0001"),
        inputs: vec![id("0e010000..0001")],
        outputs: vec![output("71d50000..0001", u64::MAX)],
    };
    let header = in_slot(link("02b00000..0002", "01b00000..0001"), 14);
    let answer = server.source().block(id("02b00000..0002")).await.unwrap();
    assert_eq!(
        answer,
        BlockAnswer::Found(Block::new(header, vec![transaction]))
    );

    let server = Server::of("0.3.0").await;
    let transaction = Transaction {
        id: id("a8280000..0001"),
        inputs: ["0e010000..0001", "0e020000..0002", "0e030000..0003"]
            .map(id)
            .into(),
        outputs: vec![
            output("71d50000..0001", u64::MAX),
            output("5cc10000..0001", 5),
        ],
    };
    let header = in_slot(link("71b00000..0004", "03b00000..0003"), 176_851);
    let mut block = Block::new(header, vec![transaction]);
    block.unaccounted = ["1ead0000..0001", "903f0000..0001"].map(id).into();
    let answer = server.source().block(id("71b00000..0004")).await.unwrap();
    assert_eq!(answer, BlockAnswer::Found(block));
}

#[tokio::test]
async fn a_block_that_is_not_there_is_unknown_and_genesis_has_no_body() {
    for (form, first) in [("dec-2025", "63d91fdd..f100"), ("0.3.0", "6e600000..0000")] {
        let server = Server::of(form).await;
        let source = server.source();
        let unknown = id("01000000..0000");

        assert_eq!(source.block(unknown).await.unwrap(), BlockAnswer::Unknown);
        assert_eq!(source.header(unknown).await.unwrap(), None);
        let answer = source.block(id(first)).await.unwrap();
        assert_eq!(
            answer,
            BlockAnswer::BodyUnavailable(genesis(first)),
            "{form}"
        );
    }
}

/// A node that is between two forms, or behind a proxy that lets only some paths through.
#[tokio::test]
async fn a_node_with_another_call_than_its_form_has_is_asked_in_that_way_from_then_on() {
    let server = Server::answering(
        r#"
### GET /cryptarchia/info
200 application/json
{"cryptarchia_info":{"lib":"6e600000..0000","lib_slot":0,"tip":"02b00000..0002","slot":14,"height":2,"state":"Online"},"phase":"Following"}
### POST /storage/block
200 application/json
{"header":{"parent_block":"01b00000..0001","slot":14},"transactions":[]}
### GET /version
405 text/plain
Method not allowed
"#,
    )
    .await;
    let source = server.source();
    for _ in 0..2 {
        let answer = source.block(id("02b00000..0002")).await.unwrap();
        assert!(matches!(answer, BlockAnswer::Found(_)));
    }
    let tip = id::<BlockId>("02b00000..0002");
    let from_storage = format!("POST /storage/block \"{tip}\"");
    let expected = [
        "GET /cryptarchia/info",
        &format!("GET /cryptarchia/blocks/{tip}"),
        &from_storage,
        &from_storage,
    ];
    assert_eq!(server.asked(), expected);
    assert_eq!(source.http().version().await.unwrap(), None);
}

#[tokio::test]
async fn a_block_whose_transactions_have_no_ids_has_no_body_that_could_be_followed() {
    let server = Server::of("dec-2025").await;
    let answer = server.source().block(id("a05a0000..0016")).await.unwrap();
    let header = in_slot(link("a05a0000..0016", "04a20000..0011"), 16);
    assert_eq!(answer, BlockAnswer::BodyUnavailable(header));
}

#[tokio::test]
async fn ancestry_ends_at_the_last_final_block_whose_parent_only_its_block_tells() {
    let server = Server::of("0.3.0").await;
    let source = server.source();
    let headers = source.ancestry(id("71b00000..0004"), ALL).await.unwrap();
    let last = in_slot(link("11b00000..0002", "01b00000..0001"), 173_060);
    let expected = [
        link("71b00000..0004", "03b00000..0003"),
        link("03b00000..0003", "11b00000..0002"),
        last,
    ];
    assert_eq!(headers, expected);

    let two = AncestryEnd {
        headers_max: 2,
        ..ALL
    };
    let headers = source.ancestry(id("71b00000..0004"), two).await.unwrap();
    assert_eq!(headers, expected[..2]);
}

#[tokio::test]
async fn ancestry_reaches_genesis_where_it_is_final_and_stops_where_it_is_told() {
    let server = Server::of("dec-2025").await;
    let source = server.source();
    let tip: BlockId = id("0503adce..b681");
    let until = |until| AncestryEnd {
        until: Some(id(until)),
        ..ALL
    };

    let headers = source.ancestry(tip, ALL).await.unwrap();
    assert_eq!(headers.len(), 4);
    assert_eq!(headers[3], genesis("63d91fdd..f100"));

    let headers = source.ancestry(tip, until("04a20000..0011")).await.unwrap();
    assert_eq!(headers.len(), 3);
    assert_eq!(headers[2].parent, Some(id("63d91fdd..f100")));

    let to = format!("&to={}", id::<BlockId>("04a20000..0011"));
    assert!(server.asked().iter().any(|asked| asked.ends_with(&to)));

    // Whoever answers with more than was asked for is not believed to have been asked for more.
    let headers = source.ancestry(tip, until("a05a0000..0016")).await.unwrap();
    assert_eq!(headers.len(), 2);

    let unknown = source.ancestry(id("01000000..0000"), ALL).await.unwrap();
    assert_eq!(unknown, []);
}

#[tokio::test]
async fn final_blocks_are_had_by_slots_and_ids_that_are_left_out_follow_from_the_next_one() {
    let server = Server::of("dec-2025").await;
    let blocks = server.source().range(0, 12).await.unwrap();
    let slots: Vec<_> = blocks.iter().map(|block| block.header.slot).collect();
    assert_eq!(slots, [Some(1), Some(11)]);
    // Opcode 0 was an inscription then, and moves nothing.
    assert_eq!(blocks[1].transactions[0].id, id("0f0f0000..0011"));
    assert_eq!(blocks[1].transactions[0].inputs, []);

    let server = Server::of("0.1.2").await;
    let blocks = server.source().range(50, 80).await.unwrap();
    let headers: Vec<_> = blocks.into_iter().map(|block| block.header).collect();
    let second = in_slot(link("11b00000..0007", "61b00000..0006"), 70);
    let first = in_slot(link("61b00000..0006", "01b00000..0001"), 60);
    assert_eq!(headers, [first, second]);
}

#[tokio::test]
async fn peers_are_named_where_the_node_names_them_and_dialled_by_address() {
    let peers = |count, ids: &[&str]| Peers {
        count,
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
    };
    let server = Server::of("dec-2025").await;
    assert_eq!(server.source().peers().await.unwrap(), peers(1, &[]));
    let server = Server::of("0.3.0").await;
    let source = server.source();
    let named = peers(2, &["12D3KooWd", "12D3KooWe"]);
    assert_eq!(source.peers().await.unwrap(), named);
    source
        .connect("/ip4/127.0.0.1/udp/3000/quic-v1")
        .await
        .unwrap();
}

#[tokio::test]
async fn what_only_newer_nodes_tell_is_not_there_on_old_ones() {
    let server = Server::of("dec-2025").await;
    let old = server.source();
    assert_eq!(old.http().version().await.unwrap(), None);
    assert_eq!(old.http().time_info().await.unwrap(), None);

    let server = Server::of("0.3.0").await;
    let new = server.source();
    let version = new.http().version().await.unwrap().unwrap();
    assert_eq!(version.commit.as_deref(), Some("926cd84"));
    let time = new.http().time_info().await.unwrap().unwrap();
    assert_eq!(time.current_slot, 176_848);
    assert_eq!(time.slots_per_epoch, Some(36_000));
}
