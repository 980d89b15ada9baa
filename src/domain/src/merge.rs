//! Merging: many sightings in, one handle a node out, whatever order they came in.
//!
//! The result is a function of the *set* of sightings, which is why order cannot matter: sightings that share a peer id or a place are one node, and every field of a node is a join of what they say.
//! Where a join would have to choose between two statements it is an error instead.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::{
    CapabilitySet, Credential, HostPort, NetworkIdentity, NetworkMismatch, NodeIdentity, NodeName,
    NodeSighting, NodeState, Origin, Ownership, PeerId, node::NodeFacts,
};

/// Why sightings cannot be merged into one inventory.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MergeError {
    /// A node that gives neither a peer id nor an endpoint cannot be told from another.
    #[error("{node} ({origin}) has neither a peer id nor an endpoint, so it cannot be identified")]
    NoIdentity {
        /// The node.
        node: NodeName,
        /// Who saw it.
        origin: Origin,
    },
    /// Two different nodes under one name.
    #[error("two different nodes are called {name}: {left} and {right}; rename one of them")]
    NameTaken {
        /// The shared name.
        name: NodeName,
        /// One of them.
        left: NodeIdentity,
        /// The other.
        right: NodeIdentity,
    },
    /// Owned according to one source and borrowed according to another.
    #[error(
        "{node} ({identity}) is owned as {owned_by} and borrowed as {borrowed_from}; if it is meant to be ours, the feature must adopt {node} by name"
    )]
    OwnershipClash {
        /// The node.
        node: NodeName,
        /// What makes the sightings one node.
        identity: NodeIdentity,
        /// The source that says it is ours.
        owned_by: Origin,
        /// The source that says it is not.
        borrowed_from: Origin,
    },
    /// One place that answers under two peer ids.
    #[error("{node} answers as peer {left} and as peer {right}")]
    TwoPeers {
        /// The node.
        node: NodeName,
        /// One id.
        left: PeerId,
        /// The other.
        right: PeerId,
    },
    /// Two credentials for one node; neither is shown.
    #[error("{node} has one credential as {left} and another as {right}; give it only once")]
    TwoCredentials {
        /// The node.
        node: NodeName,
        /// The source of one.
        left: Origin,
        /// The source of the other.
        right: Origin,
    },
    /// Sightings of one node that disagree about its network.
    #[error("sightings of {node} disagree about its network")]
    Network {
        /// The node.
        node: NodeName,
        /// The field and both values.
        #[source]
        source: NetworkMismatch,
    },
}

