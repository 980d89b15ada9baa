//! Nodes whose storage, stream or tasks fail in the middle of what they do: tests of what becomes of the views then.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    Command, ExchangeLimits, Node, NodeHandle, NodeMode, Phase, RebuildError, Sources, begin,
    exchange, finish_exchange, records,
};
use crate::{
    manifest::{Projection, ProjectionManifest},
    program::dag::DagProgram,
    quarantine::PoisonPolicy,
    settings::Settings,
    storage::{FaultyDisk, Part, StorageError, StorageFault, ViewStore},
    stream::{Delivery, EventSource, MemorySource, ReceiveLimits, StreamError, StreamFacts},
    types::{GenerationState, Generations, Scope, ViewTable},
};

/// Far longer than anything here takes, so running out of it means that something hangs.
const HANGS_AFTER: Duration = Duration::from_secs(20);
/// So few that an exchange takes several pieces.
const PIECE: usize = 3;

fn manifest() -> ProjectionManifest {
    let program = r#"{"language": "dag/v1", "key": {"event": "aggregate_id"},
        "view": {"append": {"to": {"view": ""}, "cap": 99, "value": {"meta": "stream_seq"}}}}"#;
    let source = serde_json::from_str(program).expect("JSON");
    ProjectionManifest::of(vec![Projection {
        table: table(1),
        program: Arc::new(DagProgram::compile(&source, 10_000).expect("a program")),
        text: None,
        policy: PoisonPolicy::ParkKey,
        indexes: Vec::new(),
    }])
}

fn table(generation: u32) -> ViewTable {
    records::table(&"account".into(), generation)
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.rebuild.entries_max = PIECE;
    settings.rebuild.settled = Duration::from_millis(10);
    settings.breaker_pause = Duration::from_millis(2);
    settings
}

fn publish(stream: &MemorySource, events: u64) {
    for number in 0..events {
        let id = number % 20;
        let event = format!(
            r#"{{"aggregate_id":"a-{id}","aggregate_type":"account","event_type":"Seen","payload":0,"timestamp":""}}"#
        );
        stream.publish("ev", event);
    }
}

fn whole_tenant() -> Scope {
    Scope::Tenant {
        tenant: Settings::default().default_tenant,
    }
}

fn part() -> Command {
    Command::RebuildPart {
        projection: "account".to_owned(),
        scope: whole_tenant(),
    }
}

fn generations(store: &ViewStore) -> Generations {
    let found = store.snapshot().expect("it can be read");
    let found = found.generations(&"account".into());
    found.expect("it can be read").expect("they are there")
}

fn floor(store: &ViewStore) -> u64 {
    let stood = store.snapshot().ok();
    let stood = stood.and_then(|snapshot| snapshot.checkpoint(&table(1)).ok()?);
    stood.map_or(0, |stood| stood.floor)
}

fn dump(store: &ViewStore, table: &ViewTable) -> Vec<String> {
    let snapshot = store.snapshot().expect("a snapshot");
    let mut all = Vec::new();
    let visited = snapshot.entries(table, |key, view| {
        all.push(String::from_utf8_lossy(&[key, view].concat()).into_owned());
        ControlFlow::Continue(())
    });
    visited.expect("views");
    all
}

/// What a node makes of the same stream where nothing goes wrong.
async fn clean(stream: &MemorySource, until: u64) -> Vec<String> {
    let store = FaultyDisk::new().open();
    let node = Running::over(&store, Arc::new(super::MemorySources(stream.clone())));
    node.wait_for("a clean reading", || floor(&store) == until)
        .await;
    node.stop().await.expect("a clean end");
    dump(&store, &table(1))
}

struct Running {
    handle: NodeHandle,
    stop: CancellationToken,
    task: JoinHandle<Result<(), RebuildError>>,
}

impl Running {
    fn over(store: &Arc<ViewStore>, sources: Arc<dyn Sources>) -> Self {
        let (node, handle) = Node::new(
            manifest(),
            Arc::clone(store),
            sources,
            &settings(),
            NodeMode::Serving,
        );
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let task = tokio::spawn(async move { node.run(&stopping).await });
        Self { handle, stop, task }
    }

    async fn wait_for(&self, goal: &str, reached: impl Fn() -> bool) {
        let (mut status, mut progress) = (self.handle.status(), self.handle.progress());
        let waiting = async {
            while !reached() {
                tokio::select! {
                    changed = status.changed() => changed.expect("the node runs"),
                    changed = progress.changed() => changed.expect("the node runs"),
                    // What the store alone knows does not announce itself.
                    () = tokio::time::sleep(Duration::from_millis(10)) => {}
                }
            }
        };
        let waited = tokio::time::timeout(HANGS_AFTER, waiting).await;
        assert!(
            waited.is_ok(),
            "waited {HANGS_AFTER:?} for {goal}; the status is {:?}, the progress {:?}",
            self.handle.status().borrow(),
            self.handle.progress().borrow(),
        );
    }

