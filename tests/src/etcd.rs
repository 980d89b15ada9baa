//! etcd as an application: all that Trellis must be told of a system that knows nothing of Trellis.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Value, json};
use trellis::{
    AppName, Application, ArtifactFile, Capability, CapabilitySet, DynError, NetworkIdentity,
    NodeCommand, NodeHandle, NodePlan, PeerId, PeerPlan, PortSpec, Probe, SelfDescription,
    Transport,
};

/// The etcd application.
#[derive(Clone)]
pub struct Etcd {
    /// What features call it.
    pub name: AppName,
    /// What its nodes are asked through.
    pub http: reqwest::Client,
}

/// Where `node` answers to `path`.
pub(crate) fn url(node: &NodeHandle, path: &str) -> Result<String, DynError> {
    let endpoint = node.endpoint("http").ok_or("it has no HTTP endpoint")?;
    Ok(endpoint.url().join(path)?.to_string())
}

#[async_trait]
impl Application for Etcd {
    fn name(&self) -> &AppName {
        &self.name
    }

    fn capabilities(&self) -> CapabilitySet {
        Capability::ALL.into_iter().collect()
    }

    fn ports(&self) -> Vec<PortSpec> {
        let port = |name: &str| PortSpec {
            endpoint: name.parse().expect("the name is a valid one"),
            scheme: "http",
            transport: Transport::Tcp,
        };
        vec![port("http"), port("peer")]
    }

    fn command(&self, node: &NodePlan) -> NodeCommand {
        let config = node.config_dir.join("etcd.json");
        NodeCommand {
            program: "etcd".into(),
            args: vec![format!("--config-file={}", config.display())],
            env: BTreeMap::new(),
        }
    }

    fn artifacts(&self, me: &NodePlan, peers: &[PeerPlan]) -> Result<Vec<ArtifactFile>, DynError> {
        let client = me.address("http").ok_or("it has no HTTP port")?.url();
        let peer = me.address("peer").ok_or("it has no peer port")?.url();
        let member = |it: PeerPlan| Some(format!("{}={}", it.name, it.address("peer")?.url()));
        let members = peers.iter().cloned().chain([me.as_peer()]);
        let members: Vec<_> = members.filter_map(member).collect();
        let config = json!({
            "name": me.name.as_str(), "data-dir": me.data_dir,
            "listen-client-urls": client, "advertise-client-urls": client,
            "listen-peer-urls": peer, "initial-advertise-peer-urls": peer,
            "initial-cluster": members.join(","), "initial-cluster-token": me.network,
            // A file that does not name the gateway turns it off; the rest is for features to override.
            "enable-grpc-gateway": true, "heartbeat-interval": 100, "election-timeout": 1000,
        });
        Ok(vec![ArtifactFile::new("etcd.json", config.to_string())])
    }

    fn config_artifact(&self) -> Option<&str> {
        Some("etcd.json")
    }

    async fn probe(&self, node: &NodeHandle) -> Result<Probe, DynError> {
        let answer = self.http.get(url(node, "health")?).send().await?;
        if answer.status().is_success() {
            return Ok(Probe::Ready);
        }
        Ok(Probe::NotYet(answer.text().await?))
    }

    async fn identify(&self, node: &NodeHandle) -> Result<SelfDescription, DynError> {
        let question = self.http.post(url(node, "v3/maintenance/status")?);
        let status: Value = question.json(&json!({})).send().await?.json().await?;
        let text = |path| status.pointer(path).and_then(Value::as_str);
        let cluster = text("/header/cluster_id").ok_or("it does not name its cluster")?;
        let member = text("/header/member_id").ok_or("it does not say which member it is")?;
        let network = NetworkIdentity {
            network: Some(cluster.to_owned()),
            protocol: text("/version").map(|version| format!("etcd-{version}")),
            ..NetworkIdentity::default()
        };
        let peer_id = Some(PeerId::new(format!("{cluster}/{member}")));
        Ok(SelfDescription { peer_id, network })
    }
}
