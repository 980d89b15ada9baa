//! Nodes that are killed in the middle of rebuilds, cutovers, exchanges and retirements: one generation is always served whole, and each is what a clean replay makes up to where it stands.

mod rebuilds;

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdout, Command as Process, Stdio},
    sync::Arc,
    time::{Duration, SystemTime},
};

use projection::{
    rebuild::{self, Command, ExchangeLimits, Phase, Purpose},
    storage::{Part, ViewStore},
    stream::MemorySource,
    types::{GenerationState, Scope, ViewKey, ViewTable},
};
use rebuilds::{
    Running, clean, dump, manifest, of_tenant, publish_through, served, settings, start, store,
    table,
};

const CHILD: &str = "PROJECTION_REBUILD_CHILD";
const ROUNDS: u64 = 20;

/// How far the stream is, of which the store holds a part.
fn furthest(store: &ViewStore) -> u64 {
    let snapshot = store.snapshot().unwrap();
    let found = snapshot.generations(&"account".into()).unwrap();
    let tables = found
        .into_iter()
        .flat_map(|found| found.kept.into_keys().map(table));
    let floors = tables.filter_map(|table| Some(snapshot.checkpoint(&table).unwrap()?.floor));
    floors.max().unwrap_or(0)
}

/// Not a test of its own: what the children of the tests below run.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_rebuilds_until_it_is_killed() {
    let Ok(told) = env::var(CHILD) else { return };
    let words: Vec<&str> = told.splitn(3, ' ').collect();
    let [what, version, folder] = words[..] else {
        panic!("{told}")
    };
    let store = store(Path::new(folder));
    if what == "flips" {
        return flip_for_ever(&store);
    }
    let source = MemorySource::default();
    let mut published = furthest(&store).max(1_500);
    publish_through(&source, 0, published);
    let mut settings = settings();
    settings.rebuild.keep_old = Duration::ZERO;
    settings.rebuild.settled = Duration::from_millis(5);
    settings.rebuild.entries_max = 4;
    let node = start(
        &store,
        manifest(version.parse().unwrap(), 1),
        &settings,
        &source,
    );
    let load = async {
        loop {
            publish_through(&source, published, published + 5);
            published += 5;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let ask = async {
        node.wait_for_floor(&store, 1_500).await;
        loop {
            let projection = "account".to_owned();
            let command = if what == "exchange" {
                Command::RebuildPart {
                    projection,
                    scope: Scope::Tenant {
                        tenant: "t-1".into(),
                    },
                }
            } else {
                Command::Rebuild {
                    projection,
                    from: 1,
                    id: None,
                }
            };
            say_until_over(&node, command).await;
        }
    };
    tokio::join!(load, ask, say_progress(&node));
}

/// Asks for something, and waits until nothing of it is left.
async fn say_until_over(node: &Running, command: Command) {
    node.handle.ask(command).await.unwrap();
    let one_alone = || {
        let all = node.handle.generations().unwrap();
        all.iter()
            .all(|(_, generations)| generations.kept.len() == 1)
    };
    node.wait_for("one generation alone", one_alone).await;
}

/// Says on each change what goes on.
async fn say_progress(node: &Running) {
    let mut progress = node.handle.progress();
    loop {
        progress.changed().await.unwrap();
        let all = progress.borrow_and_update().clone();
        for one in all {
            let word = match (&one.phase, &one.purpose) {
                (Phase::Replaying, Purpose::Serve) => "rebuild",
                (Phase::CaughtUp, Purpose::Serve) => "cutover",
                (Phase::Exchanging, _) => "exchange",
                (Phase::Retiring, _) => "retire",
                _ => continue,
            };
            let mut out = std::io::stdout();
            writeln!(out, "now {word}").unwrap();
        }
    }
}

fn flip_for_ever(store: &ViewStore) {
    let mut out = std::io::stdout();
    loop {
        let (from, _) = served(store);
        let to = table(3 - from.generation);
        writeln!(out, "now flips").unwrap();
        rebuild::cut_over(store, &to, u64::MAX, SystemTime::now()).unwrap();
    }
}

fn spawn(what: &str, version: u64, folder: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = Process::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "a_child_rebuilds_until_it_is_killed",
            "--nocapture",
        ])
        .env(CHILD, format!("{what} {version} {}", folder.display()))
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// Lets a child come to `what`, and kills it at a moment of its own. What it had said.
fn kill_during(what: &str, version: u64, folder: &Path, rng: &mut fastrand::Rng) -> Vec<String> {
    let (mut child, output) = spawn(what, version, folder);
    let mut lines = output.lines().map_while(Result::ok);
    let mut said = Vec::new();
    let wanted = format!("now {what}");
    loop {
        let line = lines
            .next()
            .expect("the child comes there before it is killed");
        let is_there = line.contains(&wanted);
        said.push(line);
        if is_there {
            break;
        }
    }
    // Not a wait for anything: the moment of the kill is what is drawn here.
    std::thread::sleep(Duration::from_micros(rng.u64(0..60_000)));
    child.kill().unwrap();
    child.wait().unwrap();
    said.extend(lines);
    said
}

/// Which version made a generation.
fn version_of(hash: &str) -> u64 {
    let made = |version: &u64| manifest(*version, 1).projections()[0].program.hash() == hash;
    [1, 2]
        .into_iter()
        .find(made)
        .expect("one of the two programs")
}

