//! Network calls: with whom a node talks, and what waits in its mempool.

use serde_json::json;

use super::{
    chain_calls::unless,
    client::BitcoinRpc,
    reply::code,
    shapes::{NetworkInfo, PeerInfo, TxHash},
    wallet_shapes::{Acceptance, MempoolEntry},
};
use crate::{error::SourceError, id::TxId};

impl BitcoinRpc {
    /// What runs there.
    pub async fn network_info(&self) -> Result<NetworkInfo, SourceError> {
        self.call("getnetworkinfo", json!([])).await
    }

    /// With whom it is connected.
    pub async fn peer_info(&self) -> Result<Vec<PeerInfo>, SourceError> {
        self.call("getpeerinfo", json!([])).await
    }

    /// Connects once to the peer at `address`, a host and a port. Whether that worked is seen from
    /// [`peer_info`](Self::peer_info).
    pub async fn connect_once(&self, address: &str) -> Result<(), SourceError> {
        self.call("addnode", json!([address, "onetry"])).await
    }

    /// Connects to the peer at `address` now, and again each time that the connection ends.
    pub async fn keep_connected(&self, address: &str) -> Result<(), SourceError> {
        self.call("addnode", json!([address, "add"])).await
    }

    /// No longer connects again to the peer at `address`. A connection that there is stays.
    pub async fn forget_peer(&self, address: &str) -> Result<(), SourceError> {
        self.call("addnode", json!([address, "remove"])).await
    }

    /// Ends the connection with a peer, named as [`peer_info`](Self::peer_info) does. One that is
    /// kept connected comes back.
    pub async fn disconnect(&self, address: &str) -> Result<(), SourceError> {
        self.call("disconnectnode", json!([address])).await
    }

    /// Talks to peers, or to none at all: the split that lasts.
    pub async fn set_network_active(&self, active: bool) -> Result<(), SourceError> {
        let _now: bool = self.call("setnetworkactive", json!([active])).await?;
        Ok(())
    }

    /// The transactions that wait.
    pub async fn raw_mempool(&self) -> Result<Vec<TxId>, SourceError> {
        let ids = self.call::<Vec<TxHash>>("getrawmempool", json!([])).await?;
        Ok(ids.into_iter().map(|TxHash(id)| id).collect())
    }

    /// A transaction that waits, `None` when it does not.
    pub async fn mempool_entry(&self, id: TxId) -> Result<Option<MempoolEntry>, SourceError> {
        let found = self.call("getmempoolentry", json!([id.to_string()]));
        unless(code::NOT_FOUND, found.await)
    }

    /// Hands in a transaction in hexadecimal digits. Doing so again while it waits is no error.
    pub async fn send_raw_transaction(&self, hex: &str) -> Result<TxId, SourceError> {
        let sent = self.call("sendrawtransaction", json!([hex]));
        sent.await.map(|TxHash(id)| id)
    }

    /// Whether the mempool would take a transaction.
    pub async fn test_mempool_accept(&self, hex: &str) -> Result<Acceptance, SourceError> {
        let method = "testmempoolaccept";
        let [answer] = self.call::<[Acceptance; 1]>(method, json!([[hex]])).await?;
        Ok(answer)
    }

    /// Tells the node to end. It answers before it does.
    pub async fn stop(&self) -> Result<(), SourceError> {
        let _words: String = self.call("stop", json!([])).await?;
        Ok(())
    }
}
