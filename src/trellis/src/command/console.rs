//! The console: what happens to a cluster, written for the person who started it.

use std::{
    fmt,
    io::Write as _,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use trellis_bootstrap::Progress;

/// How often a person is told what is still awaited.
const WAITING_EVERY: Duration = Duration::from_secs(3);

/// Writes a line for each thing that happens, with the time since the beginning.
#[derive(Debug)]
pub(crate) struct Console {
    is_quiet: bool,
    begun: Instant,
    waited: Mutex<Instant>,
}

impl Console {
    pub(crate) fn new(is_quiet: bool) -> Self {
        let begun = Instant::now();
        Self {
            is_quiet,
            begun,
            waited: Mutex::new(begun),
        }
    }

    /// Writes a text. Nobody may be there to read it any more, which must not keep anything from being put in order.
    pub(crate) fn say(&self, text: &str) {
        if self.is_quiet {
            return;
        }
        let at = self.begun.elapsed().as_secs_f64();
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{at:>9.3}s  {text}").and_then(|()| out.flush());
    }
}

impl Progress for Console {
    fn waiting(&self, goal: &str, seen: &dyn fmt::Display, left: Duration) {
        let mut waited = self.waited.lock().unwrap_or_else(PoisonError::into_inner);
        if waited.elapsed() >= WAITING_EVERY {
            *waited = Instant::now();
            self.say(&format!(
                "waiting for {goal}: {seen} ({}s left)",
                left.as_secs()
            ));
        }
    }

    fn note(&self, text: &str) {
        self.say(text);
    }
}
