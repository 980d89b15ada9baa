//! etcd that somebody else runs, as external nodes: who they are, what can be asked of them, and what is refused.
//!
//! A program of its own, so that it can say that it was skipped: without etcd there is nothing to test, and in CI there must be.

use std::{env, process::ExitCode, time::Duration};

use tests::{
    etcd::Etcd,
    etcd_kv::{EtcdPort, http_client},
    etcd_outside::EtcdOutsiders,
    site::Site,
};
use trellis_bootstrap::{BootstrapRequest, in_one_line};
use trellis_domain::{ExternalNode, NodeName, Ownership, Refusal, ScenarioSources};
use trellis_runtime::{Cluster, Journal, OperationError};
use trellis_steps::{
    Program,
    kv::{Read, ReplicaView, ReplicatedKv},
    outsiders::{OutsideCluster, Outsiders as _},
};

const WITHIN: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    if !Program::named("etcd", "").is_on(env::var_os("PATH").as_deref()) {
        println!(
            "2 skipped: etcd is not on this machine; to install it: apt-get install etcd-server"
        );
        let ci = env::var("CI").unwrap_or_default();
        let tolerated = ["", "0", "false"].contains(&ci.as_str());
        return if tolerated {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    runtime.block_on(async {
        external_nodes_are_queried_and_written_to_and_never_restarted().await;
        nodes_of_two_clusters_do_not_come_up_together().await;
    });
    println!("2 passed");
    ExitCode::SUCCESS
}

/// A cluster of nodes with these names that somebody else runs.
async fn outside(names: &[&str]) -> Box<dyn OutsideCluster> {
    let parse = |name: &&str| name.parse().expect("the name is a valid one");
    let names: Vec<NodeName> = names.iter().map(parse).collect();
    let started = EtcdOutsiders.start(&names, None).await;
    started.unwrap_or_else(|error| panic!("etcd does not start: {error}"))
}

fn request(site: &Site, external: Vec<ExternalNode>) -> BootstrapRequest {
    let etcd = Etcd {
        name: "etcd".parse().expect("the name is a valid one"),
        http: http_client(),
    };
    let mut request = site.request(etcd, Vec::new());
    request.spec.sources = ScenarioSources::ExternalOnly { external };
    request.spec.ready_within = WITHIN;
    request
}

async fn assert_unnoticed(outside: &dyn OutsideCluster) {
    let checked = outside.check_unnoticed().await;
    assert!(checked.is_ok(), "{}", checked.unwrap_err());
}

async fn external_nodes_are_queried_and_written_to_and_never_restarted() {
    let site = Site::new("etcd-outside");
    let outside = outside(&["ETCD_1", "ETCD_2", "ETCD_3"]).await;
    let request = request(&site, outside.nodes());
    let cluster = Cluster::boot(request, Journal::default())
        .await
        .expect("they are there");
    let nodes = cluster.running();
    assert!(
        nodes
            .iter()
            .all(|node| node.ownership == Ownership::Borrowed),
        "{nodes:?}"
    );

    let kv = EtcdPort::new(http_client());
    let watch = kv.observe(&cluster);
    let agreed = |view: &ReplicaView| view.members.len() == 3 && view.all_follow_the_leader();
    let view = watch
        .wait_for("a leader", WITHIN, Box::new(agreed))
        .await
        .expect("they have one");
    assert!(
        view.members.values().all(|member| member.voters.len() == 3),
        "{view}"
    );
    kv.put(&nodes[0], "colour", "green")
        .await
        .expect("anybody may write");
    let read = kv.get(&nodes[2], "colour", Read::Linearizable).await;
    assert_eq!(read.expect("anybody may read").as_deref(), Some("green"));
    let same = watch
        .wait_for("replication", WITHIN, Box::new(ReplicaView::is_replicated))
        .await;
    assert!(
        same.expect("they replicate")
            .members
            .values()
            .all(|member| member.keys == 2)
    );

    let refused = cluster
        .restart(nodes[0].name())
        .await
        .expect_err("it is not ours");
    assert!(
        matches!(refused, OperationError::Refused(Refusal::Borrowed { .. })),
        "{refused}"
    );
    cluster.release().await.expect("nothing of ours is left");
    assert_unnoticed(&*outside).await;
    site.assert_clean();
}

async fn nodes_of_two_clusters_do_not_come_up_together() {
    let site = Site::new("etcd-two");
    let (one, other) = (outside(&["ETCD_1"]).await, outside(&["ETCD_2"]).await);
    let both = [one.nodes(), other.nodes()].concat();
    let refused = Cluster::boot(request(&site, both), Journal::default()).await;
    let error = in_one_line(&refused.err().expect("they are strangers"));
    assert!(
        error.contains("ETCD_1") && error.contains("ETCD_2"),
        "{error}"
    );
    assert_unnoticed(&*one).await;
    assert_unnoticed(&*other).await;
    site.assert_clean();
}
