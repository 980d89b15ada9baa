//! Health: how each source did when it was last asked.
//!
//! The runtime puts a board up around the observer's calls and `poll_sources` notes on it what it
//! sees. So health is there without the observer's doing, source by source as they answer, and it
//! stays right when the poll as a whole is dropped at its deadline.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

tokio::task_local! {
    static BOARD: Arc<HealthBoard>;
}

/// How one source did when it was last asked.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SourceHealth {
    /// The source's name.
    pub name: String,
    /// When it last answered well.
    pub last_ok: Option<Instant>,
    /// How long that answer took.
    pub latency: Option<Duration>,
    /// The last time that it did not answer well, even if it has since.
    pub last_error: Option<SourceFailure>,
    /// How many times in a row it has not answered well.
    pub consecutive_failures: u64,
}

impl SourceHealth {
    /// True when the last answer was not a good one.
    pub fn is_failing(&self) -> bool {
        self.consecutive_failures > 0
    }
}

/// A time that a source did not answer well.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SourceFailure {
    /// The error with its causes, on one line.
    pub message: String,
    /// When it was noticed.
    pub at: Instant,
    /// How long that took.
    pub after: Duration,
}

/// Runs `work` with `board` up, for `poll_sources` to find.
pub(crate) async fn recording_on<T>(board: Arc<HealthBoard>, work: impl Future<Output = T>) -> T {
    BOARD.scope(board, work).await
}

/// The board of the runtime that this code is run by, if it is run by one.
pub(crate) fn current_board() -> Option<Arc<HealthBoard>> {
    BOARD.try_with(Arc::clone).ok()
}

#[derive(Default)]
pub(crate) struct HealthBoard(Mutex<Board>);

#[derive(Default)]
struct Board {
    order: Vec<String>,
    by_name: HashMap<String, SourceHealth>,
}

impl HealthBoard {
    pub(crate) fn all(&self) -> Vec<SourceHealth> {
        let board = self.board();
        let names = board.order.iter();
        names
            .filter_map(|name| board.by_name.get(name).cloned())
            .collect()
    }

    /// Takes over the sources of a new cycle: new ones join, and those that left are forgotten.
    pub(crate) fn keep_only<'a>(&self, names: impl Iterator<Item = &'a str> + Clone) {
        let mut board = self.board();
        if names.clone().eq(board.order.iter().map(String::as_str)) {
            return;
        }
        let mut known = std::mem::take(&mut board.by_name);
        board.order = names.map(str::to_owned).collect();
        board.by_name = board
            .order
            .iter()
            .map(|name| {
                let health = known.remove(name).unwrap_or_else(|| SourceHealth {
                    name: name.clone(),
                    ..SourceHealth::default()
                });
                (name.clone(), health)
            })
            .collect();
    }

    pub(crate) fn record_ok(&self, name: &str, latency: Duration) {
        self.update(name, |health| {
            health.last_ok = Some(Instant::now());
            health.latency = Some(latency);
            health.consecutive_failures = 0;
        });
    }

    pub(crate) fn record_failure(&self, name: &str, after: Duration, message: String) {
        self.update(name, |health| {
            health.last_error = Some(SourceFailure {
                message,
                at: Instant::now(),
                after,
            });
            health.consecutive_failures += 1;
        });
    }

    fn update(&self, name: &str, change: impl FnOnce(&mut SourceHealth)) {
        if let Some(health) = self.board().by_name.get_mut(name) {
            change(health);
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
