//! Records of runs, with the real command, real nodes and a real NATS server: what happened to a cluster can be asked while it goes on, after it has ended, and after whoever kept the record was killed.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;
use tests::by_hand::{Staying, Workbench, is_there, signal};

/// Far longer than anything here takes.
const SOON: Duration = Duration::from_mins(1);
const INSTALL: &str = "apt-get install nats-server";

/// A workbench, where there is a NATS server; else it is said what is missing, which is a failure in CI.
fn workbench() -> Option<Workbench> {
    let is_there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !is_there("nats-server") && !is_there("/usr/sbin/nats-server") {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI needs a NATS server: {INSTALL}"
        );
        eprintln!("skipped, there is no NATS server: {INSTALL}");
        return None;
    }
    let bench = Workbench::new(env!("CARGO_BIN_EXE_trellis-command"));
    bench.write("demo.toml", "app = \"openraft-kv\"\nnodes = 3\n");
    bench.write("chain.toml", "app = \"devchain\"\nnodes = 3\n");
    Some(bench)
}

/// Runs with a record, until the cluster is up and all is observed.
#[track_caller]
fn recording(bench: &Workbench, arguments: &[&str]) -> Staying {
    let mut run = bench.stays(&[&["run"], arguments].concat());
    run.until("is put on record");
    run
}

fn history(bench: &Workbench, run: &str) -> Value {
    let text = bench.done(&["history", run, "--json"]);
    serde_json::from_str(&text).expect("history writes JSON")
}

fn view(bench: &Workbench, run: &str, view: &str) -> Vec<Value> {
    let text = bench.done(&["history", run, "--view", view, "--json"]);
    let whole: Value = serde_json::from_str(&text).expect("history writes JSON");
    whole["views"][view].as_array().expect("a list").clone()
}

/// Asks for a view until it is as wanted.
#[track_caller]
fn until_view(
    bench: &Workbench,
    run: &str,
    name: &str,
    wanted: impl Fn(&[Value]) -> bool,
) -> Vec<Value> {
    let deadline = Instant::now() + SOON;
    loop {
        let rows = view(bench, run, name);
        if wanted(&rows) {
            return rows;
        }
        assert!(Instant::now() < deadline, "{name} is {rows:#?}");
    }
}

fn leaders(rows: &[Value]) -> Vec<String> {
    let leader = |row: &Value| row["leader"].as_str().unwrap_or_default().to_owned();
    rows.iter().map(leader).collect()
}

fn of_node<'a>(rows: &'a [Value], node: &str) -> &'a Value {
    let mut rows = rows.iter();
    rows.find(|row| row["id"] == node)
        .expect("the node is there")
}

/// The NATS server of the only record.
fn server_of(bench: &Workbench) -> String {
    let records = fs::read_dir(bench.state().join("records")).expect("there are records");
    let record = records.flatten().next().expect("there is one").path();
    let port = fs::read_to_string(record.join("record.json")).expect("it says where its server is");
    let about: Value = serde_json::from_str(&port).expect("it is JSON");
    let url = about["nats_url"].as_str().expect("an address").to_owned();
    let port = url.rsplit(':').next().expect("a port").to_owned();
    let named = |process: &Path| {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("nats-server") && line.contains(&*record.to_string_lossy())
    };
    let processes = fs::read_dir("/proc").expect("there are processes");
    let found = processes
        .flatten()
        .map(|entry| entry.path())
        .find(|path| named(path));
    let found = found.unwrap_or_else(|| panic!("no server of port {port}"));
    let pid = found.file_name().expect("a number");
    pid.to_string_lossy().into_owned()
}

