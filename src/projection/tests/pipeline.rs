//! The pipeline over a stream in memory that misbehaves: views are those of one clean reading, byte for byte.

mod accounts;

use std::sync::Arc;

use accounts::{deposit, dump, event, manifest, run_until, settings, store};
use projection::{
    pipeline::{ShardState, ShardStatus},
    quarantine::Fault,
    settings::{Durability, Settings},
    storage::{Batch, ViewStore},
    stream::{BlockedReason, Interruption, MemorySource},
};

const INTERRUPTIONS: [Interruption; 4] = [
    Interruption::Gap,
    Interruption::Disorder,
    Interruption::MissedHeartbeat,
    Interruption::Reconnected,
];

fn reached(sequence: u64) -> impl Fn(&ShardStatus) -> bool {
    move |status| status.has_reached(sequence)
}

async fn clean(
    source: &MemorySource,
    policy: &str,
    last: u64,
) -> (tempfile::TempDir, Arc<ViewStore>) {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), Durability::Commit);
    let settings = settings(100_000, 1);
    run_until(
        &store,
        &manifest(policy),
        &settings,
        &mut source.clone(),
        reached(last),
    )
    .await;
    (folder, store)
}

/// One schedule: a stream with poison in it, read in pieces with interruptions and restarts, under everything that may be set.
async fn schedule(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let policy = if rng.bool() { "park-key" } else { "skip" };
    let mut source = MemorySource::default();
    let folder = tempfile::tempdir().unwrap();
    let durability = if rng.bool() {
        Durability::Commit
    } else {
        Durability::Interval(std::time::Duration::from_millis(2))
    };
    let mut last = 0;
    for _ in 0..rng.usize(1..4) {
        for _ in 0..rng.usize(1..120) {
            let id = format!("a-{}", rng.u32(0..9));
            last = match rng.u32(0..12) {
                0 => source.publish("ev", "no JSON"),
                1 => source.publish("ev", event(&id, "Broken", "\"five\"")),
                _ => source.publish("ev", deposit(&id, rng.i64(-9..9))),
            };
        }
        for _ in 0..rng.usize(0..4) {
            source.interrupt_after(rng.usize(0..40), INTERRUPTIONS[rng.usize(0..4)]);
        }
        let settings = settings(rng.usize(1..50), rng.usize(1..4));
        let store = store(folder.path(), durability);
        let status = run_until(
            &store,
            &manifest(policy),
            &settings,
            &mut source,
            reached(last),
        )
        .await;
        assert_eq!(status.state, ShardState::Stopped, "seed {seed}: {status:?}");
    }
    let store = store(folder.path(), durability);
    let (_folder, clean) = clean(&source, policy, last).await;
    for view_type in ["account", "kind"] {
        assert_eq!(
            dump(&store, view_type),
            dump(&clean, view_type),
            "seed {seed}"
        );
        let records = |store: &ViewStore| {
            store
                .snapshot()
                .unwrap()
                .records(&accounts::table(view_type))
                .unwrap()
        };
        assert_eq!(records(&store), records(&clean), "seed {seed}");
    }
    assert!(source.acknowledged() <= last);
}

#[tokio::test]
async fn whatever_interrupts_a_delivery_the_views_are_those_of_one_clean_reading() {
    let seed = fastrand::u64(..);
    for round in 0..60 {
        schedule(seed.wrapping_add(round)).await;
    }
}

