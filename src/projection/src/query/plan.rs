//! Plans: through what the views of a query are reached, and whether they come in the order that is wanted.
//!
//! Ranges are only ever too wide: whatever is reached is tested by the whole filter again. So a plan changes what a query costs and never what it answers.

use std::ops::ControlFlow;

use serde::Serialize;

use super::{
    filter::{Operand, Test},
    uqf::{Direction, Order, Query},
};
use crate::{
    storage::{KeyRange, Snapshot, StorageError, Walk},
    types::{
        FieldPath, TenantScope, ViewTable,
        datum::{Datum, NUMBERS, TEXTS, encode_text_start},
        escape,
    },
};

/// How many entries of an index are counted to learn whether it narrows a query down. Below it, nothing is cheaper.
const COUNTED_MAX: usize = 1_000;

/// A way to the views.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    /// The index that is walked, or the views.
    pub(super) index: Option<FieldPath>,
    /// In order, and none within another.
    pub(super) ranges: Vec<KeyRange>,
    pub(super) backwards: bool,
    /// Whether views come in the order that is wanted.
    pub(super) ordered: bool,
    /// How many entries there are, where they were counted and are few.
    pub(super) entries: Option<usize>,
    /// Whether the filter says where in the index or among the views to look.
    narrowed: bool,
}

/// How a query was answered, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// `views`, or `index` and its member.
    pub through: String,
    /// How many ranges of it were walked.
    pub ranges: usize,
    /// Whether from the end.
    pub backwards: bool,
    /// `as stored`, or `sorted in memory`.
    pub order: &'static str,
    /// How many entries are in the ranges, where that is known to be few.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<usize>,
    /// The other ways there were.
    pub instead_of: Vec<String>,
}

impl Plan {
    /// What a cursor remembers a plan by.
    pub(super) fn name(&self) -> String {
        match &self.index {
            None => "views".to_owned(),
            Some(field) => format!("index {field}"),
        }
    }

    pub(super) fn explained(&self, all: &[Plan]) -> Explained {
        let others = all.iter().filter(|plan| plan.index != self.index);
        Explained {
            through: self.name(),
            ranges: self.ranges.len(),
            backwards: self.backwards,
            order: if self.ordered {
                "as stored"
            } else {
                "sorted in memory"
            },
            entries: self.entries,
            instead_of: others.map(Plan::name).collect(),
        }
    }

    fn exact(&self) -> bool {
        self.index.is_none() && self.narrowed && self.ranges.iter().all(is_one_key)
    }
}

/// The ways to the views of `query`, the best one first.
pub(super) fn plans(
    query: &Query,
    snapshot: &Snapshot<'_>,
    table: &ViewTable,
    scope: &TenantScope,
) -> Result<Vec<Plan>, StorageError> {
    let mut plans = vec![through_views(query)];
    for index in snapshot.indexes(table)? {
        if index.ready {
            let mut plan = through_index(query, &index.field);
            if plan.narrowed {
                plan.entries = count(&plan, snapshot, table, scope)?;
            }
            if plan.narrowed || plan.ordered {
                plans.push(plan);
            }
        }
    }
    // In the order of names, where there is nothing between them.
    plans.sort_by_key(|plan| (cost(plan), plan.name()));
    Ok(plans)
}

/// Less is better.
fn cost(plan: &Plan) -> (u8, usize) {
    match plan {
        plan if plan.exact() => (0, 0),
        Plan {
            entries: Some(entries),
            ..
        } => (1, *entries),
        Plan {
            ordered: true,
            narrowed: true,
            ..
        } => (2, 0),
        Plan { ordered: true, .. } => (3, 0),
        Plan { narrowed: true, .. } => (4, 0),
        _ => (5, 0),
    }
}

