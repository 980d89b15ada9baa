//! Real servers: what redelivery does to a naive gate and not to ours, and what happens when server and stream go away.

mod accounts;
mod nats;

use std::{collections::BTreeSet, time::Duration};

use accounts::{applied, deposit, manifest, run_until, settings, store};
use async_nats::jetstream::{
    Context,
    consumer::{AckPolicy, PullConsumer, pull},
    stream::RetentionPolicy,
};
use futures::StreamExt;
use nats::{Nats, STREAM, servers};
use projection::{
    pipeline::ShardState,
    settings::{Durability, Settings, SourceKind},
    stream::{BlockedReason, EventSource, JetStreamSource, ReceiveLimits},
};

async fn publish(context: &Context, count: u64) -> u64 {
    let mut last = 0;
    for number in 0..count {
        let id = format!("a-{}", number % 7);
        let payload = deposit(&id, 1).into();
        let acknowledged = context
            .publish(nats::subject(format!("0.{id}")), payload)
            .await
            .unwrap();
        last = acknowledged.await.unwrap().sequence;
    }
    last
}

fn settings_of(nats: &Nats, source: SourceKind) -> Settings {
    let mut settings = settings(50, 1);
    settings.nats_url = nats.url();
    STREAM.clone_into(&mut settings.stream);
    settings.source = source;
    settings.heartbeat = Duration::from_millis(500);
    settings
}

/// What a user would write first: one checkpoint, and everything at or below it is skipped, on a durable that instances share.
struct NaiveGate {
    checkpoint: u64,
    applied: BTreeSet<u64>,
}

impl NaiveGate {
    fn take(&mut self, sequence: u64) {
        if sequence > self.checkpoint {
            self.applied.insert(sequence);
            self.checkpoint = sequence;
        }
    }
}

