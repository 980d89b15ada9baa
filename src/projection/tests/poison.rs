//! Poison: nothing is dropped that can be applied, nothing is written by a retry that a session would refuse, and what waits goes first under any policy.

mod accounts;

use std::{collections::BTreeMap, sync::Arc};

use accounts::{applied, deposit, event, manifest, run_until, settings, store, table};
use projection::{
    admin::{self, AdminError},
    pipeline::{ShardOptions, ShardState, ShardStatus},
    quarantine::Fault,
    settings::{Durability, Settings},
    storage::ViewStore,
    stream::{BlockedReason, EventSource, MemorySource, ReceiveLimits, StreamError, StreamFacts},
};

fn reached(sequence: u64) -> impl Fn(&ShardStatus) -> bool {
    move |status| status.has_reached(sequence)
}

async fn run(
    store: &Arc<ViewStore>,
    policy: &str,
    source: &MemorySource,
    enough: impl Fn(&ShardStatus) -> bool,
) -> ShardStatus {
    let settings = settings(10, 1);
    run_until(
        store,
        &manifest(policy),
        &settings,
        &mut source.clone(),
        enough,
    )
    .await
}

/// Whether `account` drops the event at `sequence`.
async fn dropped(
    store: &ViewStore,
    policy: &str,
    source: &MemorySource,
    sequence: u64,
) -> Result<(), AdminError> {
    let manifest = manifest(policy);
    let account = manifest.find("account").unwrap();
    let options = ShardOptions::of(&settings(10, 1));
    admin::drop_halted(store, account, &options, &mut source.clone(), sequence).await
}

#[tokio::test]
async fn only_the_poison_that_a_projection_halted_before_is_dropped() {
    let source = MemorySource::default();
    source.publish("ev", deposit("a", 1));
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), Durability::Commit);
    run(&store, "halt", &source, reached(1)).await;

    let not_there = dropped(&store, "halt", &source, 2).await.unwrap_err();
    assert!(
        matches!(not_there, AdminError::NotNext { .. }),
        "{not_there}"
    );
    source.publish("ev", deposit("a", 2));
    let healthy = dropped(&store, "halt", &source, 2).await.unwrap_err();
    assert!(matches!(healthy, AdminError::NotPoison { .. }), "{healthy}");
    let parks = dropped(&store, "park-key", &source, 2).await.unwrap_err();
    assert!(matches!(parks, AdminError::NotPoison { .. }), "{parks}");

    source.publish("ev", event("a", "Deposited", "null"));
    source.publish("ev", deposit("a", 4));
    let halted = |status: &ShardStatus| {
        let account = status.projections.get(&table("account"));
        account.is_some_and(|account| account.blocked.is_some())
    };
    let status = run(&store, "halt", &source, halted).await;
    let state = &status.projections[&table("account")];
    assert!(
        matches!(
            state.blocked,
            Some(BlockedReason::Poison { sequence: 3, .. })
        ),
        "{status:?}"
    );
    dropped(&store, "halt", &source, 3).await.unwrap();
    run(&store, "halt", &source, reached(4)).await;
    assert_eq!(applied(&store), [1, 2, 4]);
    let records = store
        .snapshot()
        .unwrap()
        .records(&table("account"))
        .unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].1.fault, Fault::Dropped);
}

#[tokio::test]
async fn a_retry_writes_no_view_that_a_session_would_refuse() {
    let source = MemorySource::default();
    source.publish("ev", deposit("a", 1));
    let last = source.publish("ev", event("a", "Deposited", "null"));
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), Durability::Commit);
    run(&store, "park-key", &source, reached(last)).await;
    let manifest = manifest("park-key");
    let account = manifest.find("account").unwrap();
    let waiting = source.publish("ev", deposit("a", 2));
    run(&store, "park-key", &source, reached(waiting)).await;
    admin::drop_record(&store, account, last).unwrap();

    let mut narrow = settings(10, 1);
    narrow.view_bytes_max = 20;
    let retry = |settings: &Settings| {
        let options = ShardOptions::of(settings);
        admin::retry(&store, account, &options, "", &"a".into(), &BTreeMap::new()).unwrap()
    };
    let refused = retry(&narrow);
    assert_eq!(refused.applied, 0);
    assert_eq!(refused.stuck.unwrap().0, waiting);
    let records = store
        .snapshot()
        .unwrap()
        .records(&table("account"))
        .unwrap();
    assert_eq!(
        (records[0].1.fault, records[0].1.attempts),
        (Fault::Size, 1)
    );
    assert_eq!(applied(&store), [1]);

    assert_eq!(retry(&settings(10, 1)).applied, 1);
    assert_eq!(applied(&store), [1, waiting]);
}

