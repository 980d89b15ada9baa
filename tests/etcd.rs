//! etcd that somebody else runs, as external nodes: who they are, what can be asked of them, and what is refused.
//!
//! A program of its own, so that it can say that it was skipped: without etcd there is nothing to test, and in CI there must be.

use std::{env, process::ExitCode, time::Duration};

use tests::{
    etcd::Etcd,
    etcd_kv::{EtcdPort, http_client},
    etcd_outside::OutsideEtcd,
    site::Site,
};
use trellis_bootstrap::{BootstrapRequest, in_one_line};
use trellis_domain::{Endpoint, ExternalNode, Ownership, Refusal, ScenarioSources};
use trellis_runtime::{Cluster, Journal, OperationError};
use trellis_steps::{
    Program,
    kv::{Read, ReplicaView, ReplicatedKv},
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

/// The nodes of `outside` as a scenario lists them, from `first` on.
fn listed(outside: &OutsideEtcd, first: usize) -> Vec<ExternalNode> {
    let node = |(number, url): (usize, String)| ExternalNode {
        name: format!("ETCD_{}", first + number)
            .parse()
            .expect("the name is a valid one"),
        endpoints: [Endpoint::new("http".parse().expect("it is one"), &url).expect("it is one")]
            .into(),
        credential: None,
        listed_in: "this test".to_owned(),
    };
    outside.urls().enumerate().map(node).collect()
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

async fn external_nodes_are_queried_and_written_to_and_never_restarted() {
    let site = Site::new("etcd-outside");
    let mut outside = OutsideEtcd::start(3).expect("etcd starts");
    let request = request(&site, listed(&outside, 1));
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
            .all(|member| member.keys == 1)
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
    assert!(outside.noticed_nothing());
    site.assert_clean();
}

async fn nodes_of_two_clusters_do_not_come_up_together() {
    let site = Site::new("etcd-two");
    let (one, other) = (OutsideEtcd::start(1), OutsideEtcd::start(1));
    let (mut one, mut other) = (one.expect("etcd starts"), other.expect("etcd starts"));
    let both = [listed(&one, 1), listed(&other, 2)].concat();
    let refused = Cluster::boot(request(&site, both), Journal::default()).await;
    let error = in_one_line(&refused.err().expect("they are strangers"));
    assert!(
        error.contains("ETCD_1") && error.contains("ETCD_2"),
        "{error}"
    );
    assert!(one.noticed_nothing() && other.noticed_nothing());
    site.assert_clean();
}