async fn shared_durable(context: &Context) -> PullConsumer {
    let stream = context.get_stream(&*STREAM).await.unwrap();
    let config = pull::Config {
        durable_name: Some("shared".to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(1),
        ..pull::Config::default()
    };
    stream
        .get_or_create_consumer("shared", config)
        .await
        .unwrap()
}

/// Takes `count` messages through the gate and acknowledges them.
async fn take(consumer: &PullConsumer, count: usize, gate: &mut NaiveGate) {
    let mut messages = consumer
        .stream()
        .max_messages_per_batch(count)
        .messages()
        .await
        .unwrap();
    for _ in 0..count {
        let message = tokio::time::timeout(Duration::from_secs(20), messages.next()).await;
        let message = message.expect("it is delivered again").unwrap().unwrap();
        gate.take(message.info().unwrap().stream_sequence);
        message.ack().await.unwrap();
    }
}

async fn lost_by_the_naive_gate(context: &Context) -> Vec<u64> {
    let consumer = shared_durable(context).await;
    // Instance 1 takes 1 to 5, and dies before it did anything with them.
    let mut first = consumer.fetch().max_messages(5).messages().await.unwrap();
    let mut taken = 0;
    while first.next().await.is_some() {
        taken += 1;
    }
    assert_eq!(taken, 5);
    // Instance 2 is given 6 to 10, and what instance 1 had when the server misses its acknowledgements.
    let mut gate = NaiveGate {
        checkpoint: 0,
        applied: BTreeSet::new(),
    };
    take(&consumer, 10, &mut gate).await;
    assert_eq!(
        gate.checkpoint, 10,
        "the gate believes that it has everything"
    );
    (1..=10)
        .filter(|sequence| !gate.applied.contains(sequence))
        .collect()
}

#[tokio::test]
async fn the_naive_gate_loses_events_and_ours_does_not() {
    for program in servers() {
        let nats = Nats::start(&program);
        let context = nats.stream(RetentionPolicy::Limits).await;
        assert_eq!(publish(&context, 10).await, 10);
        let lost = lost_by_the_naive_gate(&context).await;
        println!("{}: the naive gate lost {lost:?}", program.display());
        assert_eq!(lost, [1, 2, 3, 4, 5]);

        for kind in [SourceKind::Durable, SourceKind::Ordered] {
            let settings = settings_of(&nats, kind);
            // An owner takes 1 to 5, and dies before it did anything with them.
            let mut first = JetStreamSource::connect(&settings).await.unwrap();
            first.start(1).await.unwrap();
            let idle = Duration::from_secs(10);
            let five = ReceiveLimits {
                events_max: 5,
                bytes_max: 1 << 20,
                within: idle,
                idle,
            };
            assert_eq!(first.receive(&five).await.unwrap().len(), 5);
            drop(first);
            let folder = tempfile::tempdir().unwrap();
            let store = store(folder.path(), Durability::Commit);
            let mut source = JetStreamSource::connect(&settings).await.unwrap();
            run_until(
                &store,
                &manifest("halt"),
                &settings,
                &mut source,
                |status| status.has_reached(10),
            )
            .await;
            assert_eq!(applied(&store), (1..=10).collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn a_server_that_is_killed_again_and_again_loses_and_doubles_nothing() {
    for program in servers() {
        let mut nats = Nats::start(&program);
        if !nats.can_be_restarted() {
            eprintln!("skipped, {} cannot be restarted", nats.url());
            continue;
        }
        let context = nats.stream(RetentionPolicy::Limits).await;
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), Durability::Commit);
        let settings = settings_of(&nats, SourceKind::Ordered);
        let manifest = manifest("halt");
        let mut source = JetStreamSource::connect(&settings).await.unwrap();
        let mut all = publish(&context, 500).await;
        let (floor, mut floors) = tokio::sync::watch::channel(0);
        let run = run_until(&store, &manifest, &settings, &mut source, |status| {
            floor.send_replace(
                status
                    .projections
                    .values()
                    .map(|state| state.floor)
                    .min()
                    .unwrap_or(0),
            );
            status.has_reached(1_100)
        });
        let kills = async {
            for _ in 0..3 {
                // The node is reading when its server goes away, and half of what comes then is there before it is back.
                floors.wait_for(|floor| *floor == all).await.unwrap();
                publish(&nats.context().await, 100).await;
                nats.kill_and_restart();
                all = publish(&nats.context().await, 100).await;
            }
        };
        let (status, ()) = tokio::join!(run, kills);
        assert_eq!(all, 1_100);
        assert!(!status.restarts.is_empty(), "{status:?}");
        assert_eq!(applied(&store), (1..=all).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_stream_that_is_made_anew_under_a_running_node_blocks_it() {
    for program in servers() {
        let nats = Nats::start(&program);
        let context = nats.stream(RetentionPolicy::Limits).await;
        publish(&context, 5).await;
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), Durability::Commit);
        let settings = settings_of(&nats, SourceKind::Ordered);
        let mut source = JetStreamSource::connect(&settings).await.unwrap();
        let (reached, has_reached) = tokio::sync::oneshot::channel();
        let reached = std::cell::Cell::new(Some(reached));
        let manifest = manifest("halt");
        let run = run_until(&store, &manifest, &settings, &mut source, |status| {
            if status.has_reached(5)
                && let Some(reached) = reached.take()
            {
                let _ = reached.send(());
            }
            false
        });
        let meddle = async {
            has_reached.await.unwrap();
            context.delete_stream(&*STREAM).await.unwrap();
            let context = nats.stream(RetentionPolicy::Limits).await;
            publish(&context, 20).await;
        };
        let (status, ()) = tokio::join!(run, meddle);
        assert_eq!(status.state, ShardState::Blocked);
        let state = &status.projections[&accounts::table("account")];
        assert_eq!(state.blocked, Some(BlockedReason::StreamRecreated));
        assert_eq!(applied(&store), [1, 2, 3, 4, 5]);
    }
}

#[tokio::test]
async fn history_that_is_gone_blocks_and_a_purge_up_to_the_checkpoint_does_not() {
    for program in servers() {
        let nats = Nats::start(&program);
        let context = nats.stream(RetentionPolicy::Limits).await;
        publish(&context, 5).await;
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), Durability::Commit);
        let settings = settings_of(&nats, SourceKind::Ordered);
        let manifest = manifest("halt");
        let mut source = JetStreamSource::connect(&settings).await.unwrap();
        run_until(&store, &manifest, &settings, &mut source, |status| {
            status.has_reached(5)
        })
        .await;
        let stream = context.get_stream(&*STREAM).await.unwrap();
        stream.purge().sequence(6).await.unwrap();
        publish(&context, 5).await;
        run_until(&store, &manifest, &settings, &mut source, |status| {
            status.has_reached(10)
        })
        .await;
        assert_eq!(applied(&store), (1..=10).collect::<Vec<_>>());
        publish(&context, 5).await;
        stream.purge().sequence(13).await.unwrap();
        let status = run_until(&store, &manifest, &settings, &mut source, |_| false).await;
        let state = &status.projections[&accounts::table("account")];
        assert_eq!(
            state.blocked,
            Some(BlockedReason::HistoryGone {
                floor: 10,
                first: 13
            })
        );
    }
}

#[tokio::test]
async fn a_work_queue_is_read_by_a_durable_emptied_as_views_are_committed_and_refused_to_other_sources()
 {
    for program in servers() {
        let nats = Nats::start(&program);
        let context = nats.stream(RetentionPolicy::WorkQueue).await;
        publish(&context, 120).await;
        let folder = tempfile::tempdir().unwrap();
        let store = store(
            folder.path(),
            Durability::Interval(Duration::from_millis(20)),
        );
        let manifest = manifest("halt");
        let ordered = settings_of(&nats, SourceKind::Ordered);
        let mut source = JetStreamSource::connect(&ordered).await.unwrap();
        let status = run_until(&store, &manifest, &ordered, &mut source, |_| false).await;
        let state = &status.projections[&accounts::table("account")];
        assert!(
            matches!(state.blocked, Some(BlockedReason::Unsafe { .. })),
            "{status:?}"
        );

        let durable = settings_of(&nats, SourceKind::Durable);
        for reached in [120, 240] {
            let mut source = JetStreamSource::connect(&durable).await.unwrap();
            run_until(&store, &manifest, &durable, &mut source, |status| {
                status.has_reached(reached)
            })
            .await;
            publish(&context, 120).await;
        }
        assert_eq!(applied(&store), (1..=240).collect::<Vec<_>>());
        let stream = context.get_stream(&*STREAM).await.unwrap();
        assert_eq!(
            stream.cached_info().state.messages,
            120,
            "what was not read is still there, and nothing else"
        );
    }
}
