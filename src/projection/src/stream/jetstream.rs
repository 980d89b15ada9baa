//! JetStream as a source.
//!
//! The client's own ordered consumer is not used: after trouble it makes itself anew by its own count, without asking whether the stream is still the same.
//! Here every trouble ends the delivery, and whoever starts the next one has looked at the stream first.

mod connection;

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_nats::{
    Client, ConnectOptions,
    jetstream::{
        self, Message,
        consumer::{
            AckPolicy, Consumer, DeliverPolicy,
            pull::{self, MessagesErrorKind},
        },
        context::GetStreamErrorKind,
        stream::{RawMessageErrorKind, RetentionPolicy, State, Stream},
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, timeout, timeout_at};

pub use self::connection::JetStreamConnection;
use super::{
    Delivery, EventSource, Interruption, Order, ReceiveLimits, StreamError, StreamFacts,
    probe::Notes,
};
use crate::settings::{Settings, SourceKind};

/// How long a durable consumer waits for an acknowledgement: longer than any commit, because what it delivers again comes out of order.
const ACK_WAIT: Duration = Duration::from_mins(5);
/// How long the server keeps a consumer that nobody pulls from.
const ABANDONED_AFTER: Duration = Duration::from_secs(30);
/// How much one pull asks for. The client asks again when half of it has come.
const PULL_EVENTS: usize = 10_000;
/// And at least.
const PULL_EVENTS_MIN: usize = 16;
/// More than any batch, or delivery would stall until the batch is acknowledged.
const ACK_PENDING_MAX: i64 = 100_000;

/// Reads a stream of a server.
pub struct JetStreamSource {
    client: Client,
    context: jetstream::Context,
    stream: String,
    subjects: Vec<String>,
    kind: SourceKind,
    durable: String,
    heartbeat: Duration,
    queue_bytes_max: usize,
    notes: Arc<Notes>,
    active: Option<Active>,
    /// When the stream was created that was last looked at.
    looked_at: Option<i128>,
    /// Why the delivery ended, where that is still to be told.
    broken: Option<StreamError>,
}

/// One delivery.
struct Active {
    consumer: Consumer<pull::Config>,
    messages: pull::Stream,
    order: Order,
    disconnections: u64,
    /// What is to be acknowledged: every message, or the last of each batch where it stands for all before it.
    unacknowledged: VecDeque<(u64, Message)>,
    acknowledges_each: bool,
    last: Option<(u64, Message)>,
    /// How many messages there were behind the last one.
    pending: u64,
    /// The message before the first hole that nobody has looked into.
    hole: Option<u64>,
}

impl Drop for JetStreamSource {
    fn drop(&mut self) {
        self.notes.bound.store(false, Ordering::Relaxed);
    }
}

impl JetStreamSource {
    /// Connects to the server that `settings` name.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub async fn connect(settings: &Settings) -> Result<Self, StreamError> {
        let connection = JetStreamConnection::with(settings, ConnectOptions::new()).await?;
        Ok(connection.source(settings))
    }

    async fn stream(&self) -> Result<Stream, StreamError> {
        let found = self.context.get_stream(&self.stream).await;
        found.map_err(|error| match error.kind() {
            GetStreamErrorKind::JetStream(told)
                if told.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND =>
            {
                StreamError::Missing {
                    stream: self.stream.clone(),
                }
            }
            _ => StreamError::Server {
                operation: "describe the stream",
                source: Box::new(error),
            },
        })
    }

    fn consumer(&self, from: u64, retention: RetentionPolicy) -> pull::Config {
        let mut config = pull::Config {
            // A work queue gives everything that is left, and nothing else is allowed there.
            deliver_policy: match retention {
                RetentionPolicy::WorkQueue => DeliverPolicy::All,
                _ => DeliverPolicy::ByStartSequence {
                    start_sequence: from,
                },
            },
            ..pull::Config::default()
        };
        match &self.subjects[..] {
            [] => {}
            [subject] => config.filter_subject.clone_from(subject),
            subjects => config.filter_subjects = subjects.to_vec(),
        }
        match self.kind {
            SourceKind::Ordered => {
                config.ack_policy = AckPolicy::None;
                config.memory_storage = true;
                config.num_replicas = 1;
                config.inactive_threshold = ABANDONED_AFTER;
            }
            SourceKind::Durable => {
                config.durable_name = Some(self.durable.clone());
                // A work queue removes messages one by one, and takes nothing else.
                config.ack_policy = match retention {
                    RetentionPolicy::WorkQueue => AckPolicy::Explicit,
                    _ => AckPolicy::All,
                };
                config.ack_wait = ACK_WAIT;
                config.max_ack_pending = ACK_PENDING_MAX;
            }
        }
        config
    }

    /// Why events would be lost, or never come, by reading a stream of this `retention`.
    fn unsafe_because(&self, retention: RetentionPolicy) -> Option<String> {
        /// Older servers take one subject only, and some of them ignore the others in silence.
        const SUBJECTS_SINCE: (i64, i64, i64) = (2, 10, 0);
        let (major, minor, patch) = SUBJECTS_SINCE;
        if self.subjects.len() > 1 && !self.client.is_server_compatible(major, minor, patch) {
            let version = self.client.server_info().version;
            return Some(format!(
                "several subjects need a server from 2.10 on, and this one is {version}"
            ));
        }
        match (self.kind, retention) {
            (_, RetentionPolicy::Interest) => Some(
                "the stream has interest retention, and would drop events when delivery starts again".to_owned(),
            ),
            (SourceKind::Ordered, RetentionPolicy::WorkQueue) => {
                Some("the stream is a work queue; set source: durable".to_owned())
            }
            _ => None,
        }
    }

    /// The bytes of one event; `None` where the stream does not have it any more.
    ///
    /// # Errors
    /// The server does not show it.
    pub async fn payload(&self, sequence: u64) -> Result<Option<Bytes>, StreamError> {
        let message = message_at(&self.stream().await?, sequence).await?;
        Ok(message.map(|(_, payload)| payload))
    }

    /// Whether the stream has dropped messages behind the sequence `seen`.
    async fn dropped_behind(&self, seen: u64) -> Result<bool, StreamError> {
        let stream = self.stream().await?;
        Ok(stream.cached_info().state.first_sequence > seen + 1)
    }

    async fn next(&mut self, within: Instant) -> Result<Option<Delivery>, StreamError> {
        let disconnections = self.notes.disconnections.load(Ordering::Relaxed);
        let active = self
            .active
            .as_mut()
            .ok_or(StreamError::Interrupted(Interruption::Ended))?;
        // What was on its way to the old connection is lost, and nobody would notice before the next message.
        if active.disconnections != disconnections {
            return Err(StreamError::Interrupted(Interruption::Reconnected));
        }
        let message = match active.messages.next().now_or_never() {
            Some(message) => message,
            None => match timeout_at(within, active.messages.next()).await {
                Ok(message) => message,
                Err(_) => return Ok(None),
            },
        };
        let message = message.ok_or(StreamError::Interrupted(Interruption::Ended))?;
        let message = message.map_err(|error| match error.kind() {
            MessagesErrorKind::MissingHeartbeat => {
                StreamError::Interrupted(Interruption::MissedHeartbeat)
            }
            _ => StreamError::Interrupted(Interruption::Ended),
        })?;
        let delivery = active.admit(&message, !self.subjects.is_empty())?;
        self.notes.delivered(delivery.sequence, delivery.pending);
        if let SourceKind::Durable = self.kind {
            let before = active.last.replace((delivery.sequence, message));
            if active.acknowledges_each {
                active.unacknowledged.extend(before);
            }
        }
        Ok(Some(delivery))
    }
}

