//! `uqf/1`: queries as they are written, checked wholly before anything is read.
//!
//! Whose views are asked for is not part of a query: there is no member for a tenant.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{
    QueryError,
    filter::{Filter, Operand},
    parse_filter,
};
use crate::types::{FieldPath, pick::Picker};

const SORTS_MAX: usize = 4;
const FIELDS_MAX: usize = 100;
const CURSOR_BYTES_MAX: usize = 768 << 10;
const MEMBERS: [&str; 9] = [
    "view",
    "filter",
    "sort",
    "fields",
    "limit",
    "cursor",
    "consistency",
    "budget",
    "explain",
];

/// A query in `uqf/1`.
#[derive(Debug, Clone)]
pub struct Query {
    pub(super) view: String,
    pub(super) filter: Filter,
    pub(super) order: Order,
    pub(super) fields: Option<Vec<FieldPath>>,
    pub(super) limit: Option<usize>,
    pub(super) cursor: Option<String>,
    pub(super) consistency: Consistency,
    pub(super) budget: AskedBudget,
    pub(super) explain: bool,
    pub(super) picker: Picker,
    /// What a cursor goes on with: filter and sort, in one spelling.
    pub(super) essence: String,
}

/// In which order views are answered. Views that are equal in all keys are in the order of their ids.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Order {
    pub(super) keys: Vec<(Operand, Direction)>,
    pub(super) ids: Direction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Direction {
    #[default]
    Ascending,
    Descending,
}

/// How recent the views must be that are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Consistency {
    /// The event that must be in the views.
    pub min_seq: Option<u64>,
    /// How long that may be waited for; as long as is allowed where it is not said.
    pub within: Option<Duration>,
}

/// How much a query may cost, where it asks for less than is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct AskedBudget {
    pub(super) rows: Option<u64>,
    pub(super) bytes: Option<u64>,
    pub(super) within: Option<Duration>,
}

impl Query {
    /// Reads a query from JSON.
    ///
    /// # Errors
    /// Which member is wrong, and what is allowed there.
    pub fn from_json(bytes: &[u8]) -> Result<Self, QueryError> {
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|error| QueryError::malformed("the query", format!("is no JSON: {error}")))?;
        Self::from_value(&value)
    }

    /// Reads a query from a value.
    ///
    /// # Errors
    /// As [`Query::from_json`].
    pub fn from_value(value: &Value) -> Result<Self, QueryError> {
        let members = object("the query", value)?;
        known("the query", members, &MEMBERS)?;
        let mut picker = Picker::default();
        let view = match members.get("view") {
            Some(Value::String(view)) if !view.is_empty() => view.clone(),
            _ => {
                return Err(QueryError::malformed(
                    "view",
                    "must be the name of a view, such as \"account\"",
                ));
            }
        };
        let filter = match present(members, "filter") {
            Some(filter) => parse_filter::filter(filter, &mut picker)?,
            None => Filter::All(Vec::new()),
        };
        let order = present(members, "sort")
            .map_or(Ok(Order::default()), |sort| order(sort, &mut picker))?;
        Ok(Self {
            view,
            filter,
            order,
            fields: present(members, "fields").map(fields).transpose()?,
            limit: present(members, "limit").map(limit).transpose()?,
            cursor: present(members, "cursor").map(cursor).transpose()?,
            consistency: present(members, "consistency")
                .map_or(Ok(Consistency::default()), consistency)?,
            budget: present(members, "budget").map_or(Ok(AskedBudget::default()), budget)?,
            explain: present(members, "explain").map_or(Ok(false), flag)?,
            picker,
            essence: essence(members),
        })
    }
}

impl Query {
    /// How recent the views must be.
    pub fn consistency(&self) -> &Consistency {
        &self.consistency
    }
}

/// Objects are in the order of their members, so one query has one spelling.
fn essence(members: &Map<String, Value>) -> String {
    let part = |name| members.get(name).unwrap_or(&Value::Null).to_string();
    format!("{}\n{}", part("filter"), part("sort"))
}

fn present<'m>(members: &'m Map<String, Value>, name: &str) -> Option<&'m Value> {
    members.get(name).filter(|value| !value.is_null())
}

pub(super) fn object<'v>(at: &str, value: &'v Value) -> Result<&'v Map<String, Value>, QueryError> {
    value
        .as_object()
        .ok_or_else(|| QueryError::malformed(at, "must be an object"))
}

fn known(at: &str, members: &Map<String, Value>, allowed: &[&str]) -> Result<(), QueryError> {
    match members.keys().find(|name| !allowed.contains(&&***name)) {
        None => Ok(()),
        Some(name) => Err(QueryError::malformed(
            at,
            format!("has no member {name:?}; allowed are {}", allowed.join(", ")),
        )),
    }
}

