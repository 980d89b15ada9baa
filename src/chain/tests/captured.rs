//! Bitcoin sources against the answers of newer nodes, Core 29 and Knots 29, which say some things
//! differently than the litecoind of `tests/litecoin`.
//!
//! The shapes are those that such nodes were seen to answer, cut down to what is read, what could
//! be in the way, and what is new; the ids are made up. They come over a real connection, with
//! statuses in both styles, and the answers of a batch in another order than its calls.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode, routing::post};
use serde_json::{Value, json};
use trellis_chain::{
    AncestryEnd, BlockAnswer, BlockId, ChainSource as _, Mode, OutputId, SourceErrorKind,
    bitcoin::{BitcoinSource, RpcAuth, RpcConfig, TipStatus, TxPlace, code},
};

const GENESIS: &str = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206";
const TIP: &str = "3a1b2c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f809";
const STALE: &str = "5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c";
const COINBASE: &str = "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0";
const PAYMENT: &str = "032b032b032b032b032b032b032b032b032b032b032b032b032b032b032b032b";

/// What a node says to a call, or the code and the words of its error.
type Answers = fn(method: &str, params: &Value) -> Result<String, (i64, &'static str)>;

/// How a node says that there is an error.
#[derive(Clone, Copy)]
enum Style {
    /// JSON-RPC 2.0: HTTP 200 and `error` alone.
    Two,
    /// JSON-RPC 1.x: an HTTP status and both keys.
    One,
}

/// A source that is answered so.
async fn source(answers: Answers, style: Style) -> BitcoinSource {
    let app = Router::new()
        .route("/", post(answer))
        .with_state(Arc::new((answers, style)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, app).await });
    BitcoinSource::new(RpcConfig::new("KNOTS", url.parse().unwrap(), RpcAuth::None)).unwrap()
}

async fn answer(
    State(node): State<Arc<(Answers, Style)>>,
    request: String,
) -> (StatusCode, String) {
    let (answers, style) = *node;
    let request: Value = serde_json::from_str(&request).unwrap();
    match request.as_array() {
        // Answers to a batch may come in any order.
        Some(calls) => {
            let said = calls.iter().rev().map(|call| one(answers, style, call).1);
            let said: Vec<String> = said.collect();
            (StatusCode::OK, format!("[{}]", said.join(",")))
        }
        None => one(answers, style, &request),
    }
}

