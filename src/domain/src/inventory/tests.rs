//! The inventory's promises, as examples and as properties over generated sightings.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::{CapabilitySet, Credential, NodeIdentity, Origin, Ownership};

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn http(port: u16) -> Endpoint {
    Endpoint::new("http".parse().unwrap(), &format!("http://127.0.0.1:{port}")).unwrap()
}

fn managed(node: &str, port: u16) -> NodeSighting {
    let mut sighting = NodeSighting::new(
        name(node),
        Origin::Managed {
            deployer: "local".into(),
        },
    );
    sighting.endpoints.insert(http(port));
    sighting
}

fn external(node: &str, port: u16) -> NodeSighting {
    let mut sighting = NodeSighting::new(
        name(node),
        Origin::External {
            listed_in: "a.feature:1".into(),
        },
    );
    sighting.endpoints.insert(http(port));
    sighting.capabilities = CapabilitySet::BORROWED;
    sighting
}

#[test]
fn the_same_node_seen_twice_is_one_handle_with_both_origins() {
    let mut inventory = NodeInventory::default();
    let attached = NodeSighting {
        origin: Origin::Attached {
            cluster: "static:x".into(),
        },
        ..external("B", 1)
    };
    inventory.merge([external("A", 1), attached]).unwrap();
    assert_eq!(inventory.len(), 1);
    let node = inventory.node(&name("A")).unwrap();
    assert_eq!(
        node.name().as_str(),
        "B",
        "the name from the closer origin is the node's"
    );
    assert_eq!(node.origins.len(), 2);
    assert_eq!(inventory.node(&name("B")).unwrap(), node);
}

#[test]
fn a_peer_id_joins_nodes_at_different_places() {
    let mut inventory = NodeInventory::default();
    let peer = Some(PeerId::new("p"));
    let left = NodeSighting {
        peer_id: peer.clone(),
        ..external("A", 1)
    };
    let right = NodeSighting {
        peer_id: peer,
        ..external("B", 2)
    };
    inventory.merge([left, right]).unwrap();
    let node = inventory.node(&name("A")).unwrap();
    assert_eq!(node.identity, NodeIdentity::Peer(PeerId::new("p")));
    assert_eq!(node.endpoints.len(), 2);
}

#[test]
fn owned_and_borrowed_at_once_is_an_error_that_changes_nothing() {
    let mut inventory = NodeInventory::default();
    inventory.merge([managed("NODE_1", 1)]).unwrap();
    let version = inventory.version();
    let error = inventory.merge([external("PUBLIC", 1)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "NODE_1 (127.0.0.1:1) is owned as managed (local) and borrowed as external (a.feature:1); if it is meant to be ours, the feature must adopt NODE_1 by name"
    );
    assert_eq!(inventory.version(), version);
    assert!(inventory.node(&name("PUBLIC")).is_err());
}

#[test]
fn two_credentials_for_one_node_are_refused_without_being_shown() {
    let bearer = |token: &str| Some(Credential::Bearer(token.parse().unwrap()));
    let listed = |credential| NodeSighting {
        credential,
        ..external("PUBLIC", 1)
    };
    let attached = |credential| NodeSighting {
        credential,
        origin: Origin::Attached {
            cluster: "static:shop".into(),
        },
        ..external("SHOP_1", 1)
    };
    for (left, right) in [("one", None), ("one", Some("one"))] {
        let mut inventory = NodeInventory::default();
        let right = right.and_then(bearer);
        inventory
            .merge([listed(bearer(left)), attached(right)])
            .unwrap();
        assert_eq!(
            inventory.node(&name("PUBLIC")).unwrap().credential,
            bearer("one")
        );
    }
    let mut inventory = NodeInventory::default();
    let error = inventory
        .merge([listed(bearer("one")), attached(bearer("two"))])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "SHOP_1 has one credential as external (a.feature:1) and another as attached (static:shop); give it only once"
    );
}

#[test]
fn an_adopted_node_is_owned() {
    let mut inventory = NodeInventory::adopting([name("PUBLIC")].into());
    inventory
        .merge([managed("NODE_1", 1), external("PUBLIC", 1)])
        .unwrap();
    assert_eq!(
        inventory.node(&name("PUBLIC")).unwrap().ownership,
        Ownership::Owned
    );
}

