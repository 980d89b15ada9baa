//! Nodes of ours in a cluster of others: they join it, and its numbers stay its own.

use std::collections::BTreeSet;

use openraft_kv::{KvClient, KvError, OpenRaftKv, api::Consistency};
use tests::{
    site::{Site, node},
    sleeper::Sleeper,
};
use trellis_bootstrap::BootstrapRequest;
use trellis_domain::{NodeState, Ownership, UnknownIdentity};
use trellis_runtime::{Cluster, Journal};

use crate::{
    READY_WITHIN, failure, mixed, name, request,
    theirs::{Theirs, external},
};

/// Has `ask` done by whoever leads the cluster of `theirs`; as any client of Raft must, it looks for another leader when one has just stepped down.
async fn by_the_leader<T, F>(theirs: &Theirs, ask: impl Fn(KvClient) -> F)
where
    F: Future<Output = Result<T, KvError>>,
{
    let done = async {
        loop {
            for client in (1..=3).map(|id| theirs.client(id)) {
                if ask(client).await.is_ok() {
                    return;
                }
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(READY_WITHIN, done)
        .await
        .expect("they have a leader");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_ours_joins_the_raft_cluster_of_others_and_leaves_it_as_it_was() {
    let site = Site::new("joins");
    let mut theirs = Theirs::start(3);
    let ours = vec![node("OURS_1", &[]), node("OURS_2", &[])];
    let request = request(&site, mixed(ours, theirs.all()));
    let cluster = Cluster::boot(request, Journal::default()).await.unwrap();
    let app = OpenRaftKv::new("");
    let mut ids = BTreeSet::new();
    for joined in ["OURS_1", "OURS_2"] {
        let node = cluster.node(&name(joined)).unwrap();
        assert_eq!(
            (node.ownership, &node.state),
            (Ownership::Owned, &NodeState::Running)
        );
        assert_eq!(node.network.network.as_deref(), Some(theirs.name()));
        ids.insert(app.member(&node).await.unwrap().id);
    }
    assert!(
        ids.len() == 2 && ids.iter().all(|id| *id > 1 << 16),
        "{ids:?}"
    );

    let ours = cluster.node(&name("OURS_1")).unwrap();
    let member = &app.member(&ours).await.unwrap();
    by_the_leader(
        &theirs,
        |leader| async move { leader.add_learner(member).await },
    )
    .await;
    by_the_leader(&theirs, |leader| async move {
        leader.change_membership([1, 2, 3, member.id]).await
    })
    .await;
    by_the_leader(&theirs, |leader| async move {
        leader.put("colour", "teal").await
    })
    .await;
    let client = app.client(&ours).unwrap();
    let replicated = async {
        while client
            .get("colour", Consistency::Local)
            .await
            .unwrap()
            .as_deref()
            != Some("teal")
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(READY_WITHIN, replicated)
        .await
        .expect("our node has their data");

    by_the_leader(&theirs, |leader| async move {
        leader.change_membership([1, 2, 3]).await
    })
    .await;
    cluster.release().await.unwrap();
    theirs.assert_unnoticed();
    site.assert_clean();
}

/// Sources with one node of ours and two of others, for an application that believes that everybody is ready.
fn sleepers(site: &Site, app: &Sleeper) -> BootstrapRequest {
    let mut request = site.request(app.clone(), Vec::new());
    let theirs = vec![
        external("THEIRS_1", "http://10.0.0.1:1"),
        external("THEIRS_2", "http://10.0.0.2:1"),
    ];
    request.spec.sources = mixed(vec![node("OURS_1", &[]), node("OURS_2", &[])], theirs);
    request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_nodes_are_told_of_each_other_and_of_those_of_others_in_turns() {
    let site = Site::new("seeds");
    let request = sleepers(&site, &Sleeper::default());
    let cluster = Cluster::boot(request, Journal::default()).await.unwrap();
    let kept = tempfile::tempdir().unwrap();
    cluster.collect(kept.path()).await;
    let told = kept.path().join("OURS_1/config/sleeper.yaml");
    assert_eq!(
        std::fs::read_to_string(told).unwrap(),
        "peers: [OURS_2, THEIRS_1, THEIRS_2]\n"
    );
    assert!(!kept.path().join("THEIRS_1").exists());
    cluster.release().await.unwrap();
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_some_nodes_do_not_say_is_shown_or_refused() {
    let site = Site::new("unsaid");
    let app = Sleeper::default();
    app.on_network("THEIRS_1", "red");
    let wanted = r#"network is unknown on OURS_1, OURS_2, THEIRS_2 and "red" on THEIRS_1"#;
    let journal = Journal::default();
    let cluster = Cluster::boot(sleepers(&site, &app), journal.clone())
        .await
        .unwrap();
    let shown: Vec<String> = cluster.unknown().iter().map(ToString::to_string).collect();
    assert_eq!(shown, [wanted]);
    let written = journal.entries();
    assert!(
        written.iter().any(|entry| entry.text.ends_with(wanted)),
        "{written:?}"
    );
    cluster.release().await.unwrap();

    let mut strict = sleepers(&site, &app);
    strict.spec.unknown_identity = UnknownIdentity::Refuse;
    let (_, text) = failure(strict).await;
    assert!(text.contains(wanted), "{text}");
    site.assert_clean();
}
