//! Drain with a real server: a node that is told to stop under load commits what it has, loses nothing, and ends within its grace.

mod accounts;
mod node;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use accounts::{applied, deposit, manifest};
use async_nats::jetstream::{Context, stream::RetentionPolicy};
use node::{
    Node,
    nats::{self, Nats, servers},
    stop, until, until_status,
};
use projection::{
    health::{Asked, Health},
    pipeline::{Shard, ShardOptions},
    settings::{Durability, Settings},
};
use rustix::process::Signal;
use tokio::sync::watch;

fn store(folder: &Path) -> Arc<projection::storage::ViewStore> {
    accounts::store(folder, Durability::Commit)
}

async fn publish(context: &Context, payload: String) -> u64 {
    let acknowledged = context
        .publish(nats::subject(0), payload.into())
        .await
        .unwrap();
    acknowledged.await.unwrap().sequence
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_told_to_stop_under_load_again_and_again_loses_nothing_and_doubles_nothing()
{
    let Some(program) = servers().into_iter().next() else {
        return;
    };
    let nats = Nats::start(&program);
    let context = nats.stream(RetentionPolicy::Limits).await;
    // What is only in memory between syncs must be brought to the disk by the drain.
    let node = Node::served(&nats.url(), "halt", "durability: 100ms\n");
    // Until all rounds are over, however slow the machine is.
    let enough = Arc::new(AtomicBool::new(false));
    let ending = Arc::clone(&enough);
    let publishing = tokio::spawn(async move {
        let mut last = 0;
        for number in 0.. {
            if ending.load(Ordering::Relaxed) {
                break;
            }
            last = publish(&context, deposit(&format!("a-{}", number % 9), 1)).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        last
    });
    for round in 0..4 {
        let mut child = node.start();
        let url = node.url().await;
        until_status(&format!("{url}/health"), 200).await;
        until("it folds", async || {
            let (_, body) = node::get(&format!("{url}/metrics")).await;
            let folded = body.lines().any(|line| {
                line.starts_with("projection_commit_seconds_count ") && !line.ends_with(" 0")
            });
            folded.then_some(())
        })
        .await;
        let begun = Instant::now();
        let with = if round % 2 == 0 {
            Signal::TERM
        } else {
            Signal::INT
        };
        child.signal(with);
        assert_eq!(child.wait(), Some(0));
        assert!(begun.elapsed() < Settings::default().grace);
        let store = store(&node.store());
        let table = accounts::table("account");
        let floor = store
            .snapshot()
            .unwrap()
            .checkpoint(&table)
            .unwrap()
            .unwrap()
            .floor;
        assert_eq!(applied(&store), (1..=floor).collect::<Vec<_>>());
    }
    assert_eq!(node.log().matches("drained: everything").count(), 4);
    enough.store(true, Ordering::Relaxed);
    let last = publishing.await.unwrap();
    let child = node.start();
    let url = node.url().await;
    until("all of it is in the views", async || {
        let (_, body) = node::get(&format!("{url}/status")).await;
        let report: serde_json::Value = serde_json::from_str(&body).unwrap();
        (report["projections"][0]["floor"] == last).then_some(())
    })
    .await;
    assert_eq!(stop(child), 0);
    assert_eq!(
        applied(&store(&node.store())),
        (1..=last).collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_several_shards_drains_all_of_them_and_goes_on_where_each_was() {
    const EVENTS: u64 = 600;
    let Some(program) = servers().into_iter().next() else {
        return;
    };
    let nats = Nats::start(&program);
    let context = nats.stream(RetentionPolicy::Limits).await;
    let node = Node::served(&nats.url(), "halt", "shards: 3\nlease_ttl: 1s\n");
    let mut child = node.start();
    let url = node.url().await;
    let publishing = tokio::spawn(async move {
        for number in 0..EVENTS {
            publish(&context, deposit(&format!("a-{}", number % 9), 1)).await;
        }
    });
    until("each of them commits", async || {
        let (_, body) = node::get(&format!("{url}/metrics")).await;
        let commits = body.lines().filter(|line| {
            line.starts_with("projection_commit_seconds_count{shard=") && !line.ends_with(" 0")
        });
        (commits.count() == 3).then_some(())
    })
    .await;
    child.signal(Signal::TERM);
    assert_eq!(child.wait(), Some(0));
    assert_eq!(node.log().matches("let go").count(), 3);
    assert!(node.log().contains("drained: everything"));

    publishing.await.unwrap();
    let child = node.start();
    let url = node.url().await;
    until_status(&format!("{url}/ready"), 200).await;
    until("all of it is in the views", async || {
        let (_, body) = node::get(&format!("{url}/status")).await;
        let report: serde_json::Value = serde_json::from_str(&body).unwrap();
        let projections = report["projections"].as_array().unwrap();
        let at_the_end = projections.iter().all(|state| state["floor"] == EVENTS);
        (projections.len() == 3 && at_the_end).then_some(())
    })
    .await;
    for number in 0..9 {
        let (_, view) = node::get(&format!("{url}/v1/views/account/a-{number}")).await;
        let view: serde_json::Value = serde_json::from_str(&view).unwrap();
        let events = EVENTS / 9 + u64::from(number < EVENTS % 9);
        assert_eq!(view["view"]["balance"], events, "{view}");
    }
    let ready = node.run(&["healthcheck", "--ready"]);
    assert!(ready.status.success(), "{ready:?}");
    let listed = node.run(&["quarantine", "ls", "account", "--shard", "1", "--url", &url]);
    assert!(listed.status.success(), "{listed:?}");
    assert_eq!(stop(child), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_commit_ends_at_its_grace_and_at_once_when_it_is_told_twice() {
    let Some(program) = servers().into_iter().next() else {
        return;
    };
    let nats = Nats::start(&program);
    let context = nats.stream(RetentionPolicy::Limits).await;
    for (grace, twice, code) in [("500ms", false, 4), ("10m", true, 130)] {
        let node = Node::served(&nats.url(), "halt", &format!("grace: {grace}\n"));
        let mut child = node.start();
        let url = node.url().await;
        until_status(&format!("{url}/ready"), 200).await;
        let writer = node::Writer::begin(&node.store());
        publish(&context, deposit("a", 1)).await;
        until("there is something to commit", async || {
            let (_, body) = node::get(&format!("{url}/status")).await;
            let report: serde_json::Value = serde_json::from_str(&body).unwrap();
            (report["received"].as_u64() > Some(0) && report["projections"][0]["behind"] != 0)
                .then_some(())
        })
        .await;
        child.signal(Signal::TERM);
        if twice {
            until_status(&format!("{url}/ready"), 503).await;
            until("it drains", async || {
                node.log().contains("draining").then_some(())
            })
            .await;
            let (_, body) = node::get(&format!("{url}/status")).await;
            assert!(body.contains("\"state\":\"draining\""), "{body}");
            child.signal(Signal::TERM);
        }
        assert_eq!(child.wait(), Some(code));
        writer.end();
    }
}

#[tokio::test]
async fn a_node_that_drains_is_not_ready_whatever_else_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::default();
    let manifest = manifest("halt");
    let store = store(folder.path());
    let options = ShardOptions::of(&settings);
    let metrics = Arc::clone(options.metrics());
    let shard = Shard::new(manifest.clone(), Arc::clone(&store), options);
    let rebuilds = watch::Sender::new(Vec::new()).subscribe();
    let health = Health::new(
        &settings,
        manifest,
        store,
        shard.status(),
        rebuilds,
        metrics,
    );
    let process = |health: &Health| {
        health
            .report()
            .checks
            .iter()
            .find(|check| check.name == "process")
            .unwrap()
            .ok
    };
    assert!(process(&health));
    health.drain();
    assert!(!process(&health));
    assert!(!health.report().ready);
    assert_eq!(health.report().state, "draining");
    assert!(
        health.liveness().healthy,
        "it must not be killed while it drains"
    );
}
