//! R6: rows a query looks at in a second, over rows that are read by bare MDBX and parsed, both in one run over the same bytes.
//!
//! What is reached by an index is measured against a bare loop that does as much: an entry of the index, the view that it names, and parsing that. Its ratio to a scan, which never goes down a tree, is shown beside it.
//!
//! `cargo bench -p projection --bench query`. `PROJECTION_BENCH_VIEWS` sets over how many views.

#[path = "rates/measure.rs"]
mod measure;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    env, fs,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use measure::{ROUNDS, Taken, cpu, is_asked_for, load, median, taken};
use projection::{
    manifest::ProjectionManifest,
    query::{Answer, CursorKey, Query, QueryEngine, QueryLimits},
    settings::{Durability, Engine},
    storage::{Part, StoreOptions, ViewStore},
    types::{CHECKPOINT_FORMAT, Checkpoint, StoredView, TenantId, ViewKey, ViewTable},
};
use serde_json::{Value, json};
use signet_libmdbx::{
    DatabaseFlags, Environment, EnvironmentFlags, Geometry, Mode, SyncMode, WriteFlags,
};

const GOAL: f64 = 0.7;

/// What `run` took, which says how many rows it has read.
fn timed(run: impl FnOnce() -> u64) -> Taken {
    let (start, before) = (Instant::now(), cpu());
    let rows = run();
    taken(rows, start, before)
}

fn main() {
    if !is_asked_for() {
        return;
    }
    let views = env::var("PROJECTION_BENCH_VIEWS").ok();
    let views = views.and_then(|text| text.parse().ok()).unwrap_or(200_000);
    println!("load {}", load());
    println!(
        "R6 {views} views of {} bytes, {ROUNDS} rounds, medians",
        stored(1).encode().len()
    );
    let folder = tempfile::tempdir().expect("a folder");
    let bare = bare(&folder.path().join("bare"), views);
    let engine = engine(&folder.path().join("store"), views);
    let mut taken: BTreeMap<&str, Vec<Taken>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let mut note = |name, run| taken.entry(name).or_default().push(run);
        note(BARE, timed(|| scan_and_parse(&bare)));
        note(BARE_INDEX, timed(|| walk_and_parse(&bare)));
        for (name, query) in queries() {
            note(name, timed(|| looked_at(&pages(&engine, query))));
        }
    }
    let medians = taken
        .into_iter()
        .map(|(name, runs)| (name, median(runs)))
        .collect();
    show(&medians);
    println!("load {}", load());
}

fn show(medians: &BTreeMap<&str, Taken>) {
    for name in [BARE, BARE_INDEX] {
        let Taken { rate, cpu_us } = medians[name];
        println!("  {name:44} {rate:>9.0} rows/s   {cpu_us:>6.2} us CPU");
    }
    for (name, _) in queries() {
        let Taken { rate, cpu_us } = medians[name];
        let of_scan = rate / medians[BARE].rate;
        let (ratio, beside) = if name.starts_with("index") {
            let ratio = rate / medians[BARE_INDEX].rate;
            (ratio, format!("; {of_scan:.2} of the scan"))
        } else {
            (of_scan, String::new())
        };
        let word = if ratio >= GOAL { "met" } else { "MISSED" };
        println!(
            "  {name:44} {rate:>9.0} rows/s   {cpu_us:>6.2} us CPU   {ratio:.2} (goal {GOAL:.2}: {word}{beside})"
        );
    }
}

const BARE: &str = "bare MDBX, each row parsed";
const BARE_INDEX: &str = "bare MDBX by an index, each row parsed";

/// The numbers that are looked for by an index.
const RANGE: std::ops::Range<u64> = 5_000..25_000;

