//! Paths: which member of a view is meant, as queries and indexes write it.

use std::{fmt, str::FromStr};

use serde_json::Value;
use thiserror::Error;

/// The longest text of a path.
const BYTES_MAX: usize = 256;
/// The most members on the way.
const DEPTH_MAX: usize = 16;
/// The view itself, for members whose names would be read as something else.
const ROOT: &str = "$.";

/// Names a member of a view: `balance`, `owner.name`, `lines.0.price`.
///
/// `$.` before it changes nothing, but lets names be written that begin with `$` or that a filter would read as its own words.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldPath {
    text: Box<str>,
}

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not a path: {why}")]
pub struct PathError {
    text: String,
    why: &'static str,
}

impl FieldPath {
    /// The names on the way, from the outermost.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.text.split('.')
    }

    /// The member of `view` that is meant.
    pub fn within<'v>(&self, view: &'v Value) -> Option<&'v Value> {
        self.segments().try_fold(view, |value, name| match value {
            Value::Object(members) => members.get(name),
            Value::Array(items) => items.get(position(name)?),
            _ => None,
        })
    }
}

/// Which item of a list `name` means. One spelling for one item.
pub(crate) fn position(name: &str) -> Option<usize> {
    let at = name.parse().ok()?;
    (name == "0" || !name.starts_with(['0', '+'])).then_some(at)
}

impl FromStr for FieldPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let refused = |why| PathError {
            text: text.chars().take(BYTES_MAX).collect(),
            why,
        };
        if text.len() > BYTES_MAX {
            return Err(refused("it has more than 256 bytes"));
        }
        let from_root = text.strip_prefix(ROOT);
        if from_root.is_none() && text.starts_with('$') {
            return Err(refused("a name that begins with $ is written $.$name"));
        }
        let path = from_root.unwrap_or(text);
        if path.split('.').any(str::is_empty) {
            return Err(refused(
                "it is names joined by dots, and none of them is empty",
            ));
        }
        if path.split('.').count() > DEPTH_MAX {
            return Err(refused("it has more than 16 names"));
        }
        Ok(Self { text: path.into() })
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.starts_with('$') {
            f.write_str(ROOT)?;
        }
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_back_as_it_is_written() {
        for text in ["balance", "owner.name", "lines.0.price", "$.$id", "and"] {
            let path: FieldPath = text.parse().unwrap();
            assert_eq!(path.to_string(), text);
        }
        assert_eq!("$.and".parse::<FieldPath>().unwrap().to_string(), "and");
    }

    #[test]
    fn what_names_no_member_is_refused_with_the_reason() {
        let deep = vec!["a"; 17].join(".");
        let long = "a".repeat(257);
        for text in ["", ".", "a.", ".a", "a..b", "$id", "$", "$.", &deep, &long] {
            assert!(text.parse::<FieldPath>().is_err(), "{text}");
        }
        let error = "$id".parse::<FieldPath>().unwrap_err().to_string();
        assert!(error.contains("$.$name"), "{error}");
    }
}
