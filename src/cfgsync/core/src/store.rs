//! The registration store: who has registered, in which version. Sources keep theirs in one; this crate's do and those of `cfgsync-adapter` can.
//!
//! What the registered nodes get, and when, is not decided here.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use serde_json::Value;
use tokio::sync::watch;

use crate::{
    NodeRegistration, RegisterError, RegisterOutcome, RegistrationOverview, RegistrationRecord,
};

/// Registrations by identifier: bounded, versioned, and watchable.
///
/// The version is 0 while nobody has registered and grows by one with every registration that is new or differs from the one before it.
#[derive(Debug)]
pub struct RegistrationStore {
    limits: RegistrationLimits,
    started: SystemTime,
    state: Mutex<State>,
    version: watch::Sender<u64>,
}

/// How much a [`RegistrationStore`] takes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistrationLimits {
    /// How many nodes.
    pub nodes_max: usize,
    /// How much memory all registrations together may take, about.
    pub bytes_max: usize,
}

impl Default for RegistrationLimits {
    fn default() -> Self {
        Self {
            nodes_max: 20_000,
            bytes_max: 64 * 1024 * 1024,
        }
    }
}

/// All registrations of one version, by identifier.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredRegistrations {
    /// The version.
    pub version: u64,
    /// The registrations, sorted by identifier.
    pub registrations: Vec<Arc<NodeRegistration>>,
}

#[derive(Debug, Default)]
struct State {
    version: u64,
    bytes: usize,
    nodes: BTreeMap<String, Stored>,
}

#[derive(Debug)]
struct Stored {
    registration: Arc<NodeRegistration>,
    bytes: usize,
    version: u64,
    since: SystemTime,
}

impl RegistrationStore {
    /// An empty store.
    pub fn new(limits: RegistrationLimits) -> Self {
        Self {
            limits,
            started: SystemTime::now(),
            state: Mutex::default(),
            version: watch::Sender::new(0),
        }
    }

    /// Takes a registration in. The same one again changes nothing, even when there is no room for another one.
    ///
    /// # Errors
    /// [`RegisterError::Full`] for one node too many and [`RegisterError::TooLarge`] for metadata that do not fit; what was there stays.
    pub fn register(
        &self,
        registration: NodeRegistration,
    ) -> Result<RegisterOutcome, RegisterError> {
        let mut state = self.state();
        let before = state.nodes.get(&registration.identifier);
        if before.is_some_and(|stored| *stored.registration == registration) {
            return Ok(RegisterOutcome::Unchanged);
        }
        if before.is_none() && state.nodes.len() >= self.limits.nodes_max {
            return Err(RegisterError::Full {
                limit: self.limits.nodes_max,
            });
        }
        let bytes = weight(&registration);
        let others = state.bytes - before.map_or(0, |stored| stored.bytes);
        if bytes > self.limits.bytes_max.saturating_sub(others) {
            return Err(RegisterError::TooLarge {
                identifier: registration.identifier,
                limit: self.limits.bytes_max,
            });
        }
        let since = before.map_or_else(SystemTime::now, |stored| stored.since);
        let version = state.version + 1;
        let stored = Stored {
            bytes,
            version,
            since,
            registration: Arc::new(registration),
        };
        let identifier = stored.registration.identifier.clone();
        let replaced = state.nodes.insert(identifier, stored);
        state.version = version;
        state.bytes = others + bytes;
        // Under the lock, so that watchers never see the numbers in another order.
        self.version.send_replace(version);
        Ok(match replaced {
            None => RegisterOutcome::New,
            Some(_) => RegisterOutcome::Changed,
        })
    }

    /// The registration of one node.
    pub fn get(&self, identifier: &str) -> Option<Arc<NodeRegistration>> {
        let state = self.state();
        let stored = state.nodes.get(identifier)?;
        Some(Arc::clone(&stored.registration))
    }

    /// Whether this node has registered.
    pub fn contains(&self, identifier: &str) -> bool {
        self.state().nodes.contains_key(identifier)
    }

    /// How many nodes have registered.
    pub fn len(&self) -> usize {
        self.state().nodes.len()
    }

    /// Whether nobody has registered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The version now.
    pub fn version(&self) -> u64 {
        self.state().version
    }

    /// The version, and every later one; a watcher that is slow sees the newest only.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// All registrations at once. Costs a reference count for each.
    pub fn snapshot(&self) -> StoredRegistrations {
        let state = self.state();
        let registrations = state.nodes.values();
        StoredRegistrations {
            version: state.version,
            registrations: registrations
                .map(|stored| Arc::clone(&stored.registration))
                .collect(),
        }
    }

