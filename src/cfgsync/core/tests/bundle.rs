//! Bundles: what is read from YAML, what is refused and where, and what a source of one serves.

use std::{fs, sync::Arc};

use cfgsync_artifacts::{ArtifactFile, ArtifactSet, FileMode};
use cfgsync_core::{
    BundleConfigSource, BundleError, BundleNode, ConfigResolution, NodeArtifactsBundle,
    NodeArtifactsPayload, NodeConfigSource, NodeRegistration, RegisterError, StaticConfigSource,
};
use proptest::prelude::*;

const BUNDLE: &str = "\
nodes:
  - identifier: node-1
    files:
      - path: node.yaml
        content: |
          id: 1
  - identifier: node-2
    files:
      - {path: node.yaml, content: 'id: 2', mode: '0600'}
shared_files:
  - {path: genesis.bin, content: '/w==', encoding: base64}
";

fn node(identifier: &str) -> NodeRegistration {
    NodeRegistration::new(identifier, "::1".parse().unwrap())
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = NodeArtifactsBundle::from_yaml(text).expect_err("the bundle is refused");
    let error = error.to_string();
    assert!(error.contains(expected), "{expected:?} is not in {error:?}");
}

#[test]
fn a_bundle_gives_each_node_its_own_files_and_the_shared_ones() {
    let bundle = NodeArtifactsBundle::from_yaml(BUNDLE).unwrap();
    let shared = ArtifactFile::new("genesis.bin", vec![0xff]);
    let own = ArtifactFile::new("node.yaml", "id: 2").with_mode(FileMode::PRIVATE);
    let files = bundle.nodes()[1].files_with(bundle.shared_files()).unwrap();
    assert_eq!(files, ArtifactSet::new([own, shared]).unwrap());
}

#[test]
fn what_is_no_bundle_is_refused_with_its_place_and_what_was_expected() {
    refused("nodes:\n  - {files: []}\n", "missing field `identifier`");
    refused("nodes:\n  - {files: []}\n", "line 2, column");
    refused("nodes: [{identifier: a, fils: []}]", "`fils`");
    refused("nodes: 3", "line 1, column 8");
    refused("nodes: [{identifier: a, files: [{path: b}]}]", "`content`");
    refused("", "nodes");
    refused("nodes: [", "line 1");
}

#[test]
fn a_node_listed_twice_is_refused_where_it_is_listed_again() {
    refused(
        "nodes:\n  - identifier: a\n  - identifier: b\n  - identifier: a\n",
        "line 4, column 17 of the bundle names the node \"a\" a second time",
    );
}

#[test]
fn two_files_for_one_path_are_refused_unless_they_are_the_same() {
    let text = |own: &str| {
        format!(
            "nodes:\n  - identifier: a\n    files: [{{path: x, content: {own}}}]\n\
             shared_files: [{{path: x, content: shared}}]\n"
        )
    };
    refused(
        &text("own"),
        "line 2, column 17 of the bundle gives the node \"a\" a file of its own at \"x\"",
    );
    NodeArtifactsBundle::from_yaml(&text("shared")).unwrap();
    refused(
        "nodes: []\nshared_files: [{path: x, content: a}, {path: x, content: a}]\n",
        "two artifacts have the path \"x\"",
    );
}

#[test]
fn errors_of_a_file_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.yaml");
    let missing = NodeArtifactsBundle::from_file(&path).unwrap_err();
    assert!(matches!(missing, BundleError::Unreadable { .. }));
    assert!(missing.to_string().contains("bundle.yaml"), "{missing}");
    fs::write(&path, "nodes:\n  - identifier: [1]\n").unwrap();
    let malformed = NodeArtifactsBundle::from_file(&path).unwrap_err();
    let place = format!("{}:2:", path.display());
    assert!(malformed.to_string().starts_with(&place), "{malformed}");
    fs::write(&path, BUNDLE).unwrap();
    NodeArtifactsBundle::from_file(&path).unwrap();
}

