//! Benchmarks of the chain observer over real nodes, each against the least that could be done with the same nodes: devchain as processes, which speak as Logos nodes do, and litecoind where it is installed.
//!
//! Both sides of a ratio are measured in turns, and with connections that are open already. Only
//! `cargo bench` measures in full: it passes `--bench`, which `cargo test` does not. Without it, or
//! with `--test`, there is one tiny pass. What the observer costs without any node is in `chain`.

mod cycles;
mod delay;
mod ingestion;
mod litecoin;
mod network;

use std::{process::ExitCode, sync::Arc, time::Duration};

use trellis_chain::ChainSource;
use trellis_observation::ObservedSource;

use crate::network::Network;

/// A source as an observer takes it.
type Source = ObservedSource<Arc<dyn ChainSource>>;

/// How much to measure.
#[derive(Clone, Copy)]
struct Effort {
    /// Blocks of the chains that are read.
    blocks: u64,
    /// Transactions in each of them, about.
    transactions: u64,
    /// How often each side reads a whole chain.
    rounds: usize,
    /// Nodes that are asked for their heads.
    sources: usize,
    /// Cycles over them.
    cycles: usize,
    /// Blocks whose detection is timed.
    detected: usize,
}

const FULL: Effort = Effort {
    blocks: 1_200,
    transactions: 4,
    rounds: 7,
    sources: 10,
    cycles: 500,
    detected: 400,
};

const TINY: Effort = Effort {
    blocks: 12,
    transactions: 1,
    rounds: 1,
    sources: 2,
    cycles: 2,
    detected: 2,
};

fn main() -> ExitCode {
    // The processes of nodes are this program, too.
    if network::is_node() {
        return devchain::node::main();
    }
    let given = |flag: &str| std::env::args().any(|argument| argument == flag);
    let tiny = given("--test") || !given("--bench");
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    runtime.block_on(measure(if tiny { TINY } else { FULL }));
    ExitCode::SUCCESS
}

async fn measure(effort: Effort) {
    ingestion::heading();
    let network = Network::grown(effort.blocks, effort.transactions).await;
    let readers = network.copies(effort.sources).await;
    let sources = network::sources(&readers);
    ingestion::measure("devchain", &sources[0], effort.rounds).await;
    litecoin::ingestion(effort).await;
    cycles::measure(&sources, effort.cycles).await;
    drop(readers);
    delay::measure(effort.detected).await;
}

/// What half of them took: a busy machine makes a few of them very long.
fn median(times: Vec<Duration>) -> Duration {
    percentile(times, 50)
}

fn percentile(mut times: Vec<Duration>, percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}
