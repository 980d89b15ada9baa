//! The sources under many requests at once: what is made how often, who is woken, and what an application's mistakes do.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use cfgsync_adapter::SnapshotConfigSource;
use cfgsync_adapter::{
    CachedSnapshotMaterializer, CatalogConfigSource, DynCfgsyncError, Expected,
    MaterializingConfigSource, NodeArtifacts, NodeArtifactsCatalog, NodeArtifactsMaterializer,
    RegistrationSnapshot, RegistrationSnapshotMaterializer,
};
use cfgsync_artifacts::{ArtifactFile, ArtifactSet};
use cfgsync_core::{
    ConfigResolution, NodeConfigSource, NodeRegistration, RegisterError, RegisterOutcome,
};
use tokio::task::JoinSet;

/// Longer than any of this takes, so that running out of it is a hang.
const HANGS_AFTER: Duration = Duration::from_secs(20);

fn node(name: &str, last: u8) -> NodeRegistration {
    NodeRegistration::new(name, IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)))
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANGS_AFTER, work)
        .await
        .expect("this ends long before it counts as a hang")
}

/// Each node's file lists all addresses; ready with so many nodes.
struct Peers(usize);

impl RegistrationSnapshotMaterializer for Peers {
    fn materialize_snapshot(
        &self,
        registrations: &RegistrationSnapshot,
    ) -> Result<Option<NodeArtifactsCatalog>, DynCfgsyncError> {
        if registrations.len() < self.0 {
            return Ok(None);
        }
        let peers: Vec<String> = registrations
            .iter()
            .map(|node| node.ip.to_string())
            .collect();
        let nodes = registrations.iter().map(|node| NodeArtifacts {
            identifier: node.identifier.clone(),
            files: vec![ArtifactFile::new("peers", peers.join(","))],
        });
        Ok(Some(NodeArtifactsCatalog::new(nodes.collect())))
    }

    fn expected(&self) -> Expected {
        Expected::Count(self.0)
    }
}

fn source(materializer: impl RegistrationSnapshotMaterializer) -> SnapshotConfigSource {
    SnapshotConfigSource::new(CachedSnapshotMaterializer::new(materializer))
}

async fn resolved(source: &impl NodeConfigSource, name: &str) -> ConfigResolution {
    within(source.resolve(&node(name, 0))).await.unwrap()
}

#[track_caller]
fn text(resolution: &ConfigResolution) -> &str {
    let ConfigResolution::Ready(payload) = resolution else {
        panic!("not ready: {resolution:?}");
    };
    let file = payload.files.iter().next().expect("there is a file");
    file.content.as_text().expect("it is text")
}

