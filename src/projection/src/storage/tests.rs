//! Tests of stores: the same rules for each engine, and the engines against each other.

use std::{ops::ControlFlow, path::Path};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    quarantine::{Fault, Record, RecordKey},
    types::{
        CHECKPOINT_FORMAT, CheckpointKey, GenerationState, Generations, StoredView, TenantId,
        TenantScope, ViewKey,
    },
};

const ENGINES: [Engine; 2] = [Engine::Mdbx, Engine::Redb];

fn open(folder: &Path, engine: Engine) -> Result<ViewStore, StorageError> {
    let options = StoreOptions {
        engine,
        bytes_max: 64 << 20,
        durability: Durability::Commit,
    };
    ViewStore::open(folder, options)
}

fn accounts(generation: u32) -> ViewTable {
    ViewTable {
        view_type: "account".into(),
        generation,
    }
}

fn at(floor: u64) -> Checkpoint {
    Checkpoint {
        format: CHECKPOINT_FORMAT,
        stream: "EVENTS".into(),
        stream_created: 1,
        filter_hash: "f".into(),
        program_hash: "p".into(),
        shard: None,
        floor,
        published: (floor > 0).then_some(2),
    }
}

fn key(tenant: &str, id: &str) -> ViewKey {
    ViewKey::new(tenant.into(), "account".into(), id.into()).unwrap()
}

fn view(number: u64) -> Vec<u8> {
    StoredView {
        view: json!({ "n": number }),
        last_seq: number,
        applied: 1,
        program: "p".into(),
    }
    .encode()
}

fn ids(store: &ViewStore, table: &ViewTable, tenant: &str, after: Option<&str>) -> Vec<String> {
    let mut found = Vec::new();
    let scope = TenantScope::new(&TenantId::from(tenant));
    let after = after.map(Into::into);
    let snapshot = store.snapshot().unwrap();
    let scanned = snapshot.scan(table, &scope, after.as_ref(), &mut |scanned| {
        found.push(scanned.id.to_string());
        ControlFlow::Continue(())
    });
    scanned.unwrap();
    found
}

#[test]
fn views_and_their_checkpoint_are_read_back_after_the_store_was_closed() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), engine).unwrap();
        let mut part = Part::new(accounts(1), None, at(3));
        part.put(&key("north", "a"), Some(view(1)));
        part.note_progress(&"north".into(), 3);
        store.commit(&part.into()).unwrap();
        drop(store);

        let store = open(folder.path(), engine).unwrap();
        let snapshot = store.snapshot().unwrap();
        assert_eq!(snapshot.checkpoint(&accounts(1)).unwrap(), Some(at(3)));
        let stored = snapshot
            .view(&accounts(1), &key("north", "a"))
            .unwrap()
            .unwrap();
        assert_eq!(stored.view, json!({"n": 1}));
        let progress = CheckpointKey::new("north".into(), "account".into()).unwrap();
        assert_eq!(snapshot.progress(&accounts(1), &progress).unwrap(), Some(3));
        assert_eq!(snapshot.checkpoint(&accounts(2)).unwrap(), None);
    }
}

#[test]
fn a_batch_that_begins_elsewhere_than_the_checkpoint_changes_nothing_of_any_part() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), engine).unwrap();
        store
            .commit(&Part::new(accounts(1), None, at(5)).into())
            .unwrap();

        let mut good = Part::new(accounts(2), None, at(9));
        good.put(&key("", "a"), Some(view(9)));
        let mut stale = Part::new(accounts(1), Some(4), at(9));
        stale.put(&key("", "a"), Some(view(9)));
        let mut batch = Batch::from(good);
        batch.push(stale);
        let error = store.commit(&batch).unwrap_err();
        assert!(
            matches!(
                error,
                StorageError::FloorMoved {
                    expected: Some(4),
                    found: Some(5),
                    ..
                }
            ),
            "{error}"
        );
        let snapshot = store.snapshot().unwrap();
        assert_eq!(snapshot.checkpoint(&accounts(1)).unwrap(), Some(at(5)));
        assert_eq!(snapshot.checkpoint(&accounts(2)).unwrap(), None);
        assert_eq!(
            snapshot.view_bytes(&accounts(2), &key("", "a")).unwrap(),
            None
        );
    }
}

