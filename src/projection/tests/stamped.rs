//! Stores in which a tear shows: each batch writes the same views and stamps all of them with its sequence.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::{ops::ControlFlow, path::Path};

use projection::{
    settings::{Durability, Engine},
    storage::{Batch, Part, StoreOptions, ViewStore},
    types::{CHECKPOINT_FORMAT, Checkpoint, StoredView, ViewKey, ViewTable},
};

/// How many views a batch writes.
pub(crate) const VIEWS: u64 = 100;

/// Opens the store, which holds at most a gibibyte.
pub(crate) fn open(folder: &Path, engine: Engine) -> ViewStore {
    let options = StoreOptions {
        engine,
        bytes_max: 1 << 30,
        durability: Durability::Commit,
    };
    ViewStore::open(folder, options).expect("the store opens after whatever happened to it")
}

/// The only table.
pub(crate) fn table() -> ViewTable {
    ViewTable {
        view_type: "stamped".into(),
        generation: 1,
    }
}

/// The batch that leads from `expected` to `next`.
pub(crate) fn batch(expected: Option<u64>, next: u64) -> Batch {
    padded_batch(expected, next, 200)
}

/// The same with views of about `padding` bytes.
pub(crate) fn padded_batch(expected: Option<u64>, next: u64, padding: usize) -> Batch {
    let checkpoint = Checkpoint {
        format: CHECKPOINT_FORMAT,
        stream: "EVENTS".to_owned(),
        stream_created: 1,
        filter_hash: String::new(),
        program_hash: String::new(),
        shard: None,
        floor: next,
        published: Some(1),
    };
    let mut part = Part::new(table(), expected, checkpoint);
    for number in 0..VIEWS {
        let id = format!("{:04}", number * 7_919 % 10_007);
        let key = ViewKey::new("t".into(), "stamped".into(), id.into()).expect("a short key");
        let view = serde_json::Value::String("x".repeat(padding));
        let stored = StoredView {
            view,
            last_seq: next,
            applied: next,
            program: String::new(),
        };
        part.put(&key, Some(stored.encode()));
    }
    part.into()
}

/// Where the checkpoint is.
pub(crate) fn floor(store: &ViewStore) -> Option<u64> {
    let snapshot = store.snapshot().expect("the store can be read");
    let checkpoint = snapshot
        .checkpoint(&table())
        .expect("the checkpoint can be read");
    checkpoint.map(|checkpoint| checkpoint.floor)
}

/// All views are there, and all are of the batch that the checkpoint names.
#[track_caller]
pub(crate) fn assert_whole(store: &ViewStore, floor: u64) {
    let snapshot = store.snapshot().expect("the store can be read");
    let mut stamps = Vec::new();
    let visited = snapshot.entries(&table(), |_, bytes| {
        stamps.push(StoredView::decode(bytes).expect("a whole view").last_seq);
        ControlFlow::Continue(())
    });
    visited.expect("the views can be read");
    let expected = if floor == 0 { 0 } else { VIEWS };
    assert_eq!(stamps.len() as u64, expected, "at {floor}");
    assert!(
        stamps.iter().all(|stamp| *stamp == floor),
        "at {floor} there are {stamps:?}"
    );
}
