//! Consumption: a node over a real server, beside a consumer that does nothing, and beside what one would write first.

use std::{collections::BTreeMap, path::Path, time::Instant};

use async_nats::jetstream::{
    consumer::{AckPolicy, DeliverPolicy, pull},
    stream::RetentionPolicy,
};
use futures::StreamExt;
use projection::{
    pipeline::{Shard, ShardOptions},
    settings::Settings,
    storage::Part,
    types::StoredView,
};
use tokio_util::sync::CancellationToken;

use crate::{
    events::{KEYS, at, event, key, manifest, publish, store, table},
    measure::{ROUNDS, Taken, cpu, median, show, taken, verdict},
    nats::{Nats, STREAM},
};

/// R1: events that a node commits over events that a consumer merely receives.
pub(crate) async fn run(program: &Path, events: u64) {
    let nats = Nats::start(program);
    let context = nats.stream(RetentionPolicy::Limits).await;
    publish(&context, events).await;
    println!(
        "R1 {}: {events} events of {} bytes, {KEYS} keys",
        program.display(),
        event(1, KEYS).len()
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
        .get_stream(&*STREAM)
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

async fn node(nats: &Nats, events: u64, batch: usize) -> Taken {
    let folder = tempfile::tempdir().expect("a folder");
    let (manifest, store) = (manifest(folder.path()), store(folder.path()));
    let mut settings = Settings::default();
    settings.nats_url = nats.url();
    STREAM.clone_into(&mut settings.stream);
    settings.batch.events_max = batch;
    settings.batch.bytes_max = 32 << 20;
    settings.catch_up.events_max = batch;
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
    let store = store(folder.path());
    let stream = nats
        .context()
        .await
        .get_stream(&*STREAM)
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
