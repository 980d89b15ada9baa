//! History that is gone, with real servers: it is told wherever it goes, and accepted only by somebody who says so.

mod accounts;
mod nats;

use std::time::Duration;

use accounts::{applied, deposit, manifest, run_until, settings, store, table};
use async_nats::jetstream::{
    Context,
    stream::{DiscardPolicy, RetentionPolicy},
};
use nats::{Nats, STREAM, servers};
use projection::{
    admin::{self, AdminError},
    pipeline::{ShardOptions, ShardState},
    settings::{Durability, Settings},
    stream::{
        BlockedReason, EventSource, Interruption, JetStreamSource, ReceiveLimits, StreamError,
    },
};

const LIMITS: ReceiveLimits = ReceiveLimits {
    events_max: 1_000,
    bytes_max: usize::MAX,
    within: Duration::from_millis(200),
    idle: Duration::from_secs(5),
};

async fn publish(context: &Context, count: u64) -> u64 {
    let mut last = 0;
    for _ in 0..count {
        let published = context
            .publish(nats::subject("0.a"), deposit("a", 1).into())
            .await;
        last = published.unwrap().await.unwrap().sequence;
    }
    last
}

fn settings_of(nats: &Nats) -> Settings {
    let mut settings = settings(50, 1);
    settings.nats_url = nats.url();
    STREAM.clone_into(&mut settings.stream);
    settings.heartbeat = Duration::from_millis(500);
    settings
}

#[tokio::test]
async fn what_goes_between_the_start_of_a_delivery_and_its_first_message_is_a_gap() {
    for program in servers() {
        let nats = Nats::start(&program);
        let context = nats.stream(RetentionPolicy::Limits).await;
        publish(&context, 20).await;
        let mut source = JetStreamSource::connect(&settings_of(&nats)).await.unwrap();
        let facts = source.facts(0).await.unwrap();
        assert_eq!((facts.first, facts.last), (1, 20));
        source.start(1).await.unwrap();
        let stream = context.get_stream(&*STREAM).await.unwrap();
        stream.purge().sequence(11).await.unwrap();
        let received = source.receive(&LIMITS).await.unwrap();
        assert!(received.is_empty(), "{received:?}");
        let broken = source.receive(&LIMITS).await.unwrap_err();
        assert!(
            matches!(broken, StreamError::Interrupted(Interruption::Gap)),
            "{broken}"
        );
    }
}

#[tokio::test]
async fn messages_that_were_removed_one_by_one_are_no_gap() {
    for program in servers() {
        let nats = Nats::start(&program);
        let context = nats.stream(RetentionPolicy::Limits).await;
        publish(&context, 20).await;
        let stream = context.get_stream(&*STREAM).await.unwrap();
        for removed in [5, 6, 17] {
            stream.delete_message(removed).await.unwrap();
        }
        let mut source = JetStreamSource::connect(&settings_of(&nats)).await.unwrap();
        source.facts(0).await.unwrap();
        source.start(1).await.unwrap();
        let mut sequences = Vec::new();
        while sequences.last() != Some(&20) {
            let received = source.receive(&LIMITS).await.unwrap();
            sequences.extend(received.iter().map(|delivery| delivery.sequence));
        }
        assert_eq!(sequences.len(), 17);
    }
}

/// A consumer that is slower than what is published, on a stream that keeps little.
#[tokio::test]
async fn a_reader_that_the_stream_runs_away_from_is_blocked_and_has_not_skipped() {
    for program in servers() {
        let nats = Nats::start(&program);
        let context = nats.stream(RetentionPolicy::Limits).await;
        let mut config = context
            .get_stream(&*STREAM)
            .await
            .unwrap()
            .cached_info()
            .config
            .clone();
        config.max_messages = 10;
        config.discard = DiscardPolicy::Old;
        context.update_stream(config).await.unwrap();
        publish(&context, 8).await;
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), Durability::Commit);
        let settings = settings_of(&nats);
        let mut source = JetStreamSource::connect(&settings).await.unwrap();
        let reached = |status: &projection::pipeline::ShardStatus| status.has_reached(8);
        run_until(&store, &manifest("halt"), &settings, &mut source, reached).await;
        // While nobody reads.
        source.facts(8).await.unwrap();
        source.start(9).await.unwrap();
        publish(&context, 30).await;
        let received = source.receive(&LIMITS).await.unwrap();
        assert!(
            received.iter().all(|delivery| delivery.sequence <= 9),
            "{received:?}"
        );
        let status = run_until(&store, &manifest("halt"), &settings, &mut source, |_| false).await;
        assert_eq!(status.state, ShardState::Blocked);
        assert_eq!(
            status.projections[&table("account")].blocked,
            Some(BlockedReason::HistoryGone {
                floor: 8,
                first: 29
            })
        );
        assert_eq!(applied(&store), (1..=8).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn views_are_begun_without_the_beginning_of_a_stream_only_by_somebody_who_says_so() {
    for program in servers() {
        let nats = Nats::start(&program);
        let context = nats.stream(RetentionPolicy::Limits).await;
        publish(&context, 10).await;
        let stream = context.get_stream(&*STREAM).await.unwrap();
        stream.purge().sequence(8).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), Durability::Commit);
        let (settings, manifest) = (settings_of(&nats), manifest("halt"));
        let mut source = JetStreamSource::connect(&settings).await.unwrap();
        let status = run_until(&store, &manifest, &settings, &mut source, |_| false).await;
        let gone = BlockedReason::HistoryGone { floor: 0, first: 8 };
        let state = &status.projections[&table("account")];
        assert_eq!(state.blocked, Some(gone));
        assert!(applied(&store).is_empty());

        let options = ShardOptions::of(&settings);
        for projection in manifest.projections() {
            let accepted = admin::accept_gap(&store, projection, &options, &mut source).await;
            assert_eq!(accepted.unwrap(), (1, 7));
            let again = admin::accept_gap(&store, projection, &options, &mut source).await;
            assert!(matches!(again, Err(AdminError::NoGap { .. })), "{again:?}");
        }
        let reached = |status: &projection::pipeline::ShardStatus| status.has_reached(10);
        run_until(&store, &manifest, &settings, &mut source, reached).await;
        assert_eq!(applied(&store), [8, 9, 10]);
    }
}
