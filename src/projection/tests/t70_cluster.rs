//! Nodes that share a stream, as processes on a real server: killed, paused, joined by others and sent away under load.
//!
//! Each test ends with the same question: are the views of all shards together, byte by byte, those of one node that reads the stream from its beginning?

mod accounts;
mod nats;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use accounts::{deposit, dump, run_until, store, table};
use async_nats::jetstream::{Context, stream::RetentionPolicy};
use nats::{Nats, STREAM, servers};
use projection::{
    lease::{LeaseBoard, NatsBoard, Owners, survey},
    manifest::ProjectionManifest,
    settings::{Durability, Settings},
    shards::ShardId,
    storage::ViewStore,
    stream::JetStreamSource,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::JoinHandle;

/// Far longer than anything here takes, so running out of it means that it does not happen.
const WITHIN: Duration = Duration::from_mins(1);
const TTL: Duration = Duration::from_secs(2);
/// How many events a commit holds.
const BATCH: u64 = 20;
const BUCKET: &str = "shards";

const MANIFEST: &str = "projections:
- view_type: account
  poison: halt
  program:
    language: dag/v1
    key: {event: aggregate_id}
    view:
      object:
        balance: {add: [{coalesce: [{view: balance}, 0]}, {event: payload.amount}]}
        applied: {append: {to: {view: applied}, value: {meta: stream_seq}, cap: 10000}}
";

/// A place for nodes on one server.
struct Place {
    nats: Nats,
    folder: tempfile::TempDir,
    shards: u32,
    subjects: &'static str,
}

impl Place {
    async fn new(shards: u32) -> Option<Self> {
        let nats = Nats::start(&servers().into_iter().next()?);
        nats.stream(RetentionPolicy::Limits).await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("manifest.yaml"), MANIFEST).unwrap();
        Some(Self {
            nats,
            folder,
            shards,
            subjects: "",
        })
    }

    fn folder_of(&self, node: &str) -> PathBuf {
        self.folder.path().join(node)
    }

    fn settings(&self, node: &str, storage: &Path) -> PathBuf {
        let text = format!(
            "nats_url: {}\nstream: {STREAM}\nsubjects: [{}]\nstorage_path: {}\nmanifest: {}\nbatch_events_max: {BATCH}\nheartbeat: 500ms\nshards: {}\nleases: {BUCKET}\nnode: {node}\nnode_address: http://{node}\nlease_ttl: {}ms\nhttp_listen: none\n",
            self.nats.url(),
            self.subjects,
            storage.display(),
            self.folder.path().join("manifest.yaml").display(),
            self.shards,
            TTL.as_millis(),
        );
        let file = self.folder.path().join(format!("{node}.yaml"));
        std::fs::write(&file, text).unwrap();
        file
    }

    fn start(&self, node: &'static str) -> Node {
        self.start_on(node, &self.folder_of(node))
    }

    fn start_on(&self, node: &'static str, storage: &Path) -> Node {
        let child = Command::new(env!("CARGO_BIN_EXE_projection"))
            .arg("--settings")
            .arg(self.settings(node, storage))
            .arg("run")
            .env("RUST_LOG", "info,async_nats=warn")
            .stderr(std::fs::File::create(self.log(node)).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Node { name: node, child }
    }

    fn log(&self, node: &str) -> PathBuf {
        self.folder.path().join(format!("{node}.log"))
    }

    async fn owners(&self) -> Owners {
        let board = NatsBoard::connect(&self.nats.url(), BUCKET).await.unwrap();
        board
            .read()
            .await
            .map(|posted| survey(self.shards, &posted))
            .unwrap_or_default()
    }

    /// Waits until these nodes, and no others, have all shards, each its even share.
    async fn owned_evenly_by(&self, nodes: &[&str]) -> Owners {
        let begun = Instant::now();
        loop {
            let owners = self.owners().await;
            let mut counts: BTreeMap<&str, usize> = nodes.iter().map(|node| (*node, 0)).collect();
            for owner in owners.values() {
                *counts.entry(owner.member.node.as_str()).or_default() += 1;
            }
            let even = counts.values().max().unwrap() - counts.values().min().unwrap() <= 1;
            if even && owners.len() == self.shards as usize && counts.len() == nodes.len() {
                return owners;
            }
            assert!(
                begun.elapsed() < WITHIN,
                "{counts:?} of {}, and not evenly by {nodes:?}\n{}",
                owners.len(),
                self.logs(nodes)
            );
        }
    }

    fn logs(&self, nodes: &[&str]) -> String {
        let logs = nodes
            .iter()
            .map(|node| std::fs::read_to_string(self.log(node)).unwrap_or_default());
        logs.collect::<Vec<_>>().join("\n--\n")
    }

    fn store_of(&self, node: &str, shard: ShardId) -> PathBuf {
        if self.shards == 1 {
            return self.folder_of(node);
        }
        self.folder_of(node).join(format!("shard-{shard}"))
    }

    /// Where a node is with a shard, as its store says.
    fn floor(&self, node: &str, shard: ShardId) -> u64 {
        let folder = self.store_of(node, shard);
        let Ok(store) = ViewStore::open_to_read(&folder) else {
            return 0;
        };
        let snapshot = store.snapshot().unwrap();
        let checkpoint = snapshot.checkpoint(&table("account")).unwrap();
        checkpoint.map_or(0, |checkpoint| checkpoint.floor)
    }

    /// Waits until every shard is at `last` on its owner.
    async fn all_at(&self, last: u64, nodes: &[&str]) -> Owners {
        let begun = Instant::now();
        loop {
            let owners = self.owned_evenly_by(nodes).await;
            let at = |(shard, owner): (&ShardId, &projection::lease::Owner)| {
                self.floor(&owner.member.node, *shard) == last
            };
            if owners.iter().all(at) {
                return owners;
            }
            assert!(
                begun.elapsed() < WITHIN,
                "not all are at {last}\n{}",
                self.logs(nodes)
            );
        }
    }

    /// The views of all shards, each from its owner.
    fn views(&self, owners: &Owners) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for (shard, owner) in owners {
            let store =
                ViewStore::open_to_read(&self.store_of(&owner.member.node, *shard)).unwrap();
            for (key, view) in dump(&store, "account") {
                assert!(
                    all.insert(key.clone(), view).is_none(),
                    "{key} is in two shards"
                );
            }
        }
        all
    }

    /// The views of one node that reads the stream from its beginning.
    async fn clean_replay(&self, last: u64) -> BTreeMap<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), Durability::Commit);
        let mut settings = Settings::default();
        settings.nats_url = self.nats.url();
        STREAM.clone_into(&mut settings.stream);
        let file = self.folder.path().join("manifest.yaml");
        let manifest = ProjectionManifest::load(&file, 100_000).unwrap();
        let mut source = JetStreamSource::connect(&settings).await.unwrap();
        run_until(&store, &manifest, &settings, &mut source, |status| {
            status.has_reached(last)
        })
        .await;
        dump(&store, "account").into_iter().collect()
    }

    async fn assert_whole(&self, owners: &Owners, last: u64) {
        let views = self.views(owners);
        assert!(views.len() > 1);
        let clean = self.clean_replay(last).await;
        let other: Vec<_> = clean
            .iter()
            .filter(|(key, view)| views.get(*key) != Some(view))
            .collect();
        assert!(
            other.is_empty(),
            "of {} views, these should be: {other:?}",
            views.len()
        );
        assert_eq!(views.len(), clean.len());
    }
}

