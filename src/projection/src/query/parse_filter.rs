//! Reading filters: `{"balance": {"gte": 10}, "or": [..]}`, where the members of an object must all hold.

use serde_json::Value;

use super::{
    QueryError,
    filter::{Filter, Operand, Test},
    uqf::{object, operand},
};
use crate::types::{datum::Datum, pick::Picker};

const DEPTH_MAX: usize = 16;
const TESTS_MAX: usize = 200;
const CHOICES_MAX: usize = 1_000;
const OPERATORS: [&str; 10] = [
    "eq", "ne", "gt", "gte", "lt", "lte", "in", "prefix", "contains", "exists",
];

/// Reads the filter of a query.
pub(super) fn filter(value: &Value, picker: &mut Picker) -> Result<Filter, QueryError> {
    let mut reader = Reader { picker, tests: 0 };
    reader.all("filter", value, 1)
}

struct Reader<'p> {
    picker: &'p mut Picker,
    tests: usize,
}

impl Reader<'_> {
    fn all(&mut self, at: &str, value: &Value, depth: usize) -> Result<Filter, QueryError> {
        if depth > DEPTH_MAX {
            let what = format!("is deeper than {DEPTH_MAX}");
            return Err(QueryError::malformed(at, what));
        }
        let mut parts = Vec::new();
        for (name, value) in object(at, value)? {
            let at = format!("{at}.{name}");
            match name.as_str() {
                "and" => parts.push(Filter::All(self.list(&at, value, depth)?)),
                "or" => parts.push(Filter::Any(self.list(&at, value, depth)?)),
                "not" => parts.push(Filter::Not(Box::new(self.all(&at, value, depth + 1)?))),
                path => {
                    let operand = operand(&at, path, self.picker)?;
                    self.tests(&at, &operand, value, &mut parts)?;
                }
            }
        }
        match <[Filter; 1]>::try_from(parts) {
            Ok([one]) => Ok(one),
            Err(parts) => Ok(Filter::All(parts)),
        }
    }

    fn list(&mut self, at: &str, value: &Value, depth: usize) -> Result<Vec<Filter>, QueryError> {
        let wanted = || {
            let what = "must be a list of filters that is not empty (a member that is called so is written $.and, $.or)";
            QueryError::malformed(at, what)
        };
        let parts = value.as_array().filter(|parts| !parts.is_empty());
        let parts = parts.ok_or_else(wanted)?.iter().enumerate();
        parts
            .map(|(position, part)| self.all(&format!("{at}.{position}"), part, depth + 1))
            .collect()
    }

    fn tests(
        &mut self,
        at: &str,
        operand: &Operand,
        value: &Value,
        parts: &mut Vec<Filter>,
    ) -> Result<(), QueryError> {
        let tests: Vec<Test> = match value {
            Value::Object(operators) if operators.is_empty() => {
                let what = format!("needs an operator; allowed are {}", OPERATORS.join(", "));
                return Err(QueryError::malformed(at, what));
            }
            Value::Object(operators) => operators
                .iter()
                .map(|(name, value)| test(&format!("{at}.{name}"), name, value))
                .collect::<Result<_, _>>()?,
            plain => vec![Test::Eq(scalar(at, plain)?)],
        };
        self.tests += tests.len();
        if self.tests > TESTS_MAX {
            let what = format!("is the first of more than {TESTS_MAX} tests");
            return Err(QueryError::malformed(at, what));
        }
        let tests = tests
            .into_iter()
            .map(|test| Filter::Test(operand.clone(), test));
        parts.extend(tests);
        Ok(())
    }
}

fn test(at: &str, operator: &str, value: &Value) -> Result<Test, QueryError> {
    Ok(match operator {
        "eq" => Test::Eq(any(value)),
        "ne" => Test::Ne(any(value)),
        "gt" => Test::Gt(bound(at, value)?),
        "gte" => Test::Gte(bound(at, value)?),
        "lt" => Test::Lt(bound(at, value)?),
        "lte" => Test::Lte(bound(at, value)?),
        "in" => Test::In(choices(at, value)?),
        "prefix" => match value {
            Value::String(text) => Test::Prefix(text.clone()),
            _ => return Err(QueryError::malformed(at, "must be a text")),
        },
        "contains" => Test::Contains(scalar(at, value)?),
        "exists" => match value {
            Value::Bool(wanted) => Test::Exists(*wanted),
            _ => return Err(QueryError::malformed(at, "must be true or false")),
        },
        _ => {
            let what = format!("is not an operator; allowed are {}", OPERATORS.join(", "));
            return Err(QueryError::malformed(at, what));
        }
    })
}

fn any(value: &Value) -> Datum<'static> {
    Datum::of(value).into_owned()
}

fn scalar(at: &str, value: &Value) -> Result<Datum<'static>, QueryError> {
    match any(value) {
        Datum::Composite(_) => Err(QueryError::malformed(
            at,
            "must be a text, a number, true, false or null",
        )),
        datum => Ok(datum),
    }
}

/// What can be greater or less than something.
fn bound(at: &str, value: &Value) -> Result<Datum<'static>, QueryError> {
    match any(value) {
        datum @ (Datum::Number(_) | Datum::Text(_)) => Ok(datum),
        _ => Err(QueryError::malformed(at, "must be a number or a text")),
    }
}

fn choices(at: &str, value: &Value) -> Result<Vec<Datum<'static>>, QueryError> {
    let items = value.as_array();
    let items = items.filter(|items| !items.is_empty() && items.len() <= CHOICES_MAX);
    let wanted = || {
        let what =
            format!("must be a list of 1 to {CHOICES_MAX} texts, numbers, true, false or null");
        QueryError::malformed(at, what)
    };
    let items = items.ok_or_else(wanted)?.iter();
    items
        .map(|item| scalar(at, item).map_err(|_| wanted()))
        .collect()
}
