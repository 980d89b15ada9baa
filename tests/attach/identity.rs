//! Who is who: one node that is seen twice is one node, and it is somebody's.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use tests::site::{Site, node};
use trellis_bootstrap::{BootstrapError, BootstrapRequest, bootstrap, in_one_line};
use trellis_domain::{Credential, MergeError, Ownership};
use trellis_local::{LocalConfig, LocalDeployer};
use trellis_runtime::{Cluster, Journal};

use crate::{
    attached, external_only, failure, mixed, name, request,
    theirs::{Theirs, external, second_door},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_seen_through_two_doors_is_one_handle_with_all_its_origins() {
    let site = Site::new("two-doors");
    let theirs = Theirs::start(1);
    let door = second_door(theirs.address(1)).await;
    let listing = theirs.listing(&[]);
    let others = vec![
        theirs.external("SAME_PLACE", 1),
        external("OTHER_PLACE", &format!("http://{door}")),
    ];
    let cluster = bootstrap(request(&site, attached("static", &listing, others)))
        .await
        .unwrap();
    let inventory = cluster.inventory.snapshot();
    let [one] = &inventory.nodes().collect::<Vec<_>>()[..] else {
        panic!("{inventory:?}")
    };
    assert_eq!(one.name(), &name("LISTED_1"));
    assert_eq!(
        (one.origins.len(), one.endpoints.len(), one.ownership),
        (3, 2, Ownership::Borrowed)
    );
    assert_eq!(
        one.identity.to_string(),
        format!("peer {}/1", theirs.name())
    );
    for alias in ["SAME_PLACE", "OTHER_PLACE"] {
        assert_eq!(&inventory.node(&name(alias)).unwrap(), one);
    }
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_wants_a_credential_is_asked_with_it_and_with_no_other() {
    const TOKEN: &str = "correct-horse";
    let site = Site::new("credential");
    let mut theirs = Theirs::prepare(1).with_token(TOKEN);
    theirs.spawn(1);
    let listing = theirs.listing(&[]);
    for (token, wanted) in [
        (Some(TOKEN), true),
        (Some("wrong-horse"), false),
        (None, false),
    ] {
        let mut request = request(&site, attached("static", &listing, Vec::new()));
        request.spec.ready_within = Duration::from_secs(1);
        request.spec.attached_credential =
            token.map(|token| Credential::Bearer(token.parse().unwrap()));
        let journal = Journal::default();
        let cluster = Cluster::boot(request, journal.clone()).await;
        assert_eq!(cluster.is_ok(), wanted, "{token:?}");
        let mut shown = format!("{:?}", journal.entries());
        match cluster {
            Ok(cluster) => {
                let node = cluster.node(&name("LISTED_1")).unwrap();
                assert_eq!(node.network.auth.as_deref(), Some("bearer"));
                write!(shown, "{node:?} {:?}", cluster.inventory()).unwrap();
            }
            Err(error) => write!(shown, "{error:?} {}", in_one_line(&error)).unwrap(),
        }
        assert!(!shown.contains("horse"), "{shown}");
    }
    site.assert_clean();
}

/// A request for one node of ours whose address is known beforehand: it is the only port of its host.
fn one_of_ours(site: &Site, number: u8) -> (BootstrapRequest, (IpAddr, u16)) {
    let [.., high, low] = std::process::id().to_be_bytes();
    let place = (
        IpAddr::from(Ipv4Addr::new(127, 90 + number, high, low)),
        7200,
    );
    let mut request = request(site, mixed(vec![node("OURS", &[])], Vec::new()));
    request.deployer = Arc::new(LocalDeployer::new(LocalConfig {
        host: place.0,
        ports: Some(place.1..=place.1),
    }));
    (request, place)
}

/// A cluster of one node of ours, which is listed as somebody else's at `url`, fails, and both origins are named.
async fn clashes(site: Site, mut request: BootstrapRequest, url: &str) {
    let listed = external("LISTED", url);
    request.spec.sources = mixed(vec![node("OURS", &[])], vec![listed]);
    let (error, text) = failure(request).await;
    assert!(
        matches!(
            error,
            BootstrapError::Merge(MergeError::OwnershipClash { .. })
        ),
        "{text}"
    );
    for origin in ["managed (local)", "external (the test's list of LISTED)"] {
        assert!(text.contains(origin), "{text}");
    }
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_ours_that_somebody_lists_as_theirs_is_refused_before_it_starts() {
    let site = Site::new("clash-early");
    let (request, (host, port)) = one_of_ours(&site, 1);
    clashes(site, request, &format!("http://{host}:{port}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clash_that_shows_only_when_our_node_says_who_it_is_is_refused_then() {
    let site = Site::new("clash-late");
    let (request, (host, port)) = one_of_ours(&site, 2);
    let door = second_door((host, port).into()).await;
    clashes(site, request, &format!("http://{door}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adopted_node_is_ours_under_both_names() {
    let site = Site::new("adopted");
    let (mut request, (host, port)) = one_of_ours(&site, 3);
    let door = second_door((host, port).into()).await;
    let listed = external("LISTED", &format!("http://{door}"));
    request.spec.sources = mixed(vec![node("OURS", &[])], vec![listed]);
    request.spec.adopted = [name("OURS")].into();
    let cluster = Cluster::boot(request, Journal::default()).await.unwrap();
    let adopted = cluster.node(&name("LISTED")).unwrap();
    assert_eq!(
        (adopted.name(), adopted.ownership, adopted.origins.len()),
        (&name("OURS"), Ownership::Owned, 2)
    );
    cluster.kill(&name("LISTED")).await.unwrap();
    cluster.release().await.unwrap();
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_two_networks_are_refused_with_both_values_and_both_nodes() {
    let site = Site::new("two-networks");
    let (left, right) = (Theirs::start(1), Theirs::start(1));
    let nodes = vec![left.external("LEFT", 1), right.external("RIGHT", 1)];
    let ours = node("OURS", &[]);
    for sources in [external_only(nodes.clone()), mixed(vec![ours], nodes)] {
        let (_, text) = failure(request(&site, sources)).await;
        let (left, right) = (left.name(), right.name());
        let wanted = format!("network is {left:?} on LEFT and {right:?} on RIGHT");
        assert!(text.contains(&wanted), "{text}");
    }
    site.assert_clean();
}
