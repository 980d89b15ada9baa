//! Projections that are far behind the others that a node serves: one that was just added, and one that has halted. Nobody waits for them.

#[path = "rebuilds.rs"]
mod rebuilds;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use projection::{
    manifest::ProjectionManifest,
    pipeline::ShardState,
    rebuild::Sources,
    settings::Settings,
    storage::ViewStore,
    stream::{
        BlockedReason, Delivery, EventSource, MemorySource, ReceiveLimits, StreamError, StreamFacts,
    },
    types::ViewTable,
};
use rebuilds::{Running, clean, dump, publish_through, start_with, store, table};

/// As far as events are held back.
const OLD: u64 = 2_900;
/// The first event that cannot be applied.
const POISON: u64 = 997;

const ACCOUNT: &str = "- view_type: account
  program:
    language: dag/v1
    key: {event: aggregate_id}
    view:
      object:
        version: 1
        balance: {add: [{coalesce: [{view: balance}, 0]}, {event: payload.amount}]}
        last: {meta: stream_seq}
";
const COUNT: &str = "- view_type: count
  program: {language: dag/v1, key: {event: tenant_id}, view: {add: [{coalesce: [{view: ''}, 0]}, 1]}}
";
const STRICT: &str = "- view_type: strict
  poison: halt
  program: {language: dag/v1, key: {event: tenant_id}, view: {add: [1, {event: payload.amount}]}}
";

fn manifest(projections: &[&str]) -> ProjectionManifest {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("manifest.yaml");
    let text = format!("projections:\n{}", projections.concat());
    std::fs::write(&file, text).expect("a file");
    ProjectionManifest::load(&file, 100_000).expect("a manifest")
}

fn settings() -> Settings {
    let mut settings = rebuilds::settings();
    // What is more than a thousand events behind is far.
    settings.catch_up_lag = 0;
    settings
}

fn of(view_type: &str) -> ViewTable {
    ViewTable {
        view_type: view_type.into(),
        ..table(1)
    }
}

fn floor(store: &ViewStore, view_type: &str) -> u64 {
    let snapshot = store.snapshot().expect("a snapshot");
    let stored = snapshot.checkpoint(&of(view_type)).expect("it is read");
    stored.map_or(0, |stored| stored.floor)
}

/// A stream whose old events are held back while the gate is closed.
#[derive(Clone)]
struct Gated {
    stream: MemorySource,
    is_open: Arc<AtomicBool>,
    deliveries: Arc<AtomicUsize>,
}

impl Gated {
    fn over(stream: &MemorySource, is_open: bool) -> Self {
        Self {
            stream: stream.clone(),
            is_open: Arc::new(AtomicBool::new(is_open)),
            deliveries: Arc::default(),
        }
    }

    fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }

    fn deliveries(&self) -> usize {
        self.deliveries.load(Ordering::Relaxed)
    }

    fn source(&self) -> Box<dyn EventSource> {
        self.deliveries.fetch_add(1, Ordering::Relaxed);
        Box::new(GatedSource {
            inner: self.stream.clone(),
            gate: self.clone(),
            next: 1,
        })
    }
}

#[async_trait]
impl Sources for Gated {
    async fn served(&self) -> Result<Box<dyn EventSource>, StreamError> {
        Ok(self.source())
    }

    async fn replay(&self) -> Result<Box<dyn EventSource>, StreamError> {
        Ok(self.source())
    }
}

struct GatedSource {
    inner: MemorySource,
    gate: Gated,
    next: u64,
}

