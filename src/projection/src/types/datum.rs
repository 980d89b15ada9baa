//! Data: what a member of a view is to filters, sorts and indexes, and the one order of all of it.
//!
//! The order is that of bytes: absent, null, false, true, numbers by their value, texts by their bytes, and last lists and objects, which are all alike.
//! Whoever compares and whoever stores uses the same bytes, so an index and a scan cannot disagree.

use std::borrow::Cow;

use serde_json::{Number, Value};

/// How much of a text counts for the order. More would not leave room for a long id in the key of an index.
pub(crate) const TEXT_BYTES_MAX: usize = 96;

/// The longest that a datum is as bytes: its kind, its text, and the end of that.
#[cfg(test)]
pub(crate) const DATUM_BYTES_MAX: usize = 1 + TEXT_BYTES_MAX + 2;

/// A member of a view, as far as queries look at it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Datum<'v> {
    /// It is not there.
    Absent,
    Null,
    Bool(bool),
    Number(Rank),
    Text(Cow<'v, str>),
    /// A list or an object.
    Composite(Value),
}

/// Where a number is among all numbers, exactly: the greatest float that is not above it, and what is left.
///
/// So 1 and 1.0 are one number, and 2^53 + 1 is not 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    float: u64,
    rest: u16,
}

mod kind {
    pub(super) const ABSENT: u8 = 0x10;
    pub(super) const NULL: u8 = 0x20;
    pub(super) const FALSE: u8 = 0x30;
    pub(super) const TRUE: u8 = 0x31;
    pub(super) const NUMBER: u8 = 0x40;
    pub(super) const TEXT: u8 = 0x50;
    pub(super) const COMPOSITE: u8 = 0x60;
}

/// What follows a NUL that is part of a text, and what follows one that ends it.
const NUL_INSIDE: u8 = 0xff;
const NUL_AT_END: u8 = 0x01;

impl Rank {
    pub(crate) fn of(number: &Number) -> Self {
        if let Some(whole) = number.as_i64() {
            Self::whole(i128::from(whole))
        } else if let Some(whole) = number.as_u64() {
            Self::whole(i128::from(whole))
        } else {
            Self::float(number.as_f64().unwrap_or(0.0), 0)
        }
    }

    pub(crate) fn signed(whole: i64) -> Self {
        Self::whole(i128::from(whole))
    }

    pub(crate) fn unsigned(whole: u64) -> Self {
        Self::whole(i128::from(whole))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "the loss is what is measured here"
    )]
    fn whole(whole: i128) -> Self {
        let mut float = whole as f64;
        if float as i128 > whole {
            float = float.next_down();
        }
        let rest = u16::try_from(whole - float as i128);
        Self::float(
            float,
            rest.expect("floats of this size are at most 2,048 apart"),
        )
    }

    pub(crate) fn float(float: f64, rest: u16) -> Self {
        // Both zeros are one number.
        let bits = (float + 0.0).to_bits();
        let ordered = if bits >> 63 == 1 {
            !bits
        } else {
            bits | 1 << 63
        };
        Self {
            float: ordered,
            rest,
        }
    }
}

impl<'v> Datum<'v> {
    /// The datum of a value that is there.
    pub(crate) fn of(value: &'v Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => Self::Number(Rank::of(number)),
            Value::String(text) => Self::Text(text.into()),
            Value::Array(_) | Value::Object(_) => Self::Composite(value.clone()),
        }
    }

    /// The same, independent of where it was read.
    pub(crate) fn into_owned(self) -> Datum<'static> {
        match self {
            Self::Absent => Datum::Absent,
            Self::Null => Datum::Null,
            Self::Bool(value) => Datum::Bool(value),
            Self::Number(rank) => Datum::Number(rank),
            Self::Text(text) => Datum::Text(text.into_owned().into()),
            Self::Composite(value) => Datum::Composite(value),
        }
    }

    /// Whether its bytes are all of it: others have the same where it is a long text, a list or an object.
    pub(crate) fn is_whole(&self) -> bool {
        match self {
            Self::Text(text) => {
                let nuls = text.bytes().filter(|byte| *byte == 0).count();
                text.len() + nuls <= TEXT_BYTES_MAX
            }
            Self::Composite(_) => false,
            _ => true,
        }
    }

    /// Appends the bytes that it is ordered by. They tell where they end.
    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        match self {
            Self::Absent => into.push(kind::ABSENT),
            Self::Null => into.push(kind::NULL),
            Self::Bool(false) => into.push(kind::FALSE),
            Self::Bool(true) => into.push(kind::TRUE),
            Self::Number(rank) => {
                into.push(kind::NUMBER);
                into.extend(rank.float.to_be_bytes());
                into.extend(rank.rest.to_be_bytes());
            }
            Self::Text(text) => {
                encode_text_start(text, into);
                into.extend([0, NUL_AT_END]);
            }
            Self::Composite(_) => into.push(kind::COMPOSITE),
        }
    }
}

/// Appends how all texts begin, in bytes, that begin with `text`.
pub(crate) fn encode_text_start(text: &str, into: &mut Vec<u8>) {
    into.push(kind::TEXT);
    let end = into.len() + TEXT_BYTES_MAX;
    for byte in text.bytes() {
        let piece: &[u8] = if byte == 0 { &[0, NUL_INSIDE] } else { &[byte] };
        if into.len() + piece.len() > end {
            break;
        }
        into.extend(piece);
    }
}