impl Active {
    fn admit(&mut self, message: &Message, filtered: bool) -> Result<Delivery, StreamError> {
        let info = message.info();
        let info = info.map_err(|source| StreamError::Server {
            operation: "number its messages",
            source,
        })?;
        let seen = self.order.seen();
        let next = self
            .order
            .next(info.consumer_sequence, info.stream_sequence, info.delivered);
        next.map_err(StreamError::Interrupted)?;
        // A work queue drops what was read. A filter that had nothing left leaves holes where others publish.
        let of_no_account = self.acknowledges_each || (filtered && self.pending == 0);
        if info.stream_sequence > seen + 1 && !of_no_account {
            self.hole.get_or_insert(seen);
        }
        self.pending = info.pending;
        Ok(Delivery {
            sequence: info.stream_sequence,
            published: info.published.unix_timestamp_nanos(),
            subject: message.subject.clone(),
            payload: message.payload.clone(),
            pending: info.pending,
        })
    }
}

/// How many messages take about `bytes_max`, as large as they are in the stream. A limit of bytes would make the server refuse a message that is larger.
fn pull_events(state: &State, bytes_max: usize) -> usize {
    let each = state.bytes.checked_div(state.messages).unwrap_or(0).max(1);
    let events = usize::try_from(bytes_max as u64 / each).unwrap_or(usize::MAX);
    events.clamp(PULL_EVENTS_MIN, PULL_EVENTS)
}