#[test]
fn two_nodes_cannot_share_a_name() {
    let mut inventory = NodeInventory::default();
    let error = inventory
        .merge([external("A", 1), external("A", 2)])
        .unwrap_err();
    assert!(matches!(error, MergeError::NameTaken { .. }), "{error}");
}

#[test]
fn an_unknown_name_lists_the_known_ones() {
    let mut inventory = NodeInventory::default();
    inventory
        .merge([managed("NODE_10", 1), managed("NODE_2", 2)])
        .unwrap();
    let error = inventory.node(&name("NODE_3")).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"there is no node "NODE_3"; known nodes: NODE_2, NODE_10"#
    );
}

#[test]
fn every_change_raises_the_version_and_no_change_does_not() {
    let mut inventory = NodeInventory::default();
    inventory.merge([managed("A", 1)]).unwrap();
    let mut versions = vec![inventory.version()];
    inventory.started(&name("A"), Some("pid 1".into())).unwrap();
    versions.push(inventory.version());
    inventory.set_state(&name("A"), NodeState::Stopped).unwrap();
    versions.push(inventory.version());
    inventory.relocate(&name("A"), &[http(9)].into()).unwrap();
    versions.push(inventory.version());
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    inventory.set_state(&name("A"), NodeState::Stopped).unwrap();
    inventory.merge([managed("A", 9)]).unwrap();
    assert_eq!(inventory.version(), versions[3]);
    inventory.leave(&name("A")).unwrap();
    assert!(inventory.is_empty() && inventory.version() > versions[3]);
}

#[test]
fn a_merge_keeps_what_is_known_of_the_running_instance() {
    let mut inventory = NodeInventory::default();
    inventory.merge([managed("A", 1)]).unwrap();
    inventory.started(&name("A"), Some("pid 7".into())).unwrap();
    inventory.set_state(&name("A"), NodeState::Paused).unwrap();
    inventory.merge([managed("B", 2)]).unwrap();
    let node = inventory.node(&name("A")).unwrap();
    assert_eq!((node.incarnation, &node.state), (1, &NodeState::Paused));
    assert_eq!(node.instance.as_deref(), Some("pid 7"));
}

/// Sightings that overlap often: few names, few places, few peers.
fn sighting() -> impl Strategy<Value = NodeSighting> {
    let origin = prop_oneof![
        Just(Origin::Managed {
            deployer: "local".into()
        }),
        (0..2u8).prop_map(|n| Origin::Attached {
            cluster: format!("static:{n}")
        }),
        (0..2u8).prop_map(|n| Origin::External {
            listed_in: format!("f{n}.feature:1")
        }),
    ];
    let network = proptest::option::weighted(0.3, 0..2u8).prop_map(|network| NetworkIdentity {
        network: network.map(|n| n.to_string()),
        ..NetworkIdentity::default()
    });
    (
        0..6u8,
        origin,
        proptest::option::weighted(0.4, 0..4u8),
        vec(1..7u16, 0..3),
        network,
    )
        .prop_map(|(node, origin, peer, ports, network)| NodeSighting {
            peer_id: peer.map(|p| PeerId::new(p.to_string())),
            endpoints: ports.into_iter().map(http).collect(),
            network,
            ..NodeSighting::new(name(&format!("N{node}")), origin)
        })
}

/// Sightings of which no two contradict each other, so that the happy path is met often.
fn agreeing_sightings() -> impl Strategy<Value = Vec<NodeSighting>> {
    vec((0..4u16, 0..3u8, any::<bool>(), any::<bool>()), 1..12).prop_map(|seeds| {
        let sightings = seeds
            .into_iter()
            .map(|(node, origin, with_peer, second_place)| {
                let origin = match (node % 2, origin) {
                    (0, _) => Origin::Managed {
                        deployer: format!("d{origin}"),
                    },
                    (_, origin) => Origin::External {
                        listed_in: format!("f{origin}"),
                    },
                };
                let mut sighting = NodeSighting::new(name(&format!("N{node}")), origin);
                sighting.peer_id = with_peer.then(|| PeerId::new(node.to_string()));
                sighting.endpoints.insert(http(10 + node));
                if second_place {
                    sighting.endpoints.insert(http(20 + node));
                }
                sighting
            });
        sightings.collect()
    })
}

