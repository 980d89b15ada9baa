//! Nodes of others beside nodes of ours: who is who, what is refused, who joins whom, and that nothing of theirs is ever touched.

mod theirs;

mod discovery;
mod hands_off;
mod identity;
mod mixed;
mod readiness;

use std::{sync::Arc, time::Duration};

use openraft_kv::OpenRaftKv;
use tests::site::Site;
use trellis_bootstrap::{BootstrapError, BootstrapRequest, bootstrap, in_one_line};
use trellis_domain::{AttachSpec, ExternalNode, ManagedNode, NodeName, ScenarioSources};
use trellis_static::StaticProvider;

/// How long nodes may take on a machine that is busy.
const READY_WITHIN: Duration = Duration::from_secs(20);

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

/// A request for these sources of openraft-kv, with the provider of listings.
fn request(site: &Site, sources: ScenarioSources) -> BootstrapRequest {
    let app = OpenRaftKv::new(env!("CARGO_BIN_EXE_openraft-kv-node"));
    let mut request = site.request(app, Vec::new());
    request.spec.sources = sources;
    request.spec.ready_within = READY_WITHIN;
    request.attach = vec![Arc::new(StaticProvider::new(|_| None))];
    request
}

fn external_only(external: Vec<ExternalNode>) -> ScenarioSources {
    ScenarioSources::ExternalOnly { external }
}

fn mixed(nodes: Vec<ManagedNode>, external: Vec<ExternalNode>) -> ScenarioSources {
    ScenarioSources::Managed { nodes, external }
}

fn attached(provider: &str, cluster: &str, external: Vec<ExternalNode>) -> ScenarioSources {
    ScenarioSources::Attached {
        attach: AttachSpec {
            provider: provider.to_owned(),
            cluster: cluster.to_owned(),
        },
        external,
    }
}

/// Why the cluster does not come up, and the same in one line.
async fn failure(request: BootstrapRequest) -> (BootstrapError, String) {
    match bootstrap(request).await {
        Err(error) => {
            let text = in_one_line(&error);
            (error, text)
        }
        Ok(_) => panic!("the cluster came up"),
    }
}