fn one(answers: Answers, style: Style, call: &Value) -> (StatusCode, String) {
    let id = &call["id"];
    let method = call["method"].as_str().unwrap();
    match (answers(method, &call["params"]), style) {
        (Ok(result), Style::Two) => (
            StatusCode::OK,
            format!(r#"{{"jsonrpc":"2.0","result":{result},"id":{id}}}"#),
        ),
        (Ok(result), Style::One) => (
            StatusCode::OK,
            format!(r#"{{"result":{result},"error":null,"id":{id}}}"#),
        ),
        (Err((code, message)), Style::Two) => {
            let error =
                json!({"jsonrpc": "2.0", "error": {"code": code, "message": message}, "id": id});
            (StatusCode::OK, error.to_string())
        }
        (Err((code, message)), Style::One) => {
            let error =
                json!({"result": null, "error": {"code": code, "message": message}, "id": id});
            let status = match code {
                code::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            (status, error.to_string())
        }
    }
}

/// A node of version 29 at height 1, that fetches a longer chain.
fn knots(method: &str, params: &Value) -> Result<String, (i64, &'static str)> {
    let about = params[0].as_str().unwrap_or_default();
    Ok(match (method, about) {
        ("getblockchaininfo", _) => format!(
            r#"{{"chain":"regtest","blocks":1,"headers":1110,"bestblockhash":"{TIP}","bits":"207fffff",
            "target":"7fffff0000000000000000000000000000000000000000000000000000000000",
            "difficulty":4.656542373906925e-10,"time":1795227623,"mediantime":1795227623,"verificationprogress":1,
            "initialblockdownload":false,"chainwork":"0000000000000000000000000000000000000000000000000000000000000004",
            "size_on_disk":580,"pruned":false,"warnings":["This is a pre-release test build"]}}"#
        ),
        ("getnetworkinfo", _) => r#"{"version":290403,"subversion":"/Satoshi:29.4.3/Knots:20260101/","protocolversion":70016,
            "localservices":"0000000000000c09","localrelay":true,"timeoffset":0,"networkactive":true,"connections":1,
            "connections_in":0,"connections_out":1,"networks":[],"relayfee":0.00001000,"warnings":[]}"#
            .to_owned(),
        ("getblockhash", _) => match params[0].as_u64() {
            Some(0) => format!("\"{GENESIS}\""),
            Some(1) => format!("\"{TIP}\""),
            _ => return Err((code::INVALID_PARAMETER, "Block height out of range")),
        },
        ("getblockheader", TIP) => header(TIP, 1, 1, Some(GENESIS)),
        ("getblockheader", STALE) => header(STALE, 1, -1, Some(GENESIS)),
        ("getblockheader", GENESIS) => header(GENESIS, 0, 2, None),
        ("getblock", TIP) => block(),
        ("getblock", STALE) => return Err((code::MISC, "Block not available (not fully downloaded)")),
        ("getblock" | "getblockheader", _) => return Err((code::NOT_FOUND, "Block not found")),
        ("getchaintips", _) => format!(
            r#"[{{"height":1,"hash":"{TIP}","branchlen":0,"status":"active"}},
            {{"height":1,"hash":"{STALE}","branchlen":1,"status":"headers-only"}},
            {{"height":1,"hash":"{COINBASE}","branchlen":1,"status":"of-a-later-version"}}]"#
        ),
        ("getpeerinfo", _) => r#"[{"id":0,"addr":"127.0.0.1:20101","addrbind":"127.0.0.1:41096","network":"not_publicly_routable",
            "services":"0000000000000c09","relaytxes":true,"lastsend":1795227623,"bytessent":1,"pingtime":0.000558,
            "version":70016,"subver":"/Satoshi:29.4.3/Knots:20260101/","inbound":false,"bip152_hb_to":false,"presynced_headers":-1,
            "synced_headers":1110,"synced_blocks":1,"inflight":[2,3],"transport_protocol_type":"v2","session_id":"ab",
            "connection_type":"manual"}]"#
            .to_owned(),
        ("getrawtransaction", PAYMENT) => format!(
            r#"{{"in_active_chain":false,"txid":"{PAYMENT}","vin":[],"vout":[],"blockhash":"{STALE}","confirmations":0}}"#
        ),
        ("getrawtransaction", _) => {
            return Err((code::NOT_FOUND, "No such mempool or blockchain transaction. Use gettransaction for wallet transactions."));
        }
        _ => return Err((code::METHOD_NOT_FOUND, "Method not found")),
    })
}

/// The id of the block of a branch, `a` or `b`, at a height.
fn on(branch: char, height: u64) -> String {
    match height {
        0 => GENESIS.to_owned(),
        _ => format!("{branch}{height}").repeat(32),
    }
}

