//! Benchmarks of the observation runtime, each against what it must not cost more than.
//!
//! Both sides of a ratio are measured in turns within one run, so that a busy machine slows them
//! alike. Only `cargo bench` measures in full: it passes `--bench`, which `cargo test` does not.
//! Without it, or with `--test`, there is one tiny pass. All other arguments are ignored.

use std::{
    error::Error,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use axum::{Router, extract::State, routing::get};
use futures::{StreamExt, stream::FuturesUnordered};
use reqwest::Client;
use tokio::net::TcpListener;
use trellis_observation::{
    DynError, ObservationConfig, ObservationHandle, ObservationRuntime, ObservedSource, Observer,
    PollFailure, StaticSources, poll_sources,
};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Both sides have at most this many requests under way: each holds two descriptors here, and a
/// shell commonly allows 1024.
const CONCURRENT_MAX: usize = 256;
/// No request here comes near it; it is there because an observer has one.
const SOURCE_WITHIN: Duration = Duration::from_secs(30);

/// How much to measure.
#[derive(Clone, Copy)]
struct Effort {
    source_counts: &'static [usize],
    /// Requests of each side for one row of the table, over all its rounds.
    requests: usize,
    reads: u32,
    state_sizes: &'static [usize],
    changes: u32,
}

const FULL: Effort = Effort {
    source_counts: &[10, 100, 1000],
    requests: 60_000,
    reads: 1_000_000,
    state_sizes: &[10, 10_000, 1_000_000],
    changes: 100,
};

const TINY: Effort = Effort {
    source_counts: &[3],
    requests: 6,
    reads: 1_000,
    state_sizes: &[10],
    changes: 2,
};

#[tokio::main]
async fn main() -> Outcome {
    let given = |flag: &str| std::env::args().any(|argument| argument == flag);
    let tiny = given("--test") || !given("--bench");
    let effort = if tiny { TINY } else { FULL };
    let node = Node::start().await?;
    cycles(effort, &node).await?;
    reads(effort).await?;
    wakes(effort, &node).await
}

/// A node over real HTTP: answers with a number, and with a body of the size of a node's state.
struct Node {
    url: String,
    value: Arc<AtomicU64>,
}

impl Node {
    async fn start() -> Outcome<Self> {
        let value = Arc::new(AtomicU64::new(0));
        let router = Router::new()
            .route("/state", get(state))
            .with_state(Arc::clone(&value));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/state", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, value })
    }

    fn sources(&self, count: usize, client: &Client) -> Vec<ObservedSource<Endpoint>> {
        let endpoint = Endpoint {
            client: client.clone(),
            url: self.url.as_str().into(),
        };
        (0..count)
            .map(|index| ObservedSource::new(format!("NODE_{index}"), endpoint.clone()))
            .collect()
    }
}

async fn state(State(value): State<Arc<AtomicU64>>) -> axum::Json<(u64, String)> {
    axum::Json((value.load(Ordering::SeqCst), "x".repeat(500)))
}

/// A typed client as an app has one.
#[derive(Clone)]
struct Endpoint {
    client: Client,
    url: Arc<str>,
}

impl Endpoint {
    async fn value(self) -> reqwest::Result<u64> {
        let response = self.client.get(&*self.url).send().await?;
        let (value, _) = response.json::<(u64, String)>().await?;
        Ok(value)
    }
}

/// Asks all its endpoints; the snapshot is the sorted list of their values.
struct Values;

#[async_trait]
impl Observer for Values {
    type Source = Endpoint;
    type State = Vec<u64>;
    type Snapshot = Vec<u64>;
    type Event = ();

    async fn init(&self, _: &[ObservedSource<Endpoint>]) -> Result<Vec<u64>, DynError> {
        Ok(Vec::new())
    }

    async fn poll(
        &self,
        sources: &[ObservedSource<Endpoint>],
        state: &mut Vec<u64>,
    ) -> Result<Vec<()>, PollFailure<()>> {
        let polls = poll_sources(sources, CONCURRENT_MAX, SOURCE_WITHIN, Endpoint::value).await;
        let values: Result<_, _> = polls.into_iter().map(|poll| poll.result).collect();
        *state = values?;
        Ok(Vec::new())
    }

    fn snapshot(&self, state: &Vec<u64>) -> Vec<u64> {
        state.clone()
    }
}

/// The same requests with nothing around them.
async fn bare(sources: &[ObservedSource<Endpoint>]) -> reqwest::Result<Vec<u64>> {
    let mut waiting = sources.iter();
    let mut in_flight = FuturesUnordered::new();
    let mut values = Vec::with_capacity(sources.len());
    loop {
        let free = CONCURRENT_MAX - in_flight.len();
        in_flight.extend(
            waiting
                .by_ref()
                .take(free)
                .map(|s| s.source.clone().value()),
        );
        match in_flight.next().await {
            Some(value) => values.push(value?),
            None => return Ok(values),
        }
    }
}

async fn cycles(effort: Effort, node: &Node) -> Outcome {
    println!("one observation cycle over N HTTP sources (goal: ratio <= 1.10)");
    println!(
        "{:>9} {:>12} {:>12} {:>7}",
        "sources", "bare", "cycle", "ratio"
    );
    for &count in effort.source_counts {
        let client = Client::builder().no_proxy().build()?;
        let sources = node.sources(count, &client);
        let config = ObservationConfig::default().with_interval(Duration::MAX);
        let provider = StaticSources::new(sources.clone());
        let runtime = ObservationRuntime::start(Values, provider, config);
        let handle = runtime.handle();
        handle.refresh().await?;

        let (mut bare_times, mut cycle_times) = (Vec::new(), Vec::new());
        for round in 0..(effort.requests / count).min(2_000) {
            // Who goes first changes, so that neither always finds the caches warm.
            for turn in 0..2 {
                if (round + turn) % 2 == 0 {
                    bare_times.push(time_bare(&sources).await?);
                } else {
                    cycle_times.push(time_cycle(&handle).await?);
                }
            }
        }
        let (bare, cycle) = (median(&mut bare_times), median(&mut cycle_times));
        let ratio = cycle.as_secs_f64() / bare.as_secs_f64();
        println!("{count:>9} {bare:>12.1?} {cycle:>12.1?} {ratio:>7.3}");
        runtime.shutdown().await;
    }
    Ok(())
}

async fn time_bare(sources: &[ObservedSource<Endpoint>]) -> Outcome<Duration> {
    let sources = sources.to_vec();
    let began = Instant::now();
    // On a task of the runtime, as the cycle is, and not on the main thread.
    let values = tokio::spawn(async move { bare(&sources).await }).await??;
    black_box(values);
    Ok(began.elapsed())
}

async fn time_cycle(handle: &ObservationHandle<Values>) -> Outcome<Duration> {
    let began = Instant::now();
    black_box(handle.refresh().await?);
    Ok(began.elapsed())
}

/// Has a state of some size and nothing to look at.
struct Still(usize);

#[async_trait]
impl Observer for Still {
    type Source = ();
    type State = Vec<u64>;
    type Snapshot = Vec<u64>;
    type Event = ();

    async fn init(&self, _: &[ObservedSource<()>]) -> Result<Vec<u64>, DynError> {
        Ok(vec![7; self.0])
    }

    async fn poll(
        &self,
        _: &[ObservedSource<()>],
        _: &mut Vec<u64>,
    ) -> Result<Vec<()>, PollFailure<()>> {
        Ok(Vec::new())
    }

    fn snapshot(&self, state: &Vec<u64>) -> Vec<u64> {
        state.clone()
    }
}

async fn reads(effort: Effort) -> Outcome {
    println!("\nsnapshot read against an Arc clone (goal: ratio <= 2, flat in state size)");
    println!(
        "{:>9} {:>12} {:>12} {:>7}",
        "state", "Arc clone", "latest()", "ratio"
    );
    for &size in effort.state_sizes {
        let config = ObservationConfig::default().with_interval(Duration::MAX);
        let runtime = ObservationRuntime::start(Still(size), StaticSources::new([]), config);
        let handle = runtime.handle();
        let snapshot = Some(handle.refresh().await?);

        let (mut clones, mut reads) = (Vec::new(), Vec::new());
        for _ in 0..20 {
            clones.push(per_call(effort.reads, || black_box(&snapshot).clone()));
            reads.push(per_call(effort.reads, || black_box(&handle).latest()));
        }
        let (clone, read) = (median_of(&mut clones), median_of(&mut reads));
        println!(
            "{size:>9} {clone:>10.2}ns {read:>10.2}ns {:>7.2}",
            read / clone
        );
        runtime.shutdown().await;
    }
    Ok(())
}

/// Nanoseconds a call, the drop of its result included.
fn per_call<T>(calls: u32, call: impl Fn() -> T) -> f64 {
    let began = Instant::now();
    for _ in 0..calls {
        black_box(call());
    }
    began.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
}

async fn wakes(effort: Effort, node: &Node) -> Outcome {
    let interval = Duration::from_millis(50);
    let client = Client::builder().no_proxy().build()?;
    let sources = node.sources(3, &client);
    let config = ObservationConfig::default().with_interval(interval);
    let runtime = ObservationRuntime::start(Values, StaticSources::new(sources.clone()), config);
    let handle = runtime.handle();
    handle.refresh().await?;

    let (mut wakes, mut requests) = (Vec::new(), Vec::new());
    for change in 0..effort.changes {
        // Steps through the interval, so that changes meet the ticks in all positions.
        tokio::time::sleep(interval * (change % 17) / 17).await;
        requests.push(time_bare(&sources).await?);
        let changed = Instant::now();
        let goal = node.value.fetch_add(1, Ordering::SeqCst) + 1;
        let seen = |values: &Vec<u64>| values.iter().all(|value| *value >= goal);
        handle.wait_until(SOURCE_WITHIN, seen).await?;
        wakes.push(changed.elapsed());
    }
    let request = median(&mut requests);
    let bound = interval + request + Duration::from_millis(5);
    let middle = median(&mut wakes);
    let last = wakes.last().copied().unwrap_or_default();
    println!("\na change at a node -> the waiting step wakes (goal: at most the bound)");
    println!(
        "{:>10} {:>10} {:>10} {:>10} {:>10}",
        "interval", "request", "bound", "median", "max"
    );
    println!("{interval:>10.1?} {request:>10.1?} {bound:>10.1?} {middle:>10.1?} {last:>10.1?}");
    runtime.shutdown().await;
    Ok(())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn median_of(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
