//! `wasm/v1`: modules fold events as graphs do, what goes wrong in them is a verdict that is the same each time, and nothing is left from one event to the next.
//!
//! Only with the feature: `cargo test -p projection --features wasm --test t31_wasm`.

mod accounts;

use std::{fs, path::Path, sync::Arc, time::Duration};

use accounts::{deposit, dump, event, run_until, settings, store, table};
use projection::{
    manifest::{ManifestError, Projection, ProjectionManifest},
    pipeline::{ShardState, ShardStatus},
    program::{
        Meta, Outcome, Program, ProgramError,
        wasm::{ENGINE, WasmProgram, read},
    },
    quarantine::Fault,
    settings::Durability,
    storage::ViewStore,
    stream::MemorySource,
    types::{Envelope, TenantId, ViewId, ViewKey, ViewType},
};
use serde_json::{Value, json};

const GUEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wasm/account.wat");
const GAS_MAX: u64 = 10_000;

/// The manifest of a projection by the module in `file`.
fn load(file: &str) -> Result<ProjectionManifest, ManifestError> {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("manifest.yaml");
    let text = format!(
        "projections: [{{view_type: account, poison: skip, gas_max: {GAS_MAX}, program: {file}}}]"
    );
    fs::write(&manifest, text).unwrap();
    // What is kept of a program is enough to have it again.
    ProjectionManifest::load(&manifest, 1)
}

/// What is wrong with a module of this text.
fn refusal(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("module.wat");
    fs::write(&file, text).unwrap();
    load(file.to_str().unwrap()).err().unwrap().to_string()
}

fn guest() -> WasmProgram {
    let source = read(Path::new(GUEST)).unwrap();
    WasmProgram::compile(&source, GAS_MAX).unwrap()
}

/// What `program` makes of an event of account `a`, and what that costs.
fn project(
    program: &dyn Program,
    view: Option<&Value>,
    event_type: &str,
) -> (Result<Outcome, ProgramError>, Option<u64>) {
    let event = Envelope::decode(event("a", event_type, "5").as_bytes()).unwrap();
    let (tenant, view_type) = (TenantId::default(), ViewType::from("account"));
    let meta = Meta {
        stream_seq: 7,
        tenant: &tenant,
        view_type: &view_type,
        view_id: Some(&ViewId::from("a")),
    };
    program.measured(view, &event, &meta)
}

fn reached(sequence: u64) -> impl Fn(&ShardStatus) -> bool {
    move |status| status.has_reached(sequence)
}

async fn folded(
    source: &MemorySource,
    manifest: &ProjectionManifest,
    (events_max, lanes): (usize, usize),
    last: u64,
) -> (tempfile::TempDir, Arc<ViewStore>) {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), Durability::Commit);
    let settings = settings(events_max, lanes);
    run_until(
        &store,
        manifest,
        &settings,
        &mut source.clone(),
        reached(last),
    )
    .await;
    (folder, store)
}

fn faults(store: &ViewStore) -> Vec<(u64, Fault)> {
    let records = store.snapshot().unwrap().records(&table("account"));
    let records = records.unwrap().into_iter();
    records
        .map(|(key, record)| (key.sequence, record.fault))
        .collect()
}

#[tokio::test]
async fn a_module_folds_the_events_of_a_stream_and_what_it_cannot_do_is_set_aside() {
    let source = MemorySource::default();
    source.publish("ev", deposit("a", 5));
    source.publish("ev", deposit("b", 7));
    for broken in ["Bomb", "Trap", "Garbage", "Outside", "Huge"] {
        source.publish("ev", event("a", broken, "1"));
    }
    source.publish("ev", event("a", "Viewed", "1"));
    source.publish("ev", deposit("a", -25));
    source.publish("ev", deposit("c", 1));
    let last = source.publish("ev", event("b", "Closed", "0"));
    let manifest = load(GUEST).unwrap();
    let (_folder, store) = folded(&source, &manifest, (100, 1), last).await;

    let snapshot = store.snapshot().unwrap();
    let view = |id: &str| {
        let key = ViewKey::new("".into(), "account".into(), id.into()).unwrap();
        let stored = snapshot.view(&table("account"), &key).unwrap();
        stored.map(|stored| stored.view)
    };
    // Two places count the calls of an instance, and it has but one.
    assert_eq!(view("a"), Some(json!({"balance": -20, "calls": 2})));
    assert_eq!(view("b"), None);
    assert_eq!(view("c"), Some(json!({"balance": 1, "calls": 2})));
    assert_eq!(
        faults(&store),
        [
            (3, Fault::Gas),
            (4, Fault::Contract),
            (5, Fault::Contract),
            (6, Fault::Contract),
            (7, Fault::Size)
        ]
    );
}

/// A module that keeps something in its memory would give other views in other batches, on other threads, and after a restart.
#[tokio::test]
async fn the_views_are_the_same_bytes_in_whatever_pieces_and_on_whatever_threads_they_are_made() {
    let source = MemorySource::default();
    let mut rng = fastrand::Rng::new();
    let mut last = 0;
    for _ in 0..200 {
        let id = format!("a-{}", rng.u32(0..9));
        last = match rng.u32(0..12) {
            0 => source.publish("ev", event(&id, "Trap", "0")),
            1 => source.publish("ev", event(&id, "Bomb", "0")),
            2 => source.publish("ev", event(&id, "Closed", "0")),
            _ => source.publish("ev", deposit(&id, rng.i64(-99..99))),
        };
    }
    let manifest = load(GUEST).unwrap();
    let (_folder, whole) = folded(&source, &manifest, (1_000, 1), last).await;
    for pieces in [(1, 1), (7, 3)] {
        let (_folder, store) = folded(&source, &manifest, pieces, last).await;
        assert_eq!(dump(&store, "account"), dump(&whole, "account"));
        assert_eq!(faults(&store), faults(&whole));
    }
}

