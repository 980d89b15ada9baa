//! History: what a record says, asked of whoever writes it, or of what was stored where nobody does any more.

use std::time::Duration;

use projection::{
    query::{Query, QueryEngine, Row},
    types::TenantId,
};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::time::timeout;
use trellis_bootstrap::DynError;

use crate::{Condition, Record, RecordError, View, views};

/// How long an answer may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// How many views are asked for at once.
const PAGE: usize = 200;

/// The views of one record.
pub struct History {
    record: Record,
    asked: Asked,
}

enum Asked {
    Writer {
        url: String,
        client: Client,
    },
    Stored {
        engine: Box<QueryEngine>,
        tenant: TenantId,
    },
}

/// Which views are wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Such as `{"depth": {"gte": 2}}`, in `uqf/1`.
    pub filter: Option<Value>,
    /// The member by which they are sorted, and whether downwards; by their ids where none is named.
    pub sort: Option<(&'static str, bool)>,
    /// How many at most.
    pub limit: usize,
}

/// Some views of one type.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The views.
    pub rows: Vec<Row>,
    /// Whether there are more.
    pub more: bool,
}

impl History {
    /// That of `record`.
    ///
    /// # Errors
    /// The views cannot be read.
    pub fn of(record: Record) -> Result<Self, RecordError> {
        let asked = match record.condition {
            Condition::Live => {
                let address = record.about.address;
                let address = address.ok_or_else(|| silent(&record, "it has just begun".into()))?;
                let client = Client::builder().timeout(ANSWERS_WITHIN).build();
                Asked::Writer {
                    url: format!("http://{address}/v1/query"),
                    client: client.map_err(|error| silent(&record, error.into()))?,
                }
            }
            Condition::Ended | Condition::Killed => Asked::Stored {
                engine: Box::new(views::stored(record.folder()).map_err(|source| {
                    RecordError::Damaged {
                        run: record.about.run.to_string(),
                        what: "its views cannot be opened".to_owned(),
                        source: Some(source),
                    }
                })?),
                tenant: record.about.run.as_str().into(),
            },
        };
        Ok(Self { record, asked })
    }

    /// The record that it is of.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The views of a type, as far as they are wanted.
    ///
    /// # Errors
    /// The query is none, or nobody answers.
    pub async fn views(&self, view: View, wanted: &Wanted) -> Result<Found, RecordError> {
        let mut query = json!({ "view": view.as_str() });
        if let Some(filter) = &wanted.filter {
            query["filter"] = filter.clone();
        }
        if let Some((field, downwards)) = wanted.sort {
            let dir = if downwards { "desc" } else { "asc" };
            query["sort"] = json!([{ "field": field, "dir": dir }]);
        }
        let mut found = Found::default();
        loop {
            let left = wanted.limit - found.rows.len();
            query["limit"] = json!(left.clamp(1, PAGE));
            let answer = self.answer(&query).await?;
            let rows: Vec<Row> = self.read(answer["rows"].clone())?;
            found.rows.extend(rows);
            let cursor = answer.get("next_cursor").cloned();
            found.more = cursor.is_some();
            match cursor {
                Some(cursor) if found.rows.len() < wanted.limit => query["cursor"] = cursor,
                _ => break,
            }
        }
        found.more |= found.rows.len() > wanted.limit;
        found.rows.truncate(wanted.limit);
        Ok(found)
    }

    /// What the record says of itself; nothing before it has said anything.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn itself(&self) -> Result<Option<Value>, RecordError> {
        let wanted = Wanted {
            limit: 1,
            ..Wanted::default()
        };
        let found = self.views(View::Record, &wanted).await?;
        Ok(found.rows.into_iter().next().map(|row| row.view.value()))
    }

    async fn answer(&self, query: &Value) -> Result<Value, RecordError> {
        match &self.asked {
            Asked::Stored { engine, tenant } => {
                let wrong = |error: &dyn std::error::Error| RecordError::Query {
                    what: trellis_bootstrap::in_one_line(error),
                };
                let query = Query::from_value(query).map_err(|error| wrong(&error))?;
                let answer = engine.query(tenant, &query).await;
                let answer = answer.map_err(|error| wrong(&error))?;
                Ok(serde_json::to_value(answer).expect("an answer is values"))
            }
            Asked::Writer { url, client } => {
                let asked = timeout(ANSWERS_WITHIN, ask(client, url, query)).await;
                let asked = asked.map_err(|late| silent(&self.record, late.into()))?;
                let (is_answer, answer) = asked.map_err(|error| silent(&self.record, error))?;
                if is_answer {
                    return Ok(answer);
                }
                Err(RecordError::Query {
                    what: answer["message"].as_str().unwrap_or("no answer").to_owned(),
                })
            }
        }
    }

    fn read<T: serde::de::DeserializeOwned>(&self, value: Value) -> Result<T, RecordError> {
        serde_json::from_value(value).map_err(|error| silent(&self.record, error.into()))
    }
}

/// Whether it was answered, and what was said.
async fn ask(client: &Client, url: &str, query: &Value) -> Result<(bool, Value), DynError> {
    let answer = client.post(url).json(query).send().await?;
    Ok((answer.status().is_success(), answer.json().await?))
}

fn silent(record: &Record, source: DynError) -> RecordError {
    RecordError::Silent {
        run: record.about.run.to_string(),
        pid: record.about.pid,
        source,
    }
}