/// A node that left branch `a` for branch `b` since it was asked for the tip.
fn leaving(method: &str, params: &Value) -> Result<String, (i64, &'static str)> {
    let about = params[0].as_str().unwrap_or_default();
    let of_branch = |branch: char| {
        let height = (0..4).find(|height| on(branch, *height) == about)?;
        let parent = height.checked_sub(1).map(|below| on(branch, below));
        Some(header(about, height, 1, parent.as_deref()))
    };
    let header = of_branch('a').or_else(|| of_branch('b'));
    match (method, params[0].as_u64(), header) {
        // What was read first is of the branch that was left.
        ("getblockhash", Some(1), _) => Ok(format!("\"{}\"", on('a', 1))),
        ("getblockhash", Some(height @ (0 | 2 | 3)), _) => Ok(format!("\"{}\"", on('b', height))),
        ("getblockheader", _, Some(header)) => Ok(header),
        ("getblock", _, Some(header)) => Ok(header.replacen('{', r#"{"tx":[],"#, 1)),
        _ => Err((code::NOT_FOUND, "Block not found")),
    }
}

fn header(hash: &str, height: u64, confirmations: i64, parent: Option<&str>) -> String {
    let parent = parent.map(|parent| format!(r#","previousblockhash":"{parent}""#));
    format!(
        r#"{{"hash":"{hash}","confirmations":{confirmations},"height":{height},"version":536870912,"versionHex":"20000000",
        "merkleroot":"{COINBASE}","time":1795227623,"mediantime":1795227623,"nonce":0,"bits":"207fffff",
        "target":"7fffff0000000000000000000000000000000000000000000000000000000000","difficulty":4.656542373906925e-10,
        "chainwork":"0000000000000000000000000000000000000000000000000000000000000004","nTx":2{}}}"#,
        parent.unwrap_or_default()
    )
}

fn block() -> String {
    let header = header(TIP, 1, 1, Some(GENESIS));
    let header = header.trim_end_matches('}');
    format!(
        r#"{header},"strippedsize":327,"size":472,"weight":1453,"tx":[
        {{"txid":"{COINBASE}","hash":"{COINBASE}","version":2,"vin":[{{"coinbase":"01680101","sequence":4294967295}}],
          "vout":[{{"value":50.00002820,"n":0,"scriptPubKey":{{"asm":"0 5406","desc":"addr(bcrt1qminer)#abc","hex":"00145406",
            "address":"bcrt1qminer","type":"witness_v0_keyhash"}}}},
            {{"value":0.00000000,"n":1,"scriptPubKey":{{"asm":"OP_RETURN aa21","desc":"raw(6a24aa21)#abc","hex":"6a24aa21","type":"nulldata"}}}}]}},
        {{"txid":"{PAYMENT}","hash":"{PAYMENT}","version":2,"fee":0.00002820,"vin":[{{"txid":"{COINBASE}","vout":0,"scriptSig":{{"asm":"","hex":""}},
            "txinwitness":["00"],"sequence":4294967294}}],
          "vout":[{{"value":20999999.97690001,"n":0,"scriptPubKey":{{"hex":"00aa","address":"bcrt1qbob","type":"witness_v0_keyhash"}}}}]}}]}}"#
    )
}