impl Drop for GatedSource {
    fn drop(&mut self) {
        self.gate.deliveries.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl EventSource for GatedSource {
    async fn facts(&mut self, floor: u64) -> Result<StreamFacts, StreamError> {
        self.inner.facts(floor).await
    }

    async fn start(&mut self, from: u64) -> Result<(), StreamError> {
        self.next = from;
        self.inner.start(from).await
    }

    async fn receive(&mut self, limits: &ReceiveLimits) -> Result<Vec<Delivery>, StreamError> {
        if self.next <= OLD && !self.gate.is_open.load(Ordering::Relaxed) {
            tokio::time::sleep(limits.idle).await;
            return Ok(Vec::new());
        }
        let received = self.inner.receive(limits).await?;
        self.next = received.last().map_or(self.next, |last| last.sequence + 1);
        Ok(received)
    }

    async fn pending(&mut self) -> Result<u64, StreamError> {
        self.inner.pending().await
    }

    async fn acknowledge(&mut self, through: u64) -> Result<(), StreamError> {
        self.inner.acknowledge(through).await
    }
}

fn serve(store: &Arc<ViewStore>, projections: &[&str], gated: &Gated) -> Running {
    start_with(
        store,
        manifest(projections),
        &settings(),
        Arc::new(gated.clone()),
    )
}

/// A store whose accounts are at event 3,000, beside whatever else is served.
async fn served_before(folder: &Path, projections: &[&str]) -> (Arc<ViewStore>, MemorySource) {
    let (store, stream) = (store(folder), MemorySource::default());
    publish_through(&stream, 0, 3_000);
    let node = serve(&store, projections, &Gated::over(&stream, true));
    node.wait_for("the accounts", || floor(&store, "account") == 3_000)
        .await;
    node.stop().await;
    (store, stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_that_is_added_holds_up_nobody_and_is_read_with_the_others_when_it_is_near() {
    let folder = tempfile::tempdir().unwrap();
    let (store, stream) = served_before(folder.path(), &[ACCOUNT]).await;
    let gated = Gated::over(&stream, false);
    let node = serve(&store, &[COUNT, ACCOUNT], &gated);
    publish_through(&stream, 3_000, 3_100);
    let shown = || {
        let status = node.handle.status();
        let status = status.borrow();
        let account = status.projections.get(&of("account"));
        account.map_or(0, |account| account.floor)
    };
    node.wait_for("the accounts", || shown() == 3_100).await;
    node.wait_for("two deliveries", || gated.deliveries() == 2)
        .await;
    let status = node.handle.status().borrow().clone();
    assert_eq!(status.state, ShardState::Running);
    assert_eq!(status.pending, 0, "what is new does not count for all");
    assert_eq!(status.projections[&of("count")].floor, 0);

    gated.open();
    node.wait_for("one delivery of both", || gated.deliveries() == 1)
        .await;
    publish_through(&stream, 3_100, 3_200);
    let reached = |view_type| floor(&store, view_type) == 3_200;
    node.wait_for("both", || reached("count") && reached("account"))
        .await;
    assert_eq!(gated.deliveries(), 1);
    node.stop().await;
    assert_eq!(dump(&store, &table(1)), clean(1, 3_200).await);
    let counted = dump(&store, &of("count"));
    let views: Vec<u64> = counted
        .iter()
        .map(|(_, view)| serde_json::from_str::<serde_json::Value>(view).unwrap()["v"].as_u64())
        .map(|count| count.expect("a number"))
        .collect();
    assert_eq!(views.iter().sum::<u64>(), 3_200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_has_halted_long_ago_does_not_make_the_others_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, stream) = served_before(folder.path(), &[ACCOUNT, STRICT]).await;
    assert_eq!(floor(&store, "strict"), POISON - 1);
    let gated = Gated::over(&stream, false);
    let node = serve(&store, &[ACCOUNT, STRICT], &gated);
    publish_through(&stream, 3_000, 3_100);
    node.wait_for("the accounts", || floor(&store, "account") == 3_100)
        .await;
    gated.open();
    let strict = || {
        let status = node.handle.status();
        let status = status.borrow();
        let strict = status.projections.get(&of("strict"));
        strict.and_then(|strict| strict.blocked.clone())
    };
    node.wait_for("the poison", || strict().is_some()).await;
    assert!(matches!(
        strict(),
        Some(BlockedReason::Poison {
            sequence: POISON,
            ..
        })
    ));
    publish_through(&stream, 3_100, 3_200);
    node.wait_for("the accounts", || floor(&store, "account") == 3_200)
        .await;
    let state = node.handle.status().borrow().state.clone();
    assert_eq!(state, ShardState::Running);
    assert_eq!(floor(&store, "strict"), POISON - 1);
    node.stop().await;
}