#[tokio::test]
async fn a_parked_key_waits_in_order_while_others_go_on() {
    let source = MemorySource::default();
    source.publish("ev", deposit("a", 1));
    source.publish("ev", event("a", "Deposited", "null"));
    source.publish("ev", deposit("b", 5));
    let last = source.publish("ev", deposit("a", 2));
    let (_folder, store) = clean(&source, "park-key", last).await;
    assert_eq!(accounts::applied(&store), [1, 3]);
    let records = store
        .snapshot()
        .unwrap()
        .records(&accounts::table("account"))
        .unwrap();
    let faults: Vec<_> = records
        .iter()
        .map(|(key, record)| (key.sequence, record.fault))
        .collect();
    assert_eq!(faults, [(2, Fault::Contract), (4, Fault::Waiting)]);
    assert!(records.iter().all(|(_, record)| record.body.is_some()));
    // The other projection has no quarrel with that event.
    assert!(dump(&store, "kind")[0].1.contains("\"count\":4"));
}

/// What is nested deeper than JSON is read back would be written, and never read again.
#[tokio::test]
async fn a_view_that_grows_into_itself_is_stopped_while_it_can_still_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("manifest.yaml");
    let nested = "{language: dag/v1, key: k, view: {object: {within: {view: ''}}}}";
    let text = format!("projections: [{{view_type: account, poison: skip, program: {nested}}}]");
    std::fs::write(&file, text).unwrap();
    let manifest = projection::manifest::ProjectionManifest::load(&file, 100_000).unwrap();
    let mut source = MemorySource::default();
    for number in 0..300 {
        source.publish("ev", deposit("a", number));
    }
    let store = store(&folder.path().join("store"), Durability::Commit);
    run_until(
        &store,
        &manifest,
        &settings(9, 1),
        &mut source,
        reached(300),
    )
    .await;
    let snapshot = store.snapshot().unwrap();
    let key = projection::types::ViewKey::new("".into(), "account".into(), "k".into()).unwrap();
    let view = snapshot.view(&accounts::table("account"), &key).unwrap();
    assert_eq!(view.unwrap().last_seq, 100);
    let records = snapshot.records(&accounts::table("account")).unwrap();
    assert_eq!(records.len(), 200);
    assert!(
        records
            .iter()
            .all(|(_, record)| record.fault == Fault::Contract)
    );
}

#[tokio::test]
async fn a_projection_that_halts_stops_right_before_the_event_and_lets_the_others_go_on() {
    let source = MemorySource::default();
    for number in 0..10 {
        source.publish("ev", deposit(&format!("a-{number}"), 1));
    }
    let poison = source.publish("ev", event("a-1", "Deposited", "true"));
    let last = source.publish("ev", deposit("a-2", 1));
    for lanes in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), Durability::Commit);
        let at_end = |status: &ShardStatus| {
            status
                .projections
                .get(&accounts::table("kind"))
                .is_some_and(|state| state.floor == last)
        };
        let status = run_until(
            &store,
            &manifest("halt"),
            &settings(100, lanes),
            &mut source.clone(),
            at_end,
        )
        .await;
        let state = &status.projections[&accounts::table("account")];
        assert_eq!(state.floor, poison - 1);
        assert!(
            matches!(state.blocked, Some(BlockedReason::Poison { sequence, .. }) if sequence == poison)
        );
        assert_eq!(accounts::applied(&store), (1..poison).collect::<Vec<_>>());
        // Delivery goes back to where it stopped, and the other, which is further, takes nothing twice.
        let counted = dump(&store, "kind");
        run_until(
            &store,
            &manifest("skip"),
            &settings(100, lanes),
            &mut source.clone(),
            reached(last),
        )
        .await;
        assert_eq!(dump(&store, "kind"), counted);
        let all_but_poison = (1..=last).filter(|sequence| *sequence != poison);
        assert_eq!(
            accounts::applied(&store),
            all_but_poison.collect::<Vec<_>>()
        );
    }
}