    /// Those of `expected` that have not registered, in the order given.
    pub fn missing<'a>(&self, expected: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let state = self.state();
        let absent = |name: &&str| !state.nodes.contains_key(*name);
        let missing = expected.into_iter().filter(absent);
        missing.map(str::to_owned).collect()
    }

    /// Who is there, for people; the source adds whom it misses. Somebody counts as missing since this store began.
    pub fn overview(
        &self,
        ready: bool,
        expected: Option<usize>,
        missing: Vec<String>,
    ) -> RegistrationOverview {
        let state = self.state();
        let waits = !missing.is_empty() || expected.is_some_and(|count| state.nodes.len() < count);
        let registered = state.nodes.values().map(Stored::record).collect();
        RegistrationOverview {
            version: state.version,
            ready,
            registered,
            expected,
            missing,
            waiting_since: waits.then_some(self.started),
        }
    }

    /// A panic elsewhere cannot leave the state half changed: nothing in here panics between two assignments.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for RegistrationStore {
    fn default() -> Self {
        Self::new(RegistrationLimits::default())
    }
}

impl Stored {
    fn record(&self) -> RegistrationRecord {
        RegistrationRecord {
            identifier: self.registration.identifier.clone(),
            ip: self.registration.ip,
            version: self.version,
            since: self.since,
        }
    }
}

/// About how many bytes a registration takes in memory. JSON as text would not do: `[0,0,0]` takes sixteen times its length.
fn weight(registration: &NodeRegistration) -> usize {
    // The identifier is kept as the key, too.
    size_of::<Stored>()
        + size_of::<NodeRegistration>()
        + 2 * registration.identifier.len()
        + weight_of(registration.metadata.as_json())
}

/// No deeper than the reader of JSON allows, which is 128 levels, for all that came over the wire.
fn weight_of(value: &Value) -> usize {
    let within = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight_of).sum(),
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| size_of::<String>() + key.len() + weight_of(value))
            .sum(),
    };
    size_of::<Value>() + within
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn node(name: &str, last: u8) -> NodeRegistration {
        NodeRegistration::new(name, IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)))
    }

    #[test]
    fn a_registration_is_new_then_unchanged_then_changed() {
        let store = RegistrationStore::default();
        let mut changes = store.changes();
        assert_eq!(store.register(node("a", 1)), Ok(RegisterOutcome::New));
        assert_eq!(store.register(node("a", 1)), Ok(RegisterOutcome::Unchanged));
        assert_eq!(store.version(), 1);
        assert_eq!(store.register(node("a", 2)), Ok(RegisterOutcome::Changed));
        assert_eq!(*changes.borrow_and_update(), 2);
        assert_eq!(store.get("a").as_deref(), Some(&node("a", 2)));
    }

    #[test]
    fn a_snapshot_is_sorted_by_identifier_and_keeps_its_version() {
        let store = RegistrationStore::default();
        for name in ["c", "a", "b"] {
            store.register(node(name, 1)).unwrap();
        }
        let snapshot = store.snapshot();
        store.register(node("a", 9)).unwrap();
        let names: Vec<&str> = snapshot
            .registrations
            .iter()
            .map(|registration| registration.identifier.as_str())
            .collect();
        assert_eq!((names, snapshot.version), (vec!["a", "b", "c"], 3));
        assert_eq!(*snapshot.registrations[0], node("a", 1));
    }

    #[test]
    fn a_full_store_still_takes_changes_of_those_it_has() {
        let store = RegistrationStore::new(RegistrationLimits {
            nodes_max: 1,
            ..RegistrationLimits::default()
        });
        store.register(node("a", 1)).unwrap();
        assert_eq!(
            store.register(node("b", 1)),
            Err(RegisterError::Full { limit: 1 })
        );
        assert_eq!(store.register(node("a", 2)), Ok(RegisterOutcome::Changed));
        assert_eq!(store.len(), 1);
    }

    #[test]
    fn metadata_count_by_the_memory_they_take_and_replaced_ones_no_longer() {
        let limit = 64 * 1024;
        let store = RegistrationStore::new(RegistrationLimits {
            bytes_max: limit,
            ..RegistrationLimits::default()
        });
        let large = |last, zeros| node("a", last).with_metadata(&vec![0; zeros]).unwrap();
        for last in 0..100 {
            store.register(large(last, 1000)).unwrap();
        }
        let refused = RegisterError::TooLarge {
            identifier: "a".to_owned(),
            limit,
        };
        assert_eq!(store.register(large(100, 4000)), Err(refused));
        assert_eq!(store.version(), 100);
    }

    #[test]
    fn the_overview_says_who_is_missing_and_since_when() {
        let store = RegistrationStore::default();
        store.register(node("b", 1)).unwrap();
        let missing = store.missing(["a", "b", "c"]);
        assert_eq!(missing, ["a", "c"]);
        let overview = store.overview(false, Some(3), missing);
        assert_eq!(overview.waiting_since, Some(store.started));
        let since = overview.registered[0].since;
        store.register(node("b", 2)).unwrap();
        let overview = store.overview(true, Some(1), Vec::new());
        assert_eq!(overview.waiting_since, None);
        assert_eq!(overview.registered[0].version, 2);
        assert_eq!(overview.registered[0].since, since);
    }
}
