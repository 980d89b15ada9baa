//! Discovery: what is found, what is missing, and what that means for the scenario.

use tests::site::Site;
use trellis_bootstrap::{BootstrapError, bootstrap};
use trellis_domain::ReadinessPolicy;

use crate::{attached, failure, request, theirs::Theirs};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_without_a_node_is_no_cluster() {
    let site = Site::new("empty");
    let theirs = Theirs::prepare(0);
    let listing = theirs.listing(&["GONE"]);
    let (error, text) = failure(request(&site, attached("static", &listing, Vec::new()))).await;
    assert!(
        matches!(error, BootstrapError::NothingFound { .. }),
        "{text}"
    );
    assert!(text.contains("no node was found in static:"), "{text}");
    assert!(text.contains("GONE (it is expected"), "{text}");
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partial_cluster_will_do_only_where_the_policy_can_be_met() {
    let site = Site::new("partial");
    let theirs = Theirs::start(2);
    let listing = theirs.listing(&["LISTED_1", "LISTED_3"]);
    for policy in [ReadinessPolicy::AllReady, ReadinessPolicy::Quorum(3)] {
        let mut request = request(&site, attached("static", &listing, Vec::new()));
        request.spec.readiness = policy;
        let (error, text) = failure(request).await;
        assert!(
            matches!(error, BootstrapError::TooFewFound { .. }),
            "{text}"
        );
        assert!(text.contains("with the 2 nodes found in static:"), "{text}");
        assert!(text.contains("LISTED_3 (it is expected"), "{text}");
    }
    let mut enough = request(&site, attached("static", &listing, Vec::new()));
    enough.spec.readiness = ReadinessPolicy::Quorum(2);
    let cluster = bootstrap(enough).await.unwrap();
    assert_eq!(cluster.inventory.snapshot().running().count(), 2);
    let missing: Vec<&str> = cluster
        .missing
        .iter()
        .map(|node| node.name.as_str())
        .collect();
    assert_eq!(missing, ["LISTED_3"]);
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_provider_and_an_unknown_cluster_are_told_apart() {
    let site = Site::new("unknown");
    let (_, text) = failure(request(&site, attached("statik", "shop", Vec::new()))).await;
    assert!(text.contains(r#"did you mean "static"?"#), "{text}");
    let (_, text) = failure(request(&site, attached("static", "/nowhere", Vec::new()))).await;
    assert!(
        text.contains("static:/nowhere could not be discovered"),
        "{text}"
    );
    site.assert_clean();
}
