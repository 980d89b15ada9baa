//! Benchmarks of the chain observer and its projections, each against what it must not cost more
//! than: ratios, because wall times differ from machine to machine.
//!
//! Only `cargo bench` measures in full: it passes `--bench`, which `cargo test` does not. Without
//! it, or with `--test`, there is one tiny pass.

use std::{
    collections::HashSet,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use trellis_chain::{
    BlockId, ChainObserver, ChainObserverConfig, ChainSource, Graph, Header, Ledger, LedgerConfig,
    Output, Owner, StartAt, Transaction, TxId, Watch,
    memory::{MemoryNode, child_of, genesis},
};
use trellis_observation::{ObservedSource, Observer};

/// Cycles for one figure.
const CYCLES: u32 = 200;
/// Transactions in a block of the wallet figures, each with two outputs.
const TRANSACTIONS: usize = 10;
const OWNERS: usize = 1_000;

#[tokio::main]
async fn main() {
    let given = |flag: &str| std::env::args().any(|argument| argument == flag);
    let tiny = given("--test") || !given("--bench");
    let heights: &[u64] = if tiny {
        &[100, 300]
    } else {
        &[1_000, 10_000, 100_000]
    };
    ingestion(heights).await;
    cycles(heights).await;
    wallets(heights);
    many_wallets(if tiny { 100 } else { 5_000 });
}

fn grown(height: u64) -> Arc<MemoryNode> {
    let node = Arc::new(MemoryNode::new("NODE_1", genesis(0)));
    node.grow(height, 1);
    node
}

fn sources(node: &Arc<MemoryNode>, count: usize) -> Vec<ObservedSource<Arc<dyn ChainSource>>> {
    let source: Arc<dyn ChainSource> = Arc::clone(node) as _;
    let named = (1..=count).map(|n| ObservedSource::new(format!("NODE_{n}"), Arc::clone(&source)));
    named.collect()
}

/// Blocks a second through the whole observer, against a loop that fetches the same batches and
/// keeps nothing.
async fn ingestion(heights: &[u64]) {
    println!("ingestion      height   observer blocks/s    bare loop blocks/s    ratio");
    for &height in heights {
        let node = grown(height);
        let began = Instant::now();
        let mut from = 0;
        while from <= height {
            black_box(node.range(from, from + 99).await.expect("memory answers"));
            from += 100;
        }
        let bare = began.elapsed();
        let config = ChainObserverConfig {
            fetch_within: Duration::from_mins(10),
            ..ChainObserverConfig::default().with_start(StartAt::Genesis)
        };
        let observer = ChainObserver::new(config);
        let sources = sources(&node, 1);
        let began = Instant::now();
        let mut state = observer.init(&sources).await.expect("it begins empty");
        let events = observer
            .poll(&sources, &mut state)
            .await
            .expect("memory answers");
        let observed = began.elapsed();
        assert!(events.len() as u64 > height);
        let rate = |time: Duration| per_second(height, time);
        println!(
            "          {height:>11}   {:>17.0}    {:>18.0}    {:>5.2}",
            rate(observed),
            rate(bare),
            observed.as_secs_f64() / bare.as_secs_f64(),
        );
    }
}

/// One cycle with one new block and ten sources, at growing heights.
async fn cycles(heights: &[u64]) {
    println!(
        "cycle          height   us a cycle, 10 sources, 1 new block   headers held   against lowest"
    );
    let mut first = None;
    for &height in heights {
        let node = grown(height);
        let config = ChainObserverConfig {
            fetch_within: Duration::from_mins(10),
            window_blocks_max: 500,
            ..ChainObserverConfig::default().with_start(StartAt::Genesis)
        };
        let observer = ChainObserver::new(config);
        let sources = sources(&node, 10);
        let mut state = observer.init(&sources).await.expect("it begins empty");
        observer
            .poll(&sources, &mut state)
            .await
            .expect("memory answers");
        let mut spent = Vec::new();
        for _ in 0..CYCLES {
            node.grow(1, 1);
            let began = Instant::now();
            let events = observer
                .poll(&sources, &mut state)
                .await
                .expect("memory answers");
            black_box((events, observer.snapshot(&state)));
            spent.push(began.elapsed());
        }
        let each = median(spent);
        let base = *first.get_or_insert(each);
        println!(
            "          {height:>11}   {:>35}   {:>12}   {:>14.2}",
            each.as_micros(),
            observer.snapshot(&state).graph.len(),
            each.as_secs_f64() / base.as_secs_f64(),
        );
    }
}

/// One long chain, folded into a ledger that is pruned: what a block costs around each height.
fn wallets(heights: &[u64]) {
    println!("wallets        height   us a block, 10 transactions   against lowest");
    let highest = heights.last().copied().unwrap_or_default();
    let times = fold(highest, Watch::All, OWNERS);
    let mut first = None;
    for &height in heights {
        let end = usize::try_from(height).expect("few blocks");
        let each = median(times[end - end.min(500)..end].to_vec());
        let base = *first.get_or_insert(each);
        println!(
            "          {height:>11}   {:>27}   {:>14.2}",
            each.as_micros(),
            each.as_secs_f64() / base.as_secs_f64(),
        );
    }
}

/// A thousand wallets against one, over the same blocks: all of a thousand owners' outputs, with
/// one of them asked for, and with all of them asked for after each block.
fn many_wallets(blocks: u64) {
    let watch = |count: usize| {
        let owners: HashSet<Owner> = (0..count).map(owner).collect();
        Watch::Only(Arc::new(owners))
    };
    // One owner gets what a thousand get in the other case: what counts is the number of wallets.
    let one = median(fold(blocks, watch(1), 1));
    let thousand = median(fold(blocks, watch(OWNERS), OWNERS));
    println!(
        "many wallets   us a block: one wallet {}, {OWNERS} wallets with as many outputs {}, ratio {:.2}",
        one.as_micros(),
        thousand.as_micros(),
        thousand.as_secs_f64() / one.as_secs_f64(),
    );
}

fn owner(number: usize) -> Owner {
    format!("owner-{number}").into()
}

/// Folds a chain, and gives the time of each block.
fn fold(height: u64, watch: Watch, owners: usize) -> Vec<Duration> {
    let names: Vec<Owner> = (0..owners).map(owner).collect();
    let mut graph = Graph::new();
    let config = LedgerConfig {
        watch,
        ..LedgerConfig::default()
    };
    let mut ledger = Ledger::new(config);
    let mut parent = genesis(0).header;
    let mut spent = Vec::new();
    insert(&mut graph, parent.clone());
    graph.fill(Arc::new(genesis(0)));
    ledger.follow(&graph, &parent.id);
    for number in 1..=height {
        let block = child_of(&parent, 1, transactions(number, &names));
        parent = block.header.clone();
        insert(&mut graph, parent.clone());
        graph.fill(Arc::new(block));
        let began = Instant::now();
        ledger.follow(&graph, &parent.id);
        spent.push(began.elapsed());
        for entry in graph.prune_below(number.saturating_sub(256)) {
            ledger.forget(&entry.header.id);
        }
    }
    spent
}

/// What half of them took: a busy machine makes a few of them very long.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn insert(graph: &mut Graph, header: Header) {
    let _ = graph.insert(header).expect("the heights are right");
}

