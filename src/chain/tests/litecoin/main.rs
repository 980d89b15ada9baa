//! Bitcoin sources against real litecoind nodes on regtest.
//!
//! A program of its own, so that it can say that it was skipped: without litecoind there is
//! nothing to test, and in CI there must be. What newer nodes say differently is in
//! `tests/captured.rs`.

mod access;
mod chain;
mod forks;
mod network;
mod peers;
mod wallets;

use std::{
    panic,
    pin::Pin,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use bitcoin_regtest::{Flavour, skipped};

/// Tests at a time, each with up to three nodes.
const AT_ONCE: usize = 4;

type Test = (&'static str, fn() -> Pin<Box<dyn Future<Output = ()>>>);

macro_rules! tests {
    ($($room:ident::$test:ident,)*) => {
        [$((stringify!($test), || Box::pin($room::$test())),)*]
    };
}

fn main() -> ExitCode {
    let tests: [Test; _] = tests![
        access::who_asks_is_told_by_cookie_or_password_and_a_restart_changes_the_cookie,
        access::what_cannot_be_answered_is_told_apart,
        access::a_node_that_starts_says_so,
        chain::a_node_is_known_by_its_genesis_block_and_has_no_peer_id,
        chain::batches_give_the_same_ancestry_as_one_call_a_block,
        chain::blocks_by_height_are_whole_and_end_with_the_chain,
        chain::headers_are_checked_by_calculation,
        chain::new_blocks_are_streamed_by_waiting,
        chain::mining_goes_on_beyond_the_height_of_the_extension_blocks,
        forks::a_reorg_brings_transactions_back_and_leaves_a_fork_without_bodies,
        forks::a_double_spend_leaves_an_index_that_names_a_stale_block,
        forks::an_invalidated_block_is_left_and_taken_again,
        peers::being_synced_is_not_what_a_node_says_of_itself,
        peers::a_split_lasts_only_when_the_network_is_off_or_the_peer_forgotten,
        wallets::coinbases_mature_and_halve,
        wallets::payments_wait_and_are_included,
        wallets::what_an_owner_has_is_the_same_by_blocks_and_by_scan,
    ];
    let flavour = Flavour::litecoin();
    if !flavour.is_installed() {
        return skipped(tests.len(), &flavour);
    }
    let filter = std::env::args().nth(1).unwrap_or_default();
    let tests = tests.iter().filter(|(name, _)| name.contains(&filter));
    let queue = Mutex::new(tests);
    let next = || queue.lock().expect("taking one does not fail").next();
    let (passed, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|threads| {
        for _ in 0..AT_ONCE {
            threads.spawn(|| {
                while let Some(test) = next() {
                    let count = if run(test) { &passed } else { &failed };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let failed = failed.into_inner();
    println!("{} passed, {failed} failed", passed.into_inner());
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Whether the test passed.
fn run((name, test): &Test) -> bool {
    let began = Instant::now();
    let ended = panic::catch_unwind(|| {
        let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
        runtime.block_on(test());
    });
    let how = if ended.is_ok() { "ok" } else { "FAILED" };
    println!("{name}: {how}, {:.1} s", began.elapsed().as_secs_f64());
    ended.is_ok()
}
