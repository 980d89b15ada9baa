//! A recorder with a real NATS server: nothing that is observed is lost or doubled, whatever happens to the server, and what cannot be held back is put on record as lost.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use trellis_bootstrap::{Progress, SharedInventory};
use trellis_domain::NodeInventory;
use trellis_observation::{
    DynError, ObservationConfig, ObservedSource, Observer, PollFailure, StaticSources,
};
use trellis_record::{
    Condition, Delta, Fact, History, Record, RecordRequest, Recorder, Recording, Subject, View,
    Wanted, Watched,
};

/// Far longer than anything here takes.
const SOON: Duration = Duration::from_mins(1);

/// Whether there is a server; else it is said what is missing, which is a failure in CI.
fn has_server() -> bool {
    let found = ["nats-server", "/usr/sbin/nats-server"]
        .iter()
        .any(|program| Command::new(program).arg("--version").output().is_ok());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "CI needs a NATS server");
        eprintln!("skipped, there is no NATS server: apt-get install nats-server");
    }
    found
}

/// Something that grows by one in each cycle, up to a most.
struct Growing {
    height: Arc<AtomicU64>,
    most: u64,
}

#[async_trait]
impl Observer for Growing {
    type Source = ();
    type State = ();
    type Snapshot = u64;
    type Event = u64;

    async fn init(&self, _: &[ObservedSource<()>]) -> Result<(), DynError> {
        Ok(())
    }

    async fn poll(
        &self,
        _: &[ObservedSource<()>],
        (): &mut (),
    ) -> Result<Vec<u64>, PollFailure<u64>> {
        let height = self.height.load(Ordering::SeqCst);
        if height == self.most {
            return Ok(Vec::new());
        }
        self.height.store(height + 1, Ordering::SeqCst);
        Ok(vec![height + 1])
    }

    fn snapshot(&self, (): &()) -> u64 {
        self.height.load(Ordering::SeqCst)
    }
}

/// As if a node had moved to that height.
struct Moves;

fn moved(at: SystemTime, height: u64) -> Fact {
    let details = json!({ "height": height, "block": height.to_string() });
    Fact::new(Subject::ChainNode, "A", "HeadMoved", at, details)
}

impl Recording for Moves {
    type Observer = Growing;

    fn record(&mut self, delta: &Delta<'_, u64>) -> Vec<Fact> {
        let heights = delta.events.iter();
        heights.map(|height| moved(delta.at, *height)).collect()
    }

    fn after_gap(&mut self, at: SystemTime, snapshot: &u64) -> Vec<Fact> {
        vec![moved(at, *snapshot)]
    }
}

/// What a person would be told.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Progress for Told {
    fn waiting(&self, _: &str, _: &dyn std::fmt::Display, _: Duration) {}

    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

impl Told {
    async fn until(&self, part: &str) {
        let is_there = || {
            let told = self.0.lock().unwrap();
            told.iter().any(|text| text.contains(part))
        };
        let deadline = Instant::now() + SOON;
        while !is_there() {
            assert!(Instant::now() < deadline, "{:#?}", self.0.lock().unwrap());
            sleep(Duration::from_millis(5)).await;
        }
    }
}

struct Bench {
    state: tempfile::TempDir,
    told: Arc<Told>,
    height: Arc<AtomicU64>,
    recorder: Recorder,
}

impl Bench {
    /// A record of something that grows to `most`, of which `entries_max` changes are held back.
    async fn begin(most: u64, entries_max: usize) -> Self {
        let state = tempfile::tempdir().unwrap();
        let told = Arc::<Told>::default();
        let request = RecordRequest {
            state: state.path().to_owned(),
            cluster: "demo".to_owned(),
            app: "growing".parse().unwrap(),
            nats_url: None,
            progress: Arc::clone(&told) as _,
        };
        let recorder = Recorder::begin(request).await.unwrap();
        let height = Arc::<AtomicU64>::default();
        let observer = Growing {
            height: Arc::clone(&height),
            most,
        };
        let config = ObservationConfig::default()
            .with_interval(Duration::from_millis(2))
            .with_history_entries_max(entries_max);
        let nodes = SharedInventory::new(NodeInventory::default());
        let watched = Watched::new("growing", Moves, observer, StaticSources::new([]), config);
        recorder.watch(&nodes, vec![watched]).unwrap();
        Self {
            state,
            told,
            height,
            recorder,
        }
    }

