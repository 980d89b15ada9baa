//! Who gets a cluster's files, and who does not, from a server that every user of the machine reaches.

use std::{collections::BTreeMap, path::PathBuf};

use cfgsync_core::ClientError;
use trellis_bootstrap::{
    Application, NodeCommand, NodePlan, PeerPlan, PortSpec, Probe, SelfDescription,
};
use trellis_domain::{AppName, CapabilitySet, ManagedNode, NodeHandle, NodeName};

use super::*;

/// Its nodes get a file with the names of their peers.
struct Acquainted(AppName);

#[async_trait]
impl Application for Acquainted {
    fn name(&self) -> &AppName {
        &self.0
    }

    fn capabilities(&self) -> CapabilitySet {
        CapabilitySet::default()
    }

    fn ports(&self) -> Vec<PortSpec> {
        Vec::new()
    }

    fn command(&self, _: &NodePlan) -> NodeCommand {
        unreachable!("nothing is started here")
    }

    fn artifacts(&self, _: &NodePlan, peers: &[PeerPlan]) -> Result<Vec<ArtifactFile>, DynError> {
        let names: Vec<String> = peers.iter().map(|peer| peer.name.to_string()).collect();
        Ok(vec![ArtifactFile::new("peers", names.join(","))])
    }

    fn config_artifact(&self) -> Option<&str> {
        None
    }

    async fn probe(&self, _: &NodeHandle) -> Result<Probe, DynError> {
        unreachable!("nothing is started here")
    }

    async fn identify(&self, _: &NodeHandle) -> Result<SelfDescription, DynError> {
        unreachable!("nothing is started here")
    }
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn record(node: &str) -> NodeRecord {
    NodeRecord {
        plan: NodePlan {
            name: name(node),
            index: 1,
            network: "test".to_owned(),
            founding: true,
            addresses: BTreeMap::new(),
            config_dir: PathBuf::new(),
            data_dir: PathBuf::new(),
        },
        spec: ManagedNode::new(name(node)),
    }
}

/// The channel of a cluster of A and B, and where its server is.
async fn channel() -> (CfgsyncChannel, String) {
    let app = Acquainted("acquainted".parse().unwrap());
    let rendering = Rendering::new(Arc::new(app));
    rendering.admit([name("A"), name("B")]);
    rendering.expect([name("A"), name("B")]);
    let listener = bind_loopback(0).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let channel = CfgsyncChannel::open(listener, Arc::new(rendering)).unwrap();
    (channel, url)
}

#[tokio::test]
async fn a_request_without_the_token_gets_401() {
    let (channel, url) = channel().await;
    for node in ["A", "B"] {
        channel.register(&record(node)).await.unwrap();
    }
    let unauthorised = |error: ClientError| error.to_string().contains("401");
    let node = registration(&record("A")).unwrap();
    for stranger in [
        CfgsyncClient::new(&url),
        CfgsyncClient::new(&url).with_bearer_token("guessed"),
        CfgsyncClient::new(&url).with_bearer_token(BearerToken::random()),
    ] {
        let registered = stranger.register_node(&node).await;
        assert!(registered.is_err_and(unauthorised));
        let fetched = stranger.fetch_node_config(&node).await;
        assert!(fetched.is_err_and(unauthorised));
    }
    channel.close().await;
}

#[tokio::test]
async fn a_registration_of_no_node_is_refused_and_the_others_get_their_files() {
    let (channel, _) = channel().await;
    for node in ["A", "B"] {
        channel.register(&record(node)).await.unwrap();
    }
    let stray = NodeRegistration::new("no node", IpAddr::V4(Ipv4Addr::LOCALHOST));
    let refused = channel.client.register_node(&stray).await;
    let Err(ClientError::UnknownNode { .. }) = refused else {
        panic!("{refused:?}");
    };
    let refused = channel.register(&record("C")).await.unwrap_err();
    assert!(refused.to_string().contains("A, B"), "{refused}");

    let files = channel.fetch(&record("A")).await.unwrap();
    assert_eq!(files, [ArtifactFile::new("peers", "B")]);
    channel.close().await;
}
