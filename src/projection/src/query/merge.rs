//! Merging: the answers of several shards as one, in the order that the query wants.
//!
//! Shards answer whole views, because what a query sorts by need not be among the members that it shows.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{
    Query, QueryError,
    answer::{Row, members},
    filter::Seen,
    run::position_of,
    uqf::Direction,
};
use crate::{
    shards::ShardId,
    types::{StoredView, escape},
};

/// Where each shard is in an answer that goes on: what it is asked for next, if anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Place {
    /// It has not been asked, or nothing of its answer was shown.
    #[serde(rename = "b")]
    Begin,
    /// Behind the views that were shown.
    #[serde(rename = "c")]
    Behind(String),
    /// It has nothing more.
    #[serde(rename = "e")]
    End,
}

/// The cursor of an answer of all shards. What it holds was signed by the shards that made it, for this query of this tenant.
pub(crate) fn write(places: &[Place]) -> Option<String> {
    let over = places.iter().all(|place| *place == Place::End);
    let bytes = serde_json::to_vec(places).expect("text is always JSON");
    (!over).then(|| URL_SAFE_NO_PAD.encode(bytes))
}

/// Reads what [`write`] wrote for as many shards.
pub(crate) fn read(cursor: Option<&str>, shards: usize) -> Result<Vec<Place>, QueryError> {
    let Some(cursor) = cursor else {
        return Ok(vec![Place::Begin; shards]);
    };
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    let places: Option<Vec<Place>> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    places
        .filter(|places| places.len() == shards)
        .ok_or(QueryError::CursorRefused)
}

impl Query {
    pub(crate) fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    pub(crate) fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// All rows with their shards, in the order that is wanted.
    pub(crate) fn merged(&self, answers: Vec<(ShardId, Vec<Row>)>) -> Vec<(ShardId, Row)> {
        let rows = answers
            .into_iter()
            .flat_map(|(shard, rows)| rows.into_iter().map(move |row| (shard, row)));
        let mut keyed: Vec<_> = rows
            .map(|(shard, row)| {
                (
                    self.values(&row),
                    escape(row.id.as_str()).into_owned(),
                    shard,
                    row,
                )
            })
            .collect();
        keyed.sort_by(|(values, id, ..), (other, other_id, ..)| {
            let ids = match self.order.ids {
                Direction::Ascending => id.cmp(other_id),
                Direction::Descending => other_id.cmp(id),
            };
            values.cmp(other).then(ids)
        });
        keyed
            .into_iter()
            .map(|(.., shard, row)| (shard, row))
            .collect()
    }

    /// A row with the members only that are wanted.
    pub(crate) fn shown(&self, mut row: Row) -> Row {
        if let Some(fields) = &self.fields {
            row.view = members(&row.view, fields);
        }
        row
    }

    /// The bytes by which a row is sorted.
    fn values(&self, row: &Row) -> Vec<u8> {
        let bytes = StoredView::encode_parts(&row.view, row.last_seq, row.applied, "");
        let mut found = Vec::new();
        let origin = self.picker.pick(&bytes, &mut found).unwrap_or_default();
        let seen = Seen {
            id: row.id.as_str(),
            origin,
            members: &found,
        };
        position_of(self, &seen)
    }
}
