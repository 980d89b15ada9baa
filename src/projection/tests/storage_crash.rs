//! Stores whose process is killed in the middle of commits: nothing is torn, and nothing that was acknowledged is lost.

mod stamped;

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use projection::settings::Engine;

const CHILD: &str = "PROJECTION_CRASH_CHILD";
const ROUNDS: u32 = 200;

/// Not a test of its own: what the child of the tests below runs.
#[test]
fn a_child_commits_until_it_is_killed() {
    let Ok(told) = env::var(CHILD) else { return };
    let (engine, folder) = told.split_once(' ').expect("an engine and a folder");
    let store = stamped::open(Path::new(folder), engine_named(engine));
    let mut out = std::io::stdout();
    let mut floor = stamped::floor(&store);
    loop {
        let next = floor.unwrap_or(0) + 1;
        let batch = stamped::batch(floor, next);
        writeln!(out, "begin {next}").unwrap();
        store.commit(&batch).unwrap();
        writeln!(out, "done {next}").unwrap();
        floor = Some(next);
    }
}

fn engine_named(name: &str) -> Engine {
    match name {
        "mdbx" => Engine::Mdbx,
        _ => Engine::Redb,
    }
}

fn start(engine: &str, folder: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "a_child_commits_until_it_is_killed",
            "--nocapture",
        ])
        .env(CHILD, format!("{engine} {}", folder.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// What a child said before it died: its last acknowledged commit, and the last that it began.
#[derive(Debug, Default, Clone, Copy)]
struct Said {
    begun: u64,
    done: u64,
}

impl Said {
    fn hear(&mut self, line: &str) {
        // The first line also has the name of the test before it.
        let words: Vec<&str> = line.split_whitespace().rev().take(2).collect();
        match words[..] {
            [number, "begin"] => self.begun = number.parse().unwrap_or(self.begun),
            [number, "done"] => self.done = number.parse().unwrap_or(self.done),
            _ => {}
        }
    }
}

/// Lets a child make some commits, kills it at a moment of its own, and returns what it had said.
fn kill_in_mid_commit(engine: &str, folder: &Path, rng: &mut fastrand::Rng) -> Said {
    let (mut child, output) = start(engine, folder);
    let mut said = Said::default();
    let mut lines = output.lines().map_while(Result::ok);
    let commits = rng.u32(1..6);
    let mut begun = 0;
    while begun < commits {
        let line = lines.next().expect("the child commits until it is killed");
        said.hear(&line);
        begun += u32::from(line.contains("begin"));
    }
    // Not a wait for anything: the moment of the kill within the commit is what is drawn here.
    std::thread::sleep(Duration::from_micros(rng.u64(0..2_500)));
    child.kill().unwrap();
    child.wait().unwrap();
    lines.for_each(|line| said.hear(&line));
    said
}

#[track_caller]
fn check(engine: &str) {
    let folder = tempfile::tempdir().unwrap();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut in_mid_commit = 0;
    for round in 0..ROUNDS {
        let said = kill_in_mid_commit(engine, folder.path(), &mut rng);
        in_mid_commit += u32::from(said.begun > said.done);
        let store = stamped::open(folder.path(), engine_named(engine));
        let floor = stamped::floor(&store).unwrap_or(0);
        assert!(
            (said.done..=said.begun).contains(&floor),
            "round {round}: {said:?}, and the store is at {floor}"
        );
        stamped::assert_whole(&store, floor);
    }
    println!("{engine}: {ROUNDS} kills, {in_mid_commit} of them in mid-commit");
    assert!(
        in_mid_commit > ROUNDS / 4,
        "only {in_mid_commit} kills were in mid-commit"
    );
}

#[test]
fn mdbx_killed_in_mid_commit_200_times_is_never_torn_and_loses_nothing_acknowledged() {
    check("mdbx");
}

#[test]
fn redb_killed_in_mid_commit_200_times_is_never_torn_and_loses_nothing_acknowledged() {
    check("redb");
}
