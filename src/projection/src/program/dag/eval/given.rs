//! Given: what a node gives. What is only looked at stays where it is, be it in the view, in the event or in the program.

use serde_json::Value;

use crate::{
    program::dag::node::EventField,
    program::weight,
    types::{Envelope, Text},
};

pub(super) static NULL: Value = Value::Null;

#[derive(Clone)]
pub(in crate::program::dag) enum Given<'a> {
    /// A value that is somewhere else.
    Seen(&'a Value),
    /// A text that is somewhere else.
    Text(&'a str),
    /// A value of its own.
    Made(Value),
}

impl<'a> Given<'a> {
    pub(super) fn as_value(&self) -> Option<&Value> {
        match self {
            Self::Seen(value) => Some(value),
            Self::Text(_) => None,
            Self::Made(value) => Some(value),
        }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            other => other.as_value()?.as_str(),
        }
    }

    pub(super) fn as_bool(&self) -> Option<bool> {
        self.as_value()?.as_bool()
    }

    pub(super) fn as_i64(&self) -> Option<i64> {
        self.as_value()?.as_i64()
    }

    pub(super) fn as_list(&self) -> Option<&[Value]> {
        self.as_value()?.as_array().map(Vec::as_slice)
    }

    pub(super) fn is_null(&self) -> bool {
        self.as_value().is_some_and(Value::is_null)
    }

    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Text(text) => text.len() + 2,
            Self::Seen(value) => weight(value),
            Self::Made(value) => weight(value),
        }
    }

    pub(in crate::program::dag) fn into_value(self) -> Value {
        match self {
            Self::Seen(value) => value.clone(),
            Self::Text(text) => text.into(),
            Self::Made(value) => value,
        }
    }

    /// The part at `path`, null where there is none.
    pub(super) fn part(&self, path: &[String]) -> Given<'a> {
        match self {
            Self::Seen(value) => Self::Seen(at(value, path)),
            Self::Text(text) if path.is_empty() => Self::Text(text),
            Self::Text(_) => Self::Seen(&NULL),
            Self::Made(value) => Self::Made(at(value, path).clone()),
        }
    }
}

impl PartialEq for Given<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self.as_str(), other.as_str()) {
            (Some(one), Some(other)) => one == other,
            _ => self.as_value() == other.as_value(),
        }
    }
}

/// The part of `value` at `path`, null where there is none.
pub(super) fn at<'a>(value: &'a Value, path: &[String]) -> &'a Value {
    path.iter().fold(value, |value, name| match value {
        Value::Object(members) => members.get(name).unwrap_or(&NULL),
        Value::Array(items) => name
            .parse()
            .ok()
            .and_then(|at: usize| items.get(at))
            .unwrap_or(&NULL),
        _ => &NULL,
    })
}

pub(super) fn event_field<'a>(
    event: &'a Envelope,
    field: &EventField,
    rest: &[String],
) -> Given<'a> {
    let text =
        |text: Option<&'a Text>| text.map_or(Given::Seen(&NULL), |text| Given::Text(text.as_str()));
    let given = match field {
        EventField::Payload => return Given::Seen(at(&event.payload, rest)),
        EventField::Extra(name) => {
            let extra = event.extra.get(name);
            return Given::Seen(extra.map_or(&NULL, |extra| at(extra, rest)));
        }
        EventField::TenantId => Given::Text(event.tenant_id.as_str()),
        EventField::AggregateId => Given::Text(event.aggregate_id.as_str()),
        EventField::AggregateType => Given::Text(event.aggregate_type.as_str()),
        EventField::EventType => Given::Text(event.event_type.as_str()),
        EventField::Timestamp => Given::Text(event.timestamp.as_str()),
        EventField::EventId => text(event.event_id.as_ref()),
        EventField::CorrelationId => text(event.correlation_id.as_ref()),
        EventField::Traceparent => text(event.traceparent.as_ref()),
        EventField::AggregateSeq => Given::Made(event.aggregate_seq.into()),
        EventField::SchemaVersion => Given::Made(event.schema_version.into()),
    };
    if rest.is_empty() {
        given
    } else {
        Given::Seen(&NULL)
    }
}
