//! Ingestion: a whole chain through the observer, against loops that fetch and decode the same blocks and keep nothing.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use trellis_chain::{
    BlockAnswer, ChainObserver, ChainObserverConfig, ChainSource, RangeUnit, StartAt,
};
use trellis_observation::Observer;

use crate::{Source, median};

/// Both sides ask for so many positions at once...
const BATCH: u64 = 100;
/// ... or, where most of them are empty, for so many.
const SLOTS: u64 = 1_000;
/// How many requests the second of the loops has under way, like the observer.
const AT_ONCE: usize = 16;

pub(crate) fn heading() {
    println!(
        "ingestion    blocks   transactions   observer blocks/s   one request at a time   ratio   {AT_ONCE} at a time   ratio"
    );
}

/// Reads the chain of `source` so often in each way.
pub(crate) async fn measure(name: &str, source: &Source, rounds: usize) {
    let config = ChainObserverConfig {
        fetch_within: Duration::from_mins(10),
        serve_within: Duration::from_secs(30),
        answer_within: Duration::from_secs(30),
        ..ChainObserverConfig::default().with_start(StartAt::Genesis)
    };
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    let mut read = Read::default();
    for _ in 0..rounds {
        let mut timed = Vec::new();
        let begun = Instant::now();
        observe(source, config.clone()).await;
        timed.push(begun.elapsed());
        for at_once in [1, AT_ONCE] {
            let begun = Instant::now();
            read = bare(&*source.source, config.final_depth, at_once).await;
            timed.push(begun.elapsed());
        }
        for (times, time) in times.iter_mut().zip(timed) {
            times.push(time);
        }
    }
    let blocks = f64::from(u32::try_from(read.blocks).expect("few blocks"));
    let [observer, one, many] = times.map(|times| blocks / median(times).as_secs_f64());
    println!(
        "{name:<10} {:>8}   {:>12}   {observer:>17.0}   {one:>21.0}   {:>5.2}   {many:>12.0}   {:>5.2}",
        read.blocks,
        read.transactions,
        observer / one,
        observer / many,
    );
}

/// Until the observer has all that the node has.
async fn observe(source: &Source, config: ChainObserverConfig) {
    let head = source.source.head().await.expect("the node answers");
    let observer = ChainObserver::new(config);
    let sources = [source.clone()];
    let mut state = observer.init(&sources).await.expect("it begins empty");
    loop {
        let polled = observer.poll(&sources, &mut state).await;
        black_box(polled.expect("the node answers"));
        let view = observer.snapshot(&state);
        if view.graph.place(&head.tip).is_some() && view.catch_up.is_none() {
            return;
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Read {
    blocks: usize,
    transactions: usize,
}

/// Fetches and decodes every block once, keeping so many requests under way.
async fn bare(source: &dyn ChainSource, final_depth: u64, at_once: usize) -> Read {
    let head = source.head().await.expect("the node answers");
    let (last, span) = match source.range_unit() {
        Some(RangeUnit::Slot) => (head.finalised.and_then(|last| last.slot), SLOTS),
        _ => (Some(head.height.saturating_sub(final_depth)), BATCH),
    };
    let last = last.expect("it says what is final");
    let batches: Vec<u64> = (0..=last)
        .step_by(usize::try_from(span).expect("small"))
        .collect();
    let batches = batches
        .into_iter()
        .map(|from| source.range(from, last.min(from + span - 1)));
    let mut batches = stream::iter(batches).buffered(at_once);
    let mut read = Read::default();
    let mut newest = None;
    while let Some(blocks) = batches.next().await {
        for block in blocks.expect("the node answers") {
            read.blocks += 1;
            read.transactions += block.transactions.len();
            newest = Some(black_box(block).header.id);
        }
    }
    // What is not final is known by its child only.
    let mut next = Some(head.tip);
    while let Some(id) = next.filter(|id| Some(*id) != newest) {
        let answer = source.block(id).await.expect("the node answers");
        let BlockAnswer::Found(block) = answer else {
            break;
        };
        read.blocks += 1;
        read.transactions += block.transactions.len();
        next = black_box(block).header.parent;
    }
    read
}
