//! Secrets: what settings hold that nobody may read in a log.

use std::{collections::BTreeMap, fmt};

use crate::types::TenantId;

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Tokens that queries come with, each with the tenant that it stands for.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tokens(BTreeMap<String, TenantId>);

impl Tokens {
    /// Each token with its tenant.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &TenantId)> {
        self.0
            .iter()
            .map(|(token, tenant)| (token.as_str(), tenant))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(String, TenantId)> for Tokens {
    fn from_iter<I: IntoIterator<Item = (String, TenantId)>>(tokens: I) -> Self {
        Self(tokens.into_iter().collect())
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_secret_nor_a_token_is_shown() {
        let tokens: Tokens = [("hidden".to_owned(), "north".into())]
            .into_iter()
            .collect();
        let shown = format!("{:?} {tokens:?}", Secret::from("hidden"));
        assert_eq!(shown, "*** 1 tokens");
    }
}
