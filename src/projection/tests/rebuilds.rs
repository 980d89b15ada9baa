//! Rebuilds: numbered events of three tenants, two versions of a program over them, and nodes in memory.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::{ops::ControlFlow, path::Path, sync::Arc, time::Duration};

use projection::{
    manifest::ProjectionManifest,
    pipeline::{Shard, ShardOptions},
    rebuild::{Command, Done, MemorySources, Node, NodeHandle, NodeMode, RebuildError, Sources},
    settings::{Durability, Engine, Settings},
    storage::{StoreOptions, ViewStore},
    stream::MemorySource,
    types::{Generations, TenantId, ViewTable},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Far longer than anything here takes, so running out of it means that something hangs.
pub(crate) const HANGS_AFTER: Duration = Duration::from_mins(1);

/// The event `number`, which is the same whenever it is published.
pub(crate) fn event(number: u64) -> String {
    let account = number.wrapping_mul(7_919) % 41;
    let tenant = number % 3;
    // Some cannot be applied, and park their keys.
    let amount = if number.is_multiple_of(997) {
        "\"much\"".to_owned()
    } else {
        (number % 100).to_string()
    };
    format!(
        r#"{{"tenant_id":"t-{tenant}","aggregate_id":"a-{account}","aggregate_type":"account","event_type":"Deposited","payload":{{"amount":{amount}}},"timestamp":"2026-01-01T00:00:00Z"}}"#
    )
}

/// Publishes the events up to `through` that the stream does not have yet.
pub(crate) fn publish_through(source: &MemorySource, published: u64, through: u64) {
    for number in published + 1..=through {
        source.publish("ev", event(number));
    }
}

/// Accounts by the program of `version`, at `generation`.
pub(crate) fn manifest(version: u64, generation: u32) -> ProjectionManifest {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("manifest.yaml");
    let text = format!(
        "projections:
- view_type: account
  generation: {generation}
  program:
    language: dag/v1
    key: {{event: aggregate_id}}
    view:
      object:
        version: {version}
        balance: {{add: [{{coalesce: [{{view: balance}}, 0]}}, {{event: payload.amount}}]}}
        last: {{meta: stream_seq}}
"
    );
    std::fs::write(&file, text).expect("a file");
    ProjectionManifest::load(&file, 100_000).expect("a manifest")
}

/// Small batches, and no patience.
pub(crate) fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.multi_tenant = true;
    settings.batch.events_max = 50;
    settings.catch_up.events_max = 50;
    settings.rebuild.batch.events_max = 150;
    settings.rebuild.lag_max = 100;
    settings.rebuild.settled = Duration::from_millis(20);
    settings.rebuild.entries_max = 10;
    settings
}

pub(crate) fn table(generation: u32) -> ViewTable {
    ViewTable {
        view_type: "account".into(),
        generation,
    }
}

pub(crate) fn store(folder: &Path) -> Arc<ViewStore> {
    let options = StoreOptions {
        engine: Engine::Mdbx,
        bytes_max: 1 << 30,
        durability: Durability::Commit,
    };
    Arc::new(ViewStore::open(folder, options).expect("a store"))
}

/// All bytes of a generation.
pub(crate) fn dump(store: &ViewStore, table: &ViewTable) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let snapshot = store.snapshot().expect("a snapshot");
    let visited = snapshot.entries(table, |key, value| {
        all.push((text(key), text(value)));
        ControlFlow::Continue(())
    });
    visited.expect("views");
    all
}

/// What is served now, and where it stands; the first generation at 0 before there is any.
pub(crate) fn served(store: &ViewStore) -> (ViewTable, u64) {
    let snapshot = store.snapshot().expect("a snapshot");
    let found = snapshot.served_table(&"account".into());
    let table = found
        .expect("the alias can be read")
        .unwrap_or_else(|| table(1));
    let floor = snapshot.checkpoint(&table).expect("a checkpoint");
    (table, floor.map_or(0, |checkpoint| checkpoint.floor))
}

