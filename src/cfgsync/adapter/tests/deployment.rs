//! A deployment adapter: typed metadata in, the files of each node and the shared ones out.

use std::net::{IpAddr, Ipv4Addr};

use cfgsync_adapter::{
    CachedSnapshotMaterializer, DeploymentAdapter, DeploymentMaterializer, DynCfgsyncError,
    Expected, SnapshotConfigSource, TypedRegistration,
};
use cfgsync_artifacts::ArtifactFile;
use cfgsync_core::{ConfigResolution, NodeConfigSource, NodeRegistration, RegisterError};

fn node(name: &str, last: u8) -> NodeRegistration {
    NodeRegistration::new(name, IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)))
}

struct Ports;

impl DeploymentAdapter for Ports {
    type Metadata = u16;

    fn expected(&self) -> Expected {
        Expected::nodes(["a", "b"])
    }

    fn artifacts(
        &self,
        node: &TypedRegistration<u16>,
        all: &[TypedRegistration<u16>],
    ) -> Result<Vec<ArtifactFile>, DynCfgsyncError> {
        let others = all
            .iter()
            .filter(|other| other.identifier != node.identifier);
        let others: Vec<String> = others
            .map(|other| format!("{}:{}", other.ip, other.metadata))
            .collect();
        Ok(vec![ArtifactFile::new("others", others.join(","))])
    }

    fn shared(&self, all: &[TypedRegistration<u16>]) -> Result<Vec<ArtifactFile>, DynCfgsyncError> {
        Ok(vec![ArtifactFile::new("size", all.len().to_string())])
    }
}

#[tokio::test]
async fn an_adapter_gets_typed_metadata_and_a_wrong_one_is_told_with_its_node() {
    let materializer = CachedSnapshotMaterializer::new(DeploymentMaterializer::new(Ports));
    let source = SnapshotConfigSource::new(materializer);
    let with_port = |name, last, port: u16| node(name, last).with_metadata(&port).unwrap();
    source.register(with_port("a", 1, 80)).await.unwrap();
    let ConfigResolution::NotReady(awaited) = source.resolve(&node("a", 1)).await.unwrap() else {
        panic!("b is missing");
    };
    assert_eq!(awaited.missing, ["b"]);
    let wrong = node("b", 2).with_metadata(&"eighty").unwrap();
    source.register(wrong).await.unwrap();
    let error = source.resolve(&node("a", 1)).await.unwrap_err();
    let cause = error
        .source()
        .expect("the application's own words")
        .to_string();
    assert_eq!(
        cause,
        "the metadata of \"b\" is not what the application expects"
    );
    source.register(with_port("b", 2, 81)).await.unwrap();
    let ConfigResolution::Ready(payload) = source.resolve(&node("a", 1)).await.unwrap() else {
        panic!("both are there");
    };
    let others = payload
        .files
        .get("others")
        .and_then(|file| file.content.as_text());
    assert_eq!(others, Some("10.0.0.2:81"));
    assert_eq!(payload.files.len(), 2);
}

/// [`Ports`] for two nodes only, whoever else asks.
struct TwoPorts;

impl DeploymentAdapter for TwoPorts {
    type Metadata = u16;

    fn expected(&self) -> Expected {
        Ports.expected()
    }

    fn admit(&self, identifier: &str) -> Result<(), RegisterError> {
        if ["a", "b"].contains(&identifier) {
            return Ok(());
        }
        Err(RegisterError::Unknown {
            identifier: identifier.to_owned(),
            known: "a, b".to_owned(),
        })
    }

    fn artifacts(
        &self,
        node: &TypedRegistration<u16>,
        all: &[TypedRegistration<u16>],
    ) -> Result<Vec<ArtifactFile>, DynCfgsyncError> {
        Ports.artifacts(node, all)
    }
}

#[tokio::test]
async fn a_stray_registration_that_an_adapter_does_not_admit_spoils_nothing() {
    let materializer = CachedSnapshotMaterializer::new(DeploymentMaterializer::new(TwoPorts));
    let source = SnapshotConfigSource::new(materializer);
    for (name, last, port) in [("a", 1, 80_u16), ("b", 2, 81)] {
        let registration = node(name, last).with_metadata(&port).unwrap();
        source.register(registration).await.unwrap();
    }
    let refused = source.register(node("stray", 3)).await;
    assert!(
        matches!(refused, Err(RegisterError::Unknown { .. })),
        "{refused:?}"
    );
    let resolved = source.resolve(&node("a", 1)).await.unwrap();
    assert!(
        matches!(resolved, ConfigResolution::Ready(_)),
        "{resolved:?}"
    );
}
