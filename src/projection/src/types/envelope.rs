//! Envelopes: an event as it comes from the stream, decoded in one pass over its bytes.
//!
//! Fields that are not known here are kept, so that programs can read what newer publishers write.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{TenantId, Text};

/// An event with what its publisher said about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Envelope {
    /// Whose event it is.
    pub tenant_id: TenantId,
    /// What the event happened to.
    pub aggregate_id: Text,
    /// What kind of thing that is.
    pub aggregate_type: Text,
    /// What happened.
    pub event_type: Text,
    /// The event itself.
    pub payload: Value,
    /// When it happened, as the publisher wrote it. Lag is measured by the stream's own time.
    pub timestamp: Text,
    /// The publisher's own identity of the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<Text>,
    /// The position of the event among those of its aggregate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregate_seq: Option<u64>,
    /// What logs of one request are found by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<Text>,
    /// The position in a distributed trace, in the W3C's form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<Text>,
    /// The version of the payload's form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<u32>,
    /// Everything else that the publisher sent.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Envelope {
    /// Reads an envelope from the JSON of a message.
    ///
    /// # Errors
    /// What is missing or of another type, and where.
    pub fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The trace that the event is part of, where it says so.
    pub fn trace_id(&self) -> Option<&str> {
        // version-trace-parent-flags, as the W3C has it.
        self.traceparent.as_ref()?.as_str().split('-').nth(1)
    }
}

impl<'de> Deserialize<'de> for Envelope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

/// Written by hand because a derived `flatten` would hold every field twice, on the hottest path there is.
struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event envelope")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match &*name {
                "tenant_id" => at_most_once(&mut fields.tenant_id, "tenant_id", map.next_value()?)?,
                "aggregate_id" => {
                    once(&mut fields.aggregate_id, "aggregate_id", map.next_value()?)?;
                }
                "aggregate_type" => once(
                    &mut fields.aggregate_type,
                    "aggregate_type",
                    map.next_value()?,
                )?,
                "event_type" => once(&mut fields.event_type, "event_type", map.next_value()?)?,
                "payload" => once(&mut fields.payload, "payload", map.next_value()?)?,
                "timestamp" => once(&mut fields.timestamp, "timestamp", map.next_value()?)?,
                "event_id" => at_most_once(&mut fields.event_id, "event_id", map.next_value()?)?,
                "aggregate_seq" => at_most_once(
                    &mut fields.aggregate_seq,
                    "aggregate_seq",
                    map.next_value()?,
                )?,
                "correlation_id" => at_most_once(
                    &mut fields.correlation_id,
                    "correlation_id",
                    map.next_value()?,
                )?,
                "traceparent" => {
                    at_most_once(&mut fields.traceparent, "traceparent", map.next_value()?)?;
                }
                "schema_version" => at_most_once(
                    &mut fields.schema_version,
                    "schema_version",
                    map.next_value()?,
                )?,
                _ => {
                    fields.extra.insert(name.into_owned(), map.next_value()?);
                }
            }
        }
        fields.finish()
    }
}

#[derive(Default)]
struct Fields {
    tenant_id: Option<TenantId>,
    aggregate_id: Option<Text>,
    aggregate_type: Option<Text>,
    event_type: Option<Text>,
    payload: Option<Value>,
    timestamp: Option<Text>,
    event_id: Option<Text>,
    aggregate_seq: Option<u64>,
    correlation_id: Option<Text>,
    traceparent: Option<Text>,
    schema_version: Option<u32>,
    extra: Map<String, Value>,
}

impl Fields {
    fn finish<E: Error>(self) -> Result<Envelope, E> {
        Ok(Envelope {
            tenant_id: self.tenant_id.unwrap_or_default(),
            aggregate_id: required(self.aggregate_id, "aggregate_id")?,
            aggregate_type: required(self.aggregate_type, "aggregate_type")?,
            event_type: required(self.event_type, "event_type")?,
            payload: required(self.payload, "payload")?,
            timestamp: required(self.timestamp, "timestamp")?,
            event_id: self.event_id,
            aggregate_seq: self.aggregate_seq,
            correlation_id: self.correlation_id,
            traceparent: self.traceparent,
            schema_version: self.schema_version,
            extra: self.extra,
        })
    }
}

/// A field that comes twice has two meanings, so it has none.
fn once<T, E: Error>(slot: &mut Option<T>, name: &'static str, value: T) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::duplicate_field(name)),
    }
}

/// Null is as good as nothing.
fn at_most_once<T, E: Error>(
    slot: &mut Option<T>,
    name: &'static str,
    value: Option<T>,
) -> Result<(), E> {
    value.map_or(Ok(()), |value| once(slot, name, value))
}

fn required<T, E: Error>(value: Option<T>, name: &'static str) -> Result<T, E> {
    value.ok_or_else(|| E::missing_field(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event() -> Value {
        json!({
            "aggregate_id": "a-1", "aggregate_type": "account", "event_type": "Deposited",
            "payload": {"amount": 5}, "timestamp": "2026-01-01T00:00:00Z"
        })
    }

    fn decode(value: &Value) -> Result<Envelope, serde_json::Error> {
        Envelope::decode(&serde_json::to_vec(value).unwrap())
    }

    #[test]
    fn the_least_that_an_event_says_is_enough_and_its_tenant_is_the_empty_one() {
        let envelope = decode(&event()).unwrap();
        assert_eq!(envelope.tenant_id, TenantId::default());
        assert_eq!(envelope.payload, json!({"amount": 5}));
        assert_eq!(envelope.correlation_id, None);
    }

    #[test]
    fn fields_of_newer_publishers_are_kept_and_written_back() {
        let mut newer = event();
        newer["tenant_id"] = json!("north");
        newer["correlation_id"] = json!("c-9");
        newer["traceparent"] = json!("00-4bf9-01");
        newer["region"] = json!({"name": "eu"});
        let envelope = decode(&newer).unwrap();
        assert_eq!(envelope.extra["region"], json!({"name": "eu"}));
        assert_eq!(envelope.traceparent, Some("00-4bf9-01".into()));
        assert_eq!(serde_json::to_value(&envelope).unwrap(), newer);
    }

    #[test]
    fn what_is_missing_twice_there_or_of_another_type_is_named() {
        let mut partial = event();
        partial.as_object_mut().unwrap().remove("event_type");
        assert!(
            decode(&partial)
                .unwrap_err()
                .to_string()
                .contains("event_type")
        );
        let mut wrong = event();
        wrong["aggregate_seq"] = json!(-1);
        assert!(decode(&wrong).is_err());
        let twice = br#"{"timestamp":"a","timestamp":"b"}"#;
        assert!(
            Envelope::decode(twice)
                .unwrap_err()
                .to_string()
                .contains("duplicate field")
        );
    }
}
