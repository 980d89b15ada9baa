//! Measuring: rates, CPU time, and verdicts on ratios.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::{
    env, fs,
    time::{Duration, Instant},
};

/// How often each is measured; the median counts.
pub(crate) const ROUNDS: usize = 5;

/// What a run took, per event or row.
#[derive(Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) rate: f64,
    pub(crate) cpu_us: f64,
}

/// Whether this is a benchmark: `cargo test --benches` runs it too, and wants to know only that it is there.
pub(crate) fn is_asked_for() -> bool {
    let has = |wanted: &str| env::args().any(|argument| argument == wanted);
    has("--bench") && !has("--test")
}

/// The CPU time of this process so far, of all its threads.
pub(crate) fn cpu() -> Duration {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        usage.tv_sec.try_into().unwrap_or(0),
        usage.tv_nsec.try_into().unwrap_or(0),
    )
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of events are far below 2^52"
)]
pub(crate) fn taken(events: u64, since: Instant, cpu_before: Duration) -> Taken {
    let events = events as f64;
    Taken {
        rate: events / since.elapsed().as_secs_f64(),
        cpu_us: cpu().saturating_sub(cpu_before).as_secs_f64() * 1e6 / events,
    }
}

pub(crate) fn median(mut runs: Vec<Taken>) -> Taken {
    runs.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    runs[runs.len() / 2]
}

pub(crate) fn show(name: &str, taken: Taken) {
    println!(
        "  {name:34} {:>9.0}/s   {:>6.2} us CPU",
        taken.rate, taken.cpu_us
    );
}

pub(crate) fn verdict(name: &str, ratio: f64, goal: f64) {
    let word = if ratio >= goal { "met" } else { "MISSED" };
    println!("  {name}: {ratio:.2} (goal {goal:.2}: {word})");
}

pub(crate) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(2).collect::<Vec<_>>().join(" ")
}
