//! Backoff: how long to pause before asking again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// Pauses that double up to two seconds, each shortened by chance to between a half and all of it, so that nodes which lost their server together do not come back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    /// The pause after one more failure in a row.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        jittered(pause)
    }

    /// A success: the next failure is the first one again.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }
}

/// Between a half and all of `pause`.
pub(crate) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(fastrand::f64().mul_add(0.5, 0.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_again() {
        let mut backoff = Backoff::new();
        for expected in [50, 100, 200, 400, 800, 1600, 2000, 2000] {
            let expected = Duration::from_millis(expected);
            let pause = backoff.pause();
            assert!(pause <= expected && pause >= expected / 2, "{pause:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }
}
