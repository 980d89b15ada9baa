//! Answers: views with where they come from, and how to go on.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{budget::Looked, plan::Explained};
use crate::{
    storage::StorageError,
    types::{FieldPath, StoredText, ViewId, ViewText},
};

/// A view in an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Which.
    pub id: ViewId,
    /// The view, or the members of it that were asked for, by their paths.
    pub view: ViewText,
    /// The last event that changed it.
    pub last_seq: u64,
    /// How many events changed it.
    pub applied: u64,
    /// Whether events of it wait in quarantine, so that it does not show them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

/// What a query came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The views.
    pub rows: Vec<Row>,
    /// Whether the budget was spent before all was looked at: there may be more than the rows tell.
    pub partial: bool,
    /// Gives the next views, where there may be any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// What was looked at.
    pub scanned: Looked,
    /// The event up to which everything is in the views.
    pub checkpoint: u64,
    /// How many events the node knows of that are not received yet; `None` where nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// The event that the views must come to before they are again what they were; `None` unless they are being made again in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rebuilding: Option<u64>,
    /// How it was answered, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<Explained>,
}

/// What getting one view came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Got {
    /// The view, if there is one.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub row: Option<Row>,
    /// The event up to which everything is in the views.
    pub checkpoint: u64,
    /// How many events the node knows of that are not received yet; `None` where nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// The event that the views must come to before they are again what they were; `None` unless they are being made again in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rebuilding: Option<u64>,
}

impl Row {
    /// The row of a view that is stored as `bytes`.
    pub(super) fn read(
        id: ViewId,
        bytes: &[u8],
        fields: Option<&[FieldPath]>,
    ) -> Result<Self, StorageError> {
        let stored = StoredText::decode(bytes).map_err(|source| StorageError::Undecodable {
            what: "view",
            source,
        })?;
        let whole = ViewText::new(stored.view);
        Ok(Self {
            id,
            view: match fields {
                None => whole,
                Some(fields) => members(&whole, fields),
            },
            last_seq: stored.last_seq,
            applied: stored.applied,
            stale: false,
        })
    }
}

/// The members at `fields` that are there, by their paths.
pub(super) fn members(view: &ViewText, fields: &[FieldPath]) -> ViewText {
    let view = view.value();
    let member = |field: &FieldPath| {
        let found = field.within(&view)?;
        Some((field.to_string(), found.clone()))
    };
    let members: Map<String, Value> = fields.iter().filter_map(member).collect();
    ViewText::from(&Value::Object(members))
}
