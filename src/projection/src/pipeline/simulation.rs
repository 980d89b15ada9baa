//! Simulation: thousands of short lives of a node, each with other faults, and each must end with the views of one clean reading, byte for byte.
//!
//! A seed decides what is published, what goes wrong and when; how threads take turns it does not, and must not matter.
//! One of them is run again by `PROJECTION_TEST_SIMULATION_SEED`, another number of them by `PROJECTION_TEST_SIMULATIONS`: `just simulate` runs ten thousand.

use std::{
    env,
    ops::ControlFlow,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use async_trait::async_trait;
use fastrand::Rng;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Shard, ShardOptions, ShardState};
use crate::{
    manifest::{Projection, ProjectionManifest},
    program::{Meta, Outcome, Program, ProgramError, dag::DagProgram},
    quarantine::PoisonPolicy,
    settings::{Durability, Settings},
    storage::{FaultyDisk, StorageFault, ViewStore},
    stream::{
        Delivery, EventSource, Interruption, MemorySource, ReceiveLimits, StreamError, StreamFacts,
    },
    types::{Envelope, ViewId, ViewTable},
};

/// What a test run can wait for: unoptimised it is about 13 seconds of two cores.
const SIMULATIONS: u64 = 1_000;
/// Far longer than one takes, so running out of it means that something hangs.
const HANGS_AFTER: Duration = Duration::from_secs(30);
/// How long a node waits for anything that may pass: there is nothing here that does not pass at once.
const PAUSE: Duration = Duration::from_micros(100);
/// Less than some events have.
const EVENT_BYTES_MAX: usize = 256;
const INTERRUPTIONS: [Interruption; 5] = [
    Interruption::Gap,
    Interruption::Disorder,
    Interruption::MissedHeartbeat,
    Interruption::Reconnected,
    Interruption::Ended,
];

/// A source that does not always do what it is asked, and delivers more than it is asked for.
struct FaultySource {
    stream: MemorySource,
    rng: Rng,
    faulty: bool,
}

impl FaultySource {
    fn may_fail(&mut self, operation: &'static str) -> Result<(), StreamError> {
        if self.faulty && self.rng.u32(0..12) == 0 {
            let source = "told to fail".into();
            return Err(StreamError::Server { operation, source });
        }
        Ok(())
    }
}

#[async_trait]
impl EventSource for FaultySource {
    async fn facts(&mut self, floor: u64) -> Result<StreamFacts, StreamError> {
        self.may_fail("describe the stream")?;
        self.stream.facts(floor).await
    }

    async fn start(&mut self, from: u64) -> Result<(), StreamError> {
        self.may_fail("start a delivery")?;
        // A work queue gives everything again that was not acknowledged.
        let again = self.rng.u64(0..8).min(from - 1);
        self.stream.start(from - again).await
    }

    async fn receive(&mut self, limits: &ReceiveLimits) -> Result<Vec<Delivery>, StreamError> {
        self.stream.receive(limits).await
    }

    async fn pending(&mut self) -> Result<u64, StreamError> {
        self.may_fail("say what is left to deliver")?;
        self.stream.pending().await
    }

    async fn acknowledge(&mut self, through: u64) -> Result<(), StreamError> {
        self.may_fail("take an acknowledgement")?;
        self.stream.acknowledge(through).await
    }
}

/// A program that is sometimes stopped before its end, as one is whose machine is slow.
struct Tired {
    program: DagProgram,
    rng: Mutex<Rng>,
    /// One call of so many is not finished; all are where it is 0.
    of: u32,
}

impl Tired {
    fn work(&self) -> Result<(), ProgramError> {
        let mut rng = self.rng.lock().expect("nobody panics with it");
        if self.of > 0 && rng.u32(0..self.of) == 0 {
            let what = "told to fail".to_owned();
            return Err(ProgramError::Unfinished { what });
        }
        Ok(())
    }
}

impl Program for Tired {
    fn hash(&self) -> &str {
        self.program.hash()
    }

    fn keys(&self, event: &Envelope, meta: &Meta<'_>) -> Result<Vec<ViewId>, ProgramError> {
        self.work()?;
        self.program.keys(event, meta)
    }

