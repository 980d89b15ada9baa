//! Views as they are stored, and the table of one generation of a type.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::{ViewType, key};

/// A view with where it comes from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct StoredView {
    /// The view.
    #[serde(rename = "v")]
    pub view: Value,
    /// The sequence of the last event that changed it.
    #[serde(rename = "s")]
    pub last_seq: u64,
    /// How many events changed it.
    #[serde(rename = "n")]
    pub applied: u64,
    /// The program that made it.
    #[serde(rename = "p")]
    pub program: String,
}

/// A stored view whose JSON nobody has to look into.
#[derive(Debug, Deserialize)]
pub(crate) struct StoredText<'b> {
    #[serde(rename = "v", borrow)]
    pub(crate) view: &'b RawValue,
    #[serde(rename = "s")]
    pub(crate) last_seq: u64,
    #[serde(rename = "n")]
    pub(crate) applied: u64,
}

impl<'b> StoredText<'b> {
    /// Reads what [`StoredView::encode`] wrote.
    pub(crate) fn decode(bytes: &'b [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

/// A view as the JSON that is stored of it. It is written as it is, and read only by whoever wants to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ViewText(Box<RawValue>);

impl ViewText {
    pub(crate) fn new(text: &RawValue) -> Self {
        Self(text.to_owned())
    }

    /// The JSON.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// What it says.
    pub fn value(&self) -> Value {
        serde_json::from_str(self.as_str()).expect("it was read as JSON")
    }
}

impl From<&Value> for ViewText {
    fn from(view: &Value) -> Self {
        let text = serde_json::value::to_raw_value(view);
        Self(text.expect("JSON values are always JSON"))
    }
}

/// Equal views are written alike, since the members of an object are in order.
impl PartialEq for ViewText {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl StoredView {
    /// The bytes that a store keeps. Equal views have equal bytes: the members of an object are in order.
    pub fn encode(&self) -> Vec<u8> {
        Self::encode_parts(&self.view, self.last_seq, self.applied, &self.program)
    }

    /// The bytes of a view that is not to be copied for it.
    pub(crate) fn encode_parts(
        view: &impl Serialize,
        last_seq: u64,
        applied: u64,
        program: &str,
    ) -> Vec<u8> {
        #[derive(Serialize)]
        struct Parts<'v, V> {
            v: &'v V,
            s: u64,
            n: u64,
            p: &'v str,
        }
        let parts = Parts {
            v: view,
            s: last_seq,
            n: applied,
            p: program,
        };
        // Most views are about as long as this, and copying one while it grows costs as much as writing it.
        let mut bytes = Vec::with_capacity(256);
        serde_json::to_writer(&mut bytes, &parts).expect("JSON values are always JSON");
        bytes
    }

    /// Reads what [`StoredView::encode`] wrote.
    ///
    /// # Errors
    /// The bytes are not a view.
    pub fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

/// Where the views of one type are that were made by one generation of it.
///
/// Generations let a new program fill views of its own while the old ones are served.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ViewTable {
    /// The type.
    pub view_type: ViewType,
    /// Which attempt at it, from 1.
    pub generation: u32,
}

/// `{type}@{generation}`, escaped as keys are. What follows the last `@` is always the generation.
impl fmt::Display for ViewTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}@{}",
            key::escape(self.view_type.as_str()),
            self.generation
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        /// What a session remembers of a view and what it reads back must be the same, or bytes would depend on when it was started.
        #[test]
        fn numbers_are_read_back_as_they_were(bits: u64, whole: i64) {
            let float = f64::from_bits(bits);
            prop_assume!(float.is_finite());
            let stored = StoredView {
                view: json!({"float": float, "whole": whole}),
                last_seq: 7,
                applied: 2,
                program: "p".into(),
            };
            prop_assert_eq!(StoredView::decode(&stored.encode()).unwrap(), stored);
        }
    }

    #[test]
    fn equal_views_have_equal_bytes_in_whatever_order_they_were_built() {
        let stored = |text: &str| StoredView {
            view: serde_json::from_str(text).unwrap(),
            last_seq: 7,
            applied: 2,
            program: "p".into(),
        };
        let one = stored(r#"{"b":1,"a":{"d":2,"c":3}}"#);
        let other = stored(r#"{"a":{"c":3,"d":2},"b":1}"#);
        assert_eq!(one.encode(), other.encode());
        assert_eq!(
            StoredView::decode(&one.encode()).unwrap().view,
            json!({"a": {"c": 3, "d": 2}, "b": 1})
        );
    }
}
