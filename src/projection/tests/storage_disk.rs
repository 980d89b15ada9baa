//! Disks that are full or cannot be written: storage says so, nothing half-written is there, and it goes on when there is room again.
//!
//! Each test runs itself again where it may mount: in a mount namespace of its own.

mod accounts;
mod stamped;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use projection::{
    pipeline::ShardStatus,
    settings::{Durability, Engine},
    storage::{Breaker, StorageError, StoreOptions, ViewStore},
    stream::MemorySource,
};

const INSIDE: &str = "PROJECTION_DISK_FOLDER";

/// Runs the test `name` again with a tmpfs of `size` at the folder that it then finds in the environment.
fn within_a_small_disk(name: &str, size: &str, body: fn(&Path)) {
    if let Some(folder) = env::var_os(INSIDE) {
        body(&PathBuf::from(folder));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = format!("mount -t tmpfs -o size={size} none \"$0\" && exec \"$@\"");
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "--", "sh", "-ec", &script])
        .arg(folder.path())
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, folder.path())
        .output()
        .expect("unshare is part of util-linux");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

fn fill_and_make_room(folder: &Path, engine: Engine) {
    let ballast = folder.join("ballast");
    fs::write(&ballast, vec![0; 6 << 20]).unwrap();
    let store = stamped::open(&folder.join("store"), engine);
    let mut breaker = Breaker::new(Duration::from_millis(1));
    let mut floor = None;
    let error = loop {
        let next = floor.unwrap_or(0) + 1;
        // Views grow, so that what was enough for the last batch is not for the next.
        let grown = usize::try_from(next).unwrap() * 8_000;
        match store.commit(&stamped::padded_batch(floor, next, grown)) {
            Ok(()) => floor = Some(next),
            Err(error) => break error,
        }
        assert!(next < 1_000, "the disk never became full");
    };
    assert!(matches!(error, StorageError::Disk { .. }), "{error:?}");
    assert!(error.is_transient());
    breaker.failed(Instant::now());
    assert!(breaker.wait(Instant::now()).is_some());

    // Still full: still refused, and still what was committed and nothing else.
    let last = floor.expect("there was room for some");
    assert!(
        store
            .commit(&stamped::padded_batch(floor, last + 1, 100_000))
            .is_err()
    );
    assert_eq!(stamped::floor(&store), floor);
    stamped::assert_whole(&store, last);

    fs::remove_file(&ballast).unwrap();
    let after = usize::try_from(last + 1).unwrap() * 8_000;
    store
        .commit(&stamped::padded_batch(floor, last + 1, after))
        .expect("there is room again");
    breaker.succeeded();
    assert!(breaker.wait(Instant::now()).is_none());
    drop(store);
    let store = stamped::open(&folder.join("store"), engine);
    stamped::assert_whole(&store, last + 1);
}

#[test]
fn mdbx_on_a_full_disk_keeps_what_it_has_and_goes_on_when_there_is_room() {
    within_a_small_disk(
        "mdbx_on_a_full_disk_keeps_what_it_has_and_goes_on_when_there_is_room",
        "12m",
        |folder| fill_and_make_room(folder, Engine::Mdbx),
    );
}

#[test]
fn redb_on_a_full_disk_keeps_what_it_has_and_goes_on_when_there_is_room() {
    within_a_small_disk(
        "redb_on_a_full_disk_keeps_what_it_has_and_goes_on_when_there_is_room",
        "12m",
        |folder| fill_and_make_room(folder, Engine::Redb),
    );
}

#[test]
fn a_disk_that_cannot_be_written_is_said_to_be_so() {
    within_a_small_disk(
        "a_disk_that_cannot_be_written_is_said_to_be_so",
        "12m",
        |folder| {
            let store = stamped::open(&folder.join("store"), Engine::Mdbx);
            store.commit(&stamped::batch(None, 1)).unwrap();
            drop(store);
            remount(folder, "ro");
            let options = projection::storage::StoreOptions {
                engine: Engine::Mdbx,
                bytes_max: 1 << 30,
                durability: projection::settings::Durability::Commit,
            };
            let error = projection::storage::ViewStore::open(&folder.join("store"), options).err();
            let error = error.expect("it cannot be owned");
            assert!(
                matches!(
                    error,
                    StorageError::Folder { .. } | StorageError::ReadOnly { .. }
                ),
                "{error:?}"
            );
            remount(folder, "rw");
            let store = stamped::open(&folder.join("store"), Engine::Mdbx);
            stamped::assert_whole(&store, 1);
            store.commit(&stamped::batch(Some(1), 2)).unwrap();
        },
    );
}

fn remount(folder: &Path, how: &str) {
    let status = Command::new("mount")
        .args(["-o", &format!("remount,{how}")])
        .arg(folder)
        .status();
    assert!(status.unwrap().success());
}

/// An event that makes the view of its account about a kilobyte larger.
fn large(number: u64) -> String {
    let id = format!("a-{number}-{}", "x".repeat(900));
    accounts::deposit(&id, 1)
}

fn store_of(folder: &Path, engine: Engine, bytes_max: usize) -> Arc<ViewStore> {
    let options = StoreOptions {
        engine,
        bytes_max,
        durability: Durability::Commit,
    };
    Arc::new(ViewStore::open(folder, options).expect("a store"))
}