#[tokio::test]
async fn what_waits_goes_first_also_under_another_policy() {
    let source = MemorySource::default();
    source.publish("ev", event("a", "Deposited", "null"));
    source.publish("ev", deposit("a", 1));
    let last = source.publish("ev", deposit("b", 1));
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), Durability::Commit);
    run(&store, "park-key", &source, reached(last)).await;
    source.publish("ev", deposit("b", 2));
    let last = source.publish("ev", deposit("a", 2));
    run(&store, "skip", &source, reached(last)).await;
    assert_eq!(applied(&store), [3, 4], "nothing of a");

    let manifest = manifest("skip");
    let account = manifest.find("account").unwrap();
    let options = ShardOptions::of(&settings(10, 1));
    admin::drop_record(&store, account, 1).unwrap();
    let retried = admin::retry(&store, account, &options, "", &"a".into(), &BTreeMap::new());
    assert_eq!(retried.unwrap().applied, 2);
    assert_eq!(applied(&store), [2, 3, 4, 5]);
}

#[tokio::test]
async fn too_many_parked_keys_block_from_the_start_and_take_nothing_more_in() {
    let source = MemorySource::default();
    for id in ["a", "b", "c"] {
        source.publish("ev", event(id, "Deposited", "null"));
    }
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), Durability::Commit);
    let mut narrow = settings(1, 1);
    narrow.parked_keys_max = 2;
    let parks = manifest("park-key");
    for _ in 0..2 {
        source.publish("ev", deposit("d", 1));
        let enough = |status: &ShardStatus| {
            let kind = &status.projections.get(&table("kind"));
            kind.is_some_and(|kind| kind.floor >= 4)
        };
        let mut reader = source.clone();
        let status = run_until(&store, &parks, &narrow, &mut reader, enough).await;
        assert_eq!(
            status.projections[&table("account")].blocked,
            Some(BlockedReason::TooManyParked { keys: 3, events: 3 }),
            "{status:?}"
        );
        let snapshot = store.snapshot().unwrap();
        assert_eq!(
            snapshot
                .checkpoint(&table("account"))
                .unwrap()
                .unwrap()
                .floor,
            3
        );
    }
}

/// A stream whose messages stay when they were acknowledged.
#[tokio::test]
async fn a_projection_that_halted_does_not_hold_up_what_others_acknowledge() {
    let source = MemorySource::default();
    source.publish("ev", deposit("a", 1));
    source.publish("ev", event("a", "Deposited", "null"));
    for _ in 0..30 {
        source.publish("ev", deposit("a", 1));
    }
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), Durability::Commit);
    let others_are_done = |status: &ShardStatus| {
        let kind = status.projections.get(&table("kind"));
        kind.is_some_and(|kind| kind.floor == 32)
    };
    let status = run(&store, "halt", &source, others_are_done).await;
    assert_eq!(status.state, ShardState::Stopped);
    assert_eq!(status.projections[&table("account")].floor, 1);
    assert_eq!(source.acknowledged(), 32);
}

/// Each look finds a stream that was made anew since the last one.
struct MadeAnew {
    stream: MemorySource,
    looks: i128,
}

#[async_trait::async_trait]
impl EventSource for MadeAnew {
    async fn facts(&mut self, floor: u64) -> Result<StreamFacts, StreamError> {
        self.looks += 1;
        let facts = self.stream.facts(floor).await?;
        Ok(StreamFacts {
            created: facts.created + i128::from(self.looks == 2),
            ..facts
        })
    }

    async fn start(&mut self, from: u64) -> Result<(), StreamError> {
        assert!(self.looks > 2, "started for projections of two streams");
        self.stream.start(from).await
    }

    async fn receive(
        &mut self,
        limits: &ReceiveLimits,
    ) -> Result<Vec<projection::stream::Delivery>, StreamError> {
        self.stream.receive(limits).await
    }

    async fn pending(&mut self) -> Result<u64, StreamError> {
        self.stream.pending().await
    }

    async fn acknowledge(&mut self, through: u64) -> Result<(), StreamError> {
        self.stream.acknowledge(through).await
    }
}

#[tokio::test]
async fn projections_are_compared_with_one_stream_all_of_them() {
    let stream = MemorySource::default();
    let last = stream.publish("ev", deposit("a", 1));
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), Durability::Commit);
    let mut source = MadeAnew { stream, looks: 0 };
    let settings = settings(10, 1);
    run_until(
        &store,
        &manifest("halt"),
        &settings,
        &mut source,
        reached(last),
    )
    .await;
    assert_eq!(applied(&store), [1]);
}
