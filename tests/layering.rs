//! Rules of the house as tests: who may depend on whom, what every file begins with, and what steps never do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Every crate of the workspace and the crates of the workspace that it may depend on.
///
/// A new edge is an architectural decision: it is made here, with its reason in the commit, or not at all.
const ALLOWED: &[(&str, &[&str])] = &[
    ("trellis-domain", &[]),
    ("cfgsync-artifacts", &[]),
    ("cfgsync-core", &["cfgsync-artifacts"]),
    ("cfgsync-adapter", &["cfgsync-artifacts", "cfgsync-core"]),
    (
        "cfgsync-runtime",
        &["cfgsync-adapter", "cfgsync-artifacts", "cfgsync-core"],
    ),
    ("trellis-observation", &[]),
    ("projection", &[]),
    ("trellis-chain", &["trellis-observation"]),
    (
        "trellis-bootstrap",
        &["cfgsync-artifacts", "trellis-domain"],
    ),
    (
        "trellis-runtime",
        &[
            "cfgsync-adapter",
            "cfgsync-core",
            "trellis-bootstrap",
            "trellis-domain",
            "trellis-observation",
        ],
    ),
    ("trellis-local", &["trellis-bootstrap", "trellis-domain"]),
    ("trellis-static", &["trellis-bootstrap", "trellis-domain"]),
    ("trellis-report", &["trellis-domain"]),
    ("trellis-settings", &["trellis-domain"]),
    (
        "trellis-manual",
        &[
            "trellis-bootstrap",
            "trellis-domain",
            "trellis-report",
            "trellis-runtime",
            "trellis-settings",
        ],
    ),
    (
        "trellis-steps",
        &[
            "trellis-bootstrap",
            "trellis-chain",
            "trellis-domain",
            "trellis-observation",
            "trellis-report",
            "trellis-runtime",
            "trellis-settings",
        ],
    ),
    (
        "trellis",
        &[
            "trellis-bootstrap",
            "trellis-chain",
            "trellis-domain",
            "trellis-local",
            "trellis-manual",
            "trellis-observation",
            "trellis-record",
            "trellis-runtime",
            "trellis-settings",
            "trellis-steps",
        ],
    ),
    // Its NATS server is a process of this machine that must end with us, which trellis-local knows how to do.
    (
        "trellis-record",
        &[
            "projection",
            "trellis-bootstrap",
            "trellis-chain",
            "trellis-domain",
            "trellis-local",
            "trellis-observation",
            "trellis-runtime",
        ],
    ),
    ("devchain", &["trellis-bootstrap", "trellis-domain"]),
    ("bitcoin-regtest", &[]),
    (
        "bitcoin-node",
        &[
            "bitcoin-regtest",
            "trellis-bootstrap",
            "trellis-chain",
            "trellis-domain",
        ],
    ),
    (
        "logos-node",
        &[
            "trellis-bootstrap",
            "trellis-chain",
            "trellis-domain",
            "trellis-settings",
        ],
    ),
    (
        "openraft-kv",
        &["trellis-bootstrap", "trellis-domain", "trellis-observation"],
    ),
    (
        "projection-cluster",
        &[
            "projection",
            "trellis-bootstrap",
            "trellis-domain",
            "trellis-observation",
        ],
    ),
    (
        "tests",
        &[
            "bitcoin-node",
            "bitcoin-regtest",
            "cfgsync-runtime",
            "devchain",
            "logos-node",
            "openraft-kv",
            "projection",
            "projection-cluster",
            "trellis",
            "trellis-bootstrap",
            "trellis-chain",
            "trellis-domain",
            "trellis-local",
            "trellis-observation",
            "trellis-runtime",
            "trellis-static",
            "trellis-steps",
        ],
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_edge_between_our_crates_is_an_allowed_one() {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo describes the workspace");
    let allowed: BTreeMap<&str, BTreeSet<&str>> = ALLOWED
        .iter()
        .map(|(name, edges)| (*name, edges.iter().copied().collect()))
        .collect();
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    let listed: BTreeSet<&str> = allowed.keys().copied().collect();
    assert_eq!(
        ours, listed,
        "the table names every crate of the workspace and no other"
    );
    for package in &metadata.packages {
        let edges = package
            .dependencies
            .iter()
            .filter(|edge| edge.kind != DependencyKind::Development)
            .map(|edge| edge.name.as_str())
            .filter(|name| ours.contains(name));
        for edge in edges {
            assert!(
                allowed[package.name.as_str()].contains(edge),
                "{} must not depend on {edge}: see the table in tests/layering.rs",
                package.name
            );
        }
    }
}

/// What the domain may use of others: values and errors, nothing that could do I/O or wait.
const DOMAIN_USES: &[&str] = &["serde", "thiserror", "url"];

#[test]
fn the_domain_does_no_io_and_knows_no_async_runtime() {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo describes the workspace");
    let domain = metadata
        .packages
        .iter()
        .find(|package| package.name.as_str() == "trellis-domain");
    let edges = &domain.expect("the domain is a crate").dependencies;
    for edge in edges
        .iter()
        .filter(|edge| edge.kind != DependencyKind::Development)
    {
        assert!(
            DOMAIN_USES.contains(&edge.name.as_str()),
            "the domain uses {}",
            edge.name
        );
    }
    for file in rust_files().filter(|file| file.starts_with(root().join("src/domain"))) {
        let text = fs::read_to_string(&file).expect("a source file can be read");
        for word in [
            "std::fs",
            "std::net::Tcp",
            "std::process",
            "std::thread",
            "tokio",
        ] {
            let code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            assert!(
                !code.into_iter().any(|line| line.contains(word)),
                "{} uses {word}",
                file.display()
            );
        }
    }
}

#[test]
fn every_file_says_first_what_it_is_for() {
    for file in rust_files() {
        let text = fs::read_to_string(&file).expect("a source file can be read");
        let first = text.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("//!"),
            "{} does not begin with //!",
            file.display()
        );
    }
}

#[test]
fn steps_neither_sleep_nor_tick_by_themselves() {
    for file in rust_files().filter(|file| file.starts_with(root().join("steps/src"))) {
        let text = fs::read_to_string(&file).expect("a source file can be read");
        // The World tells who watches how a wait goes, and the harness prints it; both need a clock.
        let has_clock =
            file.ends_with("world.rs") || file.components().any(|c| c.as_os_str() == "harness");
        for word in ["sleep(", "interval("] {
            // How often an observer looks is said by `with_interval(..)`, which waits for nothing.
            let found = text
                .lines()
                .position(|line| line.replace("with_interval(", "").contains(word));
            assert!(
                found.is_none() || has_clock,
                "{}:{} uses {word}..): wait on an observation instead",
                file.display(),
                found.unwrap_or_default() + 1
            );
        }
    }
}

#[test]
fn steps_and_core_name_no_provider_and_no_application() {
    let words = [
        "openraft",
        "docker",
        "kubernetes",
        "trellis_local",
        "LocalDeployer",
    ];
    let rooms = [
        "steps/src",
        "src/domain",
        "src/observation",
        "src/bootstrap/src",
        "src/runtime",
    ];
    for file in
        rust_files().filter(|file| rooms.iter().any(|room| file.starts_with(root().join(room))))
    {
        let text = fs::read_to_string(&file).expect("a source file can be read");
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for word in words {
                assert!(
                    !line.contains(word),
                    "{} names {word}: {line}",
                    file.display()
                );
            }
        }
    }
}

fn rust_files() -> impl Iterator<Item = PathBuf> {
    let mut files = Vec::new();
    for room in ["src", "steps", "fixtures", "tests"] {
        collect(&root().join(room), &mut files);
    }
    assert!(files.len() > 20, "the walk finds our sources");
    files.into_iter()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a source folder can be listed") {
        let path = entry.expect("a source folder can be listed").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
