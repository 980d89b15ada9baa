//! Generations without end: a store that is rebuilt for years has no more tables than one that was rebuilt once.

mod rebuilds;

use std::time::{Duration, SystemTime};

use projection::{
    rebuild,
    settings::{Durability, Engine},
    storage::{Part, StoreOptions, ViewStore},
    types::{CHECKPOINT_FORMAT, Checkpoint, GenerationState, StoredView, ViewKey, ViewTable},
};
use rebuilds::{dump, manifest};

/// More than the tables that MDBX has room for, with three for each generation.
const ROUNDS: u32 = 1_100;

fn part(table: &ViewTable, number: u32) -> Part {
    let checkpoint = Checkpoint {
        format: CHECKPOINT_FORMAT,
        stream: "EVENTS".into(),
        stream_created: 1,
        filter_hash: "f".into(),
        program_hash: "p".into(),
        shard: None,
        floor: 1,
        published: None,
    };
    let mut part = Part::new(table.clone(), None, checkpoint);
    let key = ViewKey::new("".into(), "account".into(), "a".into()).unwrap();
    let view = StoredView {
        view: serde_json::json!({ "round": number }),
        last_seq: 1,
        applied: 1,
        program: "p".into(),
    };
    part.put(&key, Some(view.encode()));
    part.note_progress(&"".into(), 1);
    part
}

#[test]
fn a_store_is_rebuilt_and_its_old_generations_cleared_more_often_than_there_is_room_for_tables() {
    for engine in [Engine::Mdbx, Engine::Redb] {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            engine,
            bytes_max: 64 << 20,
            durability: Durability::Interval(Duration::from_mins(1)),
        };
        let mut store = ViewStore::open(folder.path(), options).unwrap();
        let manifest = manifest(1, 1);
        let projection = &manifest.projections()[0];
        let mut served = projection.table.clone();
        store.commit(&part(&served, 0).into()).unwrap();
        for round in 1..=ROUNDS {
            let shadow = GenerationState::Shadow;
            let table = rebuild::begin(&store, projection, shadow, 1).unwrap();
            store.commit(&part(&table, round).into()).unwrap();
            rebuild::cut_over(&store, &table, 0, SystemTime::now()).unwrap();
            rebuild::retire(&store, &served).unwrap();
            while rebuild::retire_some(&store, &served, 10).unwrap() {}
            assert_eq!(dump(&store, &served), []);
            served = table;
            if round % 400 == 0 {
                drop(store);
                store = ViewStore::open(folder.path(), options).unwrap();
            }
        }
        assert_eq!(served.generation, ROUNDS + 1);
        let views = dump(&store, &served);
        assert_eq!(views.len(), 1);
        assert!(
            views[0].1.contains(&format!("\"round\":{ROUNDS}")),
            "{views:?}"
        );
    }
}
