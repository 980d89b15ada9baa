//! How long the check before boot takes for a large suite. The goal: 1,000 scenarios in under 1 s, nothing started.
//!
//! Run it with `cargo bench -p trellis-steps --bench check --profile dev`, for the goal is one of the dev profile.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use trellis_domain::{Capability, CapabilitySet};
use trellis_settings::{Environment, Settings};
use trellis_steps::check::{Selection, SuiteFacts, check};

const FEATURES: usize = 50;
const SCENARIOS_OF_EACH: usize = 20;
const GOAL: Duration = Duration::from_secs(1);
const ROUNDS: usize = 5;

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for number in 0..FEATURES {
        write_feature(folder.path(), number);
    }
    let all: CapabilitySet = Capability::ALL.into_iter().collect();
    let name = "kv".parse().expect("kv is an application name");
    let facts = SuiteFacts {
        apps: vec![(name, all)],
        chains: Vec::new(),
        faucets: Vec::new(),
        projections: Vec::new(),
        backend: all,
        attach: Vec::new(),
        settings: Arc::new(Settings::of_environment(Environment::new(|_| None))),
        budget: 12,
        missing: Vec::new(),
        disks: Vec::new(),
        missing_is_wrong: true,
    };
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| measure(folder.path(), &facts))
        .collect();
    let first = times[0];
    times.sort();
    println!(
        "check of {} scenarios x 8 steps: first {first:.0?}, median {:.0?}, goal < {GOAL:?}",
        FEATURES * SCENARIOS_OF_EACH,
        times[ROUNDS / 2]
    );
    assert!(first < GOAL, "the check takes {first:?}");
}

fn measure(root: &Path, facts: &SuiteFacts) -> Duration {
    let begun = Instant::now();
    let checked = check(root, &Selection::default(), facts).expect("the features are there");
    let took = begun.elapsed();
    assert_eq!(checked.scenarios(), FEATURES * SCENARIOS_OF_EACH);
    assert!(
        checked.problems.is_empty(),
        "{:?}",
        checked.problems.first()
    );
    took
}

/// Scenarios whose steps differ in their arguments, so that little of what was looked up before can be used again.
fn write_feature(root: &Path, number: usize) {
    let mut text = format!("Feature: number {number}\n");
    for scenario in 0..SCENARIOS_OF_EACH {
        let unique = number * SCENARIOS_OF_EACH + scenario;
        write!(
            text,
            "
  @tag{scenario}
  Scenario: number {scenario}
    Given a cluster of 3 nodes
    And nodes must be ready within {unique} seconds
    When I write \"value {unique}\" to key \"key {unique}\"
    And I restart NODE_2 with user config override \"path.{unique}\" as \"{unique}\"
    And I create a snapshot \"label {unique}\" of NODE_1
    Then the nodes agree on a leader within {unique} seconds
    And key \"key {unique}\" reads \"value {unique}\" on NODE_3
    And {unique} more writes are acknowledged within 10 seconds
"
        )
        .expect("a String takes any text");
    }
    fs::write(root.join(format!("{number}.feature")), text).expect("a feature can be written");
}
