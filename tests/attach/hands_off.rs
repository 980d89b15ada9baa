//! Hands off: what is not ours is refused up front, opted in by name or left alone, and never torn down.

use std::sync::Arc;

use tests::{
    signals::Signals,
    site::{Site, node},
};
use trellis_bootstrap::{BootstrapError, PlannedOperation, ValidationError};
use trellis_domain::{Capability, ExternalNode, NodeState, Operation, Refusal};
use trellis_runtime::{Cluster, Journal, OperationError};

use crate::{attached, external_only, failure, mixed, name, request, theirs::Theirs};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_borrowed_node_is_not_for_is_refused() {
    let site = Site::new("refused");
    let mut theirs = Theirs::start(1);
    let request = request(&site, external_only(theirs.all()));
    let cluster = Cluster::boot(request, Journal::default()).await.unwrap();
    let one = name("THEIRS_1");
    for operation in [
        Operation::Start,
        Operation::Stop,
        Operation::Kill,
        Operation::Restart,
        Operation::Pause,
        Operation::PatchConfig,
        Operation::ReadLogs,
        Operation::SaveData,
        Operation::RestoreData,
        Operation::DisturbNetwork,
    ] {
        let refused = cluster.permit(&one, operation).unwrap_err();
        assert!(
            matches!(refused, OperationError::Refused(Refusal::Borrowed { .. })),
            "{operation}: {refused}"
        );
    }
    for operation in [Operation::Query, Operation::Submit] {
        assert!(cluster.permit(&one, operation).is_ok(), "{operation}");
    }
    let joined = cluster.join(&node("OURS", &[]), crate::READY_WITHIN).await;
    assert!(matches!(joined, Err(BootstrapError::NoFleet { .. })));
    let kept = tempfile::tempdir().unwrap();
    cluster.collect(kept.path()).await;
    assert_eq!(std::fs::read_dir(kept.path()).unwrap().count(), 0);
    cluster.release().await.unwrap();
    theirs.assert_unnoticed();
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scenario_that_would_touch_a_borrowed_node_is_refused_before_anything_starts() {
    let site = Site::new("planned");
    let theirs = Theirs::start(1);
    let mut request = request(&site, mixed(vec![node("OURS", &[])], theirs.all()));
    request.planned = vec![PlannedOperation {
        node: name("THEIRS_1"),
        operation: Operation::Restart,
        step: "a.feature:7: When I restart THEIRS_1".to_owned(),
    }];
    let folder = request.cluster.folder.clone();
    let (error, text) = failure(request).await;
    assert!(
        matches!(
            error,
            BootstrapError::Preflight(ValidationError::Refused(_))
        ),
        "{text}"
    );
    assert!(
        text.contains(
            "a.feature:7: When I restart THEIRS_1: refused to restart THEIRS_1: it is borrowed"
        ),
        "{text}"
    );
    assert!(!folder.join("attempt-1/OURS").exists());
    site.assert_clean();
}

/// A provider that knows the processes of the first `size` nodes of `theirs`.
fn signals(theirs: &Theirs, size: u8) -> Signals {
    let nodes = (1..=size).map(|id| theirs.external(&format!("LISTED_{id}"), id));
    let nodes: Vec<ExternalNode> = nodes.collect();
    let names = nodes.iter().map(|node| node.name.clone());
    let pids = names.zip((1..=size).map(|id| theirs.pid(id))).collect();
    let signals = Signals::default();
    signals.learn("any", nodes, pids);
    signals
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opt_in_opens_what_it_names_where_the_provider_can_and_is_written_down() {
    let site = Site::new("opted-in");
    let theirs = Theirs::start(2);
    let mut request = request(&site, attached("signals", "any", Vec::new()));
    request.attach.push(Arc::new(signals(&theirs, 2)));
    let (one, two) = (name("LISTED_1"), name("LISTED_2"));
    for capability in [
        Capability::Pause,
        Capability::Lifecycle,
        Capability::ConfigPatch,
    ] {
        request.spec.opt_ins.allow(one.clone(), capability);
    }
    let cluster = Cluster::boot(request, Journal::default()).await.unwrap();

    cluster.pause(&one).await.unwrap();
    assert_eq!(cluster.node(&one).unwrap().state, NodeState::Paused);
    cluster.resume(&one).await.unwrap();
    let written: Vec<String> = cluster
        .journal()
        .entries()
        .into_iter()
        .map(|e| e.text)
        .collect();
    let wanted =
        "opted in by the feature: pause LISTED_1, which is borrowed (attached (signals:any))";
    assert!(written.iter().any(|text| text == wanted), "{written:?}");

    assert!(matches!(
        cluster.pause(&two).await,
        Err(OperationError::Refused(Refusal::Borrowed { .. }))
    ));
    for operation in [Operation::Kill, Operation::PatchConfig] {
        assert!(matches!(
            cluster.permit(&one, operation),
            Err(OperationError::Refused(Refusal::Incapable { .. }))
        ));
    }
    cluster.release().await.unwrap();
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opt_in_for_a_node_that_is_not_there_is_a_mistake() {
    let site = Site::new("opt-in-typo");
    let theirs = Theirs::start(1);
    let mut request = request(&site, external_only(theirs.all()));
    request
        .spec
        .opt_ins
        .allow(name("THEIRS_7"), Capability::Pause);
    let (_, text) = failure(request).await;
    assert!(
        text.contains(r#"there is no node "THEIRS_7"; known nodes: THEIRS_1"#),
        "{text}"
    );
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn their_cluster_never_notices_how_ours_ends() {
    let site = Site::new("unnoticed");
    let mut theirs = Theirs::start(3);
    let sources = |site: &Site| request(site, mixed(vec![node("OURS", &[])], theirs.all()));
    let (released, dropped) = (sources(&site), sources(&site));
    let (mut crashes, mut interrupted) = (sources(&site), sources(&site));

    let cluster = Cluster::boot(released, Journal::default()).await.unwrap();
    cluster.release().await.unwrap();
    theirs.assert_unnoticed();

    let mut bad = node("OURS", &[]);
    bad.overrides
        .insert("faults.crash_at_start".into(), "true".into());
    crashes.spec.sources = mixed(vec![bad], theirs.all());
    failure(crashes).await;
    theirs.assert_unnoticed();

    interrupted.cancel = tokio_util::sync::CancellationToken::new();
    interrupted.cancel.cancel();
    failure(interrupted).await;
    theirs.assert_unnoticed();
    site.assert_clean();

    let site = Site::new("dropped");
    let mut dropped = dropped;
    dropped.cluster = request(&site, external_only(theirs.all())).cluster;
    drop(Cluster::boot(dropped, Journal::default()).await.unwrap());
    theirs.assert_unnoticed();
}
