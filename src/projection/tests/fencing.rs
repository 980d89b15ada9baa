//! Fencing: whoever does not own a shard any more changes nothing in its store, be it views, what is served of them, or what is left of them.

mod rebuilds;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use projection::{
    admin::{self, AdminError},
    manifest::Projection,
    rebuild::{self, ExchangeLimits, RebuildError},
    storage::{Fence, Part, StorageError, ViewStore},
    types::{
        CHECKPOINT_FORMAT, Checkpoint, Generation, GenerationState, Generations, Scope, StoredView,
        ViewKey,
    },
};
use rebuilds::{dump, manifest, store, table};

const AT: u64 = 5;

fn checkpoint() -> Checkpoint {
    Checkpoint {
        format: CHECKPOINT_FORMAT,
        stream: "EVENTS".into(),
        stream_created: 1,
        filter_hash: "f".into(),
        program_hash: "p".into(),
        shard: None,
        floor: AT,
        published: None,
    }
}

fn part(generation: u32) -> Part {
    let mut part = Part::new(table(generation), None, checkpoint());
    for id in ["a", "b", "c"] {
        let key = ViewKey::new("t".into(), "account".into(), id.into()).unwrap();
        let view = StoredView {
            view: serde_json::json!({ "generation": generation }),
            last_seq: AT,
            applied: 1,
            program: "p".into(),
        };
        part.put(&key, Some(view.encode()));
    }
    part
}

fn side() -> GenerationState {
    let tenant = "t".into();
    GenerationState::Side {
        scope: Scope::Tenant { tenant },
    }
}

/// What is served, a shadow, one that was served, a part on the side, and one that is being cleared.
fn fill(store: &ViewStore) {
    for generation in 1..=5 {
        store.commit(&part(generation).into()).unwrap();
    }
    let changed = store.change_generations(&"account".into(), |change| {
        let mut all = Generations::first(1, "p");
        for (number, state) in [
            (2, GenerationState::Shadow),
            (3, GenerationState::Old { since: 0 }),
            (4, side()),
            (5, GenerationState::Retiring),
        ] {
            all.kept.insert(number, Generation::new(state, "p"));
        }
        all.before.push(3);
        change.set(&all)
    });
    changed.unwrap();
}

fn projection() -> Projection {
    manifest(1, 1).projections()[0].clone()
}

/// Whether the store refused, because somebody else owns the shard.
fn of_rebuild<T>(result: Result<T, RebuildError>) -> Result<(), StorageError> {
    match result {
        Err(RebuildError::Storage(error)) => Err(error),
        other => other.map(drop).map_err(|error| panic!("{error}")),
    }
}

fn of_admin<T>(result: Result<T, AdminError>) -> Result<(), StorageError> {
    match result {
        Err(AdminError::Storage(error)) => Err(error),
        other => other.map(drop).map_err(|error| panic!("{error}")),
    }
}

