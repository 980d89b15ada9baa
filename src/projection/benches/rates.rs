//! Rates as ratios within one run: R1, events a node commits over events a consumer merely receives; R3, commits over bare MDBX with the same bytes.
//!
//! `cargo bench -p projection`. The process CPU time of an event stands beside the rates, since those of a shared machine mean little. `PROJECTION_BENCH_EVENTS` sets how many.

#[path = "../tests/nats.rs"]
mod nats;

use std::{
    collections::BTreeMap,
    env, fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::jetstream::{
    Context,
    consumer::{AckPolicy, DeliverPolicy, pull},
    stream::RetentionPolicy,
};
use futures::StreamExt;
use nats::{Nats, STREAM};
use projection::{
    manifest::ProjectionManifest,
    pipeline::{Shard, ShardOptions},
    settings::{Durability, Engine, Settings},
    storage::{Part, StoreOptions, ViewStore},
    types::{CHECKPOINT_FORMAT, Checkpoint, StoredView, ViewKey, ViewTable},
};
use signet_libmdbx::{
    DatabaseFlags, Environment, EnvironmentFlags, Geometry, Mode, SyncMode, WriteFlags,
};
use tokio_util::sync::CancellationToken;

const ROUNDS: usize = 5;
const KEYS: u64 = 20_000;

/// What a run took, per event.
#[derive(Clone, Copy)]
struct Taken {
    rate: f64,
    cpu_us: f64,
}

/// The CPU time of this process so far, of all its threads.
fn cpu() -> Duration {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        usage.tv_sec.try_into().unwrap_or(0),
        usage.tv_nsec.try_into().unwrap_or(0),
    )
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of events are far below 2^52"
)]
fn taken(events: u64, since: Instant, cpu_before: Duration) -> Taken {
    let events = events as f64;
    Taken {
        rate: events / since.elapsed().as_secs_f64(),
        cpu_us: cpu().saturating_sub(cpu_before).as_secs_f64() * 1e6 / events,
    }
}

fn median(mut runs: Vec<Taken>) -> Taken {
    runs.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    runs[runs.len() / 2]
}

fn show(name: &str, taken: Taken) {
    println!(
        "  {name:34} {:>9.0}/s   {:>6.2} us CPU",
        taken.rate, taken.cpu_us
    );
}

fn verdict(name: &str, ratio: f64, goal: f64) {
    let word = if ratio >= goal { "met" } else { "MISSED" };
    println!("  {name}: {ratio:.2} (goal {goal:.2}: {word})");
}

fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[tokio::main]
async fn main() {
    // `cargo test --benches` runs this too, and wants to know only that it is there.
    if env::args().any(|argument| argument == "--test")
        || !env::args().any(|argument| argument == "--bench")
    {
        return;
    }
    let events = env::var("PROJECTION_BENCH_EVENTS")
        .ok()
        .and_then(|text| text.parse().ok());
    println!("load {}", load());
    commits();
    for program in nats::servers() {
        consumption(&program, events.unwrap_or(200_000)).await;
    }
    println!("load {}", load());
}

fn event(number: u64) -> String {
    let account = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS;
    format!(
        r#"{{"tenant_id":"","aggregate_id":"account-{account:08}","aggregate_type":"account","event_type":"Deposited","payload":{{"amount":{},"currency":"EUR","reference":"transfer-{number:012}"}},"timestamp":"2026-01-01T00:00:00.000Z","event_id":"event-{number:016}","correlation_id":"request-{number:012}","schema_version":1}}"#,
        number % 1_000
    )
}

async fn publish(context: &Context, events: u64) {
    let mut acknowledged = Vec::with_capacity(1_000);
    for number in 0..events {
        acknowledged.push(
            context
                .publish("ev.0", event(number).into())
                .await
                .expect("published"),
        );
        if acknowledged.len() == 1_000 {
            for one in acknowledged.drain(..) {
                one.await.expect("acknowledged");
            }
        }
    }
    for one in acknowledged {
        one.await.expect("acknowledged");
    }
}

