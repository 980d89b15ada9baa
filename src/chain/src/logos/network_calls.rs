//! Network calls: who a node is, with whom it is connected, what time it has.

use serde::Deserialize;
use serde_json::json;

use super::client::LogosHttp;
use crate::{error::SourceError, http::HttpRequest};

/// `GET /network/info`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct NetworkInfo {
    /// Where other nodes reach it, as multiaddresses.
    pub listen_addresses: Vec<String>,
    /// Who it is among its peers. Nodes of 2025 do not tell.
    #[serde(default)]
    pub peer_id: Option<String>,
    /// With how many it is connected.
    pub n_peers: usize,
    /// Connections, of which there may be several to one peer.
    pub n_connections: usize,
    /// Connections that are being made.
    pub n_pending_connections: usize,
    /// With whom it is connected (0.2.1 and newer).
    #[serde(default)]
    pub connected_peers: Option<Vec<String>>,
    /// Whom it knows of (0.2.1 and newer).
    #[serde(default)]
    pub discovered_peers: Option<Vec<String>>,
}

/// `GET /time/info` (0.2.1 and newer).
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub struct TimeInfo {
    /// The length of a slot.
    pub slot_duration_ms: u64,
    /// When slot 0 begins, since the Unix epoch.
    pub genesis_time_unix_ms: u64,
    /// The slot of the clock.
    pub current_slot: u64,
    /// The epoch of the clock.
    pub current_epoch: u64,
    /// Slots of an epoch, where it is told.
    #[serde(default)]
    pub slots_per_epoch: Option<u64>,
}

/// `GET /version` (0.2.1 and newer).
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Version {
    /// As in `0.3.0`.
    pub version: String,
    /// The commit it was built from, where that is known.
    #[serde(default)]
    pub commit: Option<String>,
    /// The tag it was built from.
    #[serde(default)]
    pub tag: Option<String>,
    /// The machine that it was built for.
    #[serde(default)]
    pub target: Option<String>,
    /// `debug` or `release`.
    #[serde(default)]
    pub profile: Option<String>,
}

impl LogosHttp {
    /// `GET /network/info`.
    pub async fn network_info(&self) -> Result<NetworkInfo, SourceError> {
        self.call(&HttpRequest::get("/network/info")).await
    }

    /// `POST /network/dial_peer`: connects to the peer at this multiaddress. Answers who it is.
    pub async fn dial(&self, address: &str) -> Result<String, SourceError> {
        let body = json!({"addr": address}).to_string();
        self.call(&HttpRequest::post("/network/dial_peer", body))
            .await
    }

    /// `GET /version`; `None` on nodes that do not tell.
    pub async fn version(&self) -> Result<Option<Version>, SourceError> {
        self.call_if_there(&HttpRequest::get("/version")).await
    }

    /// `GET /chain/id`; `None` on nodes that do not tell.
    pub async fn chain_id(&self) -> Result<Option<String>, SourceError> {
        #[derive(Deserialize)]
        struct ChainId {
            chain_id: String,
        }
        let told: Option<ChainId> = self.call_if_there(&HttpRequest::get("/chain/id")).await?;
        Ok(told.map(|told| told.chain_id))
    }

    /// `GET /time/info`; `None` on nodes that do not tell.
    pub async fn time_info(&self) -> Result<Option<TimeInfo>, SourceError> {
        self.call_if_there(&HttpRequest::get("/time/info")).await
    }
}
