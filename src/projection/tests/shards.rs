//! Shards of one stream in memory: what each of them takes, what it refuses, and what becomes of an owner whose lease ends in the middle.

mod accounts;

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use accounts::{applied, deposit, dump, manifest, run_until, settings, store, table};
use projection::{
    manifest::ProjectionManifest,
    pipeline::{Shard, ShardOptions, ShardState, ShardStatus},
    quarantine::Fault,
    settings::Durability,
    shards::{ShardLayout, Share},
    storage::{Fence, ViewStore},
    stream::{BlockedReason, MemorySource},
    types::ViewTable,
};
use tokio_util::sync::CancellationToken;

const EVENTS: u64 = 400;

fn layout(shards: u32, subjects: &[&str]) -> ShardLayout {
    let subjects: Vec<_> = subjects.iter().map(|text| (*text).to_owned()).collect();
    ShardLayout::new(shards, &subjects).unwrap()
}

fn stream() -> MemorySource {
    let source = MemorySource::default();
    for number in 0..EVENTS {
        let id = format!("a-{}", number % 37);
        source.publish(&format!("ev.{}.x", number % 37 % 3), deposit(&id, 1));
    }
    source
}

fn options(share: Share, batch: usize) -> ShardOptions {
    ShardOptions::of(&settings(batch, 1)).of_share(share)
}

/// Runs one shard until it is at the end of the stream, or ends by itself.
async fn run(
    store: &Arc<ViewStore>,
    policy: &str,
    options: ShardOptions,
    source: &MemorySource,
) -> ShardStatus {
    let shard = Shard::new(manifest(policy), Arc::clone(store), options);
    run_one(&shard, source).await
}

async fn run_one(shard: &Shard, source: &MemorySource) -> ShardStatus {
    let status = shard.status();
    let mut watched = shard.status();
    let stop = CancellationToken::new();
    let watching = async {
        let _ = watched.wait_for(|status| status.has_reached(EVENTS)).await;
        stop.cancel();
        std::future::pending::<()>().await;
    };
    let mut source = source.clone();
    tokio::select! {
        () = shard.run(&mut source, &stop) => {}
        () = watching => {}
    }
    status.borrow().clone()
}

fn all_of(folder: &Path, layout: ShardLayout) -> Vec<Arc<ViewStore>> {
    let folders = layout.ids().map(|shard| folder.join(shard.to_string()));
    folders
        .map(|folder| store(&folder, Durability::Commit))
        .collect()
}

/// The views of an undivided stream.
async fn undivided(source: &MemorySource) -> Vec<(String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let whole = store(folder.path(), Durability::Commit);
    let reached = |status: &ShardStatus| status.has_reached(EVENTS);
    run_until(
        &whole,
        &manifest("skip"),
        &settings(50, 1),
        &mut source.clone(),
        reached,
    )
    .await;
    dump(&whole, "account")
}

#[tokio::test]
async fn the_shards_together_are_the_undivided_stream_and_no_event_is_in_two() {
    let source = stream();
    for layout in [layout(3, &[]), layout(3, &["ev.{shard}.>"])] {
        let folder = tempfile::tempdir().unwrap();
        let mut all = BTreeMap::new();
        let stores = all_of(folder.path(), layout);
        for (shard, store) in layout.ids().zip(&stores) {
            let options = options(Share { layout, shard }, 17);
            run(store, "skip", options, &source).await;
            let views = dump(store, "account");
            assert!(!views.is_empty());
            for (key, view) in views {
                assert!(
                    all.insert(key.clone(), view).is_none(),
                    "{key} is in two shards"
                );
            }
        }
        assert_eq!(
            all.into_iter().collect::<Vec<_>>(),
            undivided(&source).await
        );
    }
}

#[tokio::test]
async fn a_view_of_another_shard_is_refused_alike_in_each_replay() {
    // The views of kinds are called after the type of the event, and not after its aggregate.
    let source = stream();
    let layout = layout(3, &[]);
    let folder = tempfile::tempdir().unwrap();
    let mut refused = 0;
    for (shard, store) in layout.ids().zip(all_of(folder.path(), layout)) {
        let options = options(Share { layout, shard }, 17);
        run(&store, "skip", options, &source).await;
        let records = store.snapshot().unwrap().records(&table("kind")).unwrap();
        assert!(
            records
                .iter()
                .all(|(_, record)| record.fault == Fault::Contract)
        );
        let kinds = dump(&store, "kind").len();
        let right = layout.of_view(&"".into(), "Deposited") == Some(shard);
        assert_eq!((kinds == 1, records.is_empty()), (right, right));
        if let Some((_, record)) = records.first() {
            refused += 1;
            assert!(
                record.reason.contains("must be that of the aggregate"),
                "{}",
                record.reason
            );
        }
    }
    assert_eq!(refused, 2);
}