    fn project(
        &self,
        view: Option<&Value>,
        event: &Envelope,
        meta: &Meta<'_>,
    ) -> Result<Outcome, ProgramError> {
        self.work()?;
        self.program.project(view, event, meta)
    }
}

/// Whether what runs may go wrong, by a seed of its own.
#[derive(Clone, Copy)]
enum Health {
    Sound,
    Tired(u64),
}

fn projection(view_type: &str, policy: PoisonPolicy, program: &str, health: Health) -> Projection {
    let source = serde_json::from_str(program).expect("JSON");
    let (seed, of) = match health {
        Health::Sound => (0, 0),
        Health::Tired(seed) => (seed, 40),
    };
    Projection {
        table: table(view_type),
        program: Arc::new(Tired {
            program: DagProgram::compile(&source, 10_000).expect("a program"),
            rng: Mutex::new(Rng::with_seed(seed)),
            of,
        }),
        text: None,
        policy,
        indexes: Vec::new(),
    }
}

fn table(view_type: &str) -> ViewTable {
    ViewTable {
        view_type: view_type.into(),
        generation: 1,
    }
}

/// What depends on every event and on their order, and a view that all events meet in.
fn manifest(policy: PoisonPolicy, health: Health) -> ProjectionManifest {
    let account = r#"{"language": "dag/v1", "key": {"event": "aggregate_id"}, "view": {"if": [
        {"eq": [{"event": "event_type"}, "Closed"]}, null,
        {"append": {"to": {"view": ""}, "cap": 99, "value": {"add": [{"meta": "stream_seq"}, {"event": "payload"}]}}}]}}"#;
    let count = r#"{"language": "dag/v1", "key": "all", "view": {"add": [{"coalesce": [{"view": ""}, 0]}, 1]}}"#;
    ProjectionManifest::of(vec![
        projection("account", policy, account, health),
        projection("count", PoisonPolicy::Skip, count, health),
    ])
}

fn message(rng: &mut Rng) -> String {
    let id = rng.u32(0..4);
    let (event_type, payload) = match rng.u32(0..12) {
        0 => return "no JSON".to_owned(),
        1 => ("Deposited", "\"poison\"".to_owned()),
        2 => ("Closed", "0".to_owned()),
        3 => ("Deposited", format!("\"{}\"", "x".repeat(300))),
        _ => ("Deposited", rng.i64(-9..9).to_string()),
    };
    format!(
        r#"{{"aggregate_id":"{id}","aggregate_type":"account","event_type":"{event_type}","payload":{payload},"timestamp":""}}"#
    )
}

fn options(rng: &mut Rng) -> ShardOptions {
    let mut settings = Settings::default();
    settings.batch.events_max = rng.usize(1..9);
    settings.catch_up.events_max = rng.usize(1..30);
    settings.catch_up_lag = 9;
    settings.lanes = if rng.u32(0..8) == 0 { 2 } else { 1 };
    settings.event_bytes_max = EVENT_BYTES_MAX;
    settings.breaker_pause = PAUSE;
    if rng.u32(0..4) == 0 {
        settings.durability = Durability::Interval(PAUSE);
    }
    let mut options = ShardOptions::of(&settings);
    (options.idle, options.ask_again) = (PAUSE, PAUSE);
    options.piece_events = rng.usize(1..12);
    options.fold.changed_max = rng.usize(1..12);
    // A view takes a few hundred.
    options.fold.held_bytes_max = rng.usize(0..3_000);
    options
}

/// Lets a node live until its views are at `until`, or something ends it before.
async fn live(
    store: Arc<ViewStore>,
    manifest: ProjectionManifest,
    options: ShardOptions,
    source: &mut dyn EventSource,
    until: u64,
) -> ShardState {
    let shard = Shard::new(manifest, store, options);
    let (stop, mut status) = (CancellationToken::new(), shard.status());
    let stopping = async {
        let reached = status.wait_for(|status| status.has_reached(until)).await;
        drop(reached);
        stop.cancel();
        std::future::pending::<()>().await;
    };
    let living = async {
        tokio::select! {
            () = shard.run(source, &stop) => {}
            () = stopping => {}
        }
    };
    let ended = tokio::time::timeout(HANGS_AFTER, living).await;
    let last = shard.status().borrow().clone();
    assert!(ended.is_ok(), "it hangs at {last:?}");
    last.state
}

