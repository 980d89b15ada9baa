//! The circuit breaker: after storage failed, it is left alone for a while instead of being asked in a tight loop.
//!
//! It keeps no time of its own: whoever asks says what time it is.

use std::time::{Duration, Instant};

/// Whether storage may be tried.
#[derive(Debug)]
pub struct Breaker {
    pause: Duration,
    failures: u32,
    closed_until: Option<Instant>,
}

impl Breaker {
    /// Pauses grow up to this many times the first.
    const GROWTH_MAX: u32 = 32;

    /// A breaker that lets everything pass, and pauses for `pause` after the first failure.
    pub fn new(pause: Duration) -> Self {
        Self {
            pause,
            failures: 0,
            closed_until: None,
        }
    }

    /// How long to wait before the next attempt; `None` where one may be made now.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let left = self.closed_until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Notes that storage works: everything passes again.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.closed_until = None;
    }

    /// Notes that storage failed: nothing passes for twice as long as the last time.
    pub fn failed(&mut self, now: Instant) {
        let growth = 1 << self.failures.min(Self::GROWTH_MAX.ilog2());
        self.failures += 1;
        self.closed_until = Some(now + self.pause * growth);
    }

    /// Whether the last attempt failed.
    pub fn is_open(&self) -> bool {
        self.failures > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_end_with_the_first_success() {
        let start = Instant::now();
        let pause = Duration::from_secs(1);
        let mut breaker = Breaker::new(pause);
        assert_eq!(breaker.wait(start), None);
        for growth in [1, 2, 4, 8, 16, 32, 32] {
            breaker.failed(start);
            assert_eq!(breaker.wait(start), Some(pause * growth));
            assert_eq!(breaker.wait(start + pause * growth), None);
            assert!(breaker.is_open());
        }
        breaker.succeeded();
        assert_eq!(breaker.wait(start), None);
        assert!(!breaker.is_open());
    }
}