#[test]
fn a_scan_stays_within_its_tenant_and_goes_on_behind_a_view() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), engine).unwrap();
        let mut part = Part::new(accounts(1), None, at(1));
        for (tenant, id) in [
            ("a", "1"),
            ("a", "2"),
            ("a", "2:b"),
            ("a", "3"),
            ("a:b", "9"),
            ("b", "1"),
            ("", "0"),
        ] {
            part.put(&key(tenant, id), Some(view(1)));
        }
        store.commit(&part.into()).unwrap();
        assert_eq!(ids(&store, &accounts(1), "a", None), ["1", "2", "2:b", "3"]);
        assert_eq!(ids(&store, &accounts(1), "a", Some("2")), ["2:b", "3"]);
        assert_eq!(ids(&store, &accounts(1), "a:b", None), ["9"]);
        assert_eq!(ids(&store, &accounts(1), "", None), ["0"]);
        assert_eq!(ids(&store, &accounts(1), "nobody", None), [""; 0]);
    }
}

#[test]
fn clearing_a_generation_leaves_the_others_and_lets_it_begin_again() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), engine).unwrap();
        for generation in [1, 2] {
            let mut part = Part::new(accounts(generation), None, at(1));
            part.put(&key("", "a"), Some(view(1)));
            let record = RecordKey {
                sequence: 1,
                in_table: ":b".into(),
            };
            part.put_record(&record, &poison());
            store.commit(&part.into()).unwrap();
        }
        store.clear(&accounts(1)).unwrap();
        assert_eq!(ids(&store, &accounts(1), "", None), [""; 0]);
        assert_eq!(ids(&store, &accounts(2), "", None), ["a"]);
        assert_eq!(store.snapshot().unwrap().records(&accounts(1)).unwrap(), []);
        assert_eq!(
            store
                .snapshot()
                .unwrap()
                .records(&accounts(2))
                .unwrap()
                .len(),
            1
        );
        store
            .commit(&Part::new(accounts(1), None, at(1)).into())
            .unwrap();
    }
}

fn poison() -> Record {
    Record {
        fault: Fault::Contract,
        reason: "no amount".into(),
        subject: "ev.1".into(),
        published: 1,
        tenant: None,
        view: None,
        program: "p".into(),
        attempts: 1,
        body: None,
    }
}

#[test]
fn a_folder_has_one_owner_and_mdbx_may_be_read_beside_it() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), engine).unwrap();
        let second = open(folder.path(), engine);
        assert!(matches!(second.err(), Some(StorageError::Owned { .. })));
        drop(store);
        open(folder.path(), engine).unwrap();
    }
}

#[test]
fn a_store_that_is_full_says_so_keeps_what_it_has_and_takes_small_changes_again() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        engine: Engine::Mdbx,
        bytes_max: 2 << 20,
        durability: Durability::Commit,
    };
    let store = ViewStore::open(folder.path(), options).unwrap();
    let mut floor = None;
    let error = loop {
        let next = floor.unwrap_or(0) + 1;
        let mut part = Part::new(accounts(1), floor, at(next));
        for number in 0..100 {
            part.put(
                &key("", &format!("{next}-{number}")),
                Some(vec![b'x'; 1_000]),
            );
        }
        match store.commit(&part.into()) {
            Ok(()) => floor = Some(next),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StorageError::Full { .. }), "{error}");
    assert!(error.is_transient());
    let last = floor.unwrap();
    assert_eq!(
        store.snapshot().unwrap().checkpoint(&accounts(1)).unwrap(),
        Some(at(last))
    );
    assert_eq!(ids(&store, &accounts(1), "", None).len() as u64, last * 100);
    store
        .commit(&Part::new(accounts(1), floor, at(last + 1)).into())
        .unwrap();
    drop(store);
    let store = ViewStore::open(
        folder.path(),
        StoreOptions {
            bytes_max: 64 << 20,
            ..options
        },
    )
    .unwrap();
    let mut part = Part::new(accounts(1), Some(last + 1), at(last + 2));
    part.put(&key("", "more"), Some(vec![b'x'; 1 << 20]));
    store.commit(&part.into()).unwrap();
}

