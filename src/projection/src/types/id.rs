//! Identities: a tenant, a type of view, and one view of that type; and the other words that an event comes with.
//!
//! They carry whatever text the events carry. What a key may hold is checked where keys are composed (see `key`).

use std::{convert::Infallible, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// Declares a name: text that is cheap to clone, shown as it is. Short ones are kept in place, since each event has some.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(SmolStr);

        impl $name {
            /// The text as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl FromStr for $name {
            type Err = Infallible;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Ok(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// Whose data it is. Empty where there is one tenant only.
    TenantId
}

name! {
    /// A kind of view, such as `account`.
    ViewType
}

name! {
    /// One view among those of its type and tenant.
    ViewId
}

name! {
    /// What else a publisher says of an event in a word.
    Text
}

impl Default for TenantId {
    fn default() -> Self {
        Self::from("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_empty_unless_named_and_round_trips_as_plain_text() {
        assert_eq!(TenantId::default().as_str(), "");
        let tenant: TenantId = serde_json::from_str("\"north:1\"").unwrap();
        assert_eq!(tenant.to_string(), "north:1");
        assert_eq!(serde_json::to_string(&tenant).unwrap(), "\"north:1\"");
    }

    #[test]
    fn names_can_be_sent_and_shared_between_threads() {
        fn sent_and_shared<T: Send + Sync>() {}
        sent_and_shared::<TenantId>();
        sent_and_shared::<ViewType>();
        sent_and_shared::<ViewId>();
    }
}