type Attempt = (&'static str, fn(&ViewStore) -> Result<(), StorageError>);

/// All that changes a store.
const ATTEMPTS: [Attempt; 13] = [
    ("commit", |store| {
        let next = Checkpoint {
            floor: AT + 1,
            ..checkpoint()
        };
        store.commit(&Part::new(table(1), Some(AT), next).into())
    }),
    ("cutover", |store| {
        of_rebuild(rebuild::cut_over(store, &table(2), 0, SystemTime::now()))
    }),
    ("rollback", |store| {
        of_rebuild(rebuild::roll_back(
            store,
            &"account".into(),
            SystemTime::now(),
        ))
    }),
    ("begin", |store| {
        of_rebuild(rebuild::begin(
            store,
            &projection(),
            GenerationState::Shadow,
            1,
        ))
    }),
    ("retire", |store| {
        of_rebuild(rebuild::retire(store, &table(2)))
    }),
    ("clearing in pieces", |store| {
        of_rebuild(rebuild::retire_some(store, &table(5), 1))
    }),
    ("the end of clearing", |store| {
        of_rebuild(rebuild::retire_some(store, &table(5), 100))
    }),
    ("rebuild in place", |store| {
        of_rebuild(rebuild::rebuild_in_place(store, &projection()))
    }),
    ("exchange", |store| {
        let limits = ExchangeLimits { entries_max: 1 };
        let exchanged = rebuild::exchange(store, &"account".into(), 4, AT, limits);
        of_rebuild(exchanged)
    }),
    ("clear", |store| store.clear(&table(1))),
    ("accept a program", |store| {
        of_admin(admin::accept_program(store, &projection()))
    }),
    ("probe", ViewStore::probe),
    ("claim", |store| {
        store.behind(Fence::new(1, || true)).map(drop)
    }),
];

/// Everything that the store holds, as text.
fn everything(store: &ViewStore) -> String {
    let snapshot = store.snapshot().unwrap();
    let generations = snapshot.generations(&"account".into()).unwrap();
    let all = (1..=6).map(|number| {
        let table = table(number);
        let checkpoint = snapshot.checkpoint(&table).unwrap();
        format!("{table} {checkpoint:?} {:?}", dump(store, &table))
    });
    format!("{generations:?}\n{}", all.collect::<Vec<_>>().join("\n"))
}

#[test]
fn an_owner_that_was_followed_by_another_changes_nothing_whatever_it_believes() {
    for (what, attempt) in ATTEMPTS {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        fill(&store);
        let deposed = store.behind(Fence::new(1, || true)).unwrap();
        let owner = store.behind(Fence::new(2, || true)).unwrap();
        let before = everything(&store);
        let refused = attempt(&deposed);
        let fenced = matches!(
            refused,
            Err(StorageError::Fenced {
                epoch: 1,
                stored: Some(2)
            })
        );
        assert!(fenced, "{what}: {refused:?}");
        assert_eq!(everything(&store), before, "{what}");
        if what != "claim" {
            attempt(&owner).unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }
}

#[test]
fn an_owner_whose_lease_has_ended_changes_nothing_even_where_nobody_has_followed_it() {
    for (what, attempt) in ATTEMPTS.iter().filter(|(what, _)| *what != "claim") {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        fill(&store);
        let lease = Arc::new(AtomicBool::new(true));
        let holds = Arc::clone(&lease);
        let fence = Fence::new(1, move || holds.load(Ordering::Relaxed));
        let owner = store.behind(fence).unwrap();
        let before = everything(&store);
        lease.store(false, Ordering::Relaxed);
        let refused = attempt(&owner);
        let fenced = matches!(
            refused,
            Err(StorageError::Fenced {
                epoch: 1,
                stored: None
            })
        );
        assert!(fenced, "{what}: {refused:?}");
        assert_eq!(everything(&store), before, "{what}");
    }
}

#[test]
fn an_exchange_whose_owner_is_deposed_in_the_middle_is_finished_by_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    fill(&store);
    let asked = Arc::new(std::sync::atomic::AtomicU32::new(0));
    // The claim, the beginning and one piece.
    let fence = Fence::new(1, move || asked.fetch_add(1, Ordering::Relaxed) < 3);
    let deposed = store.behind(fence).unwrap();
    let limits = ExchangeLimits { entries_max: 1 };
    let account = "account".into();
    let refused = rebuild::exchange(&deposed, &account, 4, AT, limits);
    assert!(matches!(
        refused,
        Err(RebuildError::Storage(StorageError::Fenced { .. }))
    ));
    let owner = store.behind(Fence::new(2, || true)).unwrap();
    assert!(rebuild::finish_exchange(&deposed, &account, limits).is_err());
    assert!(
        rebuild::finish_exchange(&owner, &account, limits)
            .unwrap()
            .is_some()
    );
    let views = dump(&owner, &table(1));
    assert_eq!(views.len(), 3);
    let new = views
        .iter()
        .all(|(_, view)| view.contains("\"generation\":4"));
    assert!(new, "{views:?}");
}
