//! Names: one newtype for each thing that has a name, so that one cannot stand for another.

use std::{cmp::Ordering, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest name that is accepted, in bytes; folders and labels are made from names.
const NAME_BYTES_MAX: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing was given.
    #[error("a {kind} cannot be empty")]
    Empty {
        /// What was being named.
        kind: &'static str,
    },
    /// More than 63 bytes were given.
    #[error("{kind} {name:?} is {length} bytes long; at most {NAME_BYTES_MAX} are allowed")]
    TooLong {
        /// What was being named.
        kind: &'static str,
        /// The refused text.
        name: String,
        /// Its length in bytes.
        length: usize,
    },
    /// A character that cannot stand in a folder name or a label.
    #[error(
        "{kind} {name:?} has {found:?} in it; use letters, digits, '_', '-' and '.', and begin with a letter or digit"
    )]
    BadCharacter {
        /// What was being named.
        kind: &'static str,
        /// The refused text.
        name: String,
        /// The first character that is not allowed where it stands.
        found: char,
    },
}

fn check(kind: &'static str, text: &str) -> Result<Arc<str>, NameError> {
    let Some(first) = text.chars().next() else {
        return Err(NameError::Empty { kind });
    };
    let bad = if first.is_ascii_alphanumeric() {
        text.chars()
            .find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-' | '.'))
    } else {
        Some(first)
    };
    if let Some(found) = bad {
        return Err(NameError::BadCharacter {
            kind,
            name: text.to_owned(),
            found,
        });
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong {
            kind,
            name: text.to_owned(),
            length: text.len(),
        });
    }
    Ok(text.into())
}

/// Compares runs of digits by their number and everything else by its bytes; the bytes decide between equals.
fn natural(left: &str, right: &str) -> Ordering {
    let (mut a, mut b) = (left.as_bytes(), right.as_bytes());
    while let (Some(x), Some(y)) = (a.first(), b.first()) {
        let order = if x.is_ascii_digit() && y.is_ascii_digit() {
            let (run_a, run_b) = (take_number(&mut a), take_number(&mut b));
            run_a.len().cmp(&run_b.len()).then_with(|| run_a.cmp(run_b))
        } else {
            (a, b) = (&a[1..], &b[1..]);
            x.cmp(y)
        };
        if order.is_ne() {
            return order;
        }
    }
    a.len().cmp(&b.len()).then_with(|| left.cmp(right))
}

/// Cuts the leading digits off `text` and gives them without leading zeros.
fn take_number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text
        .iter()
        .position(|c| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    let zeros = digits.iter().take_while(|c| **c == b'0').count();
    &digits[zeros..]
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        /// Natural order: `NODE_2` before `NODE_10`.
        impl Ord for $type {
            fn cmp(&self, other: &Self) -> Ordering {
                natural(&self.0, &other.0)
            }
        }

        impl PartialOrd for $type {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check($kind, text).map(Self)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// The name that features use for a node, such as `NODE_1`.
    NodeName,
    "node name"
);
name!(
    /// The name of an application, such as `openraft-kv`.
    AppName,
    "application name"
);
name!(
    /// Which of a node's endpoints is meant, such as `http` or `p2p`.
    EndpointName,
    "endpoint name"
);
name!(
    /// One run of the harness; label of everything that the run owns.
    RunId,
    "run id"
);

/// How a node calls itself on its own network; opaque here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerId(Arc<str>);

impl PeerId {
    /// Takes the id as the node gives it.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_safe_as_a_folder() {
        for bad in ["", ".", "..", "-x", "a/b", "a b", "a\0", "ä"] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad:?} was accepted");
        }
        assert_eq!("NODE_1".parse::<NodeName>().unwrap().as_str(), "NODE_1");
        assert!("a".repeat(NAME_BYTES_MAX).parse::<NodeName>().is_ok());
        assert!("a".repeat(NAME_BYTES_MAX + 1).parse::<NodeName>().is_err());
    }

    #[test]
    fn names_sort_as_people_count() {
        let mut names: Vec<NodeName> = ["NODE_10", "NODE_2", "NODE_1", "NODE_02", "A", "NODE"]
            .map(|n| n.parse().unwrap())
            .into();
        names.sort();
        let sorted: Vec<&str> = names.iter().map(NodeName::as_str).collect();
        assert_eq!(
            sorted,
            ["A", "NODE", "NODE_1", "NODE_02", "NODE_2", "NODE_10"]
        );
    }

    #[test]
    fn a_refused_name_says_which_character_is_wrong() {
        let error = "NODE/1".parse::<NodeName>().unwrap_err().to_string();
        assert!(
            error.starts_with("node name \"NODE/1\" has '/' in it"),
            "{error}"
        );
    }
}