/// Each looks at all views, but for those that go through an index.
fn queries() -> Vec<(&'static str, Value)> {
    vec![
        (
            "one number tested, 1 in 1,000 answered",
            json!({"view": "account", "filter": {"balance": {"gte": 999}}, "limit": 1_000}),
        ),
        (
            "three members tested, 1 in 1,000 answered",
            json!({"view": "account", "filter": {"owner.country": "NO", "balance": {"gte": 990}, "or": [{"status": "open"}, {"status": {"prefix": "cl"}}]}, "limit": 1_000}),
        ),
        (
            "everything answered, 1,000 a page, as JSON",
            json!({"view": "account", "limit": 1_000}),
        ),
        (
            "the 50 largest of all, sorted in memory",
            json!({"view": "account", "sort": [{"field": "balance", "dir": "desc"}], "limit": 50, "cursor": "first page only"}),
        ),
        (
            "index: a range of it, 1,000 a page",
            json!({"view": "account", "filter": {"created": {"gte": RANGE.start, "lt": RANGE.end}}, "sort": [{"field": "created"}], "limit": 1_000}),
        ),
    ]
}

fn stored(number: u64) -> StoredView {
    let shuffled = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let countries = ["NO", "SE", "DK", "FI", "IS"];
    let country = countries[usize::try_from(shuffled % 5).expect("it is small")];
    let view = json!({
        "balance": shuffled % 1_000,
        "count": number % 77,
        "created": number,
        "currency": "EUR",
        "last": format!("transfer-{number:012}"),
        "owner": {"country": country, "name": format!("owner of the account {number:08}")},
        "status": if number.is_multiple_of(3) { "closed" } else { "open" },
        "tags": ["retail", "monthly"],
    });
    StoredView {
        view,
        last_seq: number,
        applied: 3,
        program: "0123456789abcdef".to_owned(),
    }
}

fn engine(folder: &std::path::Path, views: u64) -> QueryEngine {
    fs::create_dir_all(folder).expect("a folder");
    let file = folder.join("manifest.yaml");
    let program = "{language: dag/v1, key: {event: aggregate_id}, view: {event: payload}}";
    let text =
        format!("projections:\n- {{view_type: account, indexes: [created], program: {program}}}\n");
    fs::write(&file, text).expect("a file");
    let manifest = ProjectionManifest::load(&file, 100_000).expect("a manifest");
    let options = StoreOptions {
        engine: Engine::Mdbx,
        bytes_max: 4 << 30,
        durability: Durability::Commit,
    };
    let store = ViewStore::open(folder, options).expect("a store");
    let projection = &manifest.projections()[0];
    store
        .declare_indexes(&projection.table, &projection.indexes)
        .expect("indexes");
    let mut floor = None;
    for first in (1..=views).step_by(10_000) {
        let last = views.min(first + 9_999);
        let mut part = Part::new(projection.table.clone(), floor, at(last));
        for number in first..=last {
            part.put(
                &key(&projection.table, number),
                Some(stored(number).encode()),
            );
        }
        store.commit(&part.into()).expect("committed");
        floor = Some(last);
    }
    let limits = QueryLimits {
        rows_max: u64::MAX / 8,
        bytes_max: u64::MAX / 8,
        within: Duration::from_mins(1),
        ..QueryLimits::default()
    };
    QueryEngine::new(manifest, Arc::new(store), limits, CursorKey::random())
}

fn key(table: &ViewTable, number: u64) -> ViewKey {
    let id = format!("account-{number:08}");
    ViewKey::new("".into(), table.view_type.clone(), id.into()).expect("a key")
}

fn at(floor: u64) -> Checkpoint {
    Checkpoint {
        format: CHECKPOINT_FORMAT,
        stream: "EVENTS".to_owned(),
        stream_created: 1,
        filter_hash: String::new(),
        program_hash: String::new(),
        shard: None,
        floor,
        published: Some(1),
    }
}

