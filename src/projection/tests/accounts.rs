//! Accounts: events, a manifest of two projections over them, and shards that run until they have caught up.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::{ops::ControlFlow, path::Path, sync::Arc, time::Duration};

use projection::{
    manifest::ProjectionManifest,
    pipeline::{Shard, ShardOptions, ShardStatus},
    settings::{Durability, Engine, Settings},
    storage::{StoreOptions, ViewStore},
    stream::EventSource,
    types::ViewTable,
};
use tokio_util::sync::CancellationToken;

/// Far longer than anything here takes, so running out of it means that something hangs.
const HANGS_AFTER: Duration = Duration::from_mins(1);

/// An event of account `id` that adds `amount`.
pub(crate) fn deposit(id: &str, amount: i64) -> String {
    event(id, "Deposited", &amount.to_string())
}

/// The same event with more bytes than quarantine keeps.
pub(crate) fn large(event: &str) -> String {
    let note = "x".repeat(100_000);
    event.replacen('{', &format!("{{\"note\":\"{note}\","), 1)
}

/// An event of account `id` whose amount is the JSON `amount`.
pub(crate) fn event(id: &str, event_type: &str, amount: &str) -> String {
    format!(
        r#"{{"aggregate_id":"{id}","aggregate_type":"account","event_type":"{event_type}","payload":{{"amount":{amount}}},"timestamp":"2026-01-01T00:00:00Z"}}"#
    )
}

/// Balances with the sequences that made them, under `policy`; and how often each type of event came.
pub(crate) fn manifest(policy: &str) -> ProjectionManifest {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("manifest.yaml");
    let text = format!(
        "projections:
- view_type: account
  poison: {policy}
  program:
    language: dag/v1
    key: {{event: aggregate_id}}
    view:
      object:
        balance: {{add: [{{coalesce: [{{view: balance}}, 0]}}, {{event: payload.amount}}]}}
        applied: {{append: {{to: {{view: applied}}, value: {{meta: stream_seq}}, cap: 1000}}}}
- view_type: kind
  program:
    language: dag/v1
    key: {{event: event_type}}
    view: {{object: {{count: {{add: [{{coalesce: [{{view: count}}, 0]}}, 1]}}}}}}
"
    );
    std::fs::write(&file, text).expect("a file");
    ProjectionManifest::load(&file, 100_000).expect("a manifest")
}

/// The table of `view_type`.
pub(crate) fn table(view_type: &str) -> ViewTable {
    ViewTable {
        view_type: view_type.into(),
        generation: 1,
    }
}

/// Settings that differ from the defaults by small batches.
pub(crate) fn settings(events_max: usize, lanes: usize) -> Settings {
    let mut settings = Settings::default();
    settings.batch.events_max = events_max;
    settings.catch_up.events_max = events_max;
    settings.lanes = lanes;
    settings
}

pub(crate) fn store(folder: &Path, durability: Durability) -> Arc<ViewStore> {
    let options = StoreOptions {
        engine: Engine::Mdbx,
        bytes_max: 1 << 30,
        durability,
    };
    Arc::new(ViewStore::open(folder, options).expect("a store"))
}

/// Runs a shard until `enough`, or until it ends by itself, and returns its last status.
pub(crate) async fn run_until(
    store: &Arc<ViewStore>,
    manifest: &ProjectionManifest,
    settings: &Settings,
    source: &mut dyn EventSource,
    enough: impl Fn(&ShardStatus) -> bool,
) -> ShardStatus {
    let shard = Shard::new(
        manifest.clone(),
        Arc::clone(store),
        ShardOptions::of(settings),
    );
    let mut status = shard.status();
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let watching = async {
        let _ = status.wait_for(|status| enough(status)).await;
        stopping.cancel();
        std::future::pending::<()>().await;
    };
    let run = async {
        tokio::select! {
            () = shard.run(source, &stop) => {}
            () = watching => {}
        }
    };
    let ended = tokio::time::timeout(HANGS_AFTER, run).await;
    let last = shard.status().borrow().clone();
    assert!(ended.is_ok(), "it hangs at {last:?}");
    last
}

/// All bytes of all views of a type.
pub(crate) fn dump(store: &ViewStore, view_type: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let snapshot = store.snapshot().expect("a snapshot");
    let visited = snapshot.entries(&table(view_type), |key, value| {
        all.push((text(key), text(value)));
        ControlFlow::Continue(())
    });
    visited.expect("views");
    all
}

/// The sequences that made the views of accounts, of all of them together, in order.
pub(crate) fn applied(store: &ViewStore) -> Vec<u64> {
    let mut all: Vec<u64> = dump(store, "account")
        .into_iter()
        .flat_map(|(_, view)| {
            let view: serde_json::Value = serde_json::from_str(&view).expect("JSON");
            let applied = view["v"]["applied"].as_array().cloned().unwrap_or_default();
            applied.into_iter().filter_map(|sequence| sequence.as_u64())
        })
        .collect();
    all.sort_unstable();
    all
}
