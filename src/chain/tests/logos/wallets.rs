//! Wallets: what waits, what is owned, what it costs, and moving it.

use std::sync::Arc;

use trellis_chain::{
    ChainSource, Funds, SignedTransaction, SourceErrorKind, TxId,
    logos::{GasPrices, TransferFunds, TxStatus},
};

use crate::captured::{Server, expanded, id};

fn json(text: &str) -> SignedTransaction {
    SignedTransaction::Json(Arc::from(expanded(text)))
}

#[tokio::test]
async fn funds_are_told_in_whole_numbers_with_notes_where_the_form_has_them() {
    let owner = id("b1f50000..0001");
    let server = Server::of("dec-2025").await;
    let funds = server.source().funds(&owner, None).await.unwrap().unwrap();
    assert_eq!((funds.balance, funds.outputs), (2_001_000, None));

    let server = Server::of("0.1.2").await;
    let at = id("11b00000..0007");
    let funds = server.source().funds(&owner, Some(at)).await.unwrap();
    let expected = Funds {
        at,
        balance: u64::MAX,
        outputs: Some(vec![
            (id("0e010000..0001"), u64::MAX - 1),
            (id("0e020000..0002"), 1),
        ]),
    };
    assert_eq!(funds, Some(expected));
}

#[tokio::test]
async fn funds_of_a_foreign_key_or_at_an_unknown_block_are_not_told() {
    let unknown = Some(id("01000000..0000"));
    let server = Server::of("dec-2025").await;
    let source = server.source();
    let (owner, other) = (id("b1f50000..0001"), id("0dd00000..0001"));

    assert_eq!(source.funds(&owner, unknown).await.unwrap(), None);
    assert_eq!(source.funds(&other, None).await.unwrap(), None);
    let error = source.funds(&"short".into(), None).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "NODE_1: GET /wallet/short/balance: the node says 400: Invalid URL: Bytes length is not 32, got: 0; the log of the node may say more"
    );

    let server = Server::of("0.3.0").await;
    assert_eq!(server.source().funds(&other, None).await.unwrap(), None);
}

#[tokio::test]
async fn a_transaction_is_handed_in_under_the_id_that_it_says_of_itself() {
    let server = Server::of("0.3.0").await;
    let source = server.source();
    let signed = r#"{"mantle_tx":{"hash":"a8280000..0001","ops":[]},"ops_proofs":[]}"#;

    let taken = source.submit(&json(signed)).await.unwrap();
    assert_eq!(taken, id("a8280000..0001"));
    let sent = format!("POST /mempool/add/tx {}", expanded(signed));
    assert_eq!(server.asked(), [sent]);

    // Nothing is sent that could not be followed.
    let error = source
        .submit(&json(r#"{"mantle_tx":{"ops":[]}}"#))
        .await
        .unwrap_err();
    assert!(matches!(error.kind, SourceErrorKind::WrongShape { path, .. } if path == "mantle_tx"));
    let bytes = SignedTransaction::Bytes(Arc::from([1, 2]));
    let error = source.submit(&bytes).await.unwrap_err();
    assert!(matches!(error.kind, SourceErrorKind::Unsupported));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn what_waits_is_listed_and_has_a_status_in_each_form() {
    let server = Server::of("0.3.0").await;
    let source = server.source();
    let waiting: Vec<TxId> = source.mempool().await.unwrap();
    assert_eq!(waiting, ["a8280000..0001", "a8280000..0002"].map(id));
    let http = source.http();
    let statuses = http.statuses(&waiting).await.unwrap();
    assert_eq!(statuses, [TxStatus::Pending, TxStatus::Unknown]);
    assert_eq!(
        http.statuses(&waiting[..1]).await.unwrap(),
        [TxStatus::Pending]
    );
    let three = [waiting[0], waiting[1], waiting[1]];
    let error = http.statuses(&three).await.unwrap_err();
    assert!(error.to_string().contains("expected 3 statuses"), "{error}");

    let server = Server::of("dec-2025").await;
    let source = server.source();
    let statuses = source.http().statuses(&three).await.unwrap();
    let in_block = TxStatus::InBlock(id("a05a0000..0016"));
    assert_eq!(statuses, [TxStatus::Pending, in_block, TxStatus::Unknown]);
    let metrics = source.http().mempool_metrics().await.unwrap();
    assert_eq!(metrics.last_item_timestamp, 1_795_231_600_221);
    let error = source.mempool().await.unwrap_err();
    assert!(matches!(error.kind, SourceErrorKind::Unsupported));
}

#[tokio::test]
async fn a_node_moves_funds_and_says_why_it_does_not() {
    let transfer = TransferFunds {
        tip: None,
        change: id("b1f50000..0001"),
        funding: vec![id("b1f50000..0001")],
        recipient: id("71d50000..0001"),
        amount: 700,
    };
    let server = Server::of("0.3.0").await;
    let moved = server.source().http().transfer_funds(&transfer).await;
    assert_eq!(moved.unwrap(), id("2b860000..0001"));

    let server = Server::of("dec-2025").await;
    let refused = server.source().http().transfer_funds(&transfer).await;
    let SourceErrorKind::Node { code, message } = refused.unwrap_err().kind else {
        panic!("the node refuses");
    };
    assert_eq!(code, 500);
    assert_eq!(
        message,
        "Wallet does not have enough funds, available=2001000"
    );
}

#[tokio::test]
async fn prices_hold_at_a_block() {
    let server = Server::of("0.3.0").await;
    let source = server.source();
    let prices = GasPrices {
        tip: id("71b00000..0004"),
        execution_base_gas_price: 1,
        storage_gas_price: 5,
    };
    assert_eq!(source.http().gas_prices(None).await.unwrap(), prices);
    let unknown = source.http().gas_prices(Some(id("01000000..0000"))).await;
    assert!(
        unknown
            .unwrap_err()
            .to_string()
            .contains("the node says 404: no such tip")
    );
}