/// What a filter or a sort calls `text`.
pub(super) fn operand(at: &str, text: &str, picker: &mut Picker) -> Result<Operand, QueryError> {
    match text {
        "$id" => Ok(Operand::Id),
        "$last_seq" => Ok(Operand::LastSeq),
        "$applied" => Ok(Operand::Applied),
        text => {
            let path = text.parse::<FieldPath>();
            let path = path.map_err(|error| {
                QueryError::malformed(
                    at,
                    format!("{error}; beside members there are $id, $last_seq and $applied"),
                )
            })?;
            let slot = picker.slot(&path);
            Ok(Operand::Member(path, slot))
        }
    }
}

fn order(value: &Value, picker: &mut Picker) -> Result<Order, QueryError> {
    let wanted = || {
        QueryError::malformed(
            "sort",
            format!(
                "must be a list of 1 to {SORTS_MAX} of {{\"field\": .., \"dir\": \"asc\" or \"desc\"}}"
            ),
        )
    };
    let sorts = value.as_array().ok_or_else(wanted)?;
    if sorts.is_empty() || sorts.len() > SORTS_MAX {
        return Err(wanted());
    }
    let mut order = Order::default();
    for (position, sort) in sorts.iter().enumerate() {
        let at = format!("sort.{position}");
        let members = object(&at, sort)?;
        known(&at, members, &["field", "dir"])?;
        let field = members.get("field").and_then(Value::as_str);
        let field =
            field.ok_or_else(|| QueryError::malformed(format!("{at}.field"), "must be a path"))?;
        let direction = match members.get("dir").map_or(Some("asc"), Value::as_str) {
            Some("asc") => Direction::Ascending,
            Some("desc") => Direction::Descending,
            _ => {
                return Err(QueryError::malformed(
                    format!("{at}.dir"),
                    "must be asc or desc",
                ));
            }
        };
        order.ids = direction;
        match operand(&format!("{at}.field"), field, picker)? {
            // Ids are different, so nothing behind them decides.
            Operand::Id => break,
            operand => order.keys.push((operand, direction)),
        }
    }
    Ok(order)
}

fn fields(value: &Value) -> Result<Vec<FieldPath>, QueryError> {
    let wanted = || {
        let what = format!("must be a list of 1 to {FIELDS_MAX} paths");
        QueryError::malformed("fields", what)
    };
    let items = value.as_array().ok_or_else(wanted)?;
    if items.is_empty() || items.len() > FIELDS_MAX {
        return Err(wanted());
    }
    let path = |(position, item): (usize, &Value)| {
        let text = item.as_str().ok_or_else(wanted)?;
        let path = text.parse::<FieldPath>();
        path.map_err(|error| {
            let what = format!("{error}; id, last_seq and applied are in every row");
            QueryError::malformed(format!("fields.{position}"), what)
        })
    };
    items.iter().enumerate().map(path).collect()
}

fn limit(value: &Value) -> Result<usize, QueryError> {
    let limit = value.as_u64().filter(|limit| *limit > 0);
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    limit.ok_or_else(|| QueryError::malformed("limit", "must be a whole number above 0"))
}

fn cursor(value: &Value) -> Result<String, QueryError> {
    match value {
        Value::String(text) if text.len() <= CURSOR_BYTES_MAX => Ok(text.clone()),
        _ => Err(QueryError::malformed(
            "cursor",
            "must be the next_cursor of an answer",
        )),
    }
}

fn consistency(value: &Value) -> Result<Consistency, QueryError> {
    let members = object("consistency", value)?;
    known("consistency", members, &["min_seq", "within_ms"])?;
    Ok(Consistency {
        min_seq: number(members, "consistency", "min_seq")?,
        within: number(members, "consistency", "within_ms")?.map(Duration::from_millis),
    })
}

fn budget(value: &Value) -> Result<AskedBudget, QueryError> {
    let members = object("budget", value)?;
    known("budget", members, &["rows", "bytes", "within_ms"])?;
    Ok(AskedBudget {
        rows: number(members, "budget", "rows")?,
        bytes: number(members, "budget", "bytes")?,
        within: number(members, "budget", "within_ms")?.map(Duration::from_millis),
    })
}

fn number(members: &Map<String, Value>, at: &str, name: &str) -> Result<Option<u64>, QueryError> {
    let number = present(members, name).map(|value| {
        let wanted = || QueryError::malformed(format!("{at}.{name}"), "must be a whole number");
        value.as_u64().ok_or_else(wanted)
    });
    number.transpose()
}

fn flag(value: &Value) -> Result<bool, QueryError> {
    let wanted = || QueryError::malformed("explain", "must be true or false");
    value.as_bool().ok_or_else(wanted)
}