    async fn grown_to(&self, height: u64) {
        let deadline = Instant::now() + SOON;
        while self.height.load(Ordering::SeqCst) < height {
            assert!(Instant::now() < deadline, "it does not grow");
            sleep(Duration::from_millis(2)).await;
        }
    }

    fn kill_server(&self) {
        let folder = self.state.path().to_string_lossy().into_owned();
        let is_it = |process: &Path| {
            let line = fs::read(process.join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains("nats-server") && line.contains(&folder)
        };
        let mut processes = fs::read_dir("/proc").unwrap().flatten();
        let server = processes.find(|entry| is_it(&entry.path())).unwrap();
        let pid = server.file_name().into_string().unwrap();
        let killed = Command::new("kill").args(["-s", "KILL", &pid]).status();
        assert!(killed.unwrap().success());
    }

    async fn view(&self, view: View) -> Value {
        let record = Record::find(self.state.path(), "demo").unwrap();
        let history = History::of(record).unwrap();
        let wanted = Wanted {
            limit: 10,
            ..Wanted::default()
        };
        let found = history.views(view, &wanted).await.unwrap();
        found
            .rows
            .first()
            .map_or(Value::Null, |row| row.view.value())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_when_the_server_is_killed_twice() {
    if !has_server() {
        return;
    }
    let bench = Bench::begin(1_000, 10_000).await;
    for height in [100, 500] {
        bench.grown_to(height).await;
        bench.told.0.lock().unwrap().clear();
        bench.kill_server();
        bench.told.until("ended by itself").await;
        bench.told.until("runs again").await;
    }
    bench.grown_to(1_000).await;
    let live = bench.view(View::Record).await;
    assert_eq!(
        (&live["dropped"], &live["ended_ms"]),
        (&json!(0), &Value::Null)
    );
    let Bench {
        state, recorder, ..
    } = bench;
    let ended = recorder.end("enough").await.unwrap();
    assert!(ended.complete, "{ended:?}");
    let record = Record::find(state.path(), "demo").unwrap();
    assert_eq!(record.condition, Condition::Ended);
    let history = History::of(record).unwrap();
    let wanted = Wanted {
        limit: 1,
        ..Wanted::default()
    };
    let found = history.views(View::Heads, &wanted).await.unwrap();
    let view = found.rows[0].view.value();
    assert_eq!(
        (&view["moves"], &view["height"]),
        (&json!(1_000), &json!(1_000))
    );
    let runs = fs::read_dir(state.path().join("runs")).unwrap();
    assert_eq!(runs.count(), 0, "nothing is left to clean");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_more_than_can_be_held_back_is_put_on_record_as_lost() {
    if !has_server() {
        return;
    }
    let bench = Bench::begin(600, 20).await;
    bench.grown_to(50).await;
    bench.kill_server();
    bench.grown_to(600).await;
    // Each gap adds the state that it led to, which may be that of the last move once more.
    let deadline = Instant::now() + SOON;
    loop {
        let head = bench.view(View::Heads).await;
        let record = bench.view(View::Record).await;
        let dropped = record["dropped"].as_u64().unwrap_or_default();
        let gaps = record["gaps"].as_array().map_or(0, Vec::len) as u64;
        if head["height"] == 600 && head["moves"].as_u64().unwrap() + dropped == 600 + gaps {
            assert!(dropped > 0, "{record}");
            assert_eq!(record["gaps"][0]["observation"], "growing");
            break;
        }
        assert!(Instant::now() < deadline, "{head} {record}");
    }
    bench.recorder.end("enough").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_begun_leaves_nothing() {
    let state = tempfile::tempdir().unwrap();
    let request = RecordRequest {
        state: state.path().to_owned(),
        cluster: "demo".to_owned(),
        app: "growing".parse().unwrap(),
        nats_url: Some("nats://127.0.0.1:1".to_owned()),
        progress: Arc::<Told>::default(),
    };
    let error = Recorder::begin(request).await.err().unwrap();
    assert!(error.to_string().contains("nats://127.0.0.1:1"), "{error}");
    for folder in ["records", "runs"] {
        let left = fs::read_dir(state.path().join(folder)).unwrap();
        assert_eq!(left.count(), 0, "{folder}");
    }
}