fn shuffled<T: Clone>(items: &[T], order: &[Index]) -> Vec<T> {
    let mut left = items.to_vec();
    let picks = order.iter().take(items.len());
    let mut out: Vec<T> = picks
        .map(|index| left.swap_remove(index.index(left.len())))
        .collect();
    out.append(&mut left);
    out
}

/// Merges all in one call; `None` when they are refused.
fn merge_at_once(
    sightings: &[NodeSighting],
    adopted: &BTreeSet<NodeName>,
) -> Option<BTreeMap<NodeName, NodeHandle>> {
    let mut inventory = NodeInventory::adopting(adopted.clone());
    inventory.merge(sightings.iter().cloned()).ok()?;
    Some(inventory.nodes)
}

/// Merges one by one; `None` when any of them is refused.
fn merge_one_by_one(
    sightings: &[NodeSighting],
    adopted: &BTreeSet<NodeName>,
) -> Option<BTreeMap<NodeName, NodeHandle>> {
    let mut inventory = NodeInventory::adopting(adopted.clone());
    for sighting in sightings {
        inventory.merge([sighting.clone()]).ok()?;
    }
    Some(inventory.nodes)
}

fn all_names() -> BTreeSet<NodeName> {
    (0..6).map(|n| name(&format!("N{n}"))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_order_of_merges_gives_the_same_inventory(
        sightings in prop_oneof![vec(sighting(), 0..10), agreeing_sightings()],
        order in vec(any::<Index>(), 12),
        adopt in any::<bool>(),
    ) {
        let adopted = if adopt { all_names() } else { BTreeSet::new() };
        let at_once = merge_at_once(&sightings, &adopted);
        let other_way = shuffled(&sightings, &order);
        prop_assert_eq!(&at_once, &merge_at_once(&other_way, &adopted));
        // One by one, a merge can be refused that a later sighting would have explained;
        // but what is accepted is the same, and nothing is accepted that is refused as a whole.
        for way in [&sightings, &other_way] {
            if let Some(accepted) = merge_one_by_one(way, &adopted) {
                prop_assert_eq!(at_once.as_ref(), Some(&accepted));
            }
        }
    }

    #[test]
    fn agreeing_sightings_are_accepted_one_by_one_in_any_order(
        sightings in agreeing_sightings(),
        order in vec(any::<Index>(), 12),
    ) {
        let none = BTreeSet::new();
        let expected = merge_at_once(&sightings, &none);
        prop_assert!(expected.is_some());
        prop_assert_eq!(expected, merge_one_by_one(&shuffled(&sightings, &order), &none));
    }

    #[test]
    fn no_origin_name_or_place_is_lost(sightings in agreeing_sightings()) {
        let mut inventory = NodeInventory::default();
        inventory.merge(sightings.clone()).unwrap();
        for sighting in sightings {
            let node = inventory.node(&sighting.name).unwrap();
            prop_assert!(node.origins.contains(&sighting.origin));
            prop_assert!(sighting.endpoints.is_subset(&node.endpoints));
        }
    }

    #[test]
    fn a_clash_of_ownership_is_always_an_error_unless_adopted(
        sightings in agreeing_sightings(),
        which in any::<Index>(),
        at in any::<Index>(),
    ) {
        let victim = sightings[which.index(sightings.len())].clone();
        let clash = NodeSighting {
            ownership: match victim.ownership {
                Ownership::Owned => Ownership::Borrowed,
                Ownership::Borrowed => Ownership::Owned,
            },
            ..victim.clone()
        };
        let mut all = sightings;
        all.insert(at.index(all.len() + 1), clash);
        prop_assert!(merge_one_by_one(&all, &BTreeSet::new()).is_none());
        let settled = merge_one_by_one(&all, &[victim.name.clone()].into());
        let settled = settled.expect("an adopted clash is no clash");
        prop_assert_eq!(settled[&victim.name].ownership, Ownership::Owned);
    }
}
