//! Wallets: those of nodes, and what blocks tell of anybody's.

use std::collections::BTreeMap;

use serde_json::json;
use trellis_chain::{
    BlockAnswer, ChainSource as _, OutputId, Owner, SignedTransaction, SourceErrorKind,
    bitcoin::{Amount, TxPlace, code},
};

use crate::network::{Node, converge, eventually, three};

fn coins(text: &str) -> Amount {
    text.parse().expect("it is an amount")
}

pub(crate) async fn coinbases_mature_and_halve() {
    let mut node = Node::start("N1").await;
    let alice = node.rpc().create_wallet("alice").await.unwrap();
    let address = alice.new_address().await.unwrap();
    node.rpc().generate_to_address(100, &address).await.unwrap();
    let young = alice.balances().await.unwrap().mine;
    assert_eq!((young.trusted, young.immature), (coins("0"), coins("5000")));
    let refused = alice.send_to_address(&address, coins("1")).await;
    assert!(matches!(
        refused.unwrap_err().kind,
        SourceErrorKind::Node { code: -6, .. }
    ));

    let mined = node.rpc().generate_to_address(51, &address).await.unwrap();
    let older = alice.balances().await.unwrap().mine;
    // 51 of 50 coins are mature; block 150 and what follows brings half as much.
    assert_eq!(
        (older.trusted, older.immature),
        (coins("2550"), coins("4950"))
    );
    let subsidy = async |index: usize| match node.source.block(mined[index]).await.unwrap() {
        BlockAnswer::Found(block) => block.transactions[0].outputs[0].value,
        other => panic!("{other:?}"),
    };
    assert_eq!(subsidy(48).await, coins("50").units());
    assert_eq!(subsidy(49).await, coins("25").units());

    // A wallet is there again after a restart once it is loaded.
    node.process.stop().unwrap();
    node.process.start_again().unwrap();
    node.ready().await;
    let alice = node.rpc().wallet("alice");
    let unloaded = alice.balances().await.unwrap_err();
    assert!(matches!(
        unloaded.kind,
        SourceErrorKind::Node {
            code: code::WALLET_NOT_FOUND,
            ..
        }
    ));
    let alice = node.rpc().open_wallet("alice").await.unwrap();
    assert_eq!(alice.balances().await.unwrap().mine, older);
    assert_eq!(node.rpc().wallets().await.unwrap(), ["alice"]);
}

pub(crate) async fn payments_wait_and_are_included() {
    let [n1, n2, n3] = three().await;
    let alice = n1.rpc().create_wallet("alice").await.unwrap();
    let bob = n3.rpc().create_wallet("bob").await.unwrap();
    let (to_alice, to_bob) = (
        alice.new_address().await.unwrap(),
        bob.new_address().await.unwrap(),
    );
    let mined = n1.rpc().generate_to_address(101, &to_alice).await;
    mined.unwrap();
    converge(&[&n1, &n2, &n3]).await;

    let payment = alice.send_to_address(&to_bob, coins("0.1")).await.unwrap();
    let entry = n1.rpc().mempool_entry(payment).await.unwrap().unwrap();
    assert!(entry.fees.base > coins("0") && entry.height == 101);
    eventually("the payment is at the third node", async || {
        let waiting = n3.source.mempool().await.unwrap();
        waiting.contains(&payment).then_some(())
    })
    .await;
    let pending = bob.balances().await.unwrap().mine;
    assert_eq!(pending.untrusted_pending, coins("0.1"));
    let waiting = bob.list_unspent(0).await.unwrap().swap_remove(0);
    assert_eq!((waiting.amount, waiting.safe), (coins("0.1"), false));
    assert!(bob.list_unspent(1).await.unwrap().is_empty());

    let block = n1.mine(1).await[0];
    converge(&[&n1, &n2, &n3]).await;
    assert_eq!(bob.balances().await.unwrap().mine.trusted, coins("0.1"));
    assert_eq!(
        n3.rpc().tx_place(payment).await.unwrap(),
        TxPlace::OnBestChain {
            block,
            height: 102,
            depth: 1
        }
    );
    assert_eq!(n3.source.mempool().await.unwrap(), []);

    // The same transaction by its bytes, in either form, once it is on the chain.
    let hex = alice
        .wallet_transaction(payment)
        .await
        .unwrap()
        .unwrap()
        .hex;
    let bytes = hex.as_bytes().chunks(2);
    let bytes = bytes.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16));
    let bytes: Vec<u8> = bytes.collect::<Result<_, _>>().unwrap();
    let forms = [
        SignedTransaction::Bytes(bytes.into()),
        SignedTransaction::Json(json!(hex).to_string().into()),
    ];
    for form in forms {
        let known = n1.source.submit(&form).await.unwrap_err();
        assert!(matches!(
            known.kind,
            SourceErrorKind::Node {
                code: code::ALREADY_IN_CHAIN,
                ..
            }
        ));
    }
    let nonsense = SignedTransaction::Bytes([0].into());
    let nonsense = n1.source.submit(&nonsense).await.unwrap_err();
    assert!(matches!(
        nonsense.kind,
        SourceErrorKind::Node {
            code: code::DESERIALISATION,
            ..
        }
    ));
}

pub(crate) async fn what_an_owner_has_is_the_same_by_blocks_and_by_scan() {
    let node = Node::start("N1").await;
    let alice = node.rpc().create_wallet("alice").await.unwrap();
    let address = alice.new_address().await.unwrap();
    node.rpc().generate_to_address(103, &address).await.unwrap();
    for part in ["3.00000001", "0.29999999", "0.7"] {
        let other = alice.new_address().await.unwrap();
        alice.send_to_address(&other, coins(part)).await.unwrap();
        alice.send_to_address(&address, coins(part)).await.unwrap();
    }
    node.mine(1).await;

    let owner = Owner::from(address);
    let mut held: BTreeMap<OutputId, u64> = BTreeMap::new();
    for block in node.source.range(0, 104).await.unwrap() {
        for transaction in block.transactions {
            for input in &transaction.inputs {
                held.remove(input);
            }
            let outputs = transaction.outputs.into_iter();
            let own = outputs.filter(|output| output.owner == owner);
            held.extend(own.map(|output| (output.id.unwrap(), output.value)));
        }
    }
    let tip = node.tip().await;
    let funds = node.source.funds(&owner, Some(tip)).await.unwrap().unwrap();
    assert_eq!(funds.at, tip);
    assert_eq!(funds.balance, held.values().sum::<u64>());
    assert!(funds.balance > coins("4900").units());
    let scanned: BTreeMap<_, _> = funds.outputs.unwrap().into_iter().collect();
    assert_eq!(scanned, held);

    let before = node.rpc().block_hash(50).await.unwrap();
    assert_eq!(node.source.funds(&owner, before).await.unwrap(), None);
    // Who is a script and no address is found as well: the output of the genesis block is none
    // that could be spent.
    let genesis = node.source.range(0, 0).await.unwrap().swap_remove(0);
    let nobody = &genesis.transactions[0].outputs[0].owner;
    let funds = node.source.funds(nobody, None).await.unwrap().unwrap();
    assert_eq!((funds.balance, funds.outputs), (0, Some(Vec::new())));
}