    /// How the making of a generation has ended, where it has.
    fn ended(&self, generation: &str) -> Option<Phase> {
        let progress = self.handle.progress();
        let all = progress.borrow();
        let mut all = all.iter();
        let one = all.find(|one| one.generation == generation && one.phase.is_over());
        one.map(|one| one.phase.clone())
    }

    async fn ends(self) -> Result<(), RebuildError> {
        let ended = tokio::time::timeout(HANGS_AFTER, self.task).await;
        ended.expect("it ends in time").expect("no panic")
    }

    async fn stop(self) -> Result<(), RebuildError> {
        self.stop.cancel();
        self.ends().await
    }
}

/// How a source behaves that is not the stream alone.
#[derive(Clone, Copy, PartialEq)]
enum Behaviour {
    Well,
    Silent,
    Panics,
}

struct Behaving {
    stream: MemorySource,
    behaviour: Behaviour,
}

#[async_trait]
impl EventSource for Behaving {
    async fn facts(&mut self, floor: u64) -> Result<StreamFacts, StreamError> {
        self.stream.facts(floor).await
    }

    async fn start(&mut self, from: u64) -> Result<(), StreamError> {
        self.stream.start(from).await
    }

    async fn receive(&mut self, limits: &ReceiveLimits) -> Result<Vec<Delivery>, StreamError> {
        match self.behaviour {
            Behaviour::Well => self.stream.receive(limits).await,
            Behaviour::Silent => {
                tokio::time::sleep(limits.idle).await;
                Ok(Vec::new())
            }
            Behaviour::Panics => panic!("told to panic"),
        }
    }

    async fn pending(&mut self) -> Result<u64, StreamError> {
        self.stream.pending().await
    }

    async fn acknowledge(&mut self, through: u64) -> Result<(), StreamError> {
        self.stream.acknowledge(through).await
    }
}

/// Sources of which each replay is told what happens when it is asked for.
struct Told<F> {
    stream: MemorySource,
    served: Behaviour,
    replays: AtomicU32,
    at_replay: F,
}

impl<F> Told<F> {
    fn over(stream: &MemorySource, at_replay: F) -> Self {
        Self {
            stream: stream.clone(),
            served: Behaviour::Well,
            replays: AtomicU32::default(),
            at_replay,
        }
    }
}

#[async_trait]
impl<F: Fn(u32) -> Behaviour + Send + Sync> Sources for Told<F> {
    async fn served(&self) -> Result<Box<dyn EventSource>, StreamError> {
        Ok(Box::new(Behaving {
            stream: self.stream.clone(),
            behaviour: self.served,
        }))
    }

    async fn replay(&self) -> Result<Box<dyn EventSource>, StreamError> {
        let behaviour = (self.at_replay)(self.replays.fetch_add(1, Ordering::Relaxed) + 1);
        Ok(Box::new(Behaving {
            stream: self.stream.clone(),
            behaviour,
        }))
    }
}

/// The replay that an exchange waits for: the one before it has brought the side near.
const THE_LAST: u32 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_to_what_is_served_before_an_exchange_that_failed_half_way_is_finished()
{
    let (disk, stream) = (FaultyDisk::new(), MemorySource::default());
    let store = disk.open();
    publish(&stream, 600);
    let (failing, more) = (Arc::clone(&disk), stream.clone());
    let sources = Told::over(&stream, move |replay| {
        if replay == THE_LAST {
            // What is served stands still by now: the journal and one piece are written, and then nothing for a while.
            (2..10).for_each(|write| failing.fail_write_after(write, StorageFault::Transient));
            publish(&more, 200);
        }
        Behaviour::Well
    });
    let node = Running::over(&store, Arc::new(sources));
    node.wait_for("the first events", || floor(&store) == 600)
        .await;
    spoil(&store, 600);
    let begun = node.handle.ask(part()).await.unwrap();
    node.wait_for("something after the exchange", || floor(&store) > 600)
        .await;
    assert_eq!(generations(&store).exchange, None);
    node.wait_for("the exchange to be said to be over", || {
        node.ended(&begun.generation) == Some(Phase::Done)
    })
    .await;
    node.wait_for("the later events", || floor(&store) == 800)
        .await;
    node.stop().await.unwrap();
    assert_eq!(dump(&store, &table(1)), clean(&stream, 800).await);
}

