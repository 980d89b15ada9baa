//! Suite wall time: 24 scenarios of 3 nodes each, at concurrency 1, 4 and 8, against concurrency 1.
//!
//! Prints medians and ratios of one run; asserts nothing about time. The features run as users run them, through `cargo test`; what a dry run takes is subtracted.
//! `cargo bench -p tests --bench suite` measures; called with `--test` it takes one short look.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// How many scenarios a suite has.
const SCENARIOS: usize = 24;
/// How often each concurrency is measured, interleaved.
const ROUNDS: usize = 3;
/// What the inner cargo is told of the outer one's world.
const KEPT: [&str; 2] = ["CARGO_HOME", "CARGO_TARGET_DIR"];

fn main() {
    let looking = std::env::args().any(|argument| argument == "--test");
    let (scenarios, rounds) = if looking { (2, 1) } else { (SCENARIOS, ROUNDS) };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let feature = folder.path().join("suite.feature");
    fs::write(&feature, suite(scenarios)).expect("the feature can be written");

    let overhead = run(&feature, folder.path(), &["--dry-run"]);
    let concurrencies = ["1", "4", "8"];
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); concurrencies.len()];
    for _ in 0..rounds {
        for (concurrency, times) in concurrencies.iter().zip(&mut times) {
            let arguments = ["--concurrency", concurrency, "--nodes", "24"];
            times.push(run(&feature, folder.path(), &arguments).saturating_sub(overhead));
        }
    }
    let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
    println!("{scenarios} scenarios x 3 nodes, median of {rounds} rounds");
    println!(
        "{:<12} {:>10} {:>22}",
        "concurrency", "seconds", "against concurrency 1"
    );
    for (concurrency, seconds) in concurrencies.iter().zip(&medians) {
        println!(
            "{concurrency:<12} {seconds:>10.2} {:>22.2}",
            seconds / medians[0]
        );
    }
}

fn suite(scenarios: usize) -> String {
    let scenario = |n| {
        format!(
            "  Scenario: Number {n}\n    Given a cluster of 3 nodes\n    Then the nodes agree on a leader within 30 seconds\n    When I write 10 keys\n    Then every node has every acknowledged write within 30 seconds\n"
        )
    };
    let scenarios: String = (1..=scenarios).map(scenario).collect();
    format!("Feature: Suite\n{scenarios}")
}

/// Runs the feature, which must pass, and gives the wall time.
fn run(feature: &Path, folder: &Path, arguments: &[&str]) -> Duration {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    let mut command = Command::new(cargo);
    // What cargo tells a benchmark would make the inner cargo build everything anew.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_") && !KEPT.contains(&&*name) {
            command.env_remove(&*name);
        }
    }
    let begun = Instant::now();
    let output = command
        .current_dir(root)
        .args(["test", "--quiet", "--test", "cucumber", "--", "--input"])
        .arg(feature)
        .arg("--out")
        .arg(folder.join("out"))
        .arg("--state")
        .arg(folder.join("state"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("cargo runs");
    let took = begun.elapsed();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "the suite did not pass: {}\n{errors}",
        output.status
    );
    took
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}
