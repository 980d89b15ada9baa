//! Commits: R3, those of the view store over bare MDBX with the same bytes.

use std::time::Instant;

use projection::storage::Part;
use signet_libmdbx::{
    DatabaseFlags, Environment, EnvironmentFlags, Geometry, Mode, SyncMode, WriteFlags,
};

use crate::{
    events::{at, key, store, table},
    measure::{ROUNDS, Taken, cpu, median, show, taken, verdict},
};

/// Both write the same views in the same order, and a checkpoint, a hundred times a thousand of 50,000 views.
pub(crate) fn run() {
    const BATCHES: u64 = 100;
    const VIEWS: u64 = 1_000;
    println!("R3 {BATCHES} durable commits of {VIEWS} views of 375 bytes");
    let view = vec![b'x'; 375];
    let batch = |number: u64| -> Vec<u64> {
        (0..VIEWS)
            .map(|at| (number * VIEWS + at).wrapping_mul(0x9e37_79b9_7f4a_7c15) % 50_000)
            .collect()
    };
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(bare_commits(BATCHES, &batch, &view));
        ours.push(our_commits(BATCHES, &batch, &view));
    }
    let (ours, bare) = (median(ours), median(bare));
    show("bare MDBX, views", bare);
    show("view store, views", ours);
    verdict("R3", ours.rate / bare.rate, 0.85);
}

fn our_commits(batches: u64, batch: &dyn Fn(u64) -> Vec<u64>, view: &[u8]) -> Taken {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    let (start, before) = (Instant::now(), cpu());
    let mut views = 0;
    for number in 1..=batches {
        let mut part = Part::new(table(), (number > 1).then(|| number - 1), at(number));
        for id in distinct(batch(number)) {
            part.put(&key(&format!("account-{id:08}")), Some(view.to_vec()));
            views += 1;
        }
        store.commit(&part.into()).expect("committed");
    }
    taken(views, start, before)
}

fn bare_commits(batches: u64, batch: &dyn Fn(u64) -> Vec<u64>, view: &[u8]) -> Taken {
    let folder = tempfile::tempdir().expect("a folder");
    let mode = Mode::ReadWrite {
        sync_mode: SyncMode::Durable,
    };
    let environment = Environment::builder()
        .set_max_dbs(16)
        .set_geometry(Geometry {
            size: Some(0..4 << 30),
            ..Geometry::default()
        })
        .set_flags(EnvironmentFlags {
            mode,
            no_rdahead: true,
            ..EnvironmentFlags::default()
        })
        .open(folder.path())
        .expect("an environment");
    let (start, before) = (Instant::now(), cpu());
    let mut views = 0;
    for number in 1..=batches {
        let transaction = environment.begin_rw_unsync().expect("a transaction");
        let table = transaction
            .create_db(Some("v"), DatabaseFlags::empty())
            .expect("a table");
        for id in distinct(batch(number)) {
            transaction
                .put(table, format!(":account-{id:08}"), view, WriteFlags::UPSERT)
                .expect("put");
            views += 1;
        }
        transaction
            .put(
                table,
                "checkpoint",
                number.to_be_bytes(),
                WriteFlags::UPSERT,
            )
            .expect("put");
        transaction.commit().expect("committed");
    }
    taken(views, start, before)
}

/// In order, which is what both are quickest with.
fn distinct(mut ids: Vec<u64>) -> Vec<u64> {
    ids.sort_unstable();
    ids.dedup();
    ids
}
