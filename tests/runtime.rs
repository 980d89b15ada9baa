//! The running cluster on real processes: operations, refusals, and nodes that end by themselves.

use std::{path::Path, time::Duration};

use tests::{
    site::{Site, node},
    sleeper::Sleeper,
};
use trellis_domain::{NodeName, NodeState, Operation, Refusal};
use trellis_runtime::{Cluster, Journal, OperationError};

async fn cluster(site: &Site, app: &Sleeper, names: &[&str]) -> Cluster {
    let nodes = names.iter().map(|name| node(name, &[])).collect();
    let request = site.request(app.clone(), nodes);
    Cluster::boot(request, Journal::default())
        .await
        .expect("the cluster comes up")
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

/// Whether a file called `file` somewhere below `folder` has `text` in it.
fn holds(folder: &Path, file: &str, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, file, text);
        }
        path.ends_with(file) && std::fs::read_to_string(&path).unwrap().contains(text)
    })
}

fn state(cluster: &Cluster, node: &str) -> NodeState {
    cluster.node(&name(node)).unwrap().state.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_goes_through_all_its_states_and_keeps_its_address() {
    let site = Site::new("states");
    let cluster = cluster(&site, &Sleeper::default(), &["A", "B"]).await;
    let a = name("A");
    let before = cluster.node(&a).unwrap();

    cluster.pause(&a).await.unwrap();
    assert_eq!(state(&cluster, "A"), NodeState::Paused);
    assert_eq!(cluster.running().len(), 1);
    cluster.resume(&a).await.unwrap();
    assert_eq!(state(&cluster, "A"), NodeState::Running);
    cluster.stop(&a).await.unwrap();
    assert_eq!(state(&cluster, "A"), NodeState::Stopped);
    cluster.start(&a).await.unwrap();
    cluster.kill(&a).await.unwrap();
    let after = cluster.restart(&a).await.unwrap();

    assert_eq!(after.state, NodeState::Running);
    assert_eq!(after.incarnation, before.incarnation + 2);
    assert_eq!(after.endpoints, before.endpoints);
    assert_ne!(after.instance, before.instance);
    cluster.release().await.unwrap();
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_values_that_name_node_operation_and_need() {
    let site = Site::new("refusals");
    let cluster = cluster(&site, &Sleeper::default(), &["A"]).await;
    let a = name("A");

    let unknown = cluster.stop(&name("Z")).await.unwrap_err();
    assert_eq!(
        unknown.to_string(),
        r#"there is no node "Z"; known nodes: A"#
    );
    let resumed = cluster.resume(&a).await.unwrap_err();
    assert!(
        matches!(
            &resumed,
            OperationError::Refused(Refusal::WrongState { node, operation: Operation::Resume, .. })
                if *node == a
        ),
        "{resumed}"
    );
    let disturbed = cluster.permit(&a, Operation::DisturbNetwork).unwrap_err();
    assert!(
        disturbed
            .to_string()
            .contains("it would need the capability network fault"),
        "{disturbed}"
    );
    cluster.release().await.unwrap();
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_ends_by_itself_is_seen_as_exited_and_can_be_started_again() {
    let site = Site::new("exits");
    let cluster = cluster(&site, &Sleeper::default(), &["A"]).await;
    let a = name("A");
    for round in 1..=2 {
        let pid = cluster
            .node(&a)
            .unwrap()
            .instance
            .clone()
            .unwrap()
            .replace("pid ", "");
        let killed = std::process::Command::new("kill")
            .args(["-9", &pid])
            .status()
            .unwrap();
        assert!(killed.success());
        let mut changes = cluster.inventory().watch();
        let exited =
            changes.wait_for(|nodes| matches!(nodes.node(&a).unwrap().state, NodeState::Exited(_)));
        tokio::time::timeout(Duration::from_secs(10), exited)
            .await
            .expect("the exit is noticed")
            .unwrap();
        let started = cluster.start(&a).await.unwrap();
        assert_eq!(
            (started.incarnation, &started.state),
            (1 + round, &NodeState::Running)
        );
    }
    let journal = cluster.journal().entries();
    assert!(
        journal
            .iter()
            .any(|entry| entry.text.contains("ended by itself")),
        "{journal:?}"
    );
    cluster.release().await.unwrap();
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_and_is_told_of_the_others() {
    let site = Site::new("joins");
    let app = Sleeper::default();
    let cluster = cluster(&site, &app, &["A"]).await;
    let ready = Duration::from_secs(5);
    let joined = cluster.join(&node("B", &[]), ready).await.unwrap();
    assert_eq!(joined.state, NodeState::Running);
    let again = cluster.join(&node("B", &[]), ready).await.unwrap_err();
    assert!(again.to_string().contains("the backend"), "{again}");
    assert_eq!(cluster.running().len(), 2);
    assert_eq!(
        cluster.tasks().names(),
        ["monitor of A", "monitor of B"],
        "a second join must not watch the node twice"
    );

    app.never_ready("C");
    let error = cluster
        .join(&node("C", &[]), Duration::from_millis(300))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("C: not ready; last seen: still dreaming"),
        "{error}"
    );
    cluster.release().await.unwrap();
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_on_several_nodes_reports_every_failure() {
    let site = Site::new("several");
    let cluster = cluster(&site, &Sleeper::default(), &["A", "B", "C"]).await;
    cluster.stop(&name("A")).await.unwrap();
    cluster.stop(&name("C")).await.unwrap();
    let all = [name("A"), name("B"), name("C")];
    let error = cluster
        .on_all(
            &all,
            |cluster, node| async move { cluster.stop(&node).await },
        )
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("2 nodes failed:") && text.contains("stop A") && text.contains("stop C"),
        "{text}"
    );
    assert_eq!(state(&cluster, "B"), NodeState::Stopped);
    cluster.release().await.unwrap();
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_is_saved_and_restored_only_while_the_node_is_down() {
    let site = Site::new("data");
    let cluster = cluster(&site, &Sleeper::default(), &["A"]).await;
    let a = name("A");
    assert!(cluster.save_data(&a, "early").await.is_err());
    cluster.stop(&a).await.unwrap();
    cluster.save_data(&a, "early").await.unwrap();
    let unknown = cluster.restore_data(&a, "late", &a).await.unwrap_err();
    let reason = std::error::Error::source(&unknown)
        .map(ToString::to_string)
        .unwrap_or_default();
    assert!(
        reason.contains("late") && reason.contains("early"),
        "{unknown}: {reason}"
    );
    cluster.restore_data(&a, "early", &a).await.unwrap();
    cluster.release().await.unwrap();
    cluster
        .release()
        .await
        .expect("releasing twice is no error");
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_override_that_does_not_fit_leaves_the_node_running() {
    let site = Site::new("patch");
    let cluster = cluster(&site, &Sleeper::default(), &["A"]).await;
    let a = name("A");
    let before = cluster.node(&a).unwrap();
    let bad = [("pears".to_owned(), "[]".to_owned())].into();
    assert!(cluster.restart_with(&a, &bad).await.is_err());
    assert_eq!(cluster.node(&a).unwrap(), before);
    let good = [("peers".to_owned(), "[X]".to_owned())].into();
    assert_eq!(
        cluster.restart_with(&a, &good).await.unwrap().incarnation,
        2
    );
    let kept = tempfile::tempdir().unwrap();
    cluster.collect(kept.path()).await;
    assert!(
        holds(kept.path(), "sleeper.yaml", "X"),
        "the override is in the node's configuration"
    );
    cluster.release().await.unwrap();
    site.assert_clean();
}