#[test]
fn an_event_costs_the_same_each_time_and_one_unit_less_is_too_little() {
    let view = json!({"balance": 3, "calls": 2});
    let (outcome, gas) = project(&guest(), Some(&view), "Deposited");
    let made = json!({"balance": 8, "calls": 2});
    assert_eq!(outcome, Ok(Outcome::View(made.clone())));
    let gas = gas.unwrap();
    assert_eq!(
        project(&guest(), Some(&view), "Deposited"),
        (Ok(Outcome::View(made.clone())), Some(gas))
    );
    let source = read(Path::new(GUEST)).unwrap();
    let with = |gas_max| WasmProgram::compile(&source, gas_max).unwrap();
    let (enough, _) = project(&with(gas), Some(&view), "Deposited");
    assert_eq!(enough, Ok(Outcome::View(made)));
    let too_little = (Err(ProgramError::Gas { gas_max: gas - 1 }), Some(gas - 1));
    assert_eq!(
        project(&with(gas - 1), Some(&view), "Deposited"),
        too_little
    );
}

#[tokio::test]
async fn what_the_clock_stops_is_tried_again_and_never_set_aside() {
    let source = MemorySource::default();
    source.publish("ev", deposit("a", 5));
    let slow = source.publish("ev", event("a", "Bomb", "1"));
    source.publish("ev", deposit("a", 5));
    let text = read(Path::new(GUEST)).unwrap();
    let program = WasmProgram::compile(&text, u64::MAX).unwrap();
    let program = program.given_up_after(Duration::from_millis(20));
    let projection = Projection {
        program: Arc::new(program),
        ..load(GUEST).unwrap().projections()[0].clone()
    };
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), Durability::Commit);
    let waits = |status: &ShardStatus| {
        matches!(&status.state, ShardState::Waiting { why }
            if why.contains("account@1 does not get past event 2") && why.contains("more than 20ms"))
    };
    let status = run_until(
        &store,
        &ProjectionManifest::of(vec![projection]),
        &settings(100, 1),
        &mut source.clone(),
        waits,
    )
    .await;
    // What is before it is in, so that an operator who drops it drops nothing else.
    assert_eq!(status.projections[&table("account")].floor, slow - 1);
    assert_eq!(dump(&store, "account").len(), 1);
    assert_eq!(faults(&store), []);
}

#[test]
fn a_module_that_wants_something_of_the_node_is_refused_by_the_name_of_that() {
    let error = refusal(
        r#"(module (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32))))"#,
    );
    assert!(
        error.contains("account: the module imports wasi_snapshot_preview1.clock_time_get"),
        "{error}"
    );
}

#[test]
fn a_module_that_lacks_what_is_called_or_cannot_be_the_same_everywhere_is_refused() {
    const MEMORY: &str = r#"(memory (export "memory") 1)"#;
    const ALLOC: &str = r#"(func (export "alloc") (param i32) (result i32) (local.get 0))"#;
    let with = |rest: &str| refusal(&format!("(module {MEMORY} {ALLOC} {rest})"));
    for (error, part) in [
        (refusal("(module)"), "must export memory"),
        (refusal(&format!("(module {MEMORY})")), "must export alloc"),
        (with(""), "must export key, an (i32, i32) -> i64"),
        (
            with(r#"(func (export "key") (param i32) (result i64) (i64.const 0))"#),
            "must export key",
        ),
        (refusal("(module"), "module.wat: "),
        (
            refusal(r#"(module (memory (export "memory") 1 2 shared))"#),
            "threads",
        ),
        (
            with("(func (result v128) (i32x4.relaxed_trunc_f32x4_s (v128.const i64x2 0 0)))"),
            "relaxed SIMD",
        ),
        (
            refusal(r#"(module (memory (export "memory") 2000))"#),
            "memory",
        ),
    ] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
}

#[test]
fn a_program_is_known_by_its_module_its_gas_and_its_engine_and_kept_as_a_text() {
    let manifest = load(GUEST).unwrap();
    let projection = &manifest.projections()[0];
    assert_eq!(projection.program.hash(), guest().hash());
    let source = read(Path::new(GUEST)).unwrap();
    let other = WasmProgram::compile(&source, GAS_MAX + 1).unwrap();
    assert_ne!(other.hash(), guest().hash());
    let text = serde_json::to_string(projection.text.as_ref().unwrap()).unwrap();
    let text: projection::manifest::ProgramText = serde_json::from_str(&text).unwrap();
    assert_eq!(text.compile().unwrap().hash(), guest().hash());

    let lock = include_str!("../../../Cargo.lock");
    let (name, version) = ENGINE.split_once(' ').unwrap();
    assert!(lock.contains(&format!("name = \"{name}\"\nversion = \"{version}.")));
}
