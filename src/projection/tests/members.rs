//! Members: nodes as processes that share shards under load, and whether all their views together are right.
#![allow(dead_code, reason = "each test uses a part of it")]

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

#[path = "accounts.rs"]
pub(crate) mod accounts;
#[path = "nats.rs"]
pub(crate) mod nats;

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
pub(crate) const WITHIN: Duration = Duration::from_mins(1);
pub(crate) const TTL: Duration = Duration::from_secs(2);
/// How many events a commit holds.
pub(crate) const BATCH: u64 = 20;

pub(crate) const MANIFEST: &str = "projections:
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
pub(crate) struct Place {
    pub(crate) nats: Nats,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) shards: u32,
    pub(crate) subjects: String,
}

impl Place {
    pub(crate) async fn new(shards: u32) -> Option<Self> {
        let nats = Nats::start(&servers().into_iter().next()?);
        nats.stream(RetentionPolicy::Limits).await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("manifest.yaml"), MANIFEST).unwrap();
        Some(Self {
            nats,
            folder,
            shards,
            subjects: String::new(),
        })
    }

    pub(crate) fn folder_of(&self, node: &str) -> PathBuf {
        self.folder.path().join(node)
    }

    pub(crate) fn settings(&self, node: &str, storage: &Path) -> PathBuf {
        let text = format!(
            "nats_url: {}\nstream: {STREAM}\nsubjects: [{}]\nstorage_path: {}\nmanifest: {}\nbatch_events_max: {BATCH}\nheartbeat: 500ms\nshards: {}\nleases: {STREAM}\nnode: {node}\nnode_address: http://{node}\nlease_ttl: {}ms\nhttp_listen: none\n",
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

    pub(crate) fn start(&self, node: &'static str) -> Node {
        self.start_on(node, &self.folder_of(node))
    }

    pub(crate) fn start_on(&self, node: &'static str, storage: &Path) -> Node {
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

    pub(crate) fn log(&self, node: &str) -> PathBuf {
        self.folder.path().join(format!("{node}.log"))
    }

    pub(crate) async fn owners(&self) -> Owners {
        let board = NatsBoard::connect(&self.nats.url(), &STREAM).await.unwrap();
        board
            .read()
            .await
            .map(|posted| survey(self.shards, &posted))
            .unwrap_or_default()
    }

    /// Waits until these nodes, and no others, have all shards, each its even share.
    pub(crate) async fn owned_evenly_by(&self, nodes: &[&str]) -> Owners {
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

    pub(crate) fn logs(&self, nodes: &[&str]) -> String {
        let logs = nodes
            .iter()
            .map(|node| std::fs::read_to_string(self.log(node)).unwrap_or_default());
        logs.collect::<Vec<_>>().join("\n--\n")
    }

    pub(crate) fn store_of(&self, node: &str, shard: ShardId) -> PathBuf {
        if self.shards == 1 {
            return self.folder_of(node);
        }
        self.folder_of(node).join(format!("shard-{shard}"))
    }

    /// Where a node is with a shard, as its store says.
    pub(crate) fn floor(&self, node: &str, shard: ShardId) -> u64 {
        let folder = self.store_of(node, shard);
        let Ok(store) = ViewStore::open_to_read(&folder) else {
            return 0;
        };
        let snapshot = store.snapshot().unwrap();
        let checkpoint = snapshot.checkpoint(&table("account")).unwrap();
        checkpoint.map_or(0, |checkpoint| checkpoint.floor)
    }

    /// Waits until every shard is at `last` on its owner.
    pub(crate) async fn all_at(&self, last: u64, nodes: &[&str]) -> Owners {
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
    pub(crate) fn views(&self, owners: &Owners) -> BTreeMap<String, String> {
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
    pub(crate) async fn clean_replay(&self, last: u64) -> BTreeMap<String, String> {
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

    pub(crate) async fn assert_whole(&self, owners: &Owners, last: u64) {
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
pub(crate) struct Node {
    pub(crate) name: &'static str,
    pub(crate) child: Child,
}

impl Node {
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn leave(mut self) {
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
pub(crate) struct Load {
    pub(crate) task: JoinHandle<u64>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) count: Arc<AtomicU64>,
}

impl Load {
    pub(crate) fn start(context: Context, subject: fn(u64) -> String) -> Self {
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
    pub(crate) async fn goes_on(&self, more: u64) {
        let wanted = self.count.load(Ordering::Relaxed) + more;
        let begun = Instant::now();
        while self.count.load(Ordering::Relaxed) < wanted {
            assert!(begun.elapsed() < WITHIN, "nothing is published");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

pub(crate) fn to_any_subject(number: u64) -> String {
    nats::subject(format!("0.{number}"))
}

impl Place {
    pub(crate) async fn all_at_of(&self, last: u64, node: &str) -> Owners {
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

pub(crate) async fn wait_for_owner(place: &Place, node: &str) -> Owners {
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

pub(crate) async fn wait_for_log(place: &Place, node: &str, words: &str) {
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