#[tokio::test]
async fn a_stream_that_was_made_anew_blocks_and_the_views_stay() {
    let mut source = MemorySource::default();
    let last = source.publish("ev", deposit("a", 1));
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), Durability::Commit);
    run_until(
        &store,
        &manifest("skip"),
        &settings(9, 1),
        &mut source,
        reached(last),
    )
    .await;
    source.recreate();
    source.publish("ev", deposit("a", 1));
    source.publish("ev", deposit("a", 1));
    let status = run_until(
        &store,
        &manifest("skip"),
        &settings(9, 1),
        &mut source,
        |_| false,
    )
    .await;
    assert_eq!(status.state, ShardState::Blocked);
    let state = &status.projections[&accounts::table("account")];
    assert_eq!(state.blocked, Some(BlockedReason::StreamRecreated));
    let mend = state
        .blocked
        .as_ref()
        .unwrap()
        .mend(&accounts::table("account"));
    assert_eq!(mend, "projection rebuild account");
    assert_eq!(accounts::applied(&store), [1]);
}

#[tokio::test]
async fn another_program_or_other_subjects_block() {
    let mut source = MemorySource::default();
    let last = source.publish("ev", deposit("a", 1));
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), Durability::Commit);
    run_until(
        &store,
        &manifest("skip"),
        &settings(9, 1),
        &mut source,
        reached(last),
    )
    .await;
    let mut other: Settings = settings(9, 1);
    other.subjects = vec!["ev.>".to_owned()];
    let status = run_until(&store, &manifest("skip"), &other, &mut source, |_| false).await;
    let blocked = |status: &ShardStatus| {
        status.projections[&accounts::table("account")]
            .blocked
            .clone()
    };
    assert_eq!(blocked(&status), Some(BlockedReason::FilterChanged));
}

#[tokio::test]
async fn events_of_tenants_where_there_are_none_and_of_others_than_the_subject_says_are_set_aside()
{
    let of_tenant =
        |tenant: &str| deposit("a", 1).replacen('{', &format!("{{\"tenant_id\":\"{tenant}\","), 1);
    let mut source = MemorySource::default();
    source.publish("ev.0.north", of_tenant("north"));
    let last = source.publish("ev.0.north", of_tenant("south"));
    let (_folder, store) = clean(&source, "park-key", last).await;
    assert_eq!(accounts::applied(&store), [0; 0]);

    let folder = tempfile::tempdir().unwrap();
    let store = accounts::store(folder.path(), Durability::Commit);
    let mut tenants = settings(9, 1);
    tenants.multi_tenant = true;
    tenants.subject_tenant_token = Some(2);
    run_until(
        &store,
        &manifest("park-key"),
        &tenants,
        &mut source,
        reached(last),
    )
    .await;
    assert_eq!(accounts::applied(&store), [1]);
    let records = store
        .snapshot()
        .unwrap()
        .records(&accounts::table("account"))
        .unwrap();
    assert!(matches!(&records[..], [(_, record)] if record.fault == Fault::Tenant));
}

#[tokio::test]
async fn a_second_writer_is_noticed_by_the_checkpoint_and_the_first_blocks() {
    let mut source = MemorySource::default();
    let last = source.publish("ev", deposit("a", 1));
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), Durability::Commit);
    let intruder = Arc::clone(&store);
    let shared = source.clone();
    let meddled = std::cell::Cell::new(false);
    let meddle = |status: &ShardStatus| {
        if status.has_reached(last) && !meddled.replace(true) {
            let table = accounts::table("account");
            let stored = intruder
                .snapshot()
                .unwrap()
                .checkpoint(&table)
                .unwrap()
                .unwrap();
            let part = projection::storage::Part::new(
                table,
                Some(stored.floor),
                stored.advanced(stored.floor + 1, 0),
            );
            intruder.commit(&Batch::from(part)).unwrap();
            shared.publish("ev", deposit("a", 1));
        }
        false
    };
    let status = run_until(
        &store,
        &manifest("skip"),
        &settings(9, 1),
        &mut source,
        meddle,
    )
    .await;
    assert_eq!(status.state, ShardState::Blocked);
    assert_eq!(
        status.projections[&accounts::table("account")].blocked,
        Some(BlockedReason::FloorMoved)
    );
}
