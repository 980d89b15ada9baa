//! Peers: who is connected with whom, and who has what the others have.

use serde_json::{Value, json};
use trellis_chain::{ChainSource as _, bitcoin::PeerInfo};

use crate::network::{Node, eventually, three};

pub(crate) async fn being_synced_is_not_what_a_node_says_of_itself() {
    let [n1, _n2, _n3] = three().await;
    n1.mine(30).await;
    let tip = n1.tip().await;
    let late = Node::start("LATE").await;

    // It has nothing, and says that it has everything.
    let says: Value = late
        .rpc()
        .call("getblockchaininfo", json!([]))
        .await
        .unwrap();
    assert_eq!(says["verificationprogress"], json!(1));
    let info = late.rpc().blockchain_info().await.unwrap();
    assert_eq!((info.blocks, info.headers), (0, 0));
    assert!(info.has_all_bodies());
    assert!(!late.rpc().is_synced_to(tip).await.unwrap());

    late.connect(&n1).await;
    eventually("the late node is synced", async || {
        let synced = late.rpc().is_synced_to(tip).await.unwrap();
        synced.then_some(())
    })
    .await;
    assert_eq!(late.tip().await, tip);
    // A node that is ahead of the reference is synced to it.
    let more = n1.mine(2).await;
    eventually("the late node follows", async || {
        (late.tip().await == more[1]).then_some(())
    })
    .await;
    assert!(late.rpc().is_synced_to(tip).await.unwrap());
}

pub(crate) async fn a_split_lasts_only_when_the_network_is_off_or_the_peer_forgotten() {
    let (n1, n2) = tokio::join!(Node::start("N1"), Node::start("N2"));
    let address = n1.process.peer_address();
    n2.rpc().keep_connected(&address).await.unwrap();
    let first = connection(&n2, &address).await;
    assert!(!first.inbound);
    // At the other end it is who it is for that connection only.
    let inbound = n1.rpc().peer_info().await.unwrap().swap_remove(0);
    assert!(inbound.inbound);
    assert_ne!(inbound.addr, n2.process.peer_address());
    // Only those who come in are whitelisted, and so only they are told of transactions at once.
    assert!(permissions(&n1).await.contains(&json!("noban")));
    assert_eq!(permissions(&n2).await, Vec::<Value>::new());

    // A peer that is kept connected is tried again, up to a minute after it was disconnected.
    n2.rpc().disconnect(&address).await.unwrap();
    assert_eq!(kept(&n2).await, [json!(address)]);

    // With the network off there are no peers, and kept ones are not tried.
    n2.rpc().set_network_active(false).await.unwrap();
    eventually("all peers are gone", async || {
        let count = n2.source.peers().await.unwrap().count;
        (count == 0).then_some(())
    })
    .await;
    assert!(!n2.rpc().network_info().await.unwrap().networkactive);

    // A peer that is forgotten is not tried either.
    n2.rpc().forget_peer(&address).await.unwrap();
    n2.rpc().set_network_active(true).await.unwrap();
    assert_eq!(kept(&n2).await, Vec::<Value>::new());
    // Once is enough to join again.
    n2.connect(&n1).await;
    let again = connection(&n2, &address).await;
    assert_eq!(n2.source.peers().await.unwrap().ids, [again.addr]);
}

/// The peers that `node` tries again and again.
async fn kept(node: &Node) -> Vec<Value> {
    let kept: Vec<Value> = node
        .rpc()
        .call("getaddednodeinfo", json!([]))
        .await
        .unwrap();
    kept.into_iter()
        .map(|peer| peer["addednode"].clone())
        .collect()
}

/// The connection of `node` with `address`.
async fn connection(node: &Node, address: &str) -> PeerInfo {
    eventually("the nodes are connected", async || {
        let peers = node.rpc().peer_info().await.unwrap();
        let mut peers = peers.into_iter();
        // A peer without a version has not said yet who it is.
        peers.find(|peer| peer.addr == address && !peer.subver.is_empty())
    })
    .await
}

async fn permissions(node: &Node) -> Vec<Value> {
    let peers: Value = node.rpc().call("getpeerinfo", json!([])).await.unwrap();
    let permissions = peers[0]["permissions"].as_array();
    permissions.cloned().expect("the node tells them")
}
