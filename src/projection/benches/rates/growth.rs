//! Growth: what an event costs among few views and among many.
//!
//! Where all views are as likely, each event has a page of the disk to itself once there are many; where the same ones come again, their number does not matter.

use std::{sync::Arc, time::Instant};

use projection::{
    manifest::ProjectionManifest,
    pipeline::{Shard, ShardOptions},
    settings::Settings,
    storage::{Part, ViewStore},
    stream::{EventSource, MemorySource},
    types::StoredView,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    events::{event, key, manifest, store, table},
    measure::{Taken, cpu, show, taken},
};

const FEW: u64 = 10_000;
const VIEWS: [u64; 3] = [FEW, 100_000, 1_000_000];

pub(crate) async fn run(events: u64) {
    println!("Growth: {events} events in batches of 5,000, from memory");
    for (name, keys_max) in [("of 10,000 views", FEW), ("of all views", u64::MAX)] {
        let mut first: Option<Taken> = None;
        for views in VIEWS {
            let taken = among(views, views.min(keys_max), events).await;
            show(&format!("{name}, among {views}"), taken);
            let first = *first.get_or_insert(taken);
            let (cpu, rate) = (taken.cpu_us / first.cpu_us, first.rate / taken.rate);
            println!("    {cpu:.2} times the CPU time, {rate:.2} times the time, of {FEW}");
        }
    }
}

async fn among(views: u64, keys: u64, events: u64) -> Taken {
    let folder = tempfile::tempdir().expect("a folder");
    let (manifest, store) = (manifest(folder.path()), store(folder.path()));
    let settings = Settings::default();
    let options = ShardOptions::of(&settings);
    let mut source = MemorySource::default();
    for number in 0..events {
        source.publish("ev.0", event(number, keys));
    }
    fill(&store, &manifest, &options, &mut source, views).await;
    let shard = Shard::new(manifest, Arc::clone(&store), options);
    let (stop, mut status) = (CancellationToken::new(), shard.status());
    let (start, before) = (Instant::now(), cpu());
    let reached = async {
        let reached = status.wait_for(|status| status.has_reached(events)).await;
        reached.expect("it runs");
        let taken = taken(events, start, before);
        stop.cancel();
        taken
    };
    let ((), taken) = tokio::join!(shard.run(&mut source, &stop), reached);
    taken
}

/// Puts views there, as if the stream began behind them.
async fn fill(
    store: &ViewStore,
    manifest: &ProjectionManifest,
    options: &ShardOptions,
    source: &mut MemorySource,
    views: u64,
) {
    const AT_ONCE: usize = 50_000;
    let projection = manifest.find("account").expect("it is there");
    let facts = source.facts(0).await.expect("facts");
    let start = options.examine(projection, &facts, None).expect("a start");
    let ids: Vec<u64> = (0..views).collect();
    for (at, ids) in ids.chunks(AT_ONCE).enumerate() {
        let mut part = Part::new(table(), (at > 0).then_some(0), start.clone());
        for id in ids {
            let view = StoredView {
                view: json!({"balance": id, "count": 1, "last": "transfer-000000000000"}),
                last_seq: 0,
                applied: 1,
                program: projection.program.hash().to_owned(),
            };
            part.put(&key(&format!("account-{id:08}")), Some(view.encode()));
        }
        store.commit(&part.into()).expect("committed");
    }
}
