//! Delay: how long after a node told of a new block by its stream the observer has it, by its own ticks and woken by streams.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use devchain::Genesis;
use futures::StreamExt;
use tokio::task::JoinHandle;
use trellis_chain::{
    BlockId, ChainEvent, ChainObserver, ChainObserverConfig, ChainSource, wake_on_blocks,
};
use trellis_observation::{ObservationConfig, ObservationRuntime, ObservedSource, StaticSources};

use crate::{network::Node, percentile};

/// How often there is a block.
const BLOCK_TIME: Duration = Duration::from_millis(200);
/// How often it is looked at by ticks alone.
const TICKS: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(500),
];
/// Where streams wake the observer, ticks are for what they do not tell.
const TICK_BESIDE_STREAMS: Duration = Duration::from_secs(5);

/// When each block was there.
type Times = HashMap<BlockId, Instant>;

pub(crate) async fn measure(blocks: usize) {
    let mut genesis = Genesis::new("delay", "delay").with_block_time(BLOCK_TIME);
    genesis.leaders = 1;
    let node = Node::start(&genesis, true, None).await;
    let ticks = TICKS.map(|every| (format!("tick {} ms", every.as_millis()), every, false));
    let woken = ("stream".to_owned(), TICK_BESIDE_STREAMS, true);
    let watched: Vec<_> = ticks
        .into_iter()
        .chain([woken])
        .map(|(name, every, by_stream)| (name, Watch::start(&node, every, by_stream, blocks)))
        .collect();
    let told = told(&node, blocks).await;
    println!("delay            blocks   p50 ms   p99 ms");
    for (name, watch) in watched {
        let seen = watch.seen.await.expect("it does not panic");
        watch.waker.abort();
        watch.runtime.shutdown().await;
        let after = |(id, told): (&BlockId, &Instant)| {
            // A tick may come before the stream tells.
            Some(seen.get(id)?.saturating_duration_since(*told))
        };
        let delays: Vec<Duration> = told.iter().filter_map(after).collect();
        let ms = |percent| percentile(delays.clone(), percent).as_secs_f64() * 1e3;
        println!(
            "{name:<14} {:>8}   {:>6.1}   {:>6.1}",
            delays.len(),
            ms(50),
            ms(99)
        );
    }
}

/// An observation, and when it saw what.
struct Watch {
    runtime: ObservationRuntime<ChainObserver>,
    waker: JoinHandle<()>,
    seen: JoinHandle<Times>,
}

impl Watch {
    /// Watches `node` with connections of its own, until it has seen so many new blocks, and some more.
    fn start(node: &Node, every: Duration, by_stream: bool, blocks: usize) -> Self {
        let source: Arc<dyn ChainSource> = Arc::new(node.source("NODE_1"));
        let sources = || StaticSources::new([ObservedSource::new("NODE_1", Arc::clone(&source))]);
        let observer = ChainObserver::new(ChainObserverConfig::default());
        let config = ObservationConfig::default().with_interval(every);
        let runtime = ObservationRuntime::start(observer, sources(), config);
        let handle = runtime.handle();
        let waker = handle.clone();
        let streams = sources();
        let waker = tokio::spawn(async move {
            if by_stream {
                wake_on_blocks(waker, streams).await;
            }
        });
        let mut events = handle.subscribe_from(handle.cursor());
        let seen = tokio::spawn(async move {
            let mut seen = Times::new();
            while seen.len() < blocks + MORE {
                let batch = events.next().await.expect("it goes on");
                for event in batch.events() {
                    if let ChainEvent::BlockSeen { block, .. } = event {
                        seen.insert(block.id, Instant::now());
                    }
                }
            }
            seen
        });
        Self {
            runtime,
            waker,
            seen,
        }
    }
}

/// So many blocks the watches see beside those that are timed: before, after, and those that are doubled.
const MORE: usize = 20;
/// So many are left out in the beginning, while the watches start.
const FIRST: usize = 8;

/// When the node told of each of so many blocks.
async fn told(node: &Node, blocks: usize) -> Times {
    let source = node.source("NODE_1");
    let mut stream = source
        .stream()
        .await
        .expect("it answers")
        .expect("it has one");
    let mut told = Times::new();
    let mut first = Vec::new();
    while told.len() < blocks {
        let streamed = stream.next().await.expect("it goes on");
        let now = Instant::now();
        let id = streamed.expect("it goes on").block.header.id;
        if first.contains(&id) {
            continue;
        }
        if first.len() < FIRST {
            first.push(id);
        } else {
            told.entry(id).or_insert(now);
        }
    }
    told
}