/// Merges `sightings` into nodes, in order of their names.
///
/// `adopted` are the names whose ownership clash is settled as owned.
pub(crate) fn merge(
    sightings: &BTreeSet<NodeSighting>,
    adopted: &BTreeSet<NodeName>,
) -> Result<BTreeMap<NodeName, NodeFacts>, MergeError> {
    let mut nodes = BTreeMap::new();
    let mut taken: BTreeMap<NodeName, NodeIdentity> = BTreeMap::new();
    for group in groups(sightings)? {
        let node = join(&group, adopted)?;
        for name in node.aliases.iter().chain([&node.name]) {
            if let Some(other) = taken.insert(name.clone(), node.identity.clone()) {
                return Err(MergeError::NameTaken {
                    name: name.clone(),
                    left: other,
                    right: node.identity,
                });
            }
        }
        nodes.insert(node.name.clone(), node);
    }
    Ok(nodes)
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Peer(&'a PeerId),
    Place(&'a HostPort),
}

fn keys(sighting: &NodeSighting) -> impl Iterator<Item = Key<'_>> {
    let places = sighting
        .endpoints
        .iter()
        .map(|endpoint| Key::Place(endpoint.place()));
    sighting.peer_id.iter().map(Key::Peer).chain(places)
}

/// Splits sightings into those that share a key, directly or through others.
fn groups(sightings: &BTreeSet<NodeSighting>) -> Result<Vec<Vec<&NodeSighting>>, MergeError> {
    let mut group_of: BTreeMap<Key<'_>, usize> = BTreeMap::new();
    let mut groups: Vec<Vec<&NodeSighting>> = Vec::new();
    for sighting in sightings {
        let mine = groups.len();
        groups.push(vec![sighting]);
        let mut identified = false;
        for key in keys(sighting) {
            identified = true;
            let Some(other) = group_of.insert(key, mine).filter(|other| *other != mine) else {
                continue;
            };
            let absorbed = std::mem::take(&mut groups[other]);
            groups[mine].extend(absorbed);
            for group in group_of.values_mut().filter(|group| **group == other) {
                *group = mine;
            }
        }
        if !identified {
            return Err(MergeError::NoIdentity {
                node: sighting.name.clone(),
                origin: sighting.origin.clone(),
            });
        }
    }
    groups.retain(|group| !group.is_empty());
    Ok(groups)
}

fn join(group: &[&NodeSighting], adopted: &BTreeSet<NodeName>) -> Result<NodeFacts, MergeError> {
    let mut names: BTreeSet<(&Origin, &NodeName)> = group
        .iter()
        .map(|sighting| (&sighting.origin, &sighting.name))
        .collect();
    let (_, name) = names
        .pop_first()
        .expect("a group has at least the sighting that began it");
    let aliases = names
        .into_iter()
        .filter(|(_, alias)| *alias != name)
        .map(|(_, alias)| alias.clone())
        .collect();
    let identity = identity(name, group)?;
    let mut network = NetworkIdentity::default();
    for sighting in group {
        network = network
            .joined(&sighting.network)
            .map_err(|source| MergeError::Network {
                node: name.clone(),
                source,
            })?;
    }
    Ok(NodeFacts {
        name: name.clone(),
        aliases,
        ownership: ownership(name, &identity, group, adopted)?,
        identity,
        origins: group
            .iter()
            .map(|sighting| sighting.origin.clone())
            .collect(),
        capabilities: group.iter().fold(CapabilitySet::NONE, |set, sighting| {
            set.union(sighting.capabilities)
        }),
        endpoints: group
            .iter()
            .flat_map(|sighting| sighting.endpoints.iter().cloned())
            .collect(),
        credential: credential(name, group)?,
        network,
        state: NodeState::default(),
        incarnation: 0,
        instance: None,
    })
}

fn identity(name: &NodeName, group: &[&NodeSighting]) -> Result<NodeIdentity, MergeError> {
    let mut peers: BTreeSet<&PeerId> = group.iter().filter_map(|s| s.peer_id.as_ref()).collect();
    if let Some(left) = peers.pop_first() {
        return match peers.pop_first() {
            None => Ok(NodeIdentity::Peer(left.clone())),
            Some(right) => Err(MergeError::TwoPeers {
                node: name.clone(),
                left: left.clone(),
                right: right.clone(),
            }),
        };
    }
    let places = group.iter().flat_map(|sighting| &sighting.endpoints);
    let place = places
        .min()
        .expect("a sighting without peer id and endpoint was refused before");
    Ok(NodeIdentity::Place(place.place().clone()))
}

/// The one credential that the sightings give.
fn credential(name: &NodeName, group: &[&NodeSighting]) -> Result<Option<Credential>, MergeError> {
    let given = |sighting: &&&NodeSighting| sighting.credential.is_some();
    let Some(first) = group.iter().filter(given).min() else {
        return Ok(None);
    };
    let others = group.iter().filter(given);
    match others.filter(|s| s.credential != first.credential).min() {
        None => Ok(first.credential.clone()),
        Some(other) => Err(MergeError::TwoCredentials {
            node: name.clone(),
            left: first.origin.clone(),
            right: other.origin.clone(),
        }),
    }
}

fn ownership(
    name: &NodeName,
    identity: &NodeIdentity,
    group: &[&NodeSighting],
    adopted: &BTreeSet<NodeName>,
) -> Result<Ownership, MergeError> {
    let first_as = |ownership| group.iter().filter(|s| s.ownership == ownership).min();
    match (first_as(Ownership::Owned), first_as(Ownership::Borrowed)) {
        (Some(owned), Some(borrowed)) => {
            if group
                .iter()
                .any(|sighting| adopted.contains(&sighting.name))
            {
                return Ok(Ownership::Owned);
            }
            Err(MergeError::OwnershipClash {
                node: name.clone(),
                identity: identity.clone(),
                owned_by: owned.origin.clone(),
                borrowed_from: borrowed.origin.clone(),
            })
        }
        (Some(_), None) => Ok(Ownership::Owned),
        (None, _) => Ok(Ownership::Borrowed),
    }
}
