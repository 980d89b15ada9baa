//! Streams: where events come from, in order, from a given sequence on.
//!
//! The port is [`EventSource`]. What a source says about the stream is judged in `checks`; whether what it delivers is in order, in `order`.
//! Nothing here decides what was applied: that is the checkpoint's business alone.

mod checks;
mod jetstream;
mod memory;
mod order;
mod probe;

use std::time::Duration;

use async_nats::Subject;
use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

pub(crate) use checks::beginning;
pub use checks::{BlockedReason, Expected, examine};
pub use jetstream::{JetStreamConnection, JetStreamSource};
pub use memory::MemorySource;
pub use order::Order;
pub use probe::{Probed, StreamProbe};

/// A message of the stream.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Where it is in the stream.
    pub sequence: u64,
    /// When the stream got it, in nanoseconds since 1970.
    pub published: i128,
    /// Where it was published.
    pub subject: Subject,
    /// Its bytes.
    pub payload: Bytes,
    /// How many more there are behind it.
    pub pending: u64,
}

/// What a stream says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamFacts {
    /// Its name.
    pub stream: String,
    /// When it was created, in nanoseconds since 1970.
    pub created: i128,
    /// Its first sequence.
    pub first: u64,
    /// Its last sequence; 0 where it never had any.
    pub last: u64,
    /// When the message at the floor that was asked for was published; `None` where there is none.
    pub published_at_floor: Option<i128>,
    /// Whether the stream drops what was acknowledged: then its beginning says nothing.
    pub drops_what_was_read: bool,
    /// Why events would be lost by reading it in the way that is set; `None` where they would not.
    pub unsafe_because: Option<String>,
}

/// Why delivery was broken off, and has to start again after the stored checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Interruption {
    /// A message of the consumer is missing.
    Gap,
    /// A sequence did not rise, or was delivered again.
    Disorder,
    /// The server was silent for too long.
    MissedHeartbeat,
    /// The connection is another one.
    Reconnected,
    /// The consumer is no more.
    Ended,
}

impl Interruption {
    /// All there are.
    pub const ALL: [Self; 5] = [
        Self::Gap,
        Self::Disorder,
        Self::MissedHeartbeat,
        Self::Reconnected,
        Self::Ended,
    ];

    /// As it is called in metrics and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::Disorder => "disorder",
            Self::MissedHeartbeat => "missed_heartbeat",
            Self::Reconnected => "reconnected",
            Self::Ended => "ended",
        }
    }
}

/// Why a stream could not be read. All of it may pass; none of it skips anything.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StreamError {
    /// Delivery has to start again.
    #[error("delivery was broken off: {0:?}")]
    Interrupted(Interruption),
    /// The stream is not there.
    #[error("there is no stream {stream}; create it, the node goes on by itself")]
    Missing {
        /// Its name.
        stream: String,
    },
    /// There is no server.
    #[error(
        "NATS cannot be reached at {url}; start it with JetStream (nats-server -js), or set nats_url"
    )]
    Unreachable {
        /// Where it should be.
        url: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server did not do what it was asked.
    #[error("the server did not {operation}")]
    Server {
        /// What it was asked.
        operation: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Delivers a stream in order.
#[async_trait]
pub trait EventSource: Send {
    /// What the stream says about itself, and about the message at `floor`.
    ///
    /// # Errors
    /// The stream cannot be asked.
    async fn facts(&mut self, floor: u64) -> Result<StreamFacts, StreamError>;

    /// Starts delivery at the sequence `from`. What was delivered before and not received is dropped.
    ///
    /// # Errors
    /// It cannot be started.
    async fn start(&mut self, from: u64) -> Result<(), StreamError>;

    /// The next messages: as many as `limits` allow, or none where none come for a while.
    ///
    /// # Errors
    /// Delivery must be started again. What was received before is in order and may be used.
    async fn receive(&mut self, limits: &ReceiveLimits) -> Result<Vec<Delivery>, StreamError>;

    /// How many messages there are that this delivery has not given yet, as the stream knows it: a source that is silent may have any number of them.
    ///
    /// # Errors
    /// The stream cannot be asked, or nothing is being delivered.
    async fn pending(&mut self) -> Result<u64, StreamError>;

    /// Tells the stream that everything up to `through` is in the views. Only after that is true.
    ///
    /// # Errors
    /// The stream cannot be told; it will deliver again, which does no harm.
    async fn acknowledge(&mut self, through: u64) -> Result<(), StreamError>;
}

/// How much is received at once.
#[derive(Debug, Clone, Copy)]
pub struct ReceiveLimits {
    /// This many messages.
    pub events_max: usize,
    /// This many bytes.
    pub bytes_max: usize,
    /// This long since the first message.
    pub within: Duration,
    /// This long without any.
    pub idle: Duration,
}
