//! Budgets: how much a query may look at before it answers with what it has.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{QueryError, uqf::AskedBudget};

/// What one query may cost at most. A query may ask for less, and not for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryLimits {
    /// Views in one answer.
    pub limit_max: usize,
    /// Views that are looked at.
    pub rows_max: u64,
    /// Bytes that are looked at.
    pub bytes_max: u64,
    /// How long views are looked at. The store keeps what they see for that long.
    pub within: Duration,
    /// How long an event may be waited for.
    pub wait_max: Duration,
    /// Queries that are answered at once.
    pub queries_max: usize,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            limit_max: 1_000,
            rows_max: 100_000,
            bytes_max: 64 << 20,
            within: Duration::from_secs(1),
            wait_max: Duration::from_secs(10),
            queries_max: 8,
        }
    }
}

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Looked {
    /// Views.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// What is left of a budget.
pub(super) struct Budget {
    rows_max: u64,
    bytes_max: u64,
    until: Instant,
    looked: Looked,
}

impl Budget {
    /// A piece that was walked once is walked to its end again, also if that takes longer by now.
    const AGAIN: u32 = 4;

    /// The budget that is asked for, from now on.
    pub(super) fn new(
        limits: &QueryLimits,
        asked: &AskedBudget,
        again: bool,
    ) -> Result<Self, QueryError> {
        let times = if again { Self::AGAIN } else { 1 };
        let within = asked_at_most("budget.within_ms", asked.within, limits.within)?;
        Ok(Self {
            rows_max: asked_at_most("budget.rows", asked.rows, limits.rows_max)? * u64::from(times),
            bytes_max: asked_at_most("budget.bytes", asked.bytes, limits.bytes_max)?
                * u64::from(times),
            until: Instant::now() + within * times,
            looked: Looked::default(),
        })
    }

    /// Whether another view may be looked at. One always may, so that every answer comes further.
    pub(super) fn is_spent(&self) -> bool {
        /// How often the time is looked at; a view takes about a microsecond.
        const TIMED_EVERY: u64 = 16;
        let Looked { rows, bytes } = self.looked;
        rows > 0
            && (rows >= self.rows_max
                || bytes >= self.bytes_max
                || (rows.is_multiple_of(TIMED_EVERY) && Instant::now() >= self.until))
    }

    /// Notes that a view of `bytes` was looked at.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.looked.rows += 1;
        self.looked.bytes += bytes as u64;
    }

    pub(super) fn looked(&self) -> Looked {
        self.looked
    }
}

/// What is asked for, or all that is allowed.
pub(super) fn asked_at_most<T: PartialOrd + Copy + std::fmt::Debug>(
    at: &str,
    asked: Option<T>,
    allowed: T,
) -> Result<T, QueryError> {
    match asked {
        Some(asked) if asked > allowed => Err(QueryError::malformed(
            at,
            format!("must be at most {allowed:?}"),
        )),
        Some(asked) => Ok(asked),
        None => Ok(allowed),
    }
}