fn id(text: &str) -> BlockId {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_new_node_is_known_by_its_genesis_block_and_headers_without_blocks_are_no_sync() {
    for style in [Style::Two, Style::One] {
        let source = source(knots, style).await;

        let identity = source.identity().await.unwrap();
        assert_eq!(identity.genesis, Some(id(GENESIS)));
        assert_eq!(
            identity.protocol.as_deref(),
            Some("70016 /Satoshi:29.4.3/Knots:20260101/")
        );
        let head = source.head().await.unwrap();
        assert_eq!((head.tip, head.height), (id(TIP), 1));
        // It says that it is done with the download, and has one block of 1110.
        assert_eq!(head.mode, Mode::Bootstrapping);
        assert_eq!(head.finalised.unwrap().id, id(GENESIS));
        assert!(!source.rpc().is_synced_to(id(TIP)).await.unwrap());
        let info = source.rpc().blockchain_info().await.unwrap();
        let warnings: Vec<_> = info.warnings.iter().collect();
        assert_eq!(warnings, ["This is a pre-release test build"]);
        assert_eq!(source.peers().await.unwrap().ids, ["127.0.0.1:20101"]);
    }
}

#[tokio::test]
async fn blocks_of_new_nodes_have_one_address_an_output_and_amounts_to_the_last_digit() {
    let source = source(knots, Style::Two).await;
    let BlockAnswer::Found(block) = source.block(id(TIP)).await.unwrap() else {
        panic!("it has the block");
    };

    let [coinbase, payment] = &block.transactions[..] else {
        panic!("it has two transactions");
    };
    assert_eq!(coinbase.inputs, []);
    assert_eq!(coinbase.outputs[0].owner.as_str(), "bcrt1qminer");
    assert_eq!(coinbase.outputs[0].value, 5_000_002_820);
    assert_eq!(coinbase.outputs[1].owner.as_str(), "script:6a24aa21");
    assert_eq!(payment.inputs, [OutputId::from(format!("{COINBASE}:0"))]);
    assert_eq!(payment.outputs[0].value, 2_099_999_997_690_001);
    assert_eq!(source.range(1, 5).await.unwrap(), [block]);
}

#[tokio::test]
async fn a_fork_is_read_in_the_words_of_new_nodes() {
    for style in [Style::Two, Style::One] {
        let source = source(knots, style).await;

        let stale = source.block(id(STALE)).await.unwrap();
        assert!(matches!(stale, BlockAnswer::BodyUnavailable(header) if header.id == id(STALE)));
        let unknown = source.block(id(PAYMENT)).await.unwrap();
        assert_eq!(unknown, BlockAnswer::Unknown);
        let end = AncestryEnd {
            until: None,
            headers_max: 9,
        };
        let back = source.ancestry(id(STALE), end).await.unwrap();
        let back: Vec<_> = back.into_iter().map(|header| header.id).collect();
        assert_eq!(back, [id(STALE), id(GENESIS)]);
        let tips = source.rpc().chain_tips().await.unwrap();
        assert_eq!(tips[1].status, TipStatus::HeadersOnly);
        let later = TipStatus::Other("of-a-later-version".into());
        assert_eq!(tips[2].status, later);
        let payment = PAYMENT.parse().unwrap();
        assert_eq!(
            source.rpc().tx_place(payment).await.unwrap(),
            TxPlace::OffBestChain { block: id(STALE) }
        );
        let missing = source.mempool().await.unwrap_err();
        assert!(matches!(
            missing.kind,
            SourceErrorKind::Node {
                code: code::METHOD_NOT_FOUND,
                ..
            }
        ));
    }
}

#[tokio::test]
async fn what_is_no_such_node_is_said_with_the_place_and_the_beginning() {
    let other_shape: Answers = |_, _| Ok(r#"{"chain":"regtest","blocks":"one"}"#.into());
    let source = source(other_shape, Style::Two).await;

    let error = source.head().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "KNOTS: getblockchaininfo: an answer of another shape at blocks: expected u64, found \
         \"one\"; is this the right port, and a version that is known?"
    );

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let busy = || async { (StatusCode::SERVICE_UNAVAILABLE, "Work queue depth exceeded") };
    let app = Router::new().route("/", post(busy));
    tokio::spawn(async { axum::serve(listener, app).await });
    let source =
        BitcoinSource::new(RpcConfig::new("BUSY", url.parse().unwrap(), RpcAuth::None)).unwrap();
    assert_eq!(
        source.head().await.unwrap_err().to_string(),
        "BUSY: getblockchaininfo: the node says 503: Work queue depth exceeded; \
         the log of the node may say more"
    );
}

#[tokio::test]
async fn a_reorg_between_two_batches_mixes_no_branches() {
    let source = source(leaving, Style::Two).await;
    let ids = |branch, heights: [u64; 4]| heights.map(|height| id(&on(branch, height)));
    for branch in ['a', 'b'] {
        let end = AncestryEnd {
            until: None,
            headers_max: 9,
        };
        let back = source.ancestry(id(&on(branch, 3)), end).await.unwrap();
        let back: Vec<_> = back.into_iter().map(|header| header.id).collect();
        assert_eq!(back, ids(branch, [3, 2, 1, 0]));
    }

    let blocks = source.range(0, 3).await.unwrap();
    let blocks: Vec<_> = blocks.into_iter().map(|block| block.header.id).collect();
    assert_eq!(blocks, [id(GENESIS), id(&on('a', 1))]);
}
