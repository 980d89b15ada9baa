//! What is deployed: the files say what the tools understand, and name settings that there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use projection::{manifest::ProjectionManifest, settings::fields};
use serde_json::Value;

/// The client is enough; no daemon is asked.
const INSTALL: &str =
    "apt-get install docker-cli   (on Debian 13; elsewhere the client of docker 23 or newer)";

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(name)
}

/// What `docker` says, with what the files want to be told; `None` where there is no such command, which is said.
fn docker(arguments: &[&str], file: &str, after: &[&str]) -> Option<Output> {
    let known = Command::new("docker")
        .args(arguments)
        .arg("--help")
        .output();
    // An unknown subcommand is answered with the help of the command above it.
    let usage = known.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let name = arguments.join(" ");
    if !usage.is_ok_and(|usage| usage.contains(&format!("docker {name}"))) {
        return None;
    }
    let output = Command::new("docker")
        .args(arguments)
        .arg(if arguments[0] == "stack" { "-c" } else { "-f" })
        .arg(deploy(file))
        .args(after)
        .env("PROJECTION_IMAGE", "registry.example/projection:1")
        .env("PROJECTION_QUERY_CURSOR_SECRET", "s")
        .output();
    Some(output.expect("it ran just now"))
}

fn resolved(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_saphyr::from_str(&text).expect("it is YAML")
}

/// The settings that a service names are settings.
#[track_caller]
fn names_settings(service: &Value) {
    let known: BTreeSet<_> = fields().map(|field| field.variable).collect();
    let environment = service["environment"].as_object().expect("variables");
    for name in environment.keys() {
        assert!(known.contains(name), "{name} sets nothing");
    }
}

fn seconds(value: &Value) -> u64 {
    let text = value.as_str().expect("a time");
    humantime::parse_duration(text).expect("a time").as_secs()
}

#[test]
fn the_stack_is_valid_and_its_nodes_are_stopped_before_they_are_started_each_with_its_volume() {
    let stack = if let Some(output) = docker(&["stack", "config"], "stack.yaml", &[]) {
        resolved(&output)
    } else {
        // Older clients cannot say it, so CI may go without one; the rest is checked as it is written.
        eprintln!("docker stack config is not there, and is not asked: {INSTALL}");
        let text = fs::read_to_string(deploy("stack.yaml")).unwrap();
        serde_saphyr::from_str(&text).unwrap()
    };
    let services = stack["services"].as_object().unwrap();
    let nodes: BTreeMap<_, _> = services
        .iter()
        .filter(|(name, _)| name.starts_with("node-"))
        .collect();
    assert_eq!(nodes.len(), 3);
    let mut volumes = BTreeSet::new();
    let mut places = BTreeSet::new();
    for (name, node) in nodes {
        names_settings(node);
        let environment = &node["environment"];
        assert_eq!(environment["PROJECTION_NODE"], **name);
        assert_eq!(
            environment["PROJECTION_NODE_ADDRESS"],
            format!("http://{name}:8090")
        );
        let deploy = &node["deploy"];
        assert_eq!(
            deploy["replicas"], 1,
            "two nodes on one volume would wait for each other"
        );
        assert_eq!(deploy["update_config"]["order"], "stop-first");
        assert_eq!(deploy["rollback_config"]["order"], "stop-first");
        assert!(deploy["resources"]["limits"]["memory"].is_string());
        assert!(
            seconds(&node["stop_grace_period"]) > 2 * 8,
            "longer than the grace of a node"
        );
        volumes.insert(node["volumes"][0].to_string());
        places.insert(deploy["placement"]["constraints"][0].to_string());
    }
    assert_eq!((volumes.len(), places.len()), (3, 3));
}

#[test]
fn the_compose_file_is_valid_and_its_node_waits_for_a_server_that_works() {
    let compose = if let Some(output) = docker(&["compose"], "compose.yaml", &["config"]) {
        resolved(&output)
    } else {
        // Debian has no client that knows this form of the file, so CI goes without it; the rest is checked as it is written.
        eprintln!("docker compose is not there: what it would resolve is not checked");
        let text = fs::read_to_string(deploy("compose.yaml")).unwrap();
        serde_saphyr::from_str(&text).unwrap()
    };
    let node = &compose["services"]["projection"];
    names_settings(node);
    assert_eq!(node["depends_on"]["nats"]["condition"], "service_healthy");
    assert!(compose["services"]["nats"]["healthcheck"]["test"].is_array());
    assert!(seconds(&node["stop_grace_period"]) > 2 * 8);
    assert!(
        compose["volumes"]
            .as_object()
            .unwrap()
            .contains_key("views")
    );
}

#[test]
fn the_image_runs_as_nobody_says_how_it_is_and_brings_the_notice_of_mdbx() {
    let text = fs::read_to_string(deploy("Dockerfile")).unwrap();
    let (build, image) = text
        .split_once("\nFROM ")
        .map(|(_, rest)| rest.split_once("\nFROM ").unwrap())
        .unwrap();
    assert!(build.contains("--locked --profile dist"));
    assert!(build.contains("libmdbx/NOTICE"));
    assert!(image.contains("USER 65532:65532"));
    assert!(image.contains("[\"/usr/local/bin/projection\", \"healthcheck\"]"));
    let known: BTreeSet<_> = fields().map(|field| field.variable).collect();
    let set = image
        .split_whitespace()
        .filter_map(|word| word.split_once('='));
    for (name, _) in set.filter(|(name, _)| name.starts_with("PROJECTION_")) {
        assert!(known.contains(name), "{name} sets nothing");
    }
    // The version that the lock file names is one that it can be read from.
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
    let lock = fs::read_to_string(lock).unwrap();
    assert!(lock.contains("\nname = \"signet-mdbx-sys\"\nversion = "));
}

#[test]
fn the_manifest_of_the_image_can_be_used() {
    let manifest = ProjectionManifest::load(&deploy("manifest.yaml"), 100_000).unwrap();
    assert_eq!(manifest.projections().len(), 1);
}