/// A node that runs until it is dropped.
struct Node {
    name: &'static str,
    child: Child,
}

impl Node {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn leave(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.name);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Publishes until it is ended.
struct Load {
    task: JoinHandle<u64>,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
}

impl Load {
    fn start(context: Context, subject: fn(u64) -> String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicU64::new(0));
        let (stopping, counting) = (Arc::clone(&stop), Arc::clone(&count));
        let task = tokio::spawn(async move {
            let mut last = 0;
            for number in 0.. {
                if stopping.load(Ordering::Relaxed) {
                    break;
                }
                let payload = deposit(&format!("a-{}", number % 101), 1);
                // A server that is away takes it later, or it never was.
                if let Ok(acknowledged) = context.publish(subject(number), payload.into()).await
                    && let Ok(acknowledged) = acknowledged.await
                {
                    last = acknowledged.sequence;
                    counting.fetch_add(1, Ordering::Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            last
        });
        Self { task, stop, count }
    }

    /// Waits until `more` have been published.
    async fn goes_on(&self, more: u64) {
        let wanted = self.count.load(Ordering::Relaxed) + more;
        let begun = Instant::now();
        while self.count.load(Ordering::Relaxed) < wanted {
            assert!(begun.elapsed() < WITHIN, "nothing is published");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

fn to_any_subject(number: u64) -> String {
    format!("ev.0.{number}")
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_of_nodes_that_are_killed_joined_and_sent_away_under_load_lose_and_double_nothing() {
    let Some(place) = Place::new(6).await else {
        return;
    };
    let load = Load::start(place.nats.context().await, to_any_subject);
    let (a, b, c) = (place.start("a"), place.start("b"), place.start("c"));
    place.owned_evenly_by(&["a", "b", "c"]).await;
    load.goes_on(200).await;

    let killed = Instant::now();
    b.kill();
    let owners = place.owned_evenly_by(&["a", "c"]).await;
    println!("killed: moved after {:?}", killed.elapsed());
    assert!(
        killed.elapsed() > TTL / 3,
        "a lease is good until it has run out"
    );
    let moved = owners.values().filter(|owner| owner.epoch > 1).count();
    assert!(moved >= 2, "{owners:?}");

    load.goes_on(200).await;
    let joined = Instant::now();
    let d = place.start("d");
    place.owned_evenly_by(&["a", "c", "d"]).await;
    println!("joined: shared after {:?}", joined.elapsed());

    load.goes_on(200).await;
    let left = Instant::now();
    a.leave();
    place.owned_evenly_by(&["c", "d"]).await;
    println!("left: moved after {:?}", left.elapsed());

    let last = load.end().await;
    let owners = place.all_at(last, &["c", "d"]).await;
    c.leave();
    d.leave();
    assert!(place.owners().await.is_empty(), "all were let go");
    place.assert_whole(&owners, last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_slept_past_its_lease_commits_nothing_when_it_wakes_up() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    let shard = ShardId::default();
    let load = Load::start(place.nats.context().await, to_any_subject);
    let a = place.start("a");
    place.owned_evenly_by(&["a"]).await;
    let b = place.start("b");
    load.goes_on(200).await;
    for (owner, name, other) in [(&a, "a", "b"), (&b, "b", "a")] {
        load.goes_on(100).await;
        owner.signal(Signal::STOP);
        let owners = wait_for_owner(&place, other).await;
        let asleep = place.floor(name, shard);
        assert!(asleep > 0);
        let epoch = owners[&shard].epoch;
        load.goes_on(200).await;
        owner.signal(Signal::CONT);
        wait_for_log(&place, name, "lost: the lease was not renewed in time").await;
        load.goes_on(200).await;
        // A commit that was past its last check when the node fell asleep is finished, in a store that nobody else writes. Nothing comes behind it.
        let awake = place.floor(name, shard);
        assert!(
            awake <= asleep + BATCH,
            "{name} wrote {asleep} to {awake} without a lease"
        );
        load.goes_on(200).await;
        assert_eq!(place.floor(name, shard), awake, "{name} goes on");
        assert_eq!(wait_for_owner(&place, other).await[&shard].epoch, epoch);
    }
    let last = load.end().await;
    let owners = place.all_at_of(last, "a").await;
    b.leave();
    a.leave();
    place.assert_whole(&owners, last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_on_one_folder_never_write_side_by_side() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    let shard = ShardId::default();
    let storage = place.folder_of("a");
    let load = Load::start(place.nats.context().await, to_any_subject);
    let a = place.start_on("a", &storage);
    place.owned_evenly_by(&["a"]).await;
    let b = place.start_on("b", &storage);
    load.goes_on(200).await;
    a.signal(Signal::STOP);
    wait_for_owner(&place, "b").await;
    let asleep = place.floor("a", shard);
    // The lease is b's, and the folder still a's.
    wait_for_log(&place, "b", "is owned by a running node").await;
    assert_eq!(place.floor("a", shard), asleep);
    a.signal(Signal::CONT);
    load.goes_on(200).await;
    let last = load.end().await;
    let begun = Instant::now();
    while place.floor("a", shard) < last {
        assert!(begun.elapsed() < WITHIN, "{}", place.logs(&["a", "b"]));
    }
    let mut owners = wait_for_owner(&place, "b").await;
    a.leave();
    b.leave();
    // Both have the folder that is called after a.
    for owner in owners.values_mut() {
        "a".clone_into(&mut owner.member.node);
    }
    place.assert_whole(&owners, last).await;
    assert_eq!(
        store(&storage, Durability::Commit).epoch().unwrap(),
        owners[&shard].epoch
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_under_several_nodes_loses_and_doubles_nothing() {
    let Some(mut place) = Place::new(4).await else {
        return;
    };
    let (a, b) = (place.start("a"), place.start("b"));
    place.owned_evenly_by(&["a", "b"]).await;
    let mut last = 0;
    for _ in 0..3 {
        let load = Load::start(place.nats.context().await, to_any_subject);
        load.goes_on(100).await;
        place.nats.kill_and_restart();
        last = load.end().await.max(last);
    }
    let load = Load::start(place.nats.context().await, to_any_subject);
    load.goes_on(10).await;
    last = load.end().await.max(last);
    let owners = place.all_at(last, &["a", "b"]).await;
    a.leave();
    b.leave();
    place.assert_whole(&owners, last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_subject_lets_the_server_leave_out_what_is_of_other_shards() {
    let Some(mut place) = Place::new(3).await else {
        return;
    };
    place.subjects = "'ev.{shard}.>'";
    // All events of one account have the same token, as the publisher must see to.
    let load = Load::start(place.nats.context().await, |number| {
        format!("ev.{}.x", shard_of(number))
    });
    let (a, b) = (place.start("a"), place.start("b"));
    place.owned_evenly_by(&["a", "b"]).await;
    load.goes_on(100).await;
    let last = load.end().await;
    // Each shard ends at the last event of its own.
    let last_of = |shard: u32| {
        (1..=last)
            .rev()
            .find(|sequence| shard_of(sequence - 1) == u64::from(shard))
    };
    let begun = Instant::now();
    let owners = loop {
        let owners = place.owned_evenly_by(&["a", "b"]).await;
        let ended = owners.iter().all(|(shard, owner)| {
            Some(place.floor(&owner.member.node, *shard)) == last_of(shard.number())
        });
        if ended {
            break owners;
        }
        assert!(begun.elapsed() < WITHIN, "{}", place.logs(&["a", "b"]));
    };
    a.leave();
    b.leave();
    place.assert_whole(&owners, last).await;
}

/// The shard of the event `number`, counted from 0.
fn shard_of(number: u64) -> u64 {
    number % 101 % 3
}

impl Place {
    async fn all_at_of(&self, last: u64, node: &str) -> Owners {
        let begun = Instant::now();
        loop {
            let owners = wait_for_owner(self, node).await;
            if owners.keys().all(|shard| self.floor(node, *shard) == last) {
                return owners;
            }
            assert!(begun.elapsed() < WITHIN, "{}", self.logs(&[node]));
        }
    }
}

async fn wait_for_owner(place: &Place, node: &str) -> Owners {
    let begun = Instant::now();
    loop {
        let owners = place.owners().await;
        if !owners.is_empty() && owners.values().all(|owner| owner.member.node == node) {
            return owners;
        }
        assert!(
            begun.elapsed() < WITHIN,
            "{node} does not own it: {owners:?}\n{}",
            place.logs(&[node])
        );
    }
}

async fn wait_for_log(place: &Place, node: &str, words: &str) {
    let begun = Instant::now();
    while !place.logs(&[node]).contains(words) {
        assert!(
            begun.elapsed() < WITHIN,
            "{words:?} is not in\n{}",
            place.logs(&[node])
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