/// Every generation that has a checkpoint, half-made ones too, is what a clean replay makes up to there; and one of them is served. The states of all of them.
async fn assert_whole(store: &Arc<ViewStore>, round: &str) -> Vec<String> {
    let found = store.snapshot().unwrap().generations(&"account".into());
    let found = found.unwrap().unwrap();
    assert_eq!(
        found.kept[&found.served].state,
        GenerationState::Served,
        "{round}: {found:?}"
    );
    let mut states = Vec::new();
    for (number, kept) in &found.kept {
        states.push(kept.state.to_string());
        let table: ViewTable = table(*number);
        let stood = store.snapshot().unwrap().checkpoint(&table).unwrap();
        let whole = !matches!(
            kept.state,
            GenerationState::Side { .. } | GenerationState::Retiring
        );
        if let (Some(stood), true) = (stood, whole) {
            let clean = clean(version_of(&kept.program), stood.floor).await;
            assert_eq!(
                dump(store, &table),
                clean,
                "{round}: {found:?} at {}",
                stood.floor
            );
        }
    }
    states
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_killed_in_rebuilds_cutovers_and_retirements_60_times_serves_one_generation_whole() {
    let folder = tempfile::tempdir().unwrap();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut caught, mut flips) = (std::collections::BTreeMap::<String, u32>::new(), 0);
    let mut before = 1;
    for round in 0..3 * ROUNDS {
        let what = ["rebuild", "cutover", "retire"][usize::try_from(round % 3).unwrap()];
        // Both by a changed manifest and by command.
        let said = kill_during(what, 1 + round / 5 % 2, folder.path(), &mut rng);
        let store = store(folder.path());
        let states = assert_whole(&store, &format!("round {round}, {what}, after {said:?}")).await;
        for state in states {
            *caught.entry(state).or_default() += 1;
        }
        let now = served(&store).0.generation;
        flips += u32::from(now != before);
        before = now;
    }
    println!(
        "{} kills in the states {caught:?}, {flips} with another generation served",
        3 * ROUNDS
    );
    assert!(
        caught["is being made"] > 5 && caught["is being cleared"] > 5,
        "{caught:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cutover_killed_in_its_transaction_has_happened_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = fastrand::Rng::new();
    {
        let (store, source) = (store(folder.path()), MemorySource::default());
        publish_through(&source, 0, 700);
        let node = start(&store, manifest(1, 1), &settings(), &source);
        node.wait_for_floor(&store, 700).await;
        node.stop().await;
        let node = start(&store, manifest(2, 1), &settings(), &source);
        node.wait_for("the cutover", || served(&store) == (table(2), 700))
            .await;
        node.stop().await;
    }
    let mut seen = [0, 0];
    for round in 0..ROUNDS {
        kill_during("flips", 1, folder.path(), &mut rng);
        let store = store(folder.path());
        let states = assert_whole(&store, &format!("round {round}")).await;
        let found = store.snapshot().unwrap().generations(&"account".into());
        let found = found.unwrap().unwrap();
        let way_back = found.way_back();
        assert_eq!(way_back, Some(3 - found.served), "round {round}: {found:?}");
        assert!(
            states.contains(&"was served before".to_owned()),
            "round {round}: {states:?}"
        );
        seen[usize::try_from(found.served).unwrap() - 1] += 1;
    }
    println!("{ROUNDS} kills, with each of both served {seen:?} times");
}

/// Replaces a view of tenant t-1, and adds one that no event made.
fn spoil(store: &ViewStore) {
    let (table, floor) = served(store);
    let stood = store
        .snapshot()
        .unwrap()
        .checkpoint(&table)
        .unwrap()
        .unwrap();
    let mut part = Part::new(table.clone(), Some(floor), stood);
    for id in ["a-0", "nobody"] {
        let key = ViewKey::new("t-1".into(), table.view_type.clone(), id.into()).unwrap();
        part.put(
            &key,
            Some(br#"{"v":{"balance":-1},"s":1,"n":1,"p":"?"}"#.to_vec()),
        );
    }
    store.commit(&part.into()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_killed_between_its_pieces_is_finished_before_anything_else_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = fastrand::Rng::new();
    {
        let (store, source) = (store(folder.path()), MemorySource::default());
        publish_through(&source, 0, 1_500);
        let node = start(&store, manifest(1, 1), &settings(), &source);
        node.wait_for_floor(&store, 1_500).await;
        node.stop().await;
    }
    let (mut between, mut before, mut after) = (0, 0, 0);
    for round in 0..ROUNDS {
        spoil(&store(folder.path()));
        kill_during("exchange", 1, folder.path(), &mut rng);
        let store = store(folder.path());
        let found = store
            .snapshot()
            .unwrap()
            .generations(&"account".into())
            .unwrap()
            .unwrap();
        between += u32::from(found.exchange.is_some());
        let limits = ExchangeLimits { entries_max: 4 };
        let finished = rebuild::finish_exchange(&store, &"account".into(), limits).unwrap();
        let finished = finished.is_some();
        assert_eq!(finished, found.exchange.is_some());
        let (table, floor) = served(&store);
        let (views, clean) = (dump(&store, &table), clean(1, floor).await);
        for tenant in ["t-0", "t-2"] {
            assert_eq!(
                of_tenant(&views, &tenant.into()),
                of_tenant(&clean, &tenant.into()),
                "round {round}"
            );
        }
        let is_clean = of_tenant(&views, &"t-1".into()) == of_tenant(&clean, &"t-1".into());
        let is_spoilt = views.iter().any(|(key, _)| key == "t-1:nobody");
        assert!(
            is_clean != is_spoilt,
            "round {round}: neither before nor after the exchange"
        );
        assert!(is_clean || !finished, "round {round}");
        before += u32::from(is_spoilt);
        after += u32::from(is_clean && !finished);
    }
    println!(
        "{ROUNDS} kills: {before} before the exchange, {between} between its pieces, {after} after it"
    );
}