/// How many entries a plan has to walk; `None` where they are many.
fn count(
    plan: &Plan,
    snapshot: &Snapshot<'_>,
    table: &ViewTable,
    scope: &TenantScope,
) -> Result<Option<usize>, StorageError> {
    let mut entries = 0;
    for range in &plan.ranges {
        let walk = Walk {
            table,
            index: plan.index.as_ref(),
            range: range.clone(),
            backwards: false,
        };
        snapshot.walk(scope, &walk, &mut |_, _| {
            entries += 1;
            if entries > COUNTED_MAX {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        if entries > COUNTED_MAX {
            return Ok(None);
        }
    }
    Ok(Some(entries))
}

fn through_views(query: &Query) -> Plan {
    let mut ranges = None;
    for (operand, test) in query.filter.required() {
        if let (Operand::Id, Some(found)) = (operand, ranges_of_ids(test)) {
            ranges = Some(narrower(ranges, found));
        }
    }
    Plan {
        index: None,
        narrowed: ranges.is_some(),
        ranges: ranges.unwrap_or_else(|| vec![KeyRange::default()]),
        backwards: query.order.ids == Direction::Descending && query.order.keys.is_empty(),
        ordered: query.order.keys.is_empty(),
        entries: None,
    }
}

fn through_index(query: &Query, field: &FieldPath) -> Plan {
    let of_field = |operand: &Operand| matches!(operand, Operand::Member(path, _) if path == field);
    let mut ranges = None;
    let mut one_value = false;
    for (operand, test) in query.filter.required() {
        if let (true, Some(found)) = (of_field(operand), ranges_of_values(test)) {
            one_value |= matches!(test, Test::Eq(_) | Test::Exists(false));
            ranges = Some(narrower(ranges, found));
        }
    }
    let Order { keys, ids } = &query.order;
    let ordered = match &keys[..] {
        [] => one_value,
        [(operand, direction)] => of_field(operand) && direction == ids,
        _ => false,
    };
    Plan {
        index: Some(field.clone()),
        narrowed: ranges.is_some(),
        ranges: ranges.unwrap_or_else(|| vec![KeyRange::default()]),
        backwards: ordered && *ids == Direction::Descending,
        ordered,
        entries: None,
    }
}

/// Where the ids are that pass a test; `None` where the test does not say.
fn ranges_of_ids(test: &Test) -> Option<Vec<KeyRange>> {
    let one = |datum: &Datum<'_>| match datum {
        Datum::Text(id) => {
            let key = escape(id).into_owned().into_bytes();
            // No id is empty, and an id that is not there is no harm.
            let before = [&key[..], b"\0"].concat();
            Some(KeyRange {
                from: key,
                before: Some(before),
            })
        }
        _ => None,
    };
    match test {
        Test::Eq(datum) => Some(one(datum).into_iter().collect()),
        Test::In(data) => Some(in_order(data.iter().filter_map(one).collect())),
        Test::Prefix(start) => Some(vec![KeyRange::starting_with(
            escape(start).into_owned().into_bytes(),
        )]),
        _ => None,
    }
}

fn is_one_key(range: &KeyRange) -> bool {
    range.before.as_deref() == Some(&[&range.from[..], b"\0"].concat())
}

/// Where the values are that pass a test; `None` where the test does not say.
fn ranges_of_values(test: &Test) -> Option<Vec<KeyRange>> {
    let bytes = |datum: &Datum<'_>| {
        let mut bytes = Vec::new();
        datum.encode(&mut bytes);
        bytes
    };
    let exactly = |datum: &Datum<'_>| KeyRange::starting_with(bytes(datum));
    let kind = |datum: &Datum<'_>| {
        let (first, after) = if matches!(datum, Datum::Number(_)) {
            NUMBERS
        } else {
            TEXTS
        };
        (first.to_vec(), Some(after.to_vec()))
    };
    Some(match test {
        Test::Eq(datum) => vec![exactly(datum)],
        Test::In(data) => in_order(data.iter().map(exactly).collect()),
        Test::Gt(datum) if datum.is_whole() => vec![KeyRange {
            from: exactly(datum).before?,
            before: kind(datum).1,
        }],
        Test::Lt(datum) if datum.is_whole() => vec![KeyRange {
            from: kind(datum).0,
            before: Some(bytes(datum)),
        }],
        // Of a long text only the beginning is in an index, so what is like the bound is looked at.
        Test::Gt(datum) | Test::Gte(datum) => vec![KeyRange {
            from: bytes(datum),
            before: kind(datum).1,
        }],
        Test::Lt(datum) | Test::Lte(datum) => vec![KeyRange {
            from: kind(datum).0,
            before: exactly(datum).before,
        }],
        Test::Prefix(start) => {
            let mut bytes = Vec::new();
            encode_text_start(start, &mut bytes);
            vec![KeyRange::starting_with(bytes)]
        }
        Test::Exists(wanted) => {
            let absent = exactly(&Datum::Absent);
            vec![if *wanted {
                KeyRange {
                    from: absent.before?,
                    before: None,
                }
            } else {
                absent
            }]
        }
        Test::Ne(_) | Test::Contains(_) => return None,
    })
}

fn in_order(mut ranges: Vec<KeyRange>) -> Vec<KeyRange> {
    ranges.sort_by(|a, b| a.from.cmp(&b.from));
    ranges.dedup();
    ranges
}

/// What is in both.
fn narrower(known: Option<Vec<KeyRange>>, found: Vec<KeyRange>) -> Vec<KeyRange> {
    let Some(known) = known else {
        return found;
    };
    let mut both = Vec::new();
    for one in &known {
        for other in &found {
            let from = (&one.from).max(&other.from).clone();
            let before = match (&one.before, &other.before) {
                (Some(a), Some(b)) => Some(a.min(b).clone()),
                (a, b) => a.clone().or_else(|| b.clone()),
            };
            if before.as_ref().is_none_or(|before| before > &from) {
                both.push(KeyRange { from, before });
            }
        }
    }
    in_order(both)
}