/// Waits as the server does: subscribes first, asks, and asks again when something has changed.
async fn awaited(source: Arc<SnapshotConfigSource>, name: String) -> Result<String, String> {
    let mut changes = source.changes();
    loop {
        changes.mark_unchanged();
        match source.resolve(&node(&name, 0)).await {
            Ok(ConfigResolution::NotReady(_)) => changes.changed().await.unwrap(),
            Ok(resolution) => return Ok(text(&resolution).to_owned()),
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[tokio::test]
async fn a_late_joiner_changes_what_all_get_and_so_does_a_new_address() {
    let source = source(Peers(2));
    source.register(node("b", 2)).await.unwrap();
    let ConfigResolution::NotReady(awaited) = resolved(&source, "b").await else {
        panic!("one of two is not enough");
    };
    assert_eq!(awaited.to_string(), "not ready: 1 of 2 registered");
    source.register(node("a", 1)).await.unwrap();
    assert_eq!(text(&resolved(&source, "b").await), "10.0.0.1,10.0.0.2");
    source.register(node("c", 3)).await.unwrap();
    assert_eq!(
        text(&resolved(&source, "c").await),
        "10.0.0.1,10.0.0.2,10.0.0.3"
    );
    let again = source.register(node("a", 9)).await;
    assert_eq!(again, Ok(RegisterOutcome::Changed));
    assert_eq!(
        text(&resolved(&source, "b").await),
        "10.0.0.9,10.0.0.2,10.0.0.3"
    );
    assert_eq!(source.materializations(), 4);
    let again = source.register(node("a", 9)).await;
    assert_eq!(again, Ok(RegisterOutcome::Unchanged));
    resolved(&source, "a").await;
    assert_eq!(source.materializations(), 4);
    assert!(matches!(
        resolved(&source, "z").await,
        ConfigResolution::Missing(_)
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hundreds_of_requests_of_one_version_are_made_once() {
    let source = Arc::new(source(Peers(300)));
    for number in 0..300 {
        source
            .register(node(&format!("n{number:03}"), 1))
            .await
            .unwrap();
    }
    let mut requests = JoinSet::new();
    for number in 0..300 {
        requests.spawn(awaited(Arc::clone(&source), format!("n{number:03}")));
    }
    within(requests.join_all()).await;
    assert_eq!(source.materializations(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_last_registration_releases_all_who_wait() {
    let source = Arc::new(source(Peers(200)));
    let mut requests = JoinSet::new();
    for number in 0..200 {
        let name = format!("n{number:03}");
        source.register(node(&name, 1)).await.unwrap();
        requests.spawn(awaited(Arc::clone(&source), name));
    }
    let answers = within(requests.join_all()).await;
    assert!(answers.iter().all(Result::is_ok));
    assert!(source.materializations() <= 200, "no more than versions");
    assert!(source.overview().ready);
}

/// Holds the first run until it is let go.
struct Slow {
    inner: Peers,
    gate: Arc<(Mutex<bool>, Condvar)>,
    at_once: Arc<AtomicUsize>,
}

impl RegistrationSnapshotMaterializer for Slow {
    fn materialize_snapshot(
        &self,
        registrations: &RegistrationSnapshot,
    ) -> Result<Option<NodeArtifactsCatalog>, DynCfgsyncError> {
        assert_eq!(
            self.at_once.fetch_add(1, Ordering::SeqCst),
            0,
            "one at a time"
        );
        let (open, opened) = &*self.gate;
        let guard = open.lock().unwrap();
        drop(opened.wait_while(guard, |open| !*open).unwrap());
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        self.inner.materialize_snapshot(registrations)
    }
}

#[tokio::test]
async fn versions_that_come_while_one_is_made_are_made_in_one_go() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let source = Arc::new(source(Slow {
        inner: Peers(1),
        gate: Arc::clone(&gate),
        at_once: Arc::default(),
    }));
    source.register(node("a", 1)).await.unwrap();
    let first = tokio::spawn(awaited(Arc::clone(&source), "a".to_owned()));
    while source.materializations() == 0 {
        tokio::task::yield_now().await;
    }
    let mut later = JoinSet::new();
    for last in 2..50 {
        source.register(node("a", last)).await.unwrap();
        later.spawn(awaited(Arc::clone(&source), "a".to_owned()));
        tokio::task::yield_now().await;
    }
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    assert!(within(first).await.unwrap().is_ok());
    for answer in within(later.join_all()).await {
        assert_eq!(answer.as_deref(), Ok("10.0.0.49"));
    }
    assert_eq!(source.materializations(), 2);
}

/// Fails, panics or contradicts itself until it is mended.
struct Broken {
    how: fn() -> Result<Option<NodeArtifactsCatalog>, DynCfgsyncError>,
    mended: Arc<AtomicBool>,
}

impl RegistrationSnapshotMaterializer for Broken {
    fn materialize_snapshot(
        &self,
        registrations: &RegistrationSnapshot,
    ) -> Result<Option<NodeArtifactsCatalog>, DynCfgsyncError> {
        if self.mended.load(Ordering::SeqCst) {
            return Peers(1).materialize_snapshot(registrations);
        }
        (self.how)()
    }
}

async fn check_broken(
    how: fn() -> Result<Option<NodeArtifactsCatalog>, DynCfgsyncError>,
    message: &str,
) {
    let mended = Arc::new(AtomicBool::new(false));
    let source = Arc::new(source(Broken {
        how,
        mended: Arc::clone(&mended),
    }));
    source.register(node("a", 1)).await.unwrap();
    let error = within(source.resolve(&node("a", 1))).await.unwrap_err();
    assert_eq!(error.to_string(), message);
    assert!(!source.overview().ready);
    mended.store(true, Ordering::SeqCst);
    assert_eq!(text(&resolved(&*source, "a").await), "10.0.0.1");
    assert_eq!(source.materializations(), 2);
}

#[tokio::test]
async fn what_an_application_breaks_is_an_error_and_the_next_request_tries_again() {
    check_broken(
        || Err("no keys".into()),
        "the application could not make the artifacts",
    )
    .await;
    check_broken(
        || panic!("index out of bounds"),
        "the application panicked while it made the artifacts: index out of bounds",
    )
    .await;
    check_broken(
        || {
            let twice = || NodeArtifacts {
                identifier: "a".to_owned(),
                files: Vec::new(),
            };
            Ok(Some(NodeArtifactsCatalog::new(vec![twice(), twice()])))
        },
        "the artifacts that the application made cannot be served",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_reaches_those_who_wait() {
    let source = Arc::new(source(FailsWithTwo));
    source.register(node("a", 1)).await.unwrap();
    let waiting = tokio::spawn(awaited(Arc::clone(&source), "a".to_owned()));
    while source.materializations() == 0 {
        tokio::task::yield_now().await;
    }
    source.register(node("b", 2)).await.unwrap();
    let answer = within(waiting).await.unwrap();
    assert_eq!(
        answer.unwrap_err(),
        "the application could not make the artifacts"
    );
}

struct FailsWithTwo;

impl RegistrationSnapshotMaterializer for FailsWithTwo {
    fn materialize_snapshot(
        &self,
        registrations: &RegistrationSnapshot,
    ) -> Result<Option<NodeArtifactsCatalog>, DynCfgsyncError> {
        match registrations.len() {
            1 => Ok(None),
            _ => Err("two are too many".into()),
        }
    }
}

#[tokio::test]
async fn a_replacement_counts_until_it_is_withdrawn_and_wakes_who_waits() {
    let source = Arc::new(source(Peers(2)));
    let file = |text: &str| [ArtifactFile::new("peers", text)];
    source.replace_artifacts("a", file("by hand")).unwrap();
    let unregistered = resolved(&*source, "a").await;
    assert!(matches!(unregistered, ConfigResolution::Missing(_)));
    source.register(node("a", 1)).await.unwrap();
    assert_eq!(text(&resolved(&*source, "a").await), "by hand");
    assert!(source.withdraw_replacement("a"));
    assert!(!source.withdraw_replacement("a"));

    let waiting = tokio::spawn(awaited(Arc::clone(&source), "a".to_owned()));
    tokio::task::yield_now().await;
    let first = source.replace_artifacts("a", file("again")).unwrap();
    assert_eq!(within(waiting).await.unwrap().as_deref(), Ok("again"));
    assert!(source.replace_artifacts("a", file("anew")).unwrap() > first);
    let twice = [file("1"), file("2")].concat();
    source.replace_artifacts("a", twice).unwrap_err();
    assert_eq!(text(&resolved(&*source, "a").await), "anew");
}

struct Own;

impl NodeArtifactsMaterializer for Own {
    fn materialize(
        &self,
        registration: &NodeRegistration,
        registrations: &RegistrationSnapshot,
    ) -> Result<Option<ArtifactSet>, DynCfgsyncError> {
        if !registrations.contains("seed") {
            return Ok(None);
        }
        let seed = registrations.get("seed").expect("it is there");
        let text = format!("{} follows {}", registration.ip, seed.ip);
        Ok(Some(ArtifactSet::new([ArtifactFile::new("own", text)])?))
    }

    fn expected(&self) -> Expected {
        Expected::nodes(["seed"])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_materializer_of_one_node_is_called_once_for_a_node_and_a_version() {
    let source = Arc::new(MaterializingConfigSource::new(Own));
    source.register(node("a", 2)).await.unwrap();
    let ConfigResolution::NotReady(awaited) = resolved(&*source, "a").await else {
        panic!("the seed is not there");
    };
    assert_eq!(awaited.missing, ["seed"]);
    assert_eq!(source.overview().missing, ["seed"]);
    source.register(node("seed", 1)).await.unwrap();
    let mut requests = JoinSet::new();
    for _ in 0..200 {
        let source = Arc::clone(&source);
        requests.spawn(async move { resolved(&*source, "a").await });
    }
    for resolution in within(requests.join_all()).await {
        assert_eq!(text(&resolution), "10.0.0.2 follows 10.0.0.1");
    }
    assert_eq!(source.materializations(), 2);
    source
        .replace_artifacts("a", [ArtifactFile::new("own", "by hand")])
        .unwrap();
    assert_eq!(text(&resolved(&*source, "a").await), "by hand");
    assert!(source.withdraw_replacement("a"));
    source.register(node("seed", 7)).await.unwrap();
    assert_eq!(
        text(&resolved(&*source, "a").await),
        "10.0.0.2 follows 10.0.0.7"
    );
}

#[tokio::test]
async fn a_catalog_is_for_its_nodes_once_they_have_registered() {
    let entry = |name: &str| NodeArtifacts {
        identifier: name.to_owned(),
        files: vec![ArtifactFile::new("name", name)],
    };
    let catalog = NodeArtifactsCatalog::new(vec![entry("a"), entry("b")]);
    let source = CatalogConfigSource::new(catalog.clone()).unwrap();
    assert!(matches!(
        resolved(&source, "a").await,
        ConfigResolution::Missing(_)
    ));
    source.register(node("a", 1)).await.unwrap();
    assert_eq!(text(&resolved(&source, "a").await), "a");
    let known = "a, b".to_owned();
    let identifier = "z".to_owned();
    let refused = Err(RegisterError::Unknown { identifier, known });
    assert_eq!(source.register(node("z", 1)).await, refused);

    let patient = CatalogConfigSource::new(catalog).unwrap().waiting_for_all();
    let mut changes = patient.changes();
    patient.register(node("a", 1)).await.unwrap();
    let ConfigResolution::NotReady(awaited) = resolved(&patient, "a").await else {
        panic!("b is missing");
    };
    assert_eq!(
        awaited.to_string(),
        "not ready: 1 of 2 registered, missing b"
    );
    assert!(!changes.has_changed().unwrap());
    patient.register(node("b", 1)).await.unwrap();
    within(changes.changed()).await.unwrap();
    assert_eq!(text(&resolved(&patient, "a").await), "a");
}
