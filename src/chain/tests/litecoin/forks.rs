//! Forks: two branches that grow apart and join, and what is then said of blocks and
//! transactions.

use trellis_chain::{
    AncestryEnd, BlockAnswer, BlockId, ChainSource as _, SourceErrorKind,
    bitcoin::{Amount, BitcoinRpc, TipStatus, TxPlace, code},
};

use crate::network::{Node, converge, eventually, three};

/// The network with a wallet at the first node that can pay.
async fn with_alice() -> ([Node; 3], BitcoinRpc) {
    let nodes = three().await;
    let alice = nodes[0].rpc().create_wallet("alice").await.unwrap();
    let address = alice.new_address().await.unwrap();
    let mined = nodes[0].rpc().generate_to_address(103, &address).await;
    assert_eq!(mined.unwrap().len(), 103);
    converge(&nodes.each_ref()).await;
    (nodes, alice)
}

/// Lets `lone` talk to the others again.
async fn rejoin(lone: &Node, others: [&Node; 2]) {
    lone.rpc().set_network_active(true).await.unwrap();
    for other in others {
        lone.connect(other).await;
    }
}

/// Tells `node` the headers of a branch, oldest first: it need not hear of it from its peers.
async fn tell_headers(node: &Node, from: &Node, ids: &[BlockId]) {
    for id in ids {
        let raw = from.rpc().raw_header(*id).await.unwrap().unwrap();
        let params = serde_json::json!([raw]);
        let told: Option<()> = node.rpc().call("submitheader", params).await.unwrap();
        assert_eq!(told, None);
    }
}

pub(crate) async fn a_reorg_brings_transactions_back_and_leaves_a_fork_without_bodies() {
    let ([n1, n2, n3], alice) = with_alice().await;
    let bob = n2.rpc().create_wallet("bob").await.unwrap();
    let to_bob = bob.new_address().await.unwrap();
    let fork = n1.tip().await;

    // Two branches.
    n3.rpc().set_network_active(false).await.unwrap();
    assert!(!n3.rpc().network_info().await.unwrap().networkactive);
    let coins: Amount = "3.00000001".parse().unwrap();
    let payment = alice.send_to_address(&to_bob, coins).await.unwrap();
    let lost = n1.mine(2).await;
    let won = n3.mine(3).await;
    converge(&[&n1, &n2]).await;
    let seen = bob.wallet_transaction(payment).await.unwrap().unwrap();
    assert_eq!((seen.confirmations, seen.blockheight), (2, Some(104)));
    assert_eq!(seen.amount.to_string(), "3.00000001");
    assert_eq!(
        n2.rpc().tx_place(payment).await.unwrap(),
        TxPlace::OnBestChain {
            block: lost[0],
            height: 104,
            depth: 2
        }
    );
    assert_eq!(n3.rpc().tx_place(payment).await.unwrap(), TxPlace::Unknown);

    // They join: the longer one wins.
    rejoin(&n3, [&n1, &n2]).await;
    assert_eq!(converge(&[&n3, &n1, &n2]).await, won[2]);
    let seen = alice.wallet_transaction(payment).await.unwrap().unwrap();
    assert_eq!((seen.confirmations, seen.blockhash), (0, None));
    assert_eq!(n1.source.mempool().await.unwrap(), [payment]);
    assert!(n1.rpc().mempool_entry(payment).await.unwrap().is_some());
    assert_eq!(
        n1.rpc().tx_place(payment).await.unwrap(),
        TxPlace::InMempool
    );

    // The lost branch from its tip: off the best chain down to the fork.
    let end = AncestryEnd {
        until: Some(fork),
        headers_max: 50,
    };
    let back = n1.rpc().header_ancestry(lost[1], end).await.unwrap();
    let confirmations: Vec<_> = back.iter().map(|header| header.confirmations).collect();
    assert_eq!(confirmations, [-1, -1, 4]);
    assert_eq!(back[2].hash, fork);
    let to_genesis = AncestryEnd {
        until: None,
        headers_max: 1000,
    };
    let back = n1.source.ancestry(lost[1], to_genesis).await.unwrap();
    assert_eq!(back.len(), 106);

    // Who lost has its blocks, who won has at most its headers.
    let tips = n1.rpc().chain_tips().await.unwrap();
    let stale = tips.iter().find(|tip| tip.hash == lost[1]).unwrap();
    assert_eq!((stale.branchlen, &stale.status), (2, &TipStatus::ValidFork));
    assert!(matches!(
        n1.source.block(lost[1]).await.unwrap(),
        BlockAnswer::Found(_)
    ));
    tell_headers(&n3, &n1, &lost).await;
    let tips = n3.rpc().chain_tips().await.unwrap();
    let stale = tips.iter().find(|tip| tip.hash == lost[1]).unwrap();
    assert_eq!(stale.status, TipStatus::HeadersOnly);
    let header = n3.source.header(lost[1]).await.unwrap().unwrap();
    assert_eq!(header.parent, Some(lost[0]));
    assert_eq!(
        n3.source.block(lost[1]).await.unwrap(),
        BlockAnswer::BodyUnavailable(header)
    );

    // The payment is included anew.
    let mined = n1.mine(1).await;
    assert_eq!(
        n1.rpc().tx_place(payment).await.unwrap(),
        TxPlace::OnBestChain {
            block: mined[0],
            height: 107,
            depth: 1
        }
    );
}

