//! The publisher: facts as envelopes, on their way into the stream, one after the other.
//!
//! One at a time, because views depend on the order of events, and what is published side by side is stored in another order as soon as one of them has to be sent again. That is some thousands a second, and observers tell of some dozens.
//! An event has an id that its observation gives it, which is the id of its message, too: a server that has it already does not store it again.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_nats::{
    ConnectOptions, HeaderMap,
    connection::State,
    header::NATS_MESSAGE_ID,
    jetstream::{self, Context, stream},
};
use projection::types::Envelope;
use serde_json::Map;
use tokio::{
    sync::Mutex as TurnMutex,
    time::{Instant, sleep, timeout},
};
use trellis_bootstrap::Progress;
use trellis_domain::RunId;

use crate::{Fact, RecordError};

/// The stream of all records of a server.
pub const STREAM: &str = "trellis-record";
/// What comes before the run in subjects.
const SUBJECTS: &str = "trellis.record";

const CONNECTED_WITHIN: Duration = Duration::from_secs(5);
/// How long a server may take to store an event.
const STORED_WITHIN: Duration = Duration::from_secs(2);
/// How long to wait until an event that was not stored is sent again.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// How long a server remembers which events it has; far longer than one that was away takes to be back.
const REMEMBERED_FOR: Duration = Duration::from_hours(1);

/// What of the stream is of `run`.
pub(crate) fn subjects(run: &RunId) -> String {
    format!("{SUBJECTS}.{run}.>")
}

/// Publishes the facts of one run.
pub(crate) struct Publisher {
    run: RunId,
    context: Context,
    progress: std::sync::Arc<dyn Progress>,
    /// Whose turn it is to publish.
    turn: TurnMutex<()>,
    /// Since when the server does not store anything.
    away: Mutex<Option<Instant>>,
    published: AtomicU64,
    /// Where the last event is in the stream.
    last: AtomicU64,
}

impl Publisher {
    /// Connects to the server at `url`, and makes the stream where it is not there.
    ///
    /// # Errors
    /// No such server, or no such stream.
    pub(crate) async fn connect(
        url: &str,
        run: RunId,
        progress: std::sync::Arc<dyn Progress>,
    ) -> Result<Self, RecordError> {
        let unreachable = |source| RecordError::Unreachable {
            url: url.to_owned(),
            source,
        };
        let options = ConnectOptions::new().connection_timeout(CONNECTED_WITHIN);
        let client = options.connect(url).await;
        let client = client.map_err(|error| unreachable(error.into()))?;
        let mut context = jetstream::new(client);
        context.set_timeout(STORED_WITHIN);
        let config = stream::Config {
            name: STREAM.to_owned(),
            subjects: vec![format!("{SUBJECTS}.>")],
            duplicate_window: REMEMBERED_FOR,
            ..stream::Config::default()
        };
        let made = timeout(CONNECTED_WITHIN, context.get_or_create_stream(config)).await;
        let stream = |source| RecordError::Stream {
            stream: STREAM,
            url: url.to_owned(),
            source,
        };
        made.map_err(|late| unreachable(late.into()))?
            .map_err(|error| stream(error.into()))?;
        Ok(Self {
            run,
            context,
            progress,
            turn: TurnMutex::default(),
            away: Mutex::default(),
            published: AtomicU64::default(),
            last: AtomicU64::default(),
        })
    }

    /// Stores `fact` under the id `id`, however often that takes.
    ///
    /// # Cancel safety
    /// Dropping it leaves it open whether the fact is stored. Storing it again under the same id stores it once.
    pub(crate) async fn publish(&self, id: &str, fact: &Fact) {
        let _turn = self.turn.lock().await;
        let subject = format!("{SUBJECTS}.{}.{}", self.run, fact.subject.as_str());
        let id = format!("{}/{id}", self.run);
        let envelope = serde_json::to_vec(&self.envelope(&id, fact));
        let envelope: bytes::Bytes = envelope.expect("values are JSON").into();
        loop {
            match self.try_once(&subject, &id, envelope.clone()).await {
                Ok(sequence) => {
                    self.last.fetch_max(sequence, Ordering::Relaxed);
                    self.published.fetch_add(1, Ordering::Relaxed);
                    return self.is_back();
                }
                Err(why) => self.is_away(&why),
            }
            sleep(AGAIN_AFTER).await;
        }
    }

    async fn try_once(
        &self,
        subject: &str,
        id: &str,
        envelope: bytes::Bytes,
    ) -> Result<u64, String> {
        // What is published while there is no connection would wait in the client, without a bound.
        if self.context.client().connection_state() != State::Connected {
            return Err("it cannot be reached".to_owned());
        }
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, id);
        let sent = self
            .context
            .publish_with_headers(subject.to_owned(), headers, envelope);
        let stored = async { sent.await?.await };
        match timeout(STORED_WITHIN, stored).await {
            Ok(Ok(stored)) => Ok(stored.sequence),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("it does not answer within {STORED_WITHIN:?}")),
        }
    }

    fn envelope(&self, id: &str, fact: &Fact) -> Envelope {
        Envelope {
            tenant_id: self.run.as_str().into(),
            aggregate_id: fact.id.as_str().into(),
            aggregate_type: fact.subject.as_str().into(),
            event_type: fact.event.into(),
            payload: fact.payload(),
            timestamp: humantime::format_rfc3339_millis(fact.at).to_string().into(),
            event_id: Some(id.into()),
            aggregate_seq: None,
            correlation_id: None,
            traceparent: None,
            schema_version: Some(1),
            extra: Map::new(),
        }
    }

    /// How many facts are stored.
    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Where the last of them is in the stream; 0 before there is any.
    pub(crate) fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    fn is_away(&self, why: &str) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if away.is_none() {
            *away = Some(Instant::now());
            self.progress.note(&format!(
                "nothing can be put on record: the NATS server does not store it: {why}; what happens is held back until it does"
            ));
        }
    }

    fn is_back(&self) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = away.take() {
            let lasted = Duration::from_millis(since.elapsed().as_millis().try_into().unwrap_or(0));
            self.progress.note(&format!(
                "the record goes on, after {}",
                humantime::format_duration(lasted)
            ));
        }
    }
}

/// Times of a loop that never go back, whatever happens to the clock of the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    instant: Instant,
    system: SystemTime,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            instant: Instant::now(),
            system: SystemTime::now(),
        }
    }

    /// When `instant` was.
    pub(crate) fn time_of(&self, instant: Instant) -> SystemTime {
        self.system + instant.saturating_duration_since(self.instant)
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.time_of(Instant::now())
    }
}
