//! Indexes: they say what a scan says, under updates, after crashes, and when they are declared late.

mod queried;

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use projection::{query::Answer, settings::Engine, types::FieldPath};
use queried::{Queried, table};
use serde_json::{Value, json};

const CHILD: &str = "PROJECTION_INDEX_CHILD";
const INDEXES: [&str; 2] = ["n", "o.name"];

fn random_view(rng: &mut fastrand::Rng) -> Value {
    let mut view = json!({"pad": "x".repeat(rng.usize(..40))});
    match rng.u32(..5) {
        0 => {}
        1 => view["n"] = json!("text"),
        _ => view["n"] = json!(rng.i64(-5..5)),
    }
    if rng.bool() {
        view["o"] = json!({"name": "n".repeat(rng.usize(..130))});
    }
    view
}

/// The next event's changes: some views, of two tenants, are written or removed.
fn random_changes(rng: &mut fastrand::Rng) -> BTreeMap<(String, String), Option<Value>> {
    let change = |rng: &mut fastrand::Rng| {
        let tenant = if rng.bool() { "a" } else { "b" };
        let view = (rng.u32(..4) > 0).then(|| random_view(rng));
        ((tenant.to_owned(), format!("{:02}", rng.u32(..40))), view)
    };
    (0..rng.usize(1..30)).map(|_| change(rng)).collect()
}

/// Everything that is answered through an index is what is answered without one.
#[track_caller]
fn assert_same(indexed: &Queried, plain: &Queried) {
    for tenant in ["a", "b", ""] {
        for field in INDEXES {
            for ask in [
                json!({"view": "thing", "sort": [{"field": field}], "limit": 1_000}),
                json!({"view": "thing", "sort": [{"field": field, "dir": "desc"}], "limit": 1_000}),
                json!({"view": "thing", "filter": {field: {"gte": -2, "lt": 3}}, "limit": 1_000}),
                json!({"view": "thing", "filter": {field: {"exists": false}}, "limit": 1_000}),
                json!({"view": "thing", "filter": {field: {"in": [1, 2, "text", null]}}, "limit": 1_000}),
                json!({"view": "thing", "filter": {field: {"prefix": "n".repeat(99)}}, "limit": 1_000}),
            ] {
                let mut ask = ask;
                ask["explain"] = json!(true);
                let [one, other] =
                    [indexed, plain].map(|queried| queried.ask(tenant, &ask).unwrap());
                let through = |answer: &Answer| answer.explain.as_ref().unwrap().through.clone();
                // Where many views pass the filter, they are not looked for by it.
                if one.rows.len() < 1_000 || ask["sort"].is_array() {
                    assert_eq!(through(&one), format!("index {field}"), "{ask}");
                }
                assert_eq!(through(&other), "views");
                assert_eq!(one.rows, other.rows, "{ask}");
            }
        }
    }
}

#[test]
fn an_index_answers_what_a_scan_answers_whatever_is_written_and_removed() {
    for engine in [Engine::Mdbx, Engine::Redb] {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let mut indexed = Queried::open(folders[0].path(), engine, &INDEXES);
        let mut plain = Queried::open(folders[1].path(), engine, &[]);
        for _ in 0..30 {
            let changes = random_changes(&mut rng);
            indexed.put(&changes);
            plain.put(&changes);
            assert_same(&indexed, &plain);
        }
        indexed.store.clear(&table()).unwrap();
        let ask = json!({"view": "thing", "sort": [{"field": "n"}]});
        assert!(indexed.ask("a", &ask).unwrap().rows.is_empty());
    }
}