pub(crate) async fn a_double_spend_leaves_an_index_that_names_a_stale_block() {
    let ([n1, n2, n3], alice) = with_alice().await;
    let coin = alice.list_unspent(1).await.unwrap().swap_remove(0);
    let (mine, paid) = (alice.new_address().await.unwrap(), Amount::from_units(1));
    let bob = n2.rpc().create_wallet("bob").await.unwrap();
    let to_bob = bob.new_address().await.unwrap();
    let most = Amount::from_units(coin.amount.units() - 100_000);
    let input = [(coin.txid, coin.vout)];
    let signed_a = alice
        .sign_payment(&input, &[(&to_bob, most)])
        .await
        .unwrap();
    let signed_b = alice.sign_payment(&input, &[(&mine, most)]).await.unwrap();
    assert!(signed_a.complete && signed_b.complete && paid < most);

    n3.rpc().set_network_active(false).await.unwrap();
    let a = n1.rpc().send_raw_transaction(&signed_a.hex).await.unwrap();
    let again = n1.rpc().send_raw_transaction(&signed_a.hex).await.unwrap();
    assert_eq!(again, a, "handed in twice while it waits");
    let conflict = n1.rpc().send_raw_transaction(&signed_b.hex).await;
    assert!(matches!(
        conflict.unwrap_err().kind,
        SourceErrorKind::Node { code: code::VERIFY_REJECTED, message } if message == "txn-mempool-conflict"
    ));
    let with_a = n1.mine(1).await[0];
    let b = n3.rpc().send_raw_transaction(&signed_b.hex).await.unwrap();
    let won = n3.mine(3).await;
    rejoin(&n3, [&n1, &n2]).await;
    assert_eq!(converge(&[&n3, &n1, &n2]).await, won[2]);

    let seen = alice.wallet_transaction(a).await.unwrap().unwrap();
    assert_eq!((seen.confirmations, seen.walletconflicts), (-3, vec![b]));
    assert_eq!(n1.rpc().mempool_entry(a).await.unwrap(), None);
    // The index goes on naming the block; the ancestry of the tip does not.
    let listed = n1.rpc().raw_transaction(a).await.unwrap().unwrap();
    assert_eq!(listed.blockhash, Some(with_a));
    assert_eq!(
        n1.rpc().tx_place(a).await.unwrap(),
        TxPlace::OffBestChain { block: with_a }
    );
    assert!(matches!(
        n1.rpc().tx_place(b).await.unwrap(),
        TxPlace::OnBestChain { depth: 3, .. }
    ));
    let judged = n1.rpc().test_mempool_accept(&signed_a.hex).await.unwrap();
    assert!(!judged.allowed && judged.reject_reason.is_some());
    let refused = n1.rpc().send_raw_transaction(&signed_a.hex).await;
    assert!(matches!(
        refused.unwrap_err().kind,
        SourceErrorKind::Node {
            code: code::VERIFY,
            ..
        }
    ));
}

pub(crate) async fn an_invalidated_block_is_left_and_taken_again() {
    let [n1, n2, _n3] = three().await;
    let mined = n1.mine(4).await;
    converge(&[&n1, &n2]).await;

    n1.rpc().invalidate_block(mined[2]).await.unwrap();
    assert_eq!(n1.tip().await, mined[1]);
    assert_eq!(n2.tip().await, mined[3]);
    let tips = n1.rpc().chain_tips().await.unwrap();
    let bad = tips.iter().find(|tip| tip.hash == mined[3]).unwrap();
    assert_eq!((bad.branchlen, &bad.status), (2, &TipStatus::Invalid));
    assert!(!n1.rpc().is_synced_to(mined[3]).await.unwrap());

    n1.rpc().reconsider_block(mined[2]).await.unwrap();
    eventually("the block is taken again", async || {
        (n1.tip().await == mined[3]).then_some(())
    })
    .await;
    assert!(n1.rpc().is_synced_to(mined[3]).await.unwrap());
}
