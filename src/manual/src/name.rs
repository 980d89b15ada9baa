//! Cluster names: what a cluster is called by those who started it, and by features that attach to it.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest name that is accepted, in bytes; run ids and folders are made from it.
const NAME_BYTES_MAX: usize = 32;

/// The name of a cluster that was started by hand, such as `demo`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterName(Arc<str>);

/// Why a text is not the name of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{name:?} cannot name a cluster; use up to {NAME_BYTES_MAX} letters, digits, '_' and '-', and begin with a letter or digit"
)]
pub struct ClusterNameError {
    /// The refused text.
    pub name: String,
}

impl ClusterName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClusterName {
    type Err = ClusterNameError;

    fn from_str(text: &str) -> Result<Self, ClusterNameError> {
        let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let fits = text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        if begins_well && fits && text.len() <= NAME_BYTES_MAX {
            Ok(Self(text.into()))
        } else {
            Err(ClusterNameError {
                name: text.to_owned(),
            })
        }
    }
}

impl TryFrom<String> for ClusterName {
    type Error = ClusterNameError;

    fn try_from(text: String) -> Result<Self, ClusterNameError> {
        text.parse()
    }
}

impl From<ClusterName> for String {
    fn from(name: ClusterName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_safe_as_a_folder_and_short() {
        for bad in ["", "-x", ".", "..", "a/b", "a b", "a.b", "ä"] {
            assert!(bad.parse::<ClusterName>().is_err(), "{bad:?} was accepted");
        }
        assert_eq!("demo_2".parse::<ClusterName>().unwrap().as_str(), "demo_2");
        assert!("a".repeat(NAME_BYTES_MAX).parse::<ClusterName>().is_ok());
        assert!(
            "a".repeat(NAME_BYTES_MAX + 1)
                .parse::<ClusterName>()
                .is_err()
        );
    }
}