#[tokio::test]
async fn what_is_no_event_is_set_aside_once_and_not_by_each_shard() {
    let source = stream();
    source.publish("ev.0.x", "{");
    let layout = layout(3, &[]);
    let folder = tempfile::tempdir().unwrap();
    let mut recorded = Vec::new();
    for (shard, store) in layout.ids().zip(all_of(folder.path(), layout)) {
        let options = options(Share { layout, shard }, 1_000);
        run(&store, "skip", options, &source).await;
        recorded.push(
            store
                .snapshot()
                .unwrap()
                .records(&table("account"))
                .unwrap()
                .len(),
        );
    }
    assert_eq!(recorded, [1, 0, 0]);
}

#[tokio::test]
async fn a_store_is_never_read_as_that_of_another_shard_or_number_of_shards() {
    let source = stream();
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), Durability::Commit);
    let share = |count, shard: u32| Share {
        layout: layout(count, &[]),
        shard: shard.into(),
    };
    run(&store, "skip", options(share(3, 0), 50), &source).await;
    for other in [share(4, 0), share(3, 1), Share::default()] {
        let status = run(&store, "skip", options(other, 50), &source).await;
        assert_eq!(status.state, ShardState::Blocked);
        let blocked = status.projections[&table("account")]
            .blocked
            .clone()
            .unwrap();
        assert!(
            matches!(blocked, BlockedReason::ShardsChanged { .. }),
            "{blocked}"
        );
        let mend = blocked.mend(&table("account"));
        assert!(mend.contains("set generation: 2 for account"), "{mend}");
    }
    let status = run(&store, "skip", options(share(3, 0), 50), &source).await;
    assert_eq!(status.state, ShardState::Stopped, "{status:?}");

    // What the status says does mend it: another generation is made in the new shards, beside the one that is there.
    let first = manifest("skip");
    let next = first.projections().iter().map(|projection| {
        let mut projection = projection.clone();
        projection.table.generation = 2;
        projection
    });
    let next = ProjectionManifest::of(next.collect());
    let shard = Shard::new(next, Arc::clone(&store), options(share(4, 0), 50));
    let status = run_one(&shard, &source).await;
    assert_eq!(status.state, ShardState::Stopped, "{status:?}");
    let snapshot = store.snapshot().unwrap();
    let mark = |generation| {
        let table = ViewTable {
            generation,
            ..table("account")
        };
        snapshot.checkpoint(&table).unwrap().unwrap().shard.unwrap()
    };
    assert_eq!((mark(1).count, mark(2).count), (3, 4));
}

#[tokio::test]
async fn an_owner_whose_lease_ends_during_a_commit_writes_nothing_more_and_the_next_goes_on_there()
{
    for commits in [0, 1, 7] {
        let source = stream();
        let expected = undivided(&source).await;
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), Durability::Commit);
        // Asked at the end of each transaction: the lease ends while this one is made.
        let asked = AtomicUsize::new(0);
        let fence = Fence::new(1, move || asked.fetch_add(1, Ordering::Relaxed) <= commits);
        let first = Arc::new(store.behind(fence).unwrap());
        let options = || options(Share::default(), 20);
        let status = run(&first, "skip", options(), &source).await;
        assert_eq!(status.state, ShardState::Blocked);
        let account = &status.projections[&table("account")];
        assert_eq!(account.blocked, Some(BlockedReason::Fenced));
        assert_eq!(applied(&store).len(), commits * 20);

        let believing = Arc::new(store.behind(Fence::new(1, || true)).unwrap());
        let second = Arc::new(store.behind(Fence::new(2, || true)).unwrap());
        run(&second, "skip", options(), &source).await;
        assert_eq!(dump(&store, "account"), expected);

        // The first one believes that it has the shard, and the store knows better.
        source.publish("ev.0.x", deposit("late", 1));
        let shard = Shard::new(manifest("skip"), believing, options());
        shard
            .run(&mut source.clone(), &CancellationToken::new())
            .await;
        assert_eq!(shard.status().borrow().state, ShardState::Blocked);
        let mut late = false;
        let snapshot = store.snapshot().unwrap();
        let visited = snapshot.entries(&table("account"), |key, _| {
            late |= key.ends_with(b"late");
            ControlFlow::Continue(())
        });
        visited.unwrap();
        assert!(!late);
    }
}