/// One change: of view `id` to `Some` number or away, as part of the commit `commit`.
type Change = (u8, Option<u64>);

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn both_engines_hold_the_same_bytes_after_the_same_commits(
        commits in proptest::collection::vec(proptest::collection::vec(any::<Change>(), 0..8), 1..12)
    ) {
        let folders = ENGINES.map(|_| tempfile::tempdir().unwrap());
        let stores: Vec<_> = ENGINES.iter().zip(&folders).map(|(engine, folder)| open(folder.path(), *engine).unwrap()).collect();
        let mut floor = None;
        for changes in &commits {
            let next = floor.unwrap_or(0) + 1;
            for store in &stores {
                let mut part = Part::new(accounts(1), floor, at(next));
                let latest = changes.iter().map(|(id, number)| (id % 16, *number));
                let latest: std::collections::BTreeMap<_, _> = latest.collect();
                for (id, number) in latest {
                    part.put(&key("t", &id.to_string()), number.map(view));
                }
                store.commit(&part.into()).unwrap();
            }
            floor = Some(next);
        }
        let dumps: Vec<Vec<(Vec<u8>, Vec<u8>)>> = stores.iter().map(|store| {
            let mut all = Vec::new();
            let snapshot = store.snapshot().unwrap();
            snapshot.entries(&accounts(1), |key, value| {
                all.push((key.to_vec(), value.to_vec()));
                ControlFlow::Continue(())
            }).unwrap();
            all
        }).collect();
        prop_assert_eq!(&dumps[0], &dumps[1]);
    }
}

#[test]
fn the_first_generation_that_is_written_is_served_and_the_next_ones_are_shadows() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), engine).unwrap();
        let served = || store.snapshot().unwrap().served(&"account".into()).unwrap();
        assert_eq!(served(), None);
        for generation in [3, 4] {
            let part = Part::new(accounts(generation), None, at(1));
            store.commit(&part.into()).unwrap();
            assert_eq!(served(), Some(3));
        }
        let generations = store.snapshot().unwrap().generations(&"account".into());
        let generations = generations.unwrap().unwrap();
        assert_eq!(generations.kept[&4].state, GenerationState::Shadow);
        assert_eq!(generations.kept[&4].program, "p");
    }
}

#[test]
fn a_change_of_generations_that_is_refused_leaves_no_trace() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), engine).unwrap();
        store
            .commit(&Part::new(accounts(1), None, at(5)).into())
            .unwrap();
        let refused = store.change_generations(&"account".into(), |change| {
            change.clear(1)?;
            change.set(&Generations::first(9, "q"))?;
            Err::<(), _>(StorageError::Refused)
        });
        assert!(matches!(refused, Err(StorageError::Refused)));
        let snapshot = store.snapshot().unwrap();
        assert_eq!(snapshot.served(&"account".into()).unwrap(), Some(1));
        assert_eq!(snapshot.checkpoint(&accounts(1)).unwrap(), Some(at(5)));
    }
}

#[test]
fn a_generation_is_cleared_in_pieces_and_its_neighbour_keeps_everything() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), engine).unwrap();
        for generation in [1, 2] {
            let mut part = Part::new(accounts(generation), None, at(1));
            for number in 0..25 {
                part.put(&key("t", &number.to_string()), Some(view(number)));
            }
            store.commit(&part.into()).unwrap();
        }
        let mut pieces = 1;
        while store.clear_some(&accounts(1), 10).unwrap() {
            pieces += 1;
        }
        assert_eq!(pieces, 3);
        assert_eq!(ids(&store, &accounts(1), "t", None).len(), 0);
        assert_eq!(ids(&store, &accounts(2), "t", None).len(), 25);
    }
}
