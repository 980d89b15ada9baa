//! Capabilities: what a backend and an application together can do to a node.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that can be done to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Ask for its state.
    Query,
    /// Hand it work, such as a write or a transaction.
    Submit,
    /// Start, stop, kill and restart it.
    Lifecycle,
    /// Restart it with a changed configuration.
    ConfigPatch,
    /// Freeze and thaw it.
    Pause,
    /// Cut, delay or limit its network.
    NetworkFault,
    /// Read its log.
    Logs,
    /// Save and restore its data folder.
    Snapshot,
}

impl Capability {
    /// All of them, in declaration order.
    pub const ALL: [Self; 8] = [
        Self::Query,
        Self::Submit,
        Self::Lifecycle,
        Self::ConfigPatch,
        Self::Pause,
        Self::NetworkFault,
        Self::Logs,
        Self::Snapshot,
    ];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Query => "query",
            Self::Submit => "submit",
            Self::Lifecycle => "lifecycle",
            Self::ConfigPatch => "config patch",
            Self::Pause => "pause",
            Self::NetworkFault => "network fault",
            Self::Logs => "logs",
            Self::Snapshot => "snapshot",
        })
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<Capability>", into = "Vec<Capability>")]
pub struct CapabilitySet(u8);

impl CapabilitySet {
    /// The empty set.
    pub const NONE: Self = Self(0);
    /// What a borrowed node always has: query and submit.
    pub const BORROWED: Self = Self(Capability::Query.bit() | Capability::Submit.bit());

    /// What a provider of borrowed nodes may offer beyond that, for nodes that a feature opts in by name.
    pub const OPT_IN: Self = Self(
        Capability::Lifecycle.bit()
            | Capability::Pause.bit()
            | Capability::Logs.bit()
            | Capability::Snapshot.bit(),
    );

    /// Whether `capability` is in it.
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// This set with `capability` in it.
    #[must_use]
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | capability.bit())
    }

    /// This set with `capability` not in it.
    #[must_use]
    pub const fn without(self, capability: Capability) -> Self {
        Self(self.0 & !capability.bit())
    }

    /// Its members, in declaration order.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL
            .into_iter()
            .filter(move |capability| self.contains(*capability))
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        capabilities.into_iter().fold(Self::NONE, Self::with)
    }
}

impl From<Vec<Capability>> for CapabilitySet {
    fn from(capabilities: Vec<Capability>) -> Self {
        capabilities.into_iter().collect()
    }
}

impl From<CapabilitySet> for Vec<Capability> {
    fn from(set: CapabilitySet) -> Self {
        set.iter().collect()
    }
}

impl fmt::Display for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE {
            return f.write_str("nothing");
        }
        for (position, capability) in self.iter().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(f, "{separator}{capability}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        for one in Capability::ALL {
            let set = CapabilitySet::NONE.with(one);
            assert_eq!(set.iter().collect::<Vec<_>>(), [one]);
            assert_eq!(set.without(one), CapabilitySet::NONE);
        }
        assert_eq!(CapabilitySet::BORROWED.to_string(), "query, submit");
        assert_eq!(CapabilitySet::NONE.to_string(), "nothing");
    }
}
