//! Network identity: which network a node believes it is on, compared across nodes before a scenario begins.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a node says of its network. `None` is "the node does not say", which equals nothing and contradicts nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NetworkIdentity {
    /// Network or chain id, or cluster name.
    pub network: Option<String>,
    /// Genesis block or first configuration, as the app writes it.
    pub genesis: Option<String>,
    /// Protocol version between nodes.
    pub protocol: Option<String>,
    /// API version towards clients.
    pub api: Option<String>,
    /// Class of authentication, such as `none` or `basic`; never a credential.
    pub auth: Option<String>,
}

/// What becomes of a scenario whose nodes do not say all of their network identity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownIdentity {
    /// It goes on; what is unknown is shown.
    #[default]
    Allow,
    /// It is refused where some nodes state a field and others do not.
    Refuse,
}

/// One field on which two nodes differ.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field} is {left:?} on one side and {right:?} on the other")]
pub struct NetworkMismatch {
    /// Which field, by its name in [`NetworkIdentity`].
    pub field: &'static str,
    /// The value here.
    pub left: String,
    /// The value there.
    pub right: String,
}

impl NetworkIdentity {
    /// The fields by name, in declaration order.
    pub fn fields(&self) -> [(&'static str, Option<&str>); 5] {
        [
            ("network", self.network.as_deref()),
            ("genesis", self.genesis.as_deref()),
            ("protocol", self.protocol.as_deref()),
            ("api", self.api.as_deref()),
            ("auth", self.auth.as_deref()),
        ]
    }

    /// Every field that both sides state and state differently.
    pub fn mismatches(&self, other: &Self) -> Vec<NetworkMismatch> {
        self.fields()
            .into_iter()
            .zip(other.fields())
            .filter_map(|((field, left), (_, right))| match (left, right) {
                (Some(left), Some(right)) if left != right => Some(NetworkMismatch {
                    field,
                    left: left.to_owned(),
                    right: right.to_owned(),
                }),
                _ => None,
            })
            .collect()
    }

    /// What either side states.
    ///
    /// # Errors
    /// The first field that both state differently.
    pub fn joined(&self, other: &Self) -> Result<Self, NetworkMismatch> {
        if let Some(mismatch) = self.mismatches(other).into_iter().next() {
            return Err(mismatch);
        }
        let either =
            |left: &Option<String>, right: &Option<String>| left.clone().or_else(|| right.clone());
        Ok(Self {
            network: either(&self.network, &other.network),
            genesis: either(&self.genesis, &other.genesis),
            protocol: either(&self.protocol, &other.protocol),
            api: either(&self.api, &other.api),
            auth: either(&self.auth, &other.auth),
        })
    }
}

impl fmt::Display for NetworkIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (field, value)) in self.fields().into_iter().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(f, "{separator}{field} {}", value.unwrap_or("unknown"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(network: &str) -> NetworkIdentity {
        NetworkIdentity {
            network: Some(network.to_owned()),
            ..NetworkIdentity::default()
        }
    }

    #[test]
    fn unknown_contradicts_nothing() {
        let unknown = NetworkIdentity::default();
        assert!(on("a").mismatches(&unknown).is_empty());
        assert_eq!(unknown.joined(&on("a")).unwrap(), on("a"));
    }

    #[test]
    fn a_mismatch_names_the_field_and_both_values() {
        let mismatch = on("a").joined(&on("b")).unwrap_err();
        assert_eq!(
            mismatch.to_string(),
            r#"network is "a" on one side and "b" on the other"#
        );
    }
}