/// Adds views that no event has made, before and behind all others.
fn spoil(store: &ViewStore, floor: u64) {
    let stood = store.snapshot().unwrap().checkpoint(&table(1)).unwrap();
    let mut part = Part::new(table(1), Some(floor), stood.unwrap());
    for id in ["Nobody", "nobody"] {
        let tenant = Settings::default().default_tenant;
        let key = crate::types::ViewKey::new(tenant, "account".into(), id.into()).unwrap();
        part.put(&key, Some(br#"{"v":[],"s":1,"n":1,"p":"?"}"#.to_vec()));
    }
    store.commit(&part.into()).unwrap();
}

/// A store with a side at the same event, and an exchange that has failed behind its first piece.
async fn half_exchanged(disk: &Arc<FaultyDisk>, stream: &MemorySource) -> Arc<ViewStore> {
    let store = disk.open();
    publish(stream, 100);
    let node = Running::over(&store, Arc::new(super::MemorySources(stream.clone())));
    node.wait_for("all events", || floor(&store) == 100).await;
    node.stop().await.unwrap();
    let side = begin_side(&store);
    disk.fail_write_after(2, StorageFault::Transient);
    let limits = ExchangeLimits { entries_max: PIECE };
    let failed = exchange(&store, &"account".into(), side.generation, 100, limits);
    assert!(
        matches!(failed, Err(RebuildError::Unfinished { .. })),
        "{failed:?}"
    );
    store
}

fn begin_side(store: &ViewStore) -> ViewTable {
    let state = GenerationState::Side {
        scope: whole_tenant(),
    };
    let side = begin(store, &manifest().projections()[0], state, 1).unwrap();
    let stood = store.snapshot().unwrap().checkpoint(&table(1)).unwrap();
    let part = Part::new(side.clone(), None, stood.unwrap());
    store.commit(&part.into()).unwrap();
    side
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_is_pending_is_not_begun_over() {
    let (disk, stream) = (FaultyDisk::new(), MemorySource::default());
    let store = half_exchanged(&disk, &stream).await;
    let pending = generations(&store).exchange;
    let another = begin_side(&store);
    let limits = ExchangeLimits { entries_max: PIECE };
    let refused = exchange(&store, &"account".into(), another.generation, 100, limits);
    assert!(
        matches!(refused, Err(RebuildError::Exchanging { .. })),
        "{refused:?}"
    );
    assert_eq!(generations(&store).exchange, pending);
    finish_exchange(&store, &"account".into(), limits).unwrap();
    assert_eq!(dump(&store, &table(1)), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_itself_takes_nothing_for_what_is_served_while_an_exchange_is_pending() {
    let (disk, stream) = (FaultyDisk::new(), MemorySource::default());
    let store = half_exchanged(&disk, &stream).await;
    let stood = store.snapshot().unwrap().checkpoint(&table(1)).unwrap();
    let later = stood.unwrap().advanced(101, 1);
    let refused = store.commit(&Part::new(table(1), Some(100), later).into());
    assert!(
        matches!(&refused, Err(StorageError::Exchanging { table: found }) if *found == table(1)),
        "{refused:?}"
    );
    assert_eq!(floor(&store), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_storage_cannot_be_read_for_a_while_goes_on() {
    let (disk, stream) = (FaultyDisk::new(), MemorySource::default());
    let store = disk.open();
    publish(&stream, 50);
    let sources = super::MemorySources(stream.clone());
    let node = Running::over(&store, Arc::new(sources));
    node.wait_for("the first events", || floor(&store) == 50)
        .await;
    for read in 0..40 {
        disk.fail_read_after(read);
    }
    publish(&stream, 50);
    node.wait_for("the later events", || floor(&store) == 100)
        .await;
    node.stop().await.expect("nothing but a pause");
}

#[test]
fn views_that_are_made_again_in_place_are_made_of_all_there_is() {
    let store = FaultyDisk::new().open();
    let manifest = manifest();
    let projection = &manifest.projections()[0];
    records::adopt(&store, projection, 1).unwrap();
    let later = begin(&store, projection, GenerationState::Shadow, 101).unwrap();
    super::cut_over(&store, &later, u64::MAX, std::time::SystemTime::now()).unwrap();
    assert_eq!(generations(&store).kept[&later.generation].from, 101);
    super::rebuild_in_place(&store, projection).unwrap();
    assert_eq!(generations(&store).kept[&later.generation].from, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_served_task_panics_ends_and_says_so() {
    let store = FaultyDisk::new().open();
    let stream = MemorySource::default();
    publish(&stream, 5);
    let mut sources = Told::over(&stream, |_| Behaviour::Well);
    sources.served = Behaviour::Panics;
    let node = Running::over(&store, Arc::new(sources));
    let ended = node.ends().await;
    assert!(
        matches!(ended, Err(RebuildError::Panicked { .. })),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_stops_in_the_middle_of_the_replay_that_an_exchange_waits_for() {
    let store = FaultyDisk::new().open();
    let stream = MemorySource::default();
    publish(&stream, 600);
    let asked = CancellationToken::new();
    let (more, last) = (stream.clone(), asked.clone());
    let sources = Told::over(&stream, move |replay| {
        if replay < THE_LAST {
            // So that there is something left to replay.
            publish(&more, 10);
            return Behaviour::Well;
        }
        last.cancel();
        Behaviour::Silent
    });
    let node = Running::over(&store, Arc::new(sources));
    node.wait_for("the first events", || floor(&store) == 600)
        .await;
    node.handle.ask(part()).await.unwrap();
    let came_there = tokio::time::timeout(HANGS_AFTER, asked.cancelled()).await;
    came_there.expect("the last replay begins");
    node.stop().await.expect("a clean end");
}
