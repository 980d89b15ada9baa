//! The bootstrap policy for peers: which nodes a node of ours is told of, and in which order.
//!
//! Every managed node is told of two nodes of distinct origins at least, where there are so many; an application that takes only its first seeds still gets both. Borrowed nodes are told of nothing: they are never changed.
//! Pure functions; which managed nodes are candidates for whom is the fleet's.

use std::collections::{BTreeMap, VecDeque};

use trellis_domain::{NodeHandle, Origin, Ownership};

use crate::{Address, PeerPlan, PortSpec};

/// The seeds of a node of ours: the `managed` nodes that it may be told of and all `borrowed` ones, each once, in turns.
///
/// `borrowed` is in the order of [`borrowed_peers`].
pub fn seeds(
    managed: impl IntoIterator<Item = PeerPlan>,
    borrowed: impl IntoIterator<Item = PeerPlan>,
) -> Vec<PeerPlan> {
    in_turns([
        managed.into_iter().collect(),
        borrowed.into_iter().collect(),
    ])
}

/// The borrowed ones of `nodes` as nodes of ours are told of them: nodes that answer first, and among these every origin in its turn.
///
/// A node without an address for one of `ports` is nobody's peer.
pub fn borrowed_peers(nodes: &[NodeHandle], ports: &[PortSpec]) -> Vec<PeerPlan> {
    let mut peers = Vec::new();
    for answers in [true, false] {
        let mut by_origin: BTreeMap<Option<&Origin>, VecDeque<PeerPlan>> = BTreeMap::new();
        let borrowed = nodes.iter().filter(|node| {
            node.ownership == Ownership::Borrowed && node.state.is_running() == answers
        });
        for node in borrowed {
            let origin = node.origins.first();
            by_origin
                .entry(origin)
                .or_default()
                .extend(as_peer(node, ports));
        }
        peers.extend(in_turns(by_origin.into_values()));
    }
    peers
}

/// Takes one of each queue, then one of each again, until all are empty.
fn in_turns(queues: impl IntoIterator<Item = VecDeque<PeerPlan>>) -> Vec<PeerPlan> {
    let mut queues: Vec<VecDeque<PeerPlan>> = queues.into_iter().collect();
    let mut peers = Vec::new();
    while queues.iter().any(|queue| !queue.is_empty()) {
        peers.extend(queues.iter_mut().filter_map(VecDeque::pop_front));
    }
    peers
}

/// What nodes of ours are told of a borrowed one: it has no number, and no cluster begins with it.
fn as_peer(node: &NodeHandle, ports: &[PortSpec]) -> Option<PeerPlan> {
    let addresses: BTreeMap<_, _> = ports
        .iter()
        .filter_map(|port| {
            let endpoint = node.endpoint(port.endpoint.as_str())?;
            // As it was given: a node that listens on `::1` need not listen on `127.0.0.1`.
            let host = endpoint.url().host_str()?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let address = Address {
                host: host.to_owned(),
                port: endpoint.place().port(),
                scheme: port.scheme.into(),
            };
            Some((port.endpoint.clone(), address))
        })
        .collect();
    (!addresses.is_empty()).then(|| PeerPlan {
        name: node.name().clone(),
        index: None,
        founding: false,
        addresses,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use trellis_domain::{Endpoint, NodeInventory, NodeSighting, NodeState};

    use super::*;
    use crate::Transport;

    fn ports() -> Vec<PortSpec> {
        vec![PortSpec {
            endpoint: "http".parse().unwrap(),
            scheme: "http",
            transport: Transport::Tcp,
        }]
    }

    /// A node of each `(origin, answers)`; origin 0 is ours, and whether ours answer plays no part.
    fn inventory(nodes: &[(u32, bool)]) -> Vec<NodeHandle> {
        let mut inventory = NodeInventory::default();
        for (number, (from, answers)) in nodes.iter().enumerate() {
            let origin = match from {
                0 => Origin::Managed {
                    deployer: "local".into(),
                },
                n => Origin::External {
                    listed_in: format!("list {n}"),
                },
            };
            let name = format!("N{number}").parse().unwrap();
            let mut sighting = NodeSighting::new(name, origin);
            let url = format!("http://[::1]:{}", 1000 + number);
            let endpoint = Endpoint::new("http".parse().unwrap(), &url).unwrap();
            sighting.endpoints.insert(endpoint);
            let name = sighting.name.clone();
            inventory.merge([sighting]).unwrap();
            if !answers && *from != 0 {
                inventory.set_state(&name, NodeState::Unreachable).unwrap();
            }
        }
        inventory.nodes().cloned().collect()
    }

    fn origin_of<'a>(nodes: &'a [NodeHandle], peer: &PeerPlan) -> &'a Origin {
        let node = nodes.iter().find(|node| *node.name() == peer.name);
        node.unwrap().origins.first().unwrap()
    }

    fn managed(nodes: &[NodeHandle]) -> Vec<PeerPlan> {
        let ours = nodes.iter().filter(|node| node.is_managed());
        ours.filter_map(|node| as_peer(node, &ports())).collect()
    }

    /// Every cluster of up to four nodes, each of one of four origins and answering or not.
    fn clusters() -> impl Iterator<Item = Vec<NodeHandle>> {
        let kinds: u32 = 8;
        (0..=4).flat_map(move |size| {
            (0..kinds.pow(size)).map(move |number| {
                let kind = |place| number / kinds.pow(place) % kinds;
                let nodes: Vec<_> = (0..size)
                    .map(|place| (kind(place) / 2, kind(place) % 2 == 0))
                    .collect();
                inventory(&nodes)
            })
        })
    }

    fn answers(nodes: &[NodeHandle], peer: &PeerPlan) -> bool {
        let node = nodes.iter().find(|node| *node.name() == peer.name);
        node.unwrap().state.is_running()
    }

    #[test]
    fn every_candidate_is_a_seed_once_and_the_first_two_differ_in_origin_where_that_can_be() {
        for nodes in clusters() {
            let mut seeds = seeds(managed(&nodes), borrowed_peers(&nodes, &ports()));
            let names: BTreeSet<_> = seeds.iter().map(|seed| &seed.name).collect();
            assert_eq!((names.len(), seeds.len()), (nodes.len(), nodes.len()));
            seeds.retain(|seed| answers(&nodes, seed));
            let origins: Vec<&Origin> = seeds.iter().map(|seed| origin_of(&nodes, seed)).collect();
            let distinct: BTreeSet<_> = origins.iter().collect();
            assert!(distinct.len() < 2 || origins[0] != origins[1], "{seeds:?}");
        }
    }

    #[test]
    fn borrowed_nodes_that_answer_come_first() {
        for nodes in clusters() {
            let peers = borrowed_peers(&nodes, &ports());
            assert!(peers.is_sorted_by_key(|peer| !answers(&nodes, peer)));
        }
    }

    #[test]
    fn a_borrowed_peer_has_no_number_and_the_address_that_was_given() {
        let nodes = inventory(&[(1, true)]);
        let [peer] = &borrowed_peers(&nodes, &ports())[..] else {
            panic!("one node, one peer")
        };
        assert_eq!((peer.index, peer.founding), (None, false));
        assert_eq!(peer.address("http").unwrap().url(), "http://[::1]:1000");
        assert!(borrowed_peers(&nodes, &[]).is_empty());
    }
}