/// When a message was published, and its bytes; `None` where it was deleted by itself, which is no reason to stop.
///
/// A look that fails is none: whether the message is still the same would not be known.
async fn message_at(stream: &Stream, sequence: u64) -> Result<Option<(i128, Bytes)>, StreamError> {
    match stream.get_raw_message(sequence).await {
        Ok(message) => Ok(Some((message.time.unix_timestamp_nanos(), message.payload))),
        Err(error) if matches!(error.kind(), RawMessageErrorKind::NoMessageFound) => Ok(None),
        Err(error) => Err(StreamError::Server {
            operation: "show a message",
            source: Box::new(error),
        }),
    }
}

#[async_trait]
impl EventSource for JetStreamSource {
    async fn facts(&mut self, floor: u64) -> Result<StreamFacts, StreamError> {
        let stream = self.stream().await?;
        let info = stream.cached_info();
        let (state, retention) = (&info.state, info.config.retention);
        let mut published_at_floor = None;
        if floor > 0 && (state.first_sequence..=state.last_sequence).contains(&floor) {
            published_at_floor = message_at(&stream, floor)
                .await?
                .map(|(published, _)| published);
        }
        let created = info.created.unix_timestamp_nanos();
        self.looked_at = Some(created);
        Ok(StreamFacts {
            stream: self.stream.clone(),
            created,
            first: state.first_sequence,
            last: state.last_sequence,
            published_at_floor,
            drops_what_was_read: retention == RetentionPolicy::WorkQueue,
            unsafe_because: self.unsafe_because(retention),
        })
    }

