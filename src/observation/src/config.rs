//! Configuration: the budgets of one runtime, all of them with defaults.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How often to look, how long each part may take, and how much past to keep.
///
/// ```
/// use std::time::Duration;
/// use trellis_observation::ObservationConfig;
///
/// let config = ObservationConfig::default()
///     .with_name("raft")
///     .with_interval(Duration::from_millis(50));
/// assert_eq!(config.history_entries_max, 10_000);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ObservationConfig {
    /// What logs call this observation.
    pub name: String,
    /// From the start of one cycle to the start of the next. A cycle that takes longer delays the
    /// next one; missed ticks are not made up for. A failing cycle is tried again at the same
    /// pace, because the interval already bounds the load, and backing off would only make a
    /// recovery show later. `Duration::MAX` leaves all cycles to `refresh`.
    pub interval: Duration,
    /// For the provider to list the sources.
    pub sources_timeout: Duration,
    /// For one try at `Observer::init`.
    pub init_timeout: Duration,
    /// For one `Observer::poll`.
    pub poll_timeout: Duration,
    /// How many events the history holds. Older ones are dropped, and readers that had not seen
    /// them are told how many.
    pub history_entries_max: usize,
    /// Stops the runtime from outside. The runtime never cancels it.
    pub cancel: CancellationToken,
}

impl ObservationConfig {
    /// See [`name`](Self::name).
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// See [`interval`](Self::interval).
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// See [`sources_timeout`](Self::sources_timeout).
    pub fn with_sources_timeout(mut self, within: Duration) -> Self {
        self.sources_timeout = within;
        self
    }

    /// See [`init_timeout`](Self::init_timeout).
    pub fn with_init_timeout(mut self, within: Duration) -> Self {
        self.init_timeout = within;
        self
    }

    /// See [`poll_timeout`](Self::poll_timeout).
    pub fn with_poll_timeout(mut self, within: Duration) -> Self {
        self.poll_timeout = within;
        self
    }

    /// See [`history_entries_max`](Self::history_entries_max).
    pub fn with_history_entries_max(mut self, entries: usize) -> Self {
        self.history_entries_max = entries;
        self
    }

    /// See [`cancel`](Self::cancel).
    pub fn with_cancel(mut self, cancel: CancellationToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// The longest that one cycle can take while nothing blocks its thread.
    pub(crate) fn cycle_within(&self) -> Duration {
        self.sources_timeout
            .saturating_add(self.init_timeout)
            .saturating_add(self.poll_timeout)
    }
}

impl Default for ObservationConfig {
    fn default() -> Self {
        Self {
            name: "observation".to_owned(),
            interval: Duration::from_millis(100),
            sources_timeout: Duration::from_secs(5),
            init_timeout: Duration::from_secs(10),
            poll_timeout: Duration::from_secs(5),
            history_entries_max: 10_000,
            cancel: CancellationToken::new(),
        }
    }
}