/// The first bytes of numbers, and those after them.
pub(crate) const NUMBERS: ([u8; 1], [u8; 1]) = ([kind::NUMBER], [kind::NUMBER + 1]);
/// The first bytes of texts, and those after them.
pub(crate) const TEXTS: ([u8; 1], [u8; 1]) = ([kind::TEXT], [kind::TEXT + 1]);

/// How many of `bytes` are the datum that they begin with; `None` where they begin with none.
pub(crate) fn encoded_len(bytes: &[u8]) -> Option<usize> {
    let len = match *bytes.first()? {
        kind::NUMBER => 11,
        kind::TEXT => {
            let mut at = 1;
            loop {
                match bytes.get(at..at + 2)? {
                    [0, NUL_AT_END] => break at + 2,
                    [0, _] => at += 2,
                    _ => at += 1,
                }
            }
        }
        _ => 1,
    };
    (len <= bytes.len()).then_some(len)
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn encoded(value: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        Datum::of(value).encode(&mut bytes);
        bytes
    }

    fn number() -> impl Strategy<Value = Number> {
        prop_oneof![
            any::<i64>().prop_map(Number::from),
            any::<u64>().prop_map(Number::from),
            (-3_i64..3).prop_map(Number::from),
            (0..3_u64).prop_map(|near| Number::from((1 << 53) + near)),
            any::<f64>().prop_filter_map("not JSON", Number::from_f64),
            (-3_i32..3).prop_filter_map("JSON", |half| Number::from_f64(f64::from(half) / 2.0)),
        ]
    }

    /// The order of numbers without the trick: whole numbers as such, and floats by their whole part first.
    fn compare(a: &Number, b: &Number) -> Ordering {
        let whole = |number: &Number| {
            number
                .as_i64()
                .map(i128::from)
                .or(number.as_u64().map(i128::from))
        };
        match (whole(a), whole(b)) {
            (Some(a), Some(b)) => a.cmp(&b),
            (Some(a), None) => mixed(a, b.as_f64().unwrap()),
            (None, Some(b)) => mixed(b, a.as_f64().unwrap()).reverse(),
            (None, None) => a
                .as_f64()
                .unwrap()
                .partial_cmp(&b.as_f64().unwrap())
                .unwrap(),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "both bounds are powers of two"
    )]
    fn mixed(whole: i128, float: f64) -> Ordering {
        if float >= 2_f64.powi(70) {
            return Ordering::Less;
        }
        if float <= -2_f64.powi(70) {
            return Ordering::Greater;
        }
        let floor = float.floor();
        match whole.cmp(&(floor as i128)) {
            Ordering::Equal if float > floor => Ordering::Less,
            ordering => ordering,
        }
    }

    proptest! {
        #[test]
        fn numbers_of_all_forms_are_in_the_order_of_their_values(a in number(), b in number()) {
            prop_assert_eq!(Rank::of(&a).cmp(&Rank::of(&b)), compare(&a, &b), "{} {}", a, b);
            let [a, b] = [a, b].map(Value::Number);
            prop_assert_eq!(encoded(&a).cmp(&encoded(&b)), match (&a, &b) {
                (Value::Number(a), Value::Number(b)) => compare(a, b),
                _ => unreachable!("they are numbers"),
            });
        }

        #[test]
        fn texts_are_in_the_order_of_their_bytes_as_far_as_those_count(a in "[\0\u{1}a-b\u{ff}]{0,60}", b in "[\0\u{1}a-b\u{ff}]{0,60}") {
            let [x, y] = [&a, &b].map(|text| encoded(&json!(text)));
            let whole = |text: &str| text.len() + text.matches('\0').count() <= TEXT_BYTES_MAX;
            if whole(&a) && whole(&b) {
                prop_assert_eq!(x.cmp(&y), a.as_bytes().cmp(b.as_bytes()));
            } else if x != y {
                prop_assert_eq!(x.cmp(&y), a.as_bytes().cmp(b.as_bytes()));
            }
        }

        #[test]
        fn the_bytes_of_a_datum_tell_where_they_end(text in "\\PC{0,80}|\0{0,80}", rest: Vec<u8>) {
            for value in [json!(text), json!(null), json!(true), json!(7), json!([])] {
                let bytes = encoded(&value);
                prop_assert!(bytes.len() <= DATUM_BYTES_MAX);
                prop_assert_eq!(encoded_len(&[&bytes[..], &rest[..]].concat()), Some(bytes.len()));
            }
        }
    }

    #[test]
    fn kinds_are_in_order() {
        let mut absent = Vec::new();
        Datum::Absent.encode(&mut absent);
        let values = [
            json!(null),
            json!(false),
            json!(true),
            json!(-1e300),
            json!(i64::MIN),
            json!(0),
            json!(u64::MAX),
            json!(""),
            json!("a"),
            json!([]),
        ];
        let all: Vec<_> = std::iter::once(absent)
            .chain(values.iter().map(encoded))
            .collect();
        assert!(all.is_sorted_by(|a, b| a < b), "{all:?}");
        assert_eq!(encoded(&json!([1])), encoded(&json!({"a": 1})));
        assert_eq!(encoded(&json!(0.0)), encoded(&json!(-0.0)));
        assert_eq!(encoded(&json!(1)), encoded(&json!(1.0)));
    }
}
