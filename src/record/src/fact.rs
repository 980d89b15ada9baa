//! Facts: what is put on record, before it has an envelope. Here are the words that the shipped manifest understands.
//!
//! Who says them is elsewhere: `nodes`, `leaders` and `chain` of what was observed, the recorder of the record itself.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

/// What a fact is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A leader in a term.
    Leader,
    /// A node of the cluster.
    Node,
    /// A node of a chain.
    ChainNode,
    /// A reorganisation of a chain.
    Reorg,
    /// The record itself.
    Record,
}

impl Subject {
    /// The aggregate type in envelopes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Node => "node",
            Self::ChainNode => "chain_node",
            Self::Reorg => "reorg",
            Self::Record => "record",
        }
    }
}

/// Something that happened, to be put on record.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// What kind of thing it happened to.
    pub subject: Subject,
    /// Which of them; also the id of the view.
    pub id: String,
    /// What happened.
    pub event: &'static str,
    /// When.
    pub at: SystemTime,
    /// What else is known of it.
    pub details: Map<String, Value>,
}

impl Fact {
    /// `event` happened to the `subject` called `id`; `details` is an object.
    pub fn new(
        subject: Subject,
        id: impl Into<String>,
        event: &'static str,
        at: SystemTime,
        details: Value,
    ) -> Self {
        let details = match details {
            Value::Object(details) => details,
            Value::Null => Map::new(),
            other => Map::from_iter([("value".to_owned(), other)]),
        };
        Self {
            subject,
            id: id.into(),
            event,
            at,
            details,
        }
    }

    /// The payload of its envelope: the details, and the time as programs can count with it.
    pub fn payload(&self) -> Value {
        let mut payload = self.details.clone();
        payload.insert("at_ms".to_owned(), json!(millis(self.at)));
        Value::Object(payload)
    }
}

/// Milliseconds since 1970, as the programs count time.
pub fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