/// All bytes that the program of `version` makes of the first `floor` events, in one clean reading by a shard alone.
pub(crate) async fn clean(version: u64, floor: u64) -> Vec<(String, String)> {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    let source = MemorySource::default();
    publish_through(&source, 0, floor);
    let mut settings = settings();
    settings.batch.events_max = 100_000;
    settings.catch_up.events_max = 100_000;
    let shard = Shard::new(
        manifest(version, 1),
        Arc::clone(&store),
        ShardOptions::of(&settings),
    );
    let (stop, mut status) = (CancellationToken::new(), shard.status());
    let reached = async {
        if floor > 0 {
            let _ = status.wait_for(|status| status.has_reached(floor)).await;
        }
        stop.cancel();
    };
    let mut source = source;
    tokio::join!(shard.run(&mut source, &stop), reached);
    dump(&store, &table(1))
}

/// A node that runs until it is stopped.
pub(crate) struct Running {
    pub(crate) handle: NodeHandle,
    stop: CancellationToken,
    task: JoinHandle<Result<(), RebuildError>>,
}

pub(crate) fn start(
    store: &Arc<ViewStore>,
    manifest: ProjectionManifest,
    settings: &Settings,
    source: &MemorySource,
) -> Running {
    let sources = Arc::new(MemorySources(source.clone()));
    start_with(store, manifest, settings, sources)
}

pub(crate) fn start_with(
    store: &Arc<ViewStore>,
    manifest: ProjectionManifest,
    settings: &Settings,
    sources: Arc<dyn Sources>,
) -> Running {
    let (node, handle) = Node::new(
        manifest,
        Arc::clone(store),
        sources,
        settings,
        NodeMode::Serving,
    );
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let task = tokio::spawn(async move { node.run(&stopping).await });
    Running { handle, stop, task }
}

/// A rebuild of the events behind `from`.
pub(crate) fn rebuild_from(from: u64) -> Command {
    Command::Rebuild {
        projection: "account".to_owned(),
        from,
        id: None,
    }
}

pub(crate) fn rollback() -> Command {
    Command::Rollback {
        projection: "account".to_owned(),
        from: None,
    }
}

pub(crate) fn cutover(projection: &str) -> Command {
    Command::Cutover {
        projection: projection.to_owned(),
    }
}

pub(crate) fn retire(generation: u32) -> Command {
    Command::Retire {
        generation: format!("account@{generation}"),
    }
}

/// What the store says of the accounts.
pub(crate) fn generations(store: &ViewStore) -> Generations {
    let found = store.snapshot().expect("a snapshot");
    let found = found.generations(&"account".into());
    found.expect("it can be read").expect("they are there")
}

impl Running {
    pub(crate) async fn ask(&self, command: Command) -> Result<Done, RebuildError> {
        self.handle.ask(command).await
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("no panic").expect("a clean end");
    }

    /// Waits until `reached` holds of the store, which is asked whenever something happens.
    #[track_caller]
    pub(crate) fn wait_for(
        &self,
        goal: &str,
        reached: impl Fn() -> bool,
    ) -> impl Future<Output = ()> {
        let (mut status, mut progress) = (self.handle.status(), self.handle.progress());
        let goal = goal.to_owned();
        async move {
            let waiting = async {
                while !reached() {
                    tokio::select! {
                        changed = status.changed() => changed.expect("the node runs"),
                        changed = progress.changed() => changed.expect("the node runs"),
                        // What the store alone knows does not announce itself.
                        () = tokio::time::sleep(Duration::from_millis(20)) => {}
                    }
                }
            };
            let waited = tokio::time::timeout(HANGS_AFTER, waiting).await;
            assert!(
                waited.is_ok(),
                "waited {HANGS_AFTER:?} for {goal}; the progress is {:?}",
                progress.borrow()
            );
        }
    }

    pub(crate) async fn wait_for_floor(&self, store: &ViewStore, floor: u64) {
        self.wait_for(&format!("event {floor}"), || served(store).1 >= floor)
            .await;
    }
}

/// The entries of one tenant.
pub(crate) fn of_tenant(all: &[(String, String)], tenant: &TenantId) -> Vec<(String, String)> {
    let prefix = format!("{tenant}:");
    let mine = all.iter().filter(|(key, _)| key.starts_with(&prefix));
    mine.cloned().collect()
}