async fn consumption(program: &Path, events: u64) {
    let nats = Nats::start(program);
    let context = nats.stream(RetentionPolicy::Limits).await;
    publish(&context, events).await;
    println!(
        "R1 {}: {events} events of {} bytes, {KEYS} keys",
        program.display(),
        event(1).len()
    );
    let (mut raw, mut live, mut catch_up) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        raw.push(receive(&nats, events).await);
        live.push(node(&nats, events, 5_000).await);
        catch_up.push(node(&nats, events, 20_000).await);
    }
    let (raw, live, catch_up) = (median(raw), median(live), median(catch_up));
    show("received in order, no more", raw);
    show("node, batches of 5,000", live);
    show("node, batches of 20,000", catch_up);
    let naive = naive(&nats, 2_000).await;
    show("one by one with double ack", naive);
    verdict("R1 at 5,000", live.rate / raw.rate, 0.5);
    verdict("R1 in catch-up", catch_up.rate / raw.rate, 0.65);
    println!(
        "  the node is {:.0} times as fast as one by one",
        live.rate / naive.rate
    );
}

async fn receive(nats: &Nats, events: u64) -> Taken {
    let stream = nats
        .context()
        .await
        .get_stream(STREAM)
        .await
        .expect("the stream");
    let config = pull::OrderedConfig {
        deliver_policy: DeliverPolicy::All,
        ..pull::OrderedConfig::default()
    };
    let consumer = stream.create_consumer(config).await.expect("a consumer");
    let mut messages = consumer.messages().await.expect("messages");
    let (start, before) = (Instant::now(), cpu());
    for _ in 0..events {
        messages.next().await.expect("a message").expect("in order");
    }
    taken(events, start, before)
}

const PROGRAM: &str = "{language: dag/v1, key: {event: aggregate_id}, view: {object: {balance: {add: [{coalesce: [{view: balance}, 0]}, {event: payload.amount}]}, count: {add: [{coalesce: [{view: count}, 0]}, 1]}, last: {event: payload.reference}}}}";

async fn node(nats: &Nats, events: u64, batch: usize) -> Taken {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("manifest.yaml");
    fs::write(
        &file,
        format!("projections:\n- {{view_type: account, program: {PROGRAM}}}\n"),
    )
    .expect("a file");
    let manifest = ProjectionManifest::load(&file, 100_000).expect("a manifest");
    let mut settings = Settings::default();
    settings.nats_url = nats.url();
    STREAM.clone_into(&mut settings.stream);
    settings.batch.events_max = batch;
    settings.batch.bytes_max = 32 << 20;
    settings.catch_up.events_max = batch;
    let options = StoreOptions {
        engine: Engine::Mdbx,
        bytes_max: 4 << 30,
        durability: Durability::Commit,
    };
    let store = Arc::new(ViewStore::open(&folder.path().join("store"), options).expect("a store"));
    let mut source = projection::stream::JetStreamSource::connect(&settings)
        .await
        .expect("a server");
    let shard = Shard::new(manifest, store, ShardOptions::of(&settings));
    let (stop, mut status) = (CancellationToken::new(), shard.status());
    let (start, before) = (Instant::now(), cpu());
    let reached = async {
        status
            .wait_for(|status| status.has_reached(events))
            .await
            .expect("it runs");
        let taken = taken(events, start, before);
        stop.cancel();
        taken
    };
    let ((), taken) = tokio::join!(shard.run(&mut source, &stop), reached);
    taken
}