#[test]
fn a_run_is_asked_who_led_and_who_was_down_while_it_goes_on_and_afterwards() {
    let Some(bench) = workbench() else { return };
    let run = recording(&bench, &["demo.toml", "--record"]);
    let rows = until_view(&bench, "demo", "leader_history", |rows| !rows.is_empty());
    let first = leaders(&rows)[0].clone();
    let server = server_of(&bench);

    bench.done(&["stop", "--kill", &first]);
    let rows = until_view(&bench, "demo", "leader_history", |rows| rows.len() > 1);
    let second = leaders(&rows)[1].clone();
    assert_ne!(first, second);
    let rows = until_view(&bench, "demo", "node_uptime", |rows| {
        of_node(rows, &first)["is_up"] == false
    });
    assert_eq!(of_node(&rows, &first)["state"], "stopped");
    let text = bench.done(&["history", "demo"]);
    for part in [
        "goes on since",
        "leader_history",
        &format!("{first} is down for"),
        "node_uptime",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    bench.done(&["start", &first]);
    until_view(&bench, "demo", "node_uptime", |rows| {
        of_node(rows, &first)["restarts"] == 1 && of_node(rows, &first)["is_up"] == true
    });

    bench.done(&["down"]);
    let (code, said) = run.ended();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the record demo-"), "{said}");
    assert!(!is_there(&server));
    bench.assert_clean();

    let whole = history(&bench, "demo");
    assert_eq!(whole["condition"], "ended");
    let led = whole["views"]["leader_history"].as_array().unwrap();
    assert_eq!(leaders(&led[..2]), [&*first, &*second]);
    let terms: Vec<u64> = led.iter().filter_map(|row| row["term"].as_u64()).collect();
    assert!(terms.is_sorted() && terms.len() == led.len(), "{terms:?}");
    let nodes = whole["views"]["node_uptime"].as_array().unwrap();
    let killed = of_node(nodes, &first);
    assert_eq!(
        (&killed["downs"], &killed["restarts"]),
        (&1.into(), &1.into())
    );
    assert!(killed["down_ms"].as_u64() > Some(0), "{killed}");
    assert_eq!(killed["outages"][0]["how"], "stopped");
    // The end of the cluster is no outage.
    assert!(nodes.iter().all(|node| node["is_up"] == true), "{nodes:?}");

    let text = bench.done(&["history"]);
    assert!(text.contains("ended"), "{text}");
    let id = whole["run"].as_str().unwrap();
    bench.done(&["history", "rm", id]);
    bench.refused(&["history", id], 3, &["there is no record", "none at all"]);
}

#[test]
fn a_killed_recorder_leaves_a_record_that_can_be_read_and_no_server() {
    let Some(bench) = workbench() else { return };
    let run = recording(&bench, &["demo.toml", "--record"]);
    let rows = until_view(&bench, "demo", "leader_history", |rows| !rows.is_empty());
    let before = view(&bench, "demo", "node_uptime");
    let server = server_of(&bench);
    run.signal("KILL");
    run.ended();
    let deadline = Instant::now() + SOON;
    while is_there(&server) {
        assert!(Instant::now() < deadline, "the server lives on");
    }
    let whole = history(&bench, "demo");
    assert_eq!(whole["condition"], "killed");
    assert_eq!(
        leaders(whole["views"]["leader_history"].as_array().unwrap()),
        leaders(&rows)
    );
    let nodes = whole["views"]["node_uptime"].as_array().unwrap();
    assert_eq!(nodes.len(), before.len());
    let text = bench.done(&["history", "demo"]);
    assert!(text.contains("who kept it was killed"), "{text}");
    bench.done(&["clean"]);
    bench.assert_clean();
    // What is on record is nothing to clean.
    assert_eq!(history(&bench, "demo")["condition"], "killed");
}

#[test]
fn a_nats_server_that_is_killed_is_told_of_and_what_happened_meanwhile_is_put_on_record() {
    let Some(bench) = workbench() else { return };
    let mut run = recording(&bench, &["demo.toml", "--record"]);
    let rows = until_view(&bench, "demo", "leader_history", |rows| !rows.is_empty());
    let leader = leaders(&rows)[0].clone();
    let server = server_of(&bench);
    signal(&server, "KILL");
    run.until("the NATS server of the record ended by itself");
    bench.done(&["stop", "--kill", &leader]);
    run.until("the NATS server of the record runs again");
    let rows = until_view(&bench, "demo", "leader_history", |rows| rows.len() > 1);
    assert_eq!(leaders(&rows)[0], leader);
    until_view(&bench, "demo", "node_uptime", |rows| {
        of_node(rows, &leader)["is_up"] == false
    });
    bench.done(&["down"]);
    let (code, said) = run.ended();
    assert_eq!(code, Some(0), "{said}");
    bench.assert_clean();
}

#[test]
fn a_run_ends_when_its_time_is_over_and_a_second_ctrl_c_leaves_no_server() {
    let Some(bench) = workbench() else { return };
    let run = recording(&bench, &["demo.toml", "--record", "--for", "1s"]);
    let (code, said) = run.ended();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1s are over"), "{said}");
    bench.assert_clean();
    let whole = history(&bench, "demo");
    assert_eq!(whole["how"], "the cluster was ended");

    let mut run = bench.stays(&["run", "demo.toml", "--record", "--name", "again"]);
    run.until("is put on record");
    let record = history(&bench, "again");
    let folder = record["folder"].as_str().unwrap().to_owned();
    run.signal("INT");
    run.until("once more ends it at once");
    run.signal("INT");
    let (_, said) = run.ended();
    assert!(no_server_in(&folder), "{said}");
}

fn no_server_in(folder: &str) -> bool {
    let deadline = Instant::now() + SOON;
    loop {
        let processes = fs::read_dir("/proc").expect("there are processes");
        let lines = processes
            .flatten()
            .map(|entry| fs::read(entry.path().join("cmdline")).unwrap_or_default());
        let mut lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
        if !lines.any(|line| line.contains("nats-server") && line.contains(folder)) {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
    }
}

#[test]
fn a_cluster_that_is_up_already_is_put_on_record_and_left_alone() {
    let Some(bench) = workbench() else { return };
    let up = bench.up(&["demo.toml"]);
    let mut run = bench.stays(&["run", "--cluster", "demo", "--record"]);
    run.until("is put on record");
    let rows = until_view(&bench, "demo", "leader_history", |rows| !rows.is_empty());
    let leader = leaders(&rows)[0].clone();
    bench.done(&["stop", &leader]);
    // Before it is back: in a moment it would lead again, in the same term.
    until_view(&bench, "demo", "leader_history", |rows| rows.len() > 1);
    bench.done(&["start", &leader]);
    until_view(&bench, "demo", "node_uptime", |rows| {
        of_node(rows, &leader)["restarts"] == 1 && of_node(rows, &leader)["is_up"] == true
    });
    run.signal("INT");
    let (code, said) = run.ended();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(bench.status("demo")["phase"], "running");
    assert_eq!(history(&bench, "demo")["condition"], "ended");

    // Whoever keeps it may end it, and that ends the record.
    let mut run = bench.stays(&["run", "--cluster", "demo", "--record"]);
    run.until("is put on record");
    bench.done(&["down"]);
    let (code, said) = run.ended();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(up.ended().0, Some(0));
    bench.assert_clean();
}

#[test]
fn a_chain_is_asked_for_heads_and_how_far_nodes_are_behind() {
    let Some(bench) = workbench() else { return };
    let run = recording(&bench, &["chain.toml", "--record"]);
    let all_at = |height: u64| {
        move |rows: &[Value]| {
            rows.len() == 3
                && rows
                    .iter()
                    .all(|row| row["height"].as_u64() >= Some(height))
        }
    };
    until_view(&bench, "chain", "heads", all_at(2));
    bench.done(&["stop", "--kill", "NODE_3"]);
    let rows = until_view(&bench, "chain", "heads", |rows| {
        rows.iter().any(|row| row["height"].as_u64() >= Some(4))
    });
    let best = rows.iter().filter_map(|row| row["height"].as_u64()).max();
    bench.done(&["start", "NODE_3"]);
    until_view(&bench, "chain", "heads", all_at(best.unwrap()));
    let lags = until_view(&bench, "chain", "sync_lag", |rows| rows.len() == 3);
    assert!(lags.iter().all(|row| row["best"].is_u64()), "{lags:?}");
    bench.done(&["down"]);
    assert_eq!(run.ended().0, Some(0));
    let text = bench.done(&["history", "chain"]);
    for part in ["heads", "sync_lag", "NODE_3", "AVAILABLE"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let nothing = bench.done(&["history", "chain", "--view", "leaders"]);
    assert!(
        nothing.contains("nothing of that kind was seen"),
        "{nothing}"
    );
    bench.assert_clean();
}

#[test]
fn what_cannot_be_put_on_record_or_asked_is_said() {
    let Some(bench) = workbench() else { return };
    let nowhere = ["run", "demo.toml", "--record-to", "nats://127.0.0.1:1"];
    bench.refused(
        &nowhere,
        1,
        &["no NATS server with JetStream at nats://127.0.0.1:1"],
    );
    bench.refused(&["run"], 2, &["say what to run"]);
    bench.refused(
        &["run", "--cluster", "demo", "--record"],
        3,
        &["no cluster demo is up"],
    );
    bench.refused(&["run", "--cluster", "demo"], 2, &["say --record"]);
    bench.refused(&["history", "demo"], 3, &["there is none at all"]);
    bench.refused(&["history", "rm", "demo"], 3, &["there is none at all"]);
    bench.assert_clean();
    assert!(bench.done(&["history"]).contains("nothing is on record"));

    let run = recording(&bench, &["demo.toml", "--record", "--for", "1s"]);
    assert_eq!(run.ended().0, Some(0));
    bench.refused(
        &["history", "dema"],
        3,
        &["there is no record \"dema\"; there are: demo-"],
    );
    let filter = ["history", "demo", "--view", "nodes", "--filter"];
    bench.refused(&[&filter[..], &["{"]].concat(), 2, &["--filter is no JSON"]);
    bench.refused(
        &[&filter[..], &[r#"{"downs": {"gtx": 1}}"#]].concat(),
        2,
        &["gtx"],
    );
    let none = bench.done(&[&filter[..], &[r#"{"downs": {"gte": 9}}"#]].concat());
    assert!(none.contains("no entry satisfies the filter"), "{none}");
    let one = bench.done(&[&filter[..], &[r#"{"$id": "NODE_2"}"#]].concat());
    assert!(one.contains("NODE_2") && !one.contains("NODE_1"), "{one}");

    let whole = history(&bench, "demo");
    let folder = whole["folder"].as_str().unwrap();
    fs::remove_dir_all(Path::new(folder).join("views")).unwrap();
    bench.refused(
        &["history", "demo"],
        1,
        &["is damaged", "views", "trellis history rm demo-"],
    );
}
