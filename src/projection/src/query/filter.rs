//! Filters: which views are meant. A test sees one member; tests of another kind of value than the member has are never true.

use std::{borrow::Cow, cmp::Ordering};

use serde_json::Value;

use crate::types::{
    FieldPath,
    datum::{Datum, Rank},
    pick::Origin,
};

/// What a filter or a sort looks at.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    /// The id of the view.
    Id,
    /// The last event that changed it.
    LastSeq,
    /// How many events changed it.
    Applied,
    /// A member of it, and where that is picked into.
    Member(FieldPath, usize),
}

/// Which views are meant.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Test(Operand, Test),
}

/// What is asked of one member.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    Eq(Datum<'static>),
    Ne(Datum<'static>),
    Gt(Datum<'static>),
    Gte(Datum<'static>),
    Lt(Datum<'static>),
    Lte(Datum<'static>),
    In(Vec<Datum<'static>>),
    Prefix(String),
    Contains(Datum<'static>),
    Exists(bool),
}

/// A view as a filter sees it.
pub(super) struct Seen<'a, 'v> {
    pub(super) id: &'a str,
    pub(super) origin: Origin,
    pub(super) members: &'a [Datum<'v>],
}

impl<'v> Seen<'_, 'v> {
    /// The datum of an operand.
    pub(super) fn datum<'s>(&'s self, operand: &Operand) -> Cow<'s, Datum<'v>>
    where
        'v: 's,
    {
        match operand {
            Operand::Id => Cow::Owned(Datum::Text(self.id.to_owned().into())),
            Operand::LastSeq => Cow::Owned(Datum::Number(Rank::unsigned(self.origin.last_seq))),
            Operand::Applied => Cow::Owned(Datum::Number(Rank::unsigned(self.origin.applied))),
            Operand::Member(_, slot) => Cow::Borrowed(&self.members[*slot]),
        }
    }
}

impl Filter {
    /// Whether the view is meant.
    pub(super) fn admits(&self, seen: &Seen<'_, '_>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.admits(seen)),
            Self::Any(parts) => parts.iter().any(|part| part.admits(seen)),
            Self::Not(part) => !part.admits(seen),
            Self::Test(operand, test) => test.holds(&seen.datum(operand)),
        }
    }

    /// The tests that every view must pass that is meant.
    pub(super) fn required(&self) -> Vec<(&Operand, &Test)> {
        match self {
            Self::All(parts) => parts.iter().flat_map(Self::required).collect(),
            Self::Test(operand, test) => vec![(operand, test)],
            Self::Any(_) | Self::Not(_) => Vec::new(),
        }
    }

    /// Whether it admits everything.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::All(parts) if parts.is_empty())
    }
}

impl Test {
    fn holds(&self, datum: &Datum<'_>) -> bool {
        match self {
            Self::Eq(wanted) => datum == wanted,
            Self::Ne(wanted) => datum != wanted,
            Self::Gt(bound) => compare(datum, bound, Ordering::is_gt),
            Self::Gte(bound) => compare(datum, bound, Ordering::is_ge),
            Self::Lt(bound) => compare(datum, bound, Ordering::is_lt),
            Self::Lte(bound) => compare(datum, bound, Ordering::is_le),
            Self::In(wanted) => wanted.contains(datum),
            Self::Prefix(start) => matches!(datum, Datum::Text(text) if text.starts_with(start)),
            Self::Contains(wanted) => contains(datum, wanted),
            Self::Exists(wanted) => (*datum != Datum::Absent) == *wanted,
        }
    }
}

fn compare(datum: &Datum<'_>, bound: &Datum<'_>, is: impl Fn(Ordering) -> bool) -> bool {
    match (datum, bound) {
        (Datum::Number(a), Datum::Number(b)) => is(a.cmp(b)),
        (Datum::Text(a), Datum::Text(b)) => is(a.cmp(b)),
        _ => false,
    }
}

fn contains(datum: &Datum<'_>, wanted: &Datum<'_>) -> bool {
    match (datum, wanted) {
        (Datum::Text(text), Datum::Text(piece)) => text.contains(&**piece),
        (Datum::Composite(Value::Array(items)), wanted) => {
            items.iter().any(|item| Datum::of(item) == *wanted)
        }
        _ => false,
    }
}