/// All that a store keeps of the views, as bytes.
fn dump(store: &ViewStore) -> Vec<String> {
    let snapshot = store.snapshot().expect("a snapshot");
    let mut all = Vec::new();
    for view_type in ["account", "count"] {
        let table = table(view_type);
        let visited = snapshot.entries(&table, |key, view| {
            all.push(String::from_utf8_lossy(&[key, view].concat()).into_owned());
            ControlFlow::Continue(())
        });
        visited.expect("views");
        all.push(format!("{:?}", snapshot.records(&table).expect("records")));
        all.push(format!("{:?}", snapshot.checkpoint(&table).expect("one")));
    }
    all
}

fn plan(rng: &mut Rng, disk: &FaultyDisk, stream: &MemorySource) {
    for _ in 0..rng.usize(0..4) {
        stream.interrupt_after(rng.usize(0..15), INTERRUPTIONS[rng.usize(0..5)]);
    }
    for _ in 0..rng.usize(0..3) {
        let fault = match rng.u32(0..3) {
            0 => StorageFault::Transient,
            1 => StorageFault::CrashBefore,
            _ => StorageFault::CrashAfter,
        };
        disk.fail_write_after(rng.u64(0..12), fault);
    }
    if rng.u32(0..3) == 0 {
        disk.fail_read_after(rng.u64(0..20));
    }
}

async fn simulate(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let policy = if rng.bool() {
        PoisonPolicy::ParkKey
    } else {
        PoisonPolicy::Skip
    };
    let (disk, stream) = (FaultyDisk::new(), MemorySource::default());
    let mut source = FaultySource {
        stream: stream.clone(),
        rng: rng.fork(),
        faulty: true,
    };
    let mut last = 0;
    for _ in 0..rng.usize(1..4) {
        for _ in 0..rng.usize(1..15) {
            last = stream.publish("ev", message(&mut rng));
        }
        plan(&mut rng, &disk, &stream);
        // Some are stopped on their way, and some are ended by a fault before that.
        let until = rng.u64(1..=last);
        let options = options(&mut rng);
        let tired = manifest(policy, Health::Tired(rng.u64(..)));
        live(disk.open(), tired, options, &mut source, until).await;
    }
    disk.mend();
    source.faulty = false;
    let sound = manifest(policy, Health::Sound);
    let options = options(&mut rng);
    let state = live(disk.open(), sound.clone(), options, &mut source, last).await;
    assert_eq!(state, ShardState::Stopped);

    let clean = FaultyDisk::new();
    let whole = Settings {
        event_bytes_max: EVENT_BYTES_MAX,
        ..Settings::default()
    };
    let mut again = FaultySource {
        stream: stream.clone(),
        rng: rng.fork(),
        faulty: false,
    };
    let whole = ShardOptions::of(&whole);
    live(clean.open(), sound, whole, &mut again, last).await;
    assert_eq!(dump(&disk.open()), dump(&clean.open()));
    assert!(stream.acknowledged() <= last);
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_goes_wrong_and_when_the_views_are_those_of_a_clean_reading() {
    let (first, count) = match number("PROJECTION_TEST_SIMULATION_SEED") {
        Some(seed) => (seed, 1),
        None => (
            fastrand::u64(..),
            number("PROJECTION_TEST_SIMULATIONS").unwrap_or(SIMULATIONS),
        ),
    };
    let threads = thread::available_parallelism().map_or(2, std::num::NonZero::get) as u64;
    thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build();
                let runtime = runtime.expect("a runtime");
                for at in (thread..count).step_by(usize::try_from(threads).expect("few")) {
                    let seed = first.wrapping_add(at);
                    let unwind = std::panic::AssertUnwindSafe(|| runtime.block_on(simulate(seed)));
                    if let Err(panic) = std::panic::catch_unwind(unwind) {
                        eprintln!(
                            "PROJECTION_TEST_SIMULATION_SEED={seed} runs the one that failed again"
                        );
                        std::panic::resume_unwind(panic);
                    }
                }
            });
        }
    });
}
