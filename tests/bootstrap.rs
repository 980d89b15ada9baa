//! Bootstrap on real processes: order, deadlines, failures, and that nothing is left of a cluster that did not come up.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;

use openraft_kv::OpenRaftKv;
use tests::{
    site::{Site, node},
    sleeper::Sleeper,
};
use trellis_bootstrap::{
    ArtifactFile, BootstrapError, BootstrapRequest, Bootstrapped, ConfigChannel, ConfigDelivery,
    DynError, NodeRecord, Rendering, ValidationError, bootstrap,
};
use trellis_domain::{NodeState, ReadinessPolicy};
use trellis_local::{LocalConfig, LocalDeployer};
use trellis_runtime::CfgsyncDelivery;

async fn failure(request: BootstrapRequest) -> BootstrapError {
    match bootstrap(request).await {
        Err(error) => error,
        Ok(_) => panic!("the cluster came up"),
    }
}

async fn tear_down(cluster: Bootstrapped) {
    let fleet = cluster.fleet.expect("the cluster has managed nodes");
    fleet
        .control()
        .teardown()
        .await
        .expect("teardown removes everything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_is_ready_identified_and_torn_down_again() {
    let site = Site::new("ready");
    let app = Sleeper::default();
    let cluster = bootstrap(site.request(app, vec![node("A", &[]), node("B", &[])]))
        .await
        .unwrap();
    let inventory = cluster.inventory.snapshot();
    for handle in inventory.nodes() {
        assert_eq!(
            (&handle.state, handle.incarnation),
            (&NodeState::Running, 1)
        );
        assert_eq!(
            handle.identity.to_string(),
            format!("peer {}", handle.name())
        );
        assert!(handle.instance.as_ref().unwrap().starts_with("pid "));
    }
    tear_down(cluster).await;
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_starts_when_those_it_is_connected_to_are_ready() {
    let site = Site::new("waves");
    let app = Sleeper::default();
    let nodes = vec![node("C", &["B"]), node("B", &["A"]), node("A", &[])];
    let cluster = bootstrap(site.request(app.clone(), nodes)).await.unwrap();
    let events = app.events();
    let at = |event: &str| events.iter().position(|e| e == event).expect(event);
    assert!(at("ready A") < at("command B"), "{events:?}");
    assert!(at("ready B") < at("command C"), "{events:?}");
    tear_down(cluster).await;
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_never_ready_fails_at_the_deadline_with_what_was_seen() {
    let site = Site::new("never");
    let app = Sleeper::default();
    app.never_ready("B");
    let begun = Instant::now();
    let error = failure(site.request(app, vec![node("A", &[]), node("B", &[])])).await;
    let took = begun.elapsed();
    let text = error.to_string();
    assert!(
        text.contains("not ready within 2s (all nodes ready)"),
        "{text}"
    );
    assert!(
        text.contains("A: ready") && text.contains("B: not ready; last seen: still dreaming"),
        "{text}"
    );
    assert!(took >= Duration::from_secs(2), "it gave up after {took:?}");
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_does_not_say_who_it_is_does_not_keep_the_scenario_for_ever() {
    let site = Site::new("silent");
    let app = Sleeper::default();
    app.silent("B");
    let error = failure(site.request(app, vec![node("A", &[]), node("B", &[])])).await;
    let BootstrapError::Identify { node, source } = &error else {
        panic!("{error}")
    };
    assert_eq!(
        (node.as_str(), source.to_string().as_str()),
        ("B", "no answer within 5s")
    );
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_wait_for_one_another_share_the_time_that_all_of_them_have() {
    let site = Site::new("shared");
    let app = Sleeper::default();
    let nodes = [("A", &[][..]), ("B", &["A"]), ("C", &["B"])];
    for (name, _) in nodes {
        app.slow(name, Duration::from_millis(900));
    }
    let nodes = nodes.map(|(name, peers)| node(name, peers)).into();
    let begun = Instant::now();
    let text = failure(site.request(app, nodes)).await.to_string();
    let took = begun.elapsed();
    assert!(
        text.contains("not ready within 2s") && text.contains("C: not ready"),
        "{text}"
    );
    assert!(took < Duration::from_millis(2600), "it took {took:?}");
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_quorum_hides_a_node_of_ours_that_never_answered() {
    for readiness in [
        ReadinessPolicy::Quorum(2),
        ReadinessPolicy::SourceAware {
            managed: 2,
            total: 2,
        },
    ] {
        let site = Site::new("hangs");
        let app = Sleeper::default();
        app.hangs("C");
        let mut request = site.request(app, vec![node("A", &[]), node("B", &[]), node("C", &[])]);
        request.spec.readiness = readiness;
        let text = failure(request).await.to_string();
        assert!(text.contains("not ready within 2s (at least 2"), "{text}");
        assert!(
            text.contains("B: ready") && text.contains("C: not ready; last seen:"),
            "{text}"
        );
        site.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_quorum_the_rest_stays_starting() {
    let site = Site::new("quorum");
    let app = Sleeper::default();
    app.never_ready("C");
    let mut request = site.request(app, vec![node("A", &[]), node("B", &[]), node("C", &[])]);
    request.spec.readiness = ReadinessPolicy::Quorum(2);
    let cluster = bootstrap(request).await.unwrap();
    let late = cluster.inventory.node(&"C".parse().unwrap()).unwrap();
    assert_eq!(late.state, NodeState::Starting);
    tear_down(cluster).await;
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_cannot_be_made_name_the_node_and_the_reason() {
    let site = Site::new("unmakeable");
    let app = Sleeper::default();
    app.unmakeable("B");
    let error = failure(site.request(app, vec![node("A", &[]), node("B", &[])])).await;
    let BootstrapError::Artifacts { node, source, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(
        (node.as_str(), source.to_string().as_str()),
        ("B", "its key ceremony failed")
    );
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_override_that_does_not_fit_is_refused_before_the_node_starts() {
    let site = Site::new("override");
    let app = Sleeper::default();
    let mut one = node("A", &[]);
    one.overrides.insert("pears".into(), "[]".into());
    let error = failure(site.request(app.clone(), vec![one])).await;
    assert!(matches!(error, BootstrapError::Patch { .. }), "{error}");
    assert_eq!(app.events(), Vec::<String>::new());
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_two_networks_do_not_come_up_together() {
    let site = Site::new("networks");
    let app = Sleeper::default();
    app.on_network("A", "red");
    app.on_network("B", "blue");
    let error = failure(site.request(app, vec![node("A", &[]), node("B", &[])])).await;
    let BootstrapError::Preflight(refusal @ ValidationError::Incompatible(_)) = &error else {
        panic!("{error}")
    };
    assert!(
        refusal
            .to_string()
            .contains(r#"network is "red" on A and "blue" on B"#),
        "{refusal}"
    );
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_ends_the_bootstrap_and_removes_what_it_started() {
    let site = Site::new("cancel");
    let app = Sleeper::default();
    app.never_ready("B");
    let mut request = site.request(app.clone(), vec![node("A", &[]), node("B", &[])]);
    request.spec.ready_within = Duration::from_mins(1);
    let boot = tokio::spawn(failure(request));
    while !app.events().contains(&"ready A".to_owned()) {
        tokio::task::yield_now().await;
    }
    site.cancel.cancel();
    let error = boot.await.unwrap();
    assert!(matches!(error, BootstrapError::Cancelled(_)), "{error}");
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_live_at_the_address_that_their_backend_gives_them() {
    let site = Site::new("host");
    let app = OpenRaftKv::new(env!("CARGO_BIN_EXE_openraft-kv-node"));
    let mut request = site.request(app, vec![node("A", &[]), node("B", &[])]);
    request.spec.ready_within = Duration::from_secs(20);
    let host = Ipv4Addr::new(127, 0, 0, 7).into();
    request.deployer = Arc::new(LocalDeployer::new(LocalConfig {
        host,
        ..LocalConfig::default()
    }));
    let cluster = bootstrap(request).await.unwrap();
    for handle in cluster.inventory.snapshot().nodes() {
        assert_eq!(handle.endpoint("http").unwrap().place().host(), "127.0.0.7");
    }
    tear_down(cluster).await;
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_be_written_is_named() {
    let site = Site::new("folder");
    let mut request = site.request(Sleeper::default(), vec![node("A", &[])]);
    request.cluster.folder = "/proc/trellis".into();
    let error = failure(request).await;
    let source = std::error::Error::source(&error)
        .map(ToString::to_string)
        .unwrap_or_default();
    assert!(
        format!("{error}: {source}").contains("/proc/trellis"),
        "{error}: {source}"
    );
    site.assert_clean();
}

/// Real delivery that fails when it is told to, and keeps the overrides of whatever was registered.
#[derive(Clone, Default)]
struct Moody {
    fails: Arc<AtomicBool>,
    registered: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
}

impl Moody {
    fn last_overrides(&self) -> Vec<String> {
        let registered = self.registered.lock().unwrap();
        let last = registered.last().expect("something was registered");
        last.keys().cloned().collect()
    }
}

#[async_trait]
impl ConfigDelivery for Moody {
    async fn open(&self, rendering: Arc<Rendering>) -> Result<Arc<dyn ConfigChannel>, DynError> {
        Ok(Arc::new(MoodyChannel {
            moody: self.clone(),
            channel: CfgsyncDelivery.open(rendering).await?,
        }))
    }
}

struct MoodyChannel {
    moody: Moody,
    channel: Arc<dyn ConfigChannel>,
}

#[async_trait]
impl ConfigChannel for MoodyChannel {
    async fn register(&self, node: &NodeRecord) -> Result<(), DynError> {
        if self.moody.fails.load(Ordering::SeqCst) {
            return Err("the delivery is away".into());
        }
        self.channel.register(node).await?;
        let overrides = node.spec.overrides.clone();
        self.moody.registered.lock().unwrap().push(overrides);
        Ok(())
    }

    async fn fetch(&self, node: &NodeRecord) -> Result<Vec<ArtifactFile>, DynError> {
        self.channel.fetch(node).await
    }

    async fn close(&self) {
        self.channel.close().await;
    }
}

fn overriding(path: &str, value: &str) -> BTreeMap<String, String> {
    [(path.to_owned(), value.to_owned())].into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overrides_that_were_not_taken_in_are_not_kept_and_two_at_once_both_are() {
    let site = Site::new("overrides");
    let (app, moody) = (Sleeper::default(), Moody::default());
    let mut request = site.request(app, vec![node("A", &[]), node("B", &[])]);
    request.delivery = Arc::new(moody.clone());
    let cluster = bootstrap(request).await.unwrap();
    let fleet = cluster.fleet.as_ref().expect("its nodes are managed");
    let a = "A".parse().unwrap();

    moody.fails.store(true, Ordering::SeqCst);
    let lost = overriding("peers", "[lost]");
    assert!(fleet.override_config(&a, &lost).await.is_err());
    moody.fails.store(false, Ordering::SeqCst);
    let kept = overriding("peers.0", "kept");
    fleet.override_config(&a, &kept).await.unwrap();
    assert_eq!(moody.last_overrides(), ["peers.0"]);

    let (one, other) = (overriding("peers", "[X]"), overriding("peers.0", "Y"));
    let both = tokio::join!(
        fleet.override_config(&a, &one),
        fleet.override_config(&a, &other)
    );
    assert!(both.0.is_ok() && both.1.is_ok());
    assert_eq!(moody.last_overrides(), ["peers", "peers.0"]);
    tear_down(cluster).await;
    site.assert_clean();
}