    async fn start(&mut self, from: u64) -> Result<(), StreamError> {
        self.active = None;
        self.broken = None;
        self.notes.bound.store(false, Ordering::Relaxed);
        let disconnections = self.notes.disconnections.load(Ordering::Relaxed);
        let stream = self.stream().await?;
        if let SourceKind::Durable = self.kind {
            // Made anew, because a durable goes on where its acknowledgements are, and not where our checkpoint is.
            let _ = stream.delete_consumer(&self.durable).await;
        }
        let config = self.consumer(from, stream.cached_info().config.retention);
        let failed = |source| StreamError::Server {
            operation: "start a delivery",
            source,
        };
        let starts_at_floor = matches!(config.deliver_policy, DeliverPolicy::All);
        let acknowledges_each = matches!(config.ack_policy, AckPolicy::Explicit);
        let consumer = stream
            .create_consumer(config)
            .await
            .map_err(|error| failed(Box::new(error)))?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(pull_events(
                &stream.cached_info().state,
                self.queue_bytes_max,
            ))
            .heartbeat(self.heartbeat)
            .expires(self.heartbeat * 4)
            .messages()
            .await
            .map_err(|error| failed(Box::new(error)))?;
        // The consumer belongs to the stream that was looked at, or to none that may be read.
        let created = self.stream().await?.cached_info().created;
        if self
            .looked_at
            .is_some_and(|looked_at| looked_at != created.unix_timestamp_nanos())
        {
            return Err(StreamError::Interrupted(Interruption::Ended));
        }
        let pending = consumer.cached_info().num_pending;
        self.notes.started(from, pending);
        let order = Order::starting_at(if starts_at_floor { 0 } else { from });
        self.active = Some(Active {
            consumer,
            messages,
            order,
            disconnections,
            unacknowledged: VecDeque::new(),
            acknowledges_each,
            last: None,
            pending,
            hole: None,
        });
        Ok(())
    }

    async fn receive(&mut self, limits: &ReceiveLimits) -> Result<Vec<Delivery>, StreamError> {
        if let Some(broken) = self.broken.take() {
            return Err(broken);
        }
        let mut received = Vec::new();
        let Some(first) = self.next(Instant::now() + limits.idle).await? else {
            return Ok(received);
        };
        let until = Instant::now() + limits.within;
        let mut bytes = first.payload.len();
        received.push(first);
        while received.len() < limits.events_max && bytes < limits.bytes_max {
            match self.next(until).await {
                Ok(Some(delivery)) => {
                    bytes += delivery.payload.len();
                    // At the end of the stream nothing is gained by waiting for a fuller batch.
                    let last = delivery.pending == 0;
                    received.push(delivery);
                    if last {
                        break;
                    }
                }
                Ok(None) => break,
                // What is here is in order; the next call begins with the trouble.
                Err(error) => {
                    self.broken = Some(error);
                    break;
                }
            }
        }
        let Some(active) = &mut self.active else {
            return Ok(received);
        };
        active.unacknowledged.extend(active.last.take());
        // Messages that were removed one by one leave holes too. What the stream dropped at its beginning before it came here was never seen.
        if let Some(seen) = active.hole.take()
            && self.dropped_behind(seen).await?
        {
            received.retain(|delivery| delivery.sequence <= seen);
            self.broken = Some(StreamError::Interrupted(Interruption::Gap));
        }
        Ok(received)
    }

    async fn pending(&mut self) -> Result<u64, StreamError> {
        let ended = || StreamError::Interrupted(Interruption::Ended);
        let active = self.active.as_ref().ok_or_else(ended)?;
        let info = active.consumer.get_info().await;
        let info = info.map_err(|error| StreamError::Server {
            operation: "say what is left to deliver",
            source: Box::new(error),
        })?;
        // What was sent and has not been received is not pending for the server any more.
        let sent = info.delivered.consumer_sequence;
        let on_its_way = sent.saturating_sub(active.order.delivered());
        Ok(info.num_pending + on_its_way)
    }

    async fn acknowledge(&mut self, through: u64) -> Result<(), StreamError> {
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        let failed = |source| StreamError::Server {
            operation: "take an acknowledgement",
            source,
        };
        while let Some((sequence, _)) = active.unacknowledged.front()
            && *sequence <= through
        {
            let (_, message) = active.unacknowledged.pop_front().expect("it was just seen");
            // One for the last stands for all before it, where that is the policy.
            let next_is_covered = active
                .unacknowledged
                .front()
                .is_some_and(|(next, _)| *next <= through);
            if active.acknowledges_each || !next_is_covered {
                let acknowledged = timeout(self.heartbeat, message.ack()).await;
                acknowledged
                    .map_err(|error| failed(Box::new(error)))?
                    .map_err(failed)?;
            }
        }
        Ok(())
    }
}
