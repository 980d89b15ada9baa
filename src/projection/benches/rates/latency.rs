//! Latency: from the moment an event is published to that at which its view can be read, at parts of what the node is capable of.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_nats::jetstream::stream::RetentionPolicy;
use projection::{
    pipeline::{Shard, ShardOptions, ShardStatus},
    settings::Settings,
    stream::JetStreamSource,
};
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    events::{KEYS, event, manifest, store},
    measure::{cpu, taken},
    nats::{Nats, STREAM},
};

/// How often the publisher publishes what is due.
const TICK: Duration = Duration::from_millis(1);
const SHARES: [u64; 3] = [10, 50, 80];
const LASTS: Duration = Duration::from_secs(3);

/// When each event was published, in the order of the stream.
type Sent = Arc<Mutex<Vec<Instant>>>;

pub(crate) async fn run(program: &Path, burst: u64) {
    let nats = Nats::start(program);
    nats.stream(RetentionPolicy::Limits).await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = Settings::default();
    settings.nats_url = nats.url();
    STREAM.clone_into(&mut settings.stream);
    let connected = JetStreamSource::connect(&settings).await;
    let mut source = connected.expect("a server");
    let (manifest, store) = (manifest(folder.path()), store(folder.path()));
    let shard = Shard::new(manifest, store, ShardOptions::of(&settings));
    let (stop, status) = (CancellationToken::new(), shard.status());
    let measuring = async {
        measure(&nats, burst, status).await;
        stop.cancel();
    };
    tokio::join!(shard.run(&mut source, &stop), measuring);
}

async fn measure(nats: &Nats, burst: u64, status: watch::Receiver<ShardStatus>) {
    println!("Latency, publisher and server on the same cores");
    let sent = Sent::default();
    let client = async_nats::connect(nats.url()).await.expect("a server");
    let start = Instant::now();
    let publishing = publish(&client, &sent, burst, u64::MAX);
    tokio::join!(publishing, seen(status.clone(), &sent, 0, burst));
    let capacity =
        burst * 1_000 / u64::try_from(start.elapsed().as_millis()).expect("not for ages");
    println!("  capacity {capacity}/s, published as fast as it goes");
    for share in SHARES {
        let rate = capacity * share / 100;
        let events = rate * LASTS.as_secs();
        let first = sent.lock().expect("whole").len() as u64;
        let (start, before) = (Instant::now(), cpu());
        let publishing = publish(&client, &sent, events, rate);
        let seeing = seen(status.clone(), &sent, first, events);
        let ((), mut latencies) = tokio::join!(publishing, seeing);
        latencies.sort_unstable();
        let at = |part: usize| latencies[(latencies.len() - 1) * part / 100].as_secs_f64() * 1e3;
        let used = taken(events, start, before).cpu_us;
        println!(
            "  {share:>2} % ({rate:>6}/s)   p50 {:>7.1} ms   p99 {:>7.1} ms   {used:>6.2} us CPU",
            at(50),
            at(99)
        );
    }
}

/// Publishes `events`, `rate` in a second.
async fn publish(client: &async_nats::Client, sent: &Sent, events: u64, rate: u64) {
    const AT_ONCE: u64 = 1_000;
    let start = Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut published = 0;
    while published < events {
        let due = if rate == u64::MAX {
            published + AT_ONCE
        } else {
            ticks.tick().await;
            let elapsed = u64::try_from(start.elapsed().as_micros()).expect("not for ages");
            elapsed * rate / 1_000_000
        };
        while published < due.min(events) {
            sent.lock().expect("whole").push(Instant::now());
            let message = event(published, KEYS).into();
            client
                .publish(crate::nats::subject(0), message)
                .await
                .expect("published");
            published += 1;
        }
        client.flush().await.expect("flushed");
    }
}

/// How long each of `events` took, behind the first `before` of the stream.
async fn seen(
    mut status: watch::Receiver<ShardStatus>,
    sent: &Sent,
    before: u64,
    events: u64,
) -> Vec<Duration> {
    let mut latencies = Vec::new();
    let mut floor = before;
    while floor < before + events {
        let floors = |status: &ShardStatus| {
            let floors = status.projections.values().map(|state| state.floor);
            floors.min().unwrap_or(0)
        };
        let status = status.wait_for(|status| floors(status) > floor).await;
        let reached = floors(&status.expect("it runs"));
        let now = Instant::now();
        let sent = sent.lock().expect("whole");
        let range = usize::try_from(floor).expect("few")..usize::try_from(reached).expect("few");
        latencies.extend(sent[range].iter().map(|sent| now.duration_since(*sent)));
        floor = reached;
    }
    latencies
}