/// What a user would write first: each event by itself, committed, and acknowledged with an answer.
async fn naive(nats: &Nats, events: u64) -> Taken {
    let folder = tempfile::tempdir().expect("a folder");
    let options = StoreOptions {
        engine: Engine::Mdbx,
        bytes_max: 1 << 30,
        durability: Durability::Commit,
    };
    let store = ViewStore::open(folder.path(), options).expect("a store");
    let stream = nats
        .context()
        .await
        .get_stream(STREAM)
        .await
        .expect("the stream");
    let config = pull::Config {
        ack_policy: AckPolicy::Explicit,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await.expect("a consumer");
    let mut messages = consumer.messages().await.expect("messages");
    let (start, before) = (Instant::now(), cpu());
    let mut balances: BTreeMap<String, i64> = BTreeMap::new();
    for sequence in 1..=events {
        let message = messages
            .next()
            .await
            .expect("a message")
            .expect("delivered");
        let event: serde_json::Value = serde_json::from_slice(&message.payload).expect("JSON");
        let id = event["aggregate_id"].as_str().expect("an id").to_owned();
        let balance = balances.entry(id.clone()).or_default();
        *balance += event["payload"]["amount"].as_i64().expect("an amount");
        let mut part = Part::new(table(), (sequence > 1).then(|| sequence - 1), at(sequence));
        let view = StoredView {
            view: serde_json::json!({ "balance": *balance }),
            last_seq: sequence,
            applied: 1,
            program: String::new(),
        };
        part.put(&key(&id), Some(view.encode()));
        store.commit(&part.into()).expect("committed");
        message.double_ack().await.expect("acknowledged");
    }
    taken(events, start, before)
}

fn table() -> ViewTable {
    ViewTable {
        view_type: "account".into(),
        generation: 1,
    }
}

fn key(id: &str) -> ViewKey {
    ViewKey::new("".into(), "account".into(), id.into()).expect("a key")
}

fn at(floor: u64) -> Checkpoint {
    Checkpoint {
        format: CHECKPOINT_FORMAT,
        stream: STREAM.to_owned(),
        stream_created: 1,
        filter_hash: "0123456789abcdef".to_owned(),
        program_hash: "0123456789abcdef".to_owned(),
        shard: None,
        floor,
        published: Some(1),
    }
}

/// Both write the same views in the same order, and a checkpoint, a hundred times a thousand of 50,000 views.
fn commits() {
    const BATCHES: u64 = 100;
    const VIEWS: u64 = 1_000;
    println!("R3 {BATCHES} durable commits of {VIEWS} views of 375 bytes");
    let view = vec![b'x'; 375];
    let batch = |number: u64| -> Vec<u64> {
        (0..VIEWS)
            .map(|at| (number * VIEWS + at).wrapping_mul(0x9e37_79b9_7f4a_7c15) % 50_000)
            .collect()
    };
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(bare_commits(BATCHES, &batch, &view));
        ours.push(our_commits(BATCHES, &batch, &view));
    }
    let (ours, bare) = (median(ours), median(bare));
    show("bare MDBX, views", bare);
    show("view store, views", ours);
    verdict("R3", ours.rate / bare.rate, 0.85);
}

fn our_commits(batches: u64, batch: &dyn Fn(u64) -> Vec<u64>, view: &[u8]) -> Taken {
    let folder = tempfile::tempdir().expect("a folder");
    let options = StoreOptions {
        engine: Engine::Mdbx,
        bytes_max: 4 << 30,
        durability: Durability::Commit,
    };
    let store = ViewStore::open(folder.path(), options).expect("a store");
    let (start, before) = (Instant::now(), cpu());
    let mut views = 0;
    for number in 1..=batches {
        let mut part = Part::new(table(), (number > 1).then(|| number - 1), at(number));
        for id in distinct(batch(number)) {
            part.put(&key(&format!("account-{id:08}")), Some(view.to_vec()));
            views += 1;
        }
        store.commit(&part.into()).expect("committed");
    }
    taken(views, start, before)
}

fn bare_commits(batches: u64, batch: &dyn Fn(u64) -> Vec<u64>, view: &[u8]) -> Taken {
    let folder = tempfile::tempdir().expect("a folder");
    let mode = Mode::ReadWrite {
        sync_mode: SyncMode::Durable,
    };
    let environment = Environment::builder()
        .set_max_dbs(16)
        .set_geometry(Geometry {
            size: Some(0..4 << 30),
            ..Geometry::default()
        })
        .set_flags(EnvironmentFlags {
            mode,
            no_rdahead: true,
            ..EnvironmentFlags::default()
        })
        .open(folder.path())
        .expect("an environment");
    let (start, before) = (Instant::now(), cpu());
    let mut views = 0;
    for number in 1..=batches {
        let transaction = environment.begin_rw_unsync().expect("a transaction");
        let table = transaction
            .create_db(Some("v"), DatabaseFlags::empty())
            .expect("a table");
        for id in distinct(batch(number)) {
            transaction
                .put(table, format!(":account-{id:08}"), view, WriteFlags::UPSERT)
                .expect("put");
            views += 1;
        }
        transaction
            .put(
                table,
                "checkpoint",
                number.to_be_bytes(),
                WriteFlags::UPSERT,
            )
            .expect("put");
        transaction.commit().expect("committed");
    }
    taken(views, start, before)
}

/// In order, which is what both are quickest with.
fn distinct(mut ids: Vec<u64>) -> Vec<u64> {
    ids.sort_unstable();
    ids.dedup();
    ids
}