#[test]
fn a_bundle_of_ten_thousand_nodes_is_read() {
    let files = (0..5).map(|index| ArtifactFile::new(format!("file-{index}"), "a: 1\n"));
    let files = ArtifactSet::new(files).unwrap();
    let nodes = (0..10_000).map(|index| BundleNode {
        identifier: format!("node-{index}"),
        files: files.clone(),
    });
    let bundle = NodeArtifactsBundle::new(nodes, ArtifactSet::default()).unwrap();
    let text = serde_saphyr::to_string(&bundle).unwrap();
    assert_eq!(NodeArtifactsBundle::from_yaml(&text).unwrap(), bundle);
}

#[tokio::test]
async fn a_bundle_is_served_to_its_nodes_whether_they_registered_or_not() {
    let bundle = NodeArtifactsBundle::from_yaml(BUNDLE).unwrap();
    let source = BundleConfigSource::new(&bundle);
    let ready = source.resolve(&node("node-1")).await.unwrap();
    let ConfigResolution::Ready(payload) = ready else {
        panic!("node-1 is served: {ready:?}");
    };
    assert_eq!(payload.files.len(), 2);
    source.register(node("node-1")).await.unwrap();
    let again = source.resolve(&node("node-1")).await.unwrap();
    assert_eq!(again, ConfigResolution::Ready(payload));

    let overview = source.overview();
    assert_eq!((overview.expected, overview.ready), (Some(2), true));
    assert_eq!(overview.registered[0].identifier, "node-1");
    assert_eq!(overview.missing, ["node-2"]);
    assert!(overview.waiting_since.is_some());
}

#[tokio::test]
async fn an_unknown_node_is_told_a_bounded_number_of_known_ones() {
    let payload = NodeArtifactsPayload::new(ArtifactSet::default());
    let names = (10..10_000).map(|index| format!("node-{index}"));
    let source = StaticConfigSource::uniform(names, payload);
    let unknown = source.register(node("stranger")).await.unwrap_err();
    assert!(matches!(unknown, RegisterError::Unknown { .. }));
    let missing = source.resolve(&node("stranger")).await.unwrap();
    assert_eq!(missing, ConfigResolution::Missing(unknown.to_string()));
    let told = unknown.to_string();
    assert!(told.ends_with("node-1007 and 9980 more"), "{told}");
}

#[tokio::test]
async fn a_uniform_payload_is_held_once() {
    let payload = NodeArtifactsPayload::new(ArtifactSet::default());
    let source = StaticConfigSource::uniform(["a", "b"], payload);
    let of = async |name| match source.resolve(&node(name)).await {
        Ok(ConfigResolution::Ready(payload)) => payload,
        other => panic!("{name} is served: {other:?}"),
    };
    assert!(Arc::ptr_eq(&of("a").await, &of("b").await));
}

proptest! {
    /// What fuzzing starts from: any bytes are read or refused, and what was read is read again from what is written.
    #[test]
    fn any_text_is_a_bundle_or_refused(text in ".{0,200}") {
        let _ = NodeArtifactsBundle::from_yaml(&text);
    }

    #[test]
    fn a_bundle_is_read_as_it_was_written(
        contents in prop::collection::vec((".*", prop::collection::vec(any::<u8>(), 0..50)), 0..5),
    ) {
        let nodes = contents.into_iter().enumerate().map(|(index, (text, bytes))| BundleNode {
            identifier: format!("{text}{index}"),
            files: ArtifactSet::new([
                ArtifactFile::new("text", text),
                ArtifactFile::new("bytes", bytes),
            ])
            .unwrap(),
        });
        let shared = ArtifactSet::new([ArtifactFile::new("shared", "x")]).unwrap();
        let bundle = NodeArtifactsBundle::new(nodes, shared).unwrap();
        let yaml = serde_saphyr::to_string(&bundle).unwrap();
        prop_assert_eq!(NodeArtifactsBundle::from_yaml(&yaml).unwrap(), bundle);
    }
}