#[test]
fn an_index_that_is_declared_late_has_all_views_and_one_that_is_not_declared_any_more_is_gone() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let mut late = Queried::open(folders[0].path(), Engine::Mdbx, &["n"]);
    let mut plain = Queried::open(folders[1].path(), Engine::Mdbx, &[]);
    // More than are entered at once.
    let views: BTreeMap<_, _> = (0..11_000)
        .map(|number| {
            let id = format!("{number:05}");
            let view = json!({"n": number % 3, "o": {"name": format!("{}", number % 7)}});
            (("a".to_owned(), id), Some(view))
        })
        .collect();
    late.put(&views);
    plain.put(&views);
    let fields = INDEXES.map(|path| path.parse::<FieldPath>().unwrap());
    late.store.declare_indexes(&table(), &fields).unwrap();
    assert_same(&late, &plain);

    late.store.declare_indexes(&table(), &fields[..1]).unwrap();
    let indexes = late.store.snapshot().unwrap().indexes(&table()).unwrap();
    assert_eq!(indexes.len(), 1);
    let ask = json!({"view": "thing", "sort": [{"field": "o.name"}], "explain": true});
    assert_eq!(
        late.ask("a", &ask).unwrap().explain.unwrap().through,
        "views"
    );
    // What is declared again does not show what it held before.
    let gone = views.keys().take(10).map(|key| (key.clone(), None));
    let gone: BTreeMap<_, _> = gone.collect();
    late.put(&gone);
    plain.put(&gone);
    late.store.declare_indexes(&table(), &fields).unwrap();
    assert_same(&late, &plain);
}

/// Not a test of its own: what the child of the test below runs.
#[test]
fn a_child_writes_views_with_indexes_until_it_is_killed() {
    let Ok(folder) = env::var(CHILD) else { return };
    let mut rng = fastrand::Rng::new();
    // Each time it begins, one of them is made anew while there are views.
    Queried::open(Path::new(&folder), Engine::Mdbx, &INDEXES[..1]);
    println!("begun");
    let mut queried = Queried::open(Path::new(&folder), Engine::Mdbx, &INDEXES);
    loop {
        queried.put(&random_changes(&mut rng));
        println!("written");
    }
}

fn start(folder: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "a_child_writes_views_with_indexes_until_it_is_killed",
            "--nocapture",
        ])
        .env(CHILD, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

#[test]
fn a_node_that_is_killed_while_it_writes_or_makes_an_index_has_indexes_that_say_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    for _ in 0..40 {
        let (mut child, output) = start(folder.path());
        let mut lines = output.lines().map_while(Result::ok);
        lines
            .find(|line| line.contains("begun"))
            .expect("it begins");
        for _ in 0..rng.usize(..4) {
            lines.next();
        }
        // Not a wait for anything: the moment of the kill is what is drawn here.
        std::thread::sleep(Duration::from_micros(rng.u64(..4_000)));
        child.kill().unwrap();
        child.wait().unwrap();

        // A copy of the views that never had an index.
        let copy = tempfile::tempdir().unwrap();
        let mut plain = Queried::open(copy.path(), Engine::Mdbx, &[]);
        let indexed = Queried::open(folder.path(), Engine::Mdbx, &INDEXES);
        let mut views = BTreeMap::new();
        for tenant in ["a", "b"] {
            let ask = json!({"view": "thing", "limit": 1_000});
            for row in indexed.ask(tenant, &ask).unwrap().rows {
                views.insert(
                    (tenant.to_owned(), row.id.to_string()),
                    Some(row.view.value()),
                );
            }
        }
        plain.put(&views);
        assert_same_views(&indexed, &plain);
    }
}

/// As above, but for the sequences, which a copy does not have.
#[track_caller]
fn assert_same_views(indexed: &Queried, plain: &Queried) {
    for tenant in ["a", "b"] {
        for field in INDEXES {
            for dir in ["asc", "desc"] {
                let ask = json!({"view": "thing", "sort": [{"field": field, "dir": dir}], "limit": 1_000, "explain": true});
                let [one, other] =
                    [indexed, plain].map(|queried| queried.ask(tenant, &ask).unwrap());
                assert_eq!(one.explain.unwrap().through, format!("index {field}"));
                let views = |answer: Vec<projection::query::Row>| -> Vec<_> {
                    answer.into_iter().map(|row| (row.id, row.view)).collect()
                };
                assert_eq!(views(one.rows), views(other.rows), "{ask}");
            }
        }
    }
}
