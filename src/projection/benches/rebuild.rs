//! R5: events a second of a rebuild beside what is served, over those of what is served itself at its own batches.
//!
//! Larger batches are what makes a rebuild faster: a view that changes a hundred times is written a few times only. So the ratio depends on what writing costs, and with that on the size of views. How much it can be at most is shown by a rebuild that writes once, at its end. The rest of its work is that of whatever is served: to receive, decode and fold.
//!
//! `cargo bench -p projection --bench rebuild`. The process CPU time of an event stands beside the rates, since those of a shared machine mean little. `PROJECTION_BENCH_EVENTS` sets how many.

#[path = "rates/measure.rs"]
mod measure;
#[path = "../tests/nats.rs"]
mod nats;

use std::{
    env, fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::jetstream::{Context, stream::RetentionPolicy};
use measure::{ROUNDS, Taken, cpu, is_asked_for, load, median, show, taken, verdict};
use nats::{Nats, STREAM};
use projection::{
    manifest::ProjectionManifest,
    rebuild::{Command, Cutover, JetStreamSources, Node, NodeMode},
    settings::{BatchLimits, Durability, Engine, Settings},
    storage::{StoreOptions, ViewStore},
    types::ViewTable,
};
use tokio_util::sync::CancellationToken;

const KEYS: u64 = 20_000;
/// How many bytes of text each view has beside what changes.
const TEXTS: [usize; 2] = [0, 900];
/// A view of about 120 bytes, with room for a text.
const PROGRAM: &str = "{language: dag/v1, key: {event: aggregate_id}, view: {object: {balance: {add: [{coalesce: [{view: balance}, 0]}, {event: payload.amount}]}, count: {add: [{coalesce: [{view: count}, 0]}, 1]}, last: {event: payload.reference}, text: {const: '#'}}}}";

/// What is served, and a rebuild beside it.
struct Pair {
    served: Taken,
    rebuilt: Taken,
}

/// As in the binary.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() {
    if !is_asked_for() {
        return;
    }
    let events = env::var("PROJECTION_BENCH_EVENTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(400_000);
    println!("load {}", load());
    for program in nats::servers() {
        measure(&program, events).await;
    }
    println!("load {}", load());
}

async fn measure(program: &Path, events: u64) {
    let nats = Nats::start(program);
    publish(&nats.stream(RetentionPolicy::Limits).await, events).await;
    for text in TEXTS {
        println!(
            "R5 {}: {events} events, {KEYS} views of about {} bytes",
            program.display(),
            120 + text
        );
        compare(&nats, events, text).await;
    }
}

async fn compare(nats: &Nats, events: u64, text: usize) {
    let as_shipped = Settings::default().rebuild.batch;
    let all_at_once = BatchLimits {
        events_max: usize::MAX,
        bytes_max: usize::MAX,
        within: Duration::from_hours(1),
    };
    let (mut shipped, mut at_once) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        shipped.push(node(nats, events, text, as_shipped).await);
        at_once.push(node(nats, events, text, all_at_once).await);
    }
    let of = |runs: &[Pair], which: fn(&Pair) -> Taken| runs.iter().map(which).collect();
    for (name, runs) in [
        ("served, batches of 5,000", of(&shipped, |pair| pair.served)),
        ("rebuilt beside it", of(&shipped, |pair| pair.rebuilt)),
        (
            "rebuilt, written once at its end",
            of(&at_once, |pair| pair.rebuilt),
        ),
    ] {
        show(name, median(runs));
    }
    let ratios = ratios(&shipped);
    verdict(
        &format!("R5, the median of {ratios:.2?}"),
        ratios[ratios.len() / 2],
        1.5,
    );
    let at_most = self::ratios(&at_once);
    println!(
        "  written once at its end it would be {:.2} of {at_most:.2?}",
        at_most[at_most.len() / 2]
    );
}

/// Each rebuild over what was served right before it, because the machine changes meanwhile. In order.
fn ratios(runs: &[Pair]) -> Vec<f64> {
    let mut ratios: Vec<f64> = runs
        .iter()
        .map(|pair| pair.rebuilt.rate / pair.served.rate)
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios
}

async fn publish(context: &Context, events: u64) {
    let mut acknowledged = Vec::with_capacity(1_000);
    for number in 0..events {
        let account = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS;
        let event = format!(
            r#"{{"tenant_id":"","aggregate_id":"account-{account:08}","aggregate_type":"account","event_type":"Deposited","payload":{{"amount":{},"currency":"EUR","reference":"transfer-{number:012}"}},"timestamp":"2026-01-01T00:00:00.000Z","event_id":"event-{number:016}","correlation_id":"request-{number:012}","schema_version":1}}"#,
            number % 1_000
        );
        acknowledged.push(
            context
                .publish(nats::subject(0), event.into())
                .await
                .expect("published"),
        );
        if acknowledged.len() == 1_000 || number + 1 == events {
            for one in acknowledged.drain(..) {
                one.await.expect("acknowledged");
            }
        }
    }
}

/// The rate of what is served, at the batches of a node that is not behind, and then that of a rebuild beside it.
async fn node(nats: &Nats, events: u64, text: usize, batch: BatchLimits) -> Pair {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("manifest.yaml");
    let program = PROGRAM.replace('#', &"x".repeat(text));
    let manifest = format!("projections:\n- {{view_type: account, program: {program}}}\n");
    fs::write(&file, manifest).expect("a file");
    let manifest = ProjectionManifest::load(&file, 100_000).expect("a manifest");
    let mut settings = Settings::default();
    settings.nats_url = nats.url();
    STREAM.clone_into(&mut settings.stream);
    settings.catch_up = settings.batch;
    settings.rebuild.cutover = Cutover::Command;
    settings.rebuild.batch = batch;
    let options = StoreOptions {
        engine: Engine::Mdbx,
        bytes_max: 4 << 30,
        durability: Durability::Commit,
    };
    let store = Arc::new(ViewStore::open(&folder.path().join("store"), options).expect("a store"));
    let sources = Arc::new(JetStreamSources::new(&settings));
    let (node, handle) = Node::new(
        manifest,
        Arc::clone(&store),
        sources,
        &settings,
        NodeMode::Serving,
    );
    let stop = CancellationToken::new();
    let (start, before) = (Instant::now(), cpu());
    let stopping = stop.clone();
    let running = tokio::spawn(async move { node.run(&stopping).await });
    let mut status = handle.status();
    let reached = status.wait_for(|status| status.has_reached(events)).await;
    reached.expect("it runs");
    let served = taken(events, start, before);
    let (start, before) = (Instant::now(), cpu());
    let projection = "account".to_owned();
    let begun = handle
        .ask(Command::Rebuild {
            projection,
            from: 1,
            id: None,
        })
        .await;
    assert_eq!(begun.expect("it begins").generation, "account@2");
    let shadow = ViewTable {
        view_type: "account".into(),
        generation: 2,
    };
    while floor(&store, &shadow) < events {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let rebuilt = taken(events, start, before);
    stop.cancel();
    running.await.expect("no panic").expect("a clean end");
    Pair { served, rebuilt }
}

fn floor(store: &ViewStore, table: &ViewTable) -> u64 {
    let snapshot = store.snapshot().expect("a snapshot");
    let checkpoint = snapshot.checkpoint(table).expect("a checkpoint");
    checkpoint.map_or(0, |checkpoint| checkpoint.floor)
}
