//! Rates as ratios within one run, with the CPU time of an event beside them, since those of a shared machine mean little.
//!
//! `cargo bench -p projection` runs all of them; words behind `--` choose: `commits` (R3), `folds` (R4), `consumption` (R1), `growth`, `latency`.
//! `PROJECTION_BENCH_EVENTS` sets how many events there are.

mod commits;
mod consumption;
mod events;
mod folds;
mod growth;
mod latency;
mod measure;
#[path = "../../tests/nats.rs"]
mod nats;

use std::env;

/// As in the binary.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    if !measure::is_asked_for() {
        return;
    }
    let all = words.iter().all(|word| word.starts_with('-'));
    let wanted = |name: &str| all || words.iter().any(|word| word == name);
    let events = env::var("PROJECTION_BENCH_EVENTS");
    let events = events.ok().and_then(|text| text.parse().ok());
    println!("load {}", measure::load());
    if wanted("commits") {
        commits::run();
    }
    if wanted("folds") {
        folds::run();
    }
    if wanted("consumption") {
        for program in nats::servers() {
            consumption::run(&program, events.unwrap_or(200_000)).await;
        }
    }
    if wanted("growth") {
        growth::run(events.unwrap_or(100_000)).await;
    }
    if wanted("latency")
        && let Some(program) = nats::servers().first()
    {
        latency::run(program, events.unwrap_or(100_000)).await;
    }
    println!("load {}", measure::load());
}