/// Each transaction spends an output of the block a hundred before, and makes two.
fn transactions(number: u64, owners: &[Owner]) -> Vec<Transaction> {
    let id = |number: u64, index: usize, output: usize| format!("{number}.{index}.{output}").into();
    let make = |index: usize| {
        let inputs = number.checked_sub(100).into_iter();
        let whose = |output: usize| {
            let spread = usize::try_from(number).expect("few blocks") * 20 + index * 2 + output;
            owners[spread % owners.len()].clone()
        };
        Transaction {
            id: TxId::from_bytes(*tx(number, index).as_bytes()),
            inputs: inputs
                .flat_map(|old| [id(old, index, 0), id(old, index, 1)])
                .collect(),
            outputs: (0..2)
                .map(|output| Output {
                    operation: 0,
                    id: Some(id(number, index, output)),
                    owner: whose(output),
                    value: 1,
                })
                .collect(),
        }
    };
    (0..TRANSACTIONS).map(make).collect()
}

fn tx(number: u64, index: usize) -> BlockId {
    let mut bytes = [0; 32];
    bytes[8..16].copy_from_slice(&number.to_be_bytes());
    bytes[16] = u8::try_from(index).expect("few transactions");
    BlockId::from_bytes(bytes)
}

fn per_second(count: u64, time: Duration) -> f64 {
    f64::from(u32::try_from(count).expect("few blocks")) / time.as_secs_f64()
}
