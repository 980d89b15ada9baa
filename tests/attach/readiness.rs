//! Readiness of mixed inventories: a dead node of others may be left out, a failed one of ours never.

use std::time::Duration;

use tests::site::{Site, node};
use trellis_bootstrap::BootstrapError;
use trellis_domain::{NodeState, ReadinessPolicy};
use trellis_runtime::{Cluster, Journal};

use crate::{READY_WITHIN, external_only, failure, mixed, name, request, theirs::Theirs};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_node_of_others_is_left_out_under_a_quorum_until_it_is_waited_for_again() {
    let site = Site::new("dead");
    let mut theirs = Theirs::prepare(3);
    theirs.spawn(1);
    theirs.spawn(2);
    let mut request = request(&site, external_only(theirs.all()));
    request.spec.readiness = ReadinessPolicy::Quorum(2);
    let cluster = Cluster::boot(request, Journal::default()).await.unwrap();
    let dead = || cluster.node(&name("THEIRS_3")).unwrap().state.clone();
    assert_eq!(
        (dead(), cluster.running().len()),
        (NodeState::Unreachable, 2)
    );
    let within = Duration::from_millis(200);
    let error = cluster
        .await_ready(ReadinessPolicy::AllReady, within)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("THEIRS_3: not ready"), "{error}");
    theirs.spawn(3);
    cluster
        .await_ready(ReadinessPolicy::AllReady, READY_WITHIN)
        .await
        .unwrap();
    assert_eq!((dead(), cluster.running().len()), (NodeState::Running, 3));
    cluster.release().await.unwrap();
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_ready_means_the_dead_node_of_others_too() {
    let site = Site::new("all-ready");
    let mut theirs = Theirs::prepare(2);
    theirs.spawn(1);
    let mut request = request(&site, external_only(theirs.all()));
    request.spec.ready_within = Duration::from_secs(1);
    let (_, text) = failure(request).await;
    assert!(text.contains("THEIRS_1: ready"), "{text}");
    assert!(text.contains("THEIRS_2: not ready; last seen:"), "{text}");
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_policy_hides_a_node_of_ours_that_ended() {
    let site = Site::new("hidden");
    let theirs = Theirs::start(3);
    for readiness in [
        ReadinessPolicy::Quorum(3),
        ReadinessPolicy::SourceAware {
            managed: 0,
            total: 2,
        },
    ] {
        let mut crashes = node("CRASHES", &[]);
        let (path, value) = ("faults.crash_at_start", "true");
        crashes.overrides.insert(path.into(), value.into());
        let nodes = vec![node("OURS", &[]), crashes];
        let mut request = request(&site, mixed(nodes, theirs.all()));
        request.spec.readiness = readiness;
        let (error, text) = failure(request).await;
        assert!(matches!(error, BootstrapError::Exited { .. }), "{text}");
        assert!(text.contains("CRASHES ended before it was ready"), "{text}");
    }
    site.assert_clean();
}
