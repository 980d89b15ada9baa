//! Secrets on real processes: a cluster that wants a token is brought up and used, and what is kept of it has no token in it.

use std::path::Path;

use openraft_kv::{KvClient, KvError, OpenRaftKv};
use tests::site::{Site, node};
use trellis_runtime::{Cluster, Journal};

const TOKEN: &str = "correct-horse-battery";

/// Files below `folder`, with what is in them.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            found.push((path.display().to_string(), text));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_managed_cluster_with_a_token_comes_up_and_leaves_no_trace_of_it() {
    let site = Site::new("secrets");
    let app =
        OpenRaftKv::new(env!("CARGO_BIN_EXE_openraft-kv-node")).with_token(TOKEN.parse().unwrap());
    let nodes = ["A", "B", "C"].map(|name| node(name, &[])).into();
    let cluster = Cluster::boot(site.request(app.clone(), nodes), Journal::default())
        .await
        .expect("the cluster comes up");

    assert_eq!(cluster.running().len(), 3);
    for node in cluster.running() {
        assert_eq!(node.network.auth.as_deref(), Some("bearer"), "{node}");
        app.client(&node).unwrap().state().await.unwrap();
        let stranger = KvClient::new(node.endpoint("http").unwrap().url());
        let refused = stranger.state().await.unwrap_err();
        assert!(matches!(refused, KvError::Unauthorised { .. }), "{refused}");
        assert!(!format!("{node:?}").contains(TOKEN));
    }

    let kept = tempfile::tempdir().unwrap();
    cluster.collect(kept.path()).await;
    let kept = files(kept.path());
    assert!(
        kept.iter()
            .any(|(_, text)| text.contains("token_file: token"))
    );
    for (file, text) in kept {
        assert!(!text.contains(TOKEN), "{file} has the token in it");
    }
    cluster.release().await.unwrap();
    site.assert_clean();
}
