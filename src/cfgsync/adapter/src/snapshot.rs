//! The registered nodes as they are in one version: what an application makes its artifacts from.

use std::{collections::BTreeMap, sync::Arc};

use cfgsync_core::{NodeRegistration, StoredRegistrations};

/// All registrations of one version, sorted by identifier, one for each. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistrationSnapshot {
    version: u64,
    registrations: Arc<[Arc<NodeRegistration>]>,
}

impl RegistrationSnapshot {
    /// Grows with every registration that is new or differs from the one before it.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many nodes have registered.
    pub fn len(&self) -> usize {
        self.registrations.len()
    }

    /// Whether nobody has.
    pub fn is_empty(&self) -> bool {
        self.registrations.is_empty()
    }

    /// The registrations, sorted by identifier.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &NodeRegistration> {
        self.registrations.iter().map(Arc::as_ref)
    }

    /// The registration of one node.
    pub fn get(&self, identifier: &str) -> Option<&NodeRegistration> {
        let at = self
            .registrations
            .binary_search_by(|registration| registration.identifier.as_str().cmp(identifier))
            .ok()?;
        Some(&self.registrations[at])
    }

    /// Whether this node has registered.
    pub fn contains(&self, identifier: &str) -> bool {
        self.get(identifier).is_some()
    }
}

/// The store keeps them sorted.
impl From<StoredRegistrations> for RegistrationSnapshot {
    fn from(stored: StoredRegistrations) -> Self {
        Self {
            version: stored.version,
            registrations: stored.registrations.into(),
        }
    }
}

/// For the tests of an application's adapter. Of two registrations of one node the later one counts, as it does in the store; the version is how many were given.
impl FromIterator<NodeRegistration> for RegistrationSnapshot {
    fn from_iter<I: IntoIterator<Item = NodeRegistration>>(registrations: I) -> Self {
        let mut version = 0;
        let sorted: BTreeMap<String, Arc<NodeRegistration>> = registrations
            .into_iter()
            .inspect(|_| version += 1)
            .map(|registration| (registration.identifier.clone(), Arc::new(registration)))
            .collect();
        Self {
            version,
            registrations: sorted.into_values().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn node(name: &str, last: u8) -> NodeRegistration {
        NodeRegistration::new(name, IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)))
    }

    #[test]
    fn registrations_are_sorted_and_the_later_one_of_a_node_counts() {
        let given = [node("b", 1), node("a", 2), node("b", 3)];
        let snapshot: RegistrationSnapshot = given.into_iter().collect();
        let names: Vec<&str> = snapshot
            .iter()
            .map(|node| node.identifier.as_str())
            .collect();
        assert_eq!((names, snapshot.version()), (vec!["a", "b"], 3));
        assert_eq!(snapshot.get("b"), Some(&node("b", 3)));
        assert_eq!(snapshot.get("c"), None);
    }
}
