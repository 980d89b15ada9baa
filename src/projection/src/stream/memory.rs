//! A stream in memory that misbehaves on demand: for tests of everything behind the port.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Delivery, EventSource, Interruption, ReceiveLimits, StreamError, StreamFacts};

/// A source of what was published to it. Clones share the stream.
#[derive(Debug, Clone)]
pub struct MemorySource {
    stream: Arc<Mutex<MemoryStream>>,
    next: u64,
}

#[derive(Debug)]
struct MemoryStream {
    created: i128,
    messages: Vec<(String, Bytes)>,
    /// After how many more messages delivery is broken off, one after the other.
    interruptions: VecDeque<(usize, Interruption)>,
    acknowledged: u64,
}

impl Default for MemorySource {
    fn default() -> Self {
        let stream = MemoryStream {
            created: 1,
            messages: Vec::new(),
            interruptions: VecDeque::new(),
            acknowledged: 0,
        };
        Self {
            stream: Arc::new(Mutex::new(stream)),
            next: 1,
        }
    }
}

impl MemorySource {
    /// Appends a message to the stream, and says where.
    pub fn publish(&self, subject: &str, payload: impl Into<Bytes>) -> u64 {
        let mut stream = self.stream();
        stream.messages.push((subject.to_owned(), payload.into()));
        stream.messages.len() as u64
    }

    /// Breaks delivery off after `messages` more messages; a second time after that many more, and so on.
    pub fn interrupt_after(&self, messages: usize, how: Interruption) {
        self.stream().interruptions.push_back((messages, how));
    }

    /// Deletes the stream and makes it anew, empty.
    pub fn recreate(&self) {
        let mut stream = self.stream();
        stream.created += 1;
        stream.messages.clear();
    }

    /// What was acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.stream().acknowledged
    }

    fn stream(&self) -> MutexGuard<'_, MemoryStream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&mut self, limits: &ReceiveLimits) -> Result<Vec<Delivery>, StreamError> {
        let shared = Arc::clone(&self.stream);
        let mut stream = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let last = stream.messages.len() as u64;
        let mut count = limits
            .events_max
            .min(usize::try_from(last + 1 - self.next.min(last + 1)).unwrap_or(0));
        if let Some((left, how)) = stream.interruptions.front_mut() {
            if *left == 0 {
                let how = *how;
                stream.interruptions.pop_front();
                return Err(StreamError::Interrupted(how));
            }
            count = count.min(*left);
            *left -= count;
        }
        let range = self.next..self.next + count as u64;
        self.next = range.end;
        let deliveries = range.map(|sequence| {
            let (subject, payload) =
                &stream.messages[usize::try_from(sequence - 1).expect("it is in memory")];
            Delivery {
                sequence,
                published: i128::from(sequence) * 1_000,
                subject: subject.as_str().into(),
                payload: payload.clone(),
                pending: last - sequence,
            }
        });
        Ok(deliveries.collect())
    }
}

#[async_trait]
impl EventSource for MemorySource {
    async fn facts(&mut self, floor: u64) -> Result<StreamFacts, StreamError> {
        let stream = self.stream();
        let last = stream.messages.len() as u64;
        Ok(StreamFacts {
            stream: "MEMORY".to_owned(),
            created: stream.created,
            first: 1,
            last,
            published_at_floor: (1..=last)
                .contains(&floor)
                .then_some(i128::from(floor) * 1_000),
            drops_what_was_read: false,
            unsafe_because: None,
        })
    }

    async fn start(&mut self, from: u64) -> Result<(), StreamError> {
        self.next = from;
        Ok(())
    }

    async fn receive(&mut self, limits: &ReceiveLimits) -> Result<Vec<Delivery>, StreamError> {
        let taken = self.take(limits)?;
        if taken.is_empty() {
            tokio::time::sleep(limits.idle).await;
        }
        Ok(taken)
    }

    async fn pending(&mut self) -> Result<u64, StreamError> {
        let last = self.stream().messages.len() as u64;
        Ok((last + 1).saturating_sub(self.next))
    }

    async fn acknowledge(&mut self, through: u64) -> Result<(), StreamError> {
        self.stream().acknowledged = through;
        Ok(())
    }
}