/// All pages of a query, or the first where its cursor says so.
fn pages(engine: &QueryEngine, mut query: Value) -> Vec<Answer> {
    let first_only = query.get("cursor").is_some();
    query["cursor"] = Value::Null;
    let mut pages = Vec::new();
    loop {
        let asked = Query::from_value(&query).expect("a query");
        let page = engine
            .query_now(&TenantId::default(), &asked)
            .expect("an answer");
        // As it is sent to whoever asked.
        black_box(serde_json::to_vec(&page).expect("JSON"));
        let next = page.next_cursor.clone();
        pages.push(page);
        match next {
            Some(cursor) if !first_only => query["cursor"] = json!(cursor),
            _ => return pages,
        }
    }
}

fn looked_at(pages: &[Answer]) -> u64 {
    pages.iter().map(|page| page.scanned.rows).sum()
}

fn bare(folder: &std::path::Path, views: u64) -> Environment {
    fs::create_dir_all(folder).expect("a folder");
    let environment = Environment::builder()
        .set_max_dbs(16)
        .set_geometry(Geometry {
            size: Some(0..4 << 30),
            ..Geometry::default()
        })
        .set_flags(EnvironmentFlags {
            mode: Mode::ReadWrite {
                sync_mode: SyncMode::Durable,
            },
            no_rdahead: true,
            ..EnvironmentFlags::default()
        })
        .open(folder)
        .expect("an environment");
    let transaction = environment.begin_rw_unsync().expect("a transaction");
    let table = transaction
        .create_db(Some("v"), DatabaseFlags::empty())
        .expect("a table");
    for number in 1..=views {
        let key = format!(":account-{number:08}");
        transaction
            .put(table, key, stored(number).encode(), WriteFlags::UPSERT)
            .expect("put");
    }
    let index = transaction
        .create_db(Some("i"), DatabaseFlags::empty())
        .expect("a table");
    for number in 1..=views {
        let id = format!("account-{number:08}");
        let key = [&indexed(number)[..], id.as_bytes()].concat();
        transaction
            .put(index, key, [], WriteFlags::UPSERT)
            .expect("put");
    }
    transaction.commit().expect("committed");
    environment
}

fn scan_and_parse(environment: &Environment) -> u64 {
    let transaction = environment.begin_ro_unsync().expect("a transaction");
    let table = transaction.open_db(Some("v")).expect("a table");
    let mut cursor = transaction.cursor(table).expect("a cursor");
    let mut entries = cursor
        .iter_start::<Cow<'_, [u8]>, Cow<'_, [u8]>>()
        .expect("entries");
    let mut rows = 0;
    while let Some((_, value)) = entries.borrow_next().expect("an entry") {
        let parsed: Value = serde_json::from_slice(&value).expect("JSON");
        black_box(parsed);
        rows += 1;
    }
    rows
}

/// As long as what an index of the store has before the id: the tenant, and a number of eleven bytes.
fn indexed(number: u64) -> [u8; 12] {
    let mut key = [0; 12];
    (key[0], key[1]) = (b':', 0x40);
    key[2..10].copy_from_slice(&number.to_be_bytes());
    key
}

fn walk_and_parse(environment: &Environment) -> u64 {
    let transaction = environment.begin_ro_unsync().expect("a transaction");
    let index = transaction.open_db(Some("i")).expect("a table");
    let table = transaction.open_db(Some("v")).expect("a table");
    let mut cursor = transaction.cursor(index).expect("a cursor");
    let mut entries = cursor
        .iter_from::<Cow<'_, [u8]>, Cow<'_, [u8]>>(&indexed(RANGE.start))
        .expect("entries");
    let (end, mut key, mut rows) = (indexed(RANGE.end), Vec::new(), 0);
    while let Some((entry, _)) = entries.borrow_next().expect("an entry") {
        if entry[..] >= end[..] {
            break;
        }
        key.clear();
        key.push(b':');
        key.extend(&entry[end.len()..]);
        let value: Option<Cow<'_, [u8]>> = transaction.get(table.dbi(), &key).expect("a view");
        let parsed: Value = serde_json::from_slice(&value.expect("it is there")).expect("JSON");
        black_box(parsed);
        rows += 1;
    }
    rows
}
