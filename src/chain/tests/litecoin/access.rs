//! Access: who may ask, and what it is called when there is no answer.

use std::time::Duration;

use bitcoin_regtest::NodeOptions;
use serde_json::{Value, json};
use trellis_chain::{
    ChainSource as _, SourceErrorKind,
    bitcoin::{BitcoinRpc, RpcAuth, RpcCall, RpcConfig, RpcLimits, code},
};

use crate::network::{Node, config, is_early, limits};

/// How often a node is started until it is seen to start.
const STARTS_MAX: usize = 5;

pub(crate) async fn who_asks_is_told_by_cookie_or_password_and_a_restart_changes_the_cookie() {
    let with_password = NodeOptions {
        password: Some(("u".into(), "p".into())),
        ..NodeOptions::default()
    };
    let (mut by_cookie, by_password) = tokio::join!(
        Node::start("COOKIE"),
        Node::start_with("PASSWORD", &with_password)
    );
    assert_eq!(by_password.source.head().await.unwrap().height, 0);

    // A node that was killed leaves its cookie, and the next start writes another.
    let cookie = std::fs::read(by_cookie.process.cookie_file()).unwrap();
    by_cookie.process.stop().unwrap();
    by_cookie.process.start_again().unwrap();
    by_cookie.ready().await;
    assert_ne!(
        std::fs::read(by_cookie.process.cookie_file()).unwrap(),
        cookie
    );
    assert_eq!(by_cookie.source.head().await.unwrap().height, 0);

    let wrong = RpcAuth::Password {
        user: "u".into(),
        password: "another".into(),
    };
    let wrong = BitcoinRpc::new(config(&by_password.process, "WRONG", wrong)).unwrap();
    let refused = wrong.blockchain_info().await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "WRONG: getblockchaininfo: not authorised (HTTP 401); \
         check user and password, or the cookie file"
    );
    let foreign = RpcAuth::CookieFile(by_cookie.process.cookie_file());
    let foreign = BitcoinRpc::new(config(&by_password.process, "FOREIGN", foreign)).unwrap();
    let refused = foreign.blockchain_info().await.unwrap_err();
    assert!(matches!(
        refused.kind,
        SourceErrorKind::Unauthorised { status: 401 }
    ));
}

pub(crate) async fn what_cannot_be_answered_is_told_apart() {
    let mut node = Node::start("N1").await;
    let rpc = node.rpc().clone();
    let code_of = |kind: SourceErrorKind| match kind {
        SourceErrorKind::Node { code, .. } => code,
        other => panic!("{other}"),
    };

    // Errors of single calls come as HTTP 500 or 404 with words in the body.
    let above = rpc.call::<Value>("getblockhash", json!([9999]));
    assert_eq!(
        above.await.unwrap_err().to_string(),
        "N1: getblockhash: the node says -8: Block height out of range; \
         the log of the node may say more"
    );
    let unknown = rpc.call::<Value>("getzmqnotifications", json!([])).await;
    assert_eq!(
        code_of(unknown.unwrap_err().kind),
        code::METHOD_NOT_FOUND,
        "Debian's litecoind has no ZMQ"
    );
    let wallet = rpc.wallet("nobody's").balances().await.unwrap_err();
    assert!(wallet.to_string().contains("(wallet nobody's)"), "{wallet}");
    assert_eq!(code_of(wallet.kind), code::WALLET_NOT_FOUND);

    // Errors in a batch are of one call each.
    let calls = [0, 9999, 0].map(|height| RpcCall::new("getblockhash", json!([height])));
    let answers = rpc.batch(&calls).await.unwrap();
    assert_eq!(
        answers[1].as_ref().unwrap_err().code,
        code::INVALID_PARAMETER
    );
    assert_eq!(
        answers[0].as_ref().unwrap().get(),
        answers[2].as_ref().unwrap().get()
    );

    let brief = Duration::from_millis(50);
    let late = rpc.call_within::<Value>(brief, "waitfornewblock", json!([60_000]));
    assert!(matches!(
        late.await.unwrap_err().kind,
        SourceErrorKind::TimedOut { within } if within == brief
    ));
    let small = BitcoinRpc::new(RpcConfig {
        limits: RpcLimits {
            answer_bytes_max: 200,
            ..limits()
        },
        ..config(
            &node.process,
            "SMALL",
            RpcAuth::CookieFile(node.process.cookie_file()),
        )
    })
    .unwrap();
    assert!(matches!(
        small.blockchain_info().await.unwrap_err().kind,
        SourceErrorKind::TooLarge { bytes_max: 200 }
    ));

    rpc.stop().await.unwrap();
    assert!(node.process.wait_for_end().unwrap().success());
    let gone = rpc.blockchain_info().await.unwrap_err();
    assert!(
        matches!(gone.kind, SourceErrorKind::Refused { .. }),
        "{gone}"
    );
}

pub(crate) async fn a_node_that_starts_says_so() {
    // All blocks are undone and done again at each start, which takes a while.
    let options = NodeOptions {
        config: "checkblocks=0\nchecklevel=4\n".into(),
        ..NodeOptions::default()
    };
    let mut node = Node::start_with("N1", &options).await;
    node.mine(400).await;

    // What is said before depends on when it is asked, and so each start is one chance to see it.
    let mut said = None;
    for _ in 0..STARTS_MAX {
        node.process.stop().unwrap();
        node.process.start_again().unwrap();
        said = said_before_ready(&node).await;
        if said.is_some() {
            break;
        }
    }
    let said = said.expect("it says so in one of the starts");
    assert!(said.ends_with('…') || said.ends_with("..."), "{said}");
    node.ready().await;
    assert_eq!(node.source.head().await.unwrap().height, 400);
}

/// What the node says to the first call that it takes, unless that is an answer already.
async fn said_before_ready(node: &Node) -> Option<String> {
    loop {
        let error = node.source.head().await.err()?;
        assert!(is_early(&error), "{error}");
        if let SourceErrorKind::Node { message, .. } = error.kind {
            return Some(message);
        }
    }
}