/// Runs a node on a disk of which `ballast` bytes are taken until it has noticed that there are too few.
async fn node_on_a_full_disk(folder: &Path, engine: Engine, ballast_bytes: usize) {
    let ballast = folder.join("ballast");
    fs::write(&ballast, vec![0; ballast_bytes]).unwrap();
    let store = store_of(&folder.join("store"), engine, 1 << 30);
    let mut source = MemorySource::default();
    let last = 6_000;
    for number in 0..last {
        source.publish("ev", large(number));
    }
    let mut settings = accounts::settings(200, 1);
    settings.breaker_pause = Duration::from_millis(5);
    let shared = source.clone();
    let troubled = std::cell::Cell::new(false);
    let manifest = accounts::manifest("halt");
    let run = accounts::run_until(&store, &manifest, &settings, &mut source, |status| {
        let floor = status
            .projections
            .values()
            .map(|state| state.floor)
            .min()
            .unwrap_or(0);
        assert!(
            shared.acknowledged() <= floor,
            "acknowledged beyond what is stored"
        );
        if status.storage_trouble.is_some() && !troubled.replace(true) {
            assert!(floor < last, "it was in trouble before the end");
            fs::remove_file(&ballast).unwrap();
        }
        status.has_reached(last)
    });
    let status = run.await;
    assert!(troubled.get(), "the disk never became full: {status:?}");
    assert_eq!(status.storage_trouble, None);
    assert_eq!(accounts::applied(&store), (1..=last).collect::<Vec<_>>());
}

#[test]
fn a_node_on_a_full_disk_acknowledges_nothing_more_and_goes_on_by_itself_when_there_is_room() {
    within_a_small_disk(
        "a_node_on_a_full_disk_acknowledges_nothing_more_and_goes_on_by_itself_when_there_is_room",
        "28m",
        |folder| {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(node_on_a_full_disk(folder, Engine::Mdbx, 18 << 20));
        },
    );
}

#[test]
fn a_node_over_redb_on_a_full_disk_acknowledges_nothing_more_and_goes_on_by_itself() {
    within_a_small_disk(
        "a_node_over_redb_on_a_full_disk_acknowledges_nothing_more_and_goes_on_by_itself",
        "96m",
        |folder| {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(node_on_a_full_disk(folder, Engine::Redb, 90 << 20));
        },
    );
}

#[test]
fn a_full_store_says_so_keeps_what_it_has_and_goes_on_with_more_room() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_of(folder.path(), Engine::Mdbx, 8 << 20);
    let mut floor = None;
    let error = loop {
        let next = floor.unwrap_or(0) + 1;
        let grown = usize::try_from(next).unwrap() * 8_000;
        match store.commit(&stamped::padded_batch(floor, next, grown)) {
            Ok(()) => floor = Some(next),
            Err(error) => break error,
        }
        assert!(next < 1_000, "the store never became full");
    };
    assert!(matches!(error, StorageError::Full { .. }), "{error:?}");
    assert!(error.is_transient());
    let last = floor.expect("there was room for some");
    stamped::assert_whole(&store, last);
    // What fits is still taken.
    store
        .commit(&stamped::padded_batch(floor, last + 1, 100))
        .expect("small views fit where large ones were");
    stamped::assert_whole(&store, last + 1);
    drop(store);
    let store = store_of(folder.path(), Engine::Mdbx, 1 << 30);
    let grown = usize::try_from(last + 2).unwrap() * 8_000;
    store
        .commit(&stamped::padded_batch(Some(last + 1), last + 2, grown))
        .expect("there is room now");
    stamped::assert_whole(&store, last + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_store_is_full_acknowledges_nothing_more_can_be_stopped_and_goes_on_with_more_room()
 {
    let folder = tempfile::tempdir().unwrap();
    let mut source = MemorySource::default();
    let last = 6_000;
    for number in 0..last {
        source.publish("ev", large(number));
    }
    let mut settings = accounts::settings(200, 1);
    settings.breaker_pause = Duration::from_millis(5);
    let manifest = accounts::manifest("halt");
    let lowest = |status: &ShardStatus| {
        let floors = status.projections.values().map(|state| state.floor);
        floors.min().unwrap_or(0)
    };
    let store = store_of(folder.path(), Engine::Mdbx, 8 << 20);
    let shared = source.clone();
    let run = accounts::run_until(&store, &manifest, &settings, &mut source, |status| {
        assert!(
            shared.acknowledged() <= lowest(status),
            "acknowledged beyond what is stored"
        );
        status.storage_trouble.is_some()
    });
    let status = run.await;
    let stopped_at = lowest(&status);
    assert!(stopped_at < last, "{status:?}");
    let kept: Vec<_> = (1..=stopped_at).collect();
    assert_eq!(accounts::applied(&store), kept);
    drop(store);

    let store = store_of(folder.path(), Engine::Mdbx, 1 << 30);
    let run = accounts::run_until(&store, &manifest, &settings, &mut source, |status| {
        status.has_reached(last)
    });
    assert_eq!(run.await.storage_trouble, None);
    assert_eq!(accounts::applied(&store), (1..=last).collect::<Vec<_>>());
}
