//! Secrets: credentials that a node wants, in types that show nothing of themselves.
//!
//! Where they are read from (the environment, a file) is decided at the edges; here they are only carried.

use std::{convert::Infallible, fmt, str::FromStr};

use serde::{Serialize, Serializer};

/// What is shown instead of a secret.
const SHOWN: &str = "***";

/// A text that is never shown: `Debug`, `Display` and `Serialize` all give `***`.
///
/// It cannot be deserialised, so that what was written down is never taken for the secret again.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for the one call that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHOWN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(SHOWN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(SHOWN)
    }
}

/// How a client proves to a node who it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// HTTP basic authentication.
    Basic {
        /// Who.
        user: String,
        /// The proof.
        password: Secret,
    },
    /// A bearer token.
    Bearer(Secret),
}

impl Credential {
    /// What kind it is, as preflight compares it: `basic` or `bearer`.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Basic { .. } => "basic",
            Self::Bearer(_) => "bearer",
        }
    }
}

/// The class and nothing else.
impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {SHOWN}", self.class())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIDDEN: &str = "correct horse";

    /// A formatter is the simplest serializer there is.
    struct Serialized<'a>(&'a Secret);

    impl fmt::Display for Serialized<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.serialize(f)
        }
    }

    fn secret() -> Secret {
        HIDDEN.parse().unwrap()
    }

    #[test]
    fn a_secret_is_shown_by_no_trait_and_given_only_to_who_asks_for_it() {
        let secret = secret();
        let serialized = Serialized(&secret);
        let shown = format!("{secret} {secret:?} {secret:#?} {serialized}");
        assert_eq!(shown, "*** *** *** ***");
        assert_eq!(secret.expose(), HIDDEN);
        assert_eq!(Secret::from(HIDDEN.to_owned()), secret);
    }

    #[test]
    fn a_credential_shows_its_class_and_its_user_and_no_more() {
        let user = "carol".to_owned();
        let password = secret();
        for (credential, class) in [
            (Credential::Basic { user, password }, "basic"),
            (Credential::Bearer(secret()), "bearer"),
        ] {
            let shown = format!("{credential} {credential:?} {credential:#?}");
            assert!(!shown.contains(HIDDEN), "{shown}");
            assert_eq!(credential.class(), class);
            assert_eq!(credential.to_string(), format!("{class} ***"));
        }
    }
}
