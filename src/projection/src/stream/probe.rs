//! Probing: asking the server about a stream beside the source that reads it, so that somebody can say what is wrong while nothing comes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{
    Client,
    connection::State,
    jetstream::{
        Context, ErrorCode,
        context::{GetStreamError, GetStreamErrorKind},
    },
};
use tokio::time::timeout;

/// How long the server may take to describe the stream.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// What a source notes for the probe.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// How often a connection was lost.
    pub(super) disconnections: AtomicU64,
    /// Whether a delivery was started and has not ended.
    pub(super) bound: AtomicBool,
    /// How many events are behind the last one that was delivered.
    pub(super) pending: AtomicU64,
    /// The last sequence that was delivered, or the one before the first that will be.
    pub(super) delivered: AtomicU64,
}

impl Notes {
    pub(super) fn started(&self, from: u64, pending: u64) {
        self.pending.store(pending, Ordering::Relaxed);
        self.delivered.store(from - 1, Ordering::Relaxed);
        self.bound.store(true, Ordering::Relaxed);
    }

    pub(super) fn delivered(&self, sequence: u64, pending: u64) {
        self.pending.store(pending, Ordering::Relaxed);
        self.delivered.store(sequence, Ordering::Relaxed);
    }
}

/// Asks about a stream.
#[derive(Clone)]
pub struct StreamProbe {
    pub(super) client: Client,
    pub(super) context: Context,
    pub(super) stream: String,
    pub(super) url: String,
    pub(super) filtered: bool,
    pub(super) notes: Arc<Notes>,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Probed {
    /// Whether there is a connection.
    pub connected: bool,
    /// Whether the source is bound to a consumer.
    pub bound: bool,
    /// The last sequence of the stream; `None` where the server did not say.
    pub last: Option<u64>,
    /// Whether other events than those of the stream's end count.
    pub filtered: bool,
    /// How many events are behind the last one that was delivered.
    pub pending: u64,
    /// The last sequence that was delivered.
    pub delivered: u64,
    /// Why the server did not say.
    pub trouble: Option<String>,
}

impl StreamProbe {
    /// The stream.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// Where the server is, without what nobody should see.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks once.
    pub async fn probe(&self) -> Probed {
        let connected = self.client.connection_state() == State::Connected;
        let mut trouble = None;
        let mut last = None;
        if connected {
            match timeout(ANSWERS_WITHIN, self.context.get_stream(&self.stream)).await {
                Ok(Ok(stream)) => last = Some(stream.cached_info().state.last_sequence),
                Ok(Err(error)) => trouble = Some(self.why(&error)),
                Err(_) => trouble = Some(format!("no answer within {ANSWERS_WITHIN:?}")),
            }
        } else {
            trouble = Some(format!("there is no connection to {}", self.url));
        }
        Probed {
            connected,
            bound: connected && self.notes.bound.load(Ordering::Relaxed),
            last,
            filtered: self.filtered,
            pending: self.notes.pending.load(Ordering::Relaxed),
            delivered: self.notes.delivered.load(Ordering::Relaxed),
            trouble,
        }
    }
}

impl StreamProbe {
    /// Why the server does not describe the stream.
    fn why(&self, error: &GetStreamError) -> String {
        match error.kind() {
            GetStreamErrorKind::JetStream(told)
                if told.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                format!("there is no stream {}", self.stream)
            }
            _ => error.to_string(),
        }
    }
}

impl Probed {
    /// How many events a checkpoint at `floor` is behind. Where only some subjects are read, what is on its way is counted by its sequences.
    pub fn behind(&self, floor: u64) -> u64 {
        match self.last {
            Some(last) if !self.filtered => last.saturating_sub(floor),
            _ => self.pending + self.delivered.saturating_sub(floor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_some_subjects_are_read_the_end_of_the_stream_does_not_count() {
        let probed = Probed {
            last: Some(100),
            pending: 3,
            delivered: 12,
            ..Probed::default()
        };
        assert_eq!(probed.behind(10), 90);
        let filtered = Probed {
            filtered: true,
            ..probed
        };
        assert_eq!(filtered.behind(10), 5);
        assert_eq!(filtered.behind(12), 3);
    }
}
