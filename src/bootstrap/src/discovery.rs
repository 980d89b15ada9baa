//! Discovery: from the sources of a scenario to sightings of the nodes that are not ours.
//!
//! Here it is decided whether what an attach provider found is enough to go on with. Who is who is asked in `identity`.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::timeout;
use trellis_domain::{
    AttachSpec, CapabilitySet, Credential, ExternalNode, NetworkIdentity, NodeSighting, Origin,
    ReadinessPolicy, ReadinessTally, ReadinessVerdict, ScenarioSources, ScenarioSpec,
};

use crate::{
    Application, AttachError, AttachProvider, BootstrapError, BootstrapRequest, Discovery,
    MissingNode, NodeOperations,
};

/// How long an attach provider may look.
const DISCOVER_WITHIN: Duration = Duration::from_secs(30);

/// What is borrowed, as its sources tell it.
#[derive(Default)]
pub(crate) struct Borrowed {
    /// The attached and the external nodes.
    pub(crate) sightings: Vec<NodeSighting>,
    /// Nodes that should have been found.
    pub(crate) missing: Vec<MissingNode>,
    /// What can be done to the attached ones that are opted in.
    pub(crate) operations: Option<Arc<dyn NodeOperations>>,
}

/// Step 1: valid sources, with the provider that they name.
///
/// # Errors
/// Sources that are not valid, or a provider that nobody registered.
pub(crate) fn resolve(
    request: &BootstrapRequest,
) -> Result<Option<(&AttachSpec, &dyn AttachProvider)>, BootstrapError> {
    let sources = &request.spec.sources;
    sources.validate()?;
    let ScenarioSources::Attached { attach, .. } = sources else {
        return Ok(None);
    };
    let mut providers = request.attach.iter();
    match providers.find(|provider| provider.name() == attach.provider) {
        Some(provider) => Ok(Some((attach, &**provider))),
        None => Err(BootstrapError::NoAttachProvider {
            attach: shown(attach),
            hint: hint(&attach.provider, &request.attach),
        }),
    }
}

fn hint(wanted: &str, registered: &[Arc<dyn AttachProvider>]) -> String {
    let names: Vec<&str> = registered.iter().map(|provider| provider.name()).collect();
    if names.is_empty() {
        return "none is registered in this run".to_owned();
    }
    let nearest = names
        .iter()
        .max_by(|a, b| strsim::jaro(wanted, a).total_cmp(&strsim::jaro(wanted, b)))
        .expect("there is a name");
    format!("did you mean {nearest:?}? known: {}", names.join(", "))
}

/// Step 2: looks for the nodes of the attached cluster, and takes the external ones as they are listed.
///
/// # Errors
/// A provider that could not look, nothing found, or so little that the readiness policy can never be met.
pub(crate) async fn discover(
    request: &BootstrapRequest,
    attach: Option<(&AttachSpec, &dyn AttachProvider)>,
) -> Result<Borrowed, BootstrapError> {
    let mut borrowed = Borrowed::default();
    if let Some((attach, provider)) = attach {
        let found = look(attach, provider).await?;
        check_found(&request.spec, attach, &found)?;
        for missing in &found.missing {
            request.progress.note(&format!(
                "the cluster {} lacks {missing}; going on without it",
                shown(attach)
            ));
        }
        let credential = request.spec.attached_credential.as_ref();
        let offered = offered(provider, &found);
        borrowed.sightings = attached(&*request.app, attach, &found, offered, credential);
        borrowed.missing = found.missing;
        borrowed.operations = found.operations;
    }
    let listed = request.spec.sources.external();
    let external = listed.iter().map(|node| external(&*request.app, node));
    borrowed.sightings.extend(external);
    Ok(borrowed)
}

async fn look(
    attach: &AttachSpec,
    provider: &dyn AttachProvider,
) -> Result<Discovery, BootstrapError> {
    let found = timeout(DISCOVER_WITHIN, provider.discover(&attach.cluster)).await;
    let late = |_| {
        Err(AttachError::Failed {
            cluster: attach.cluster.clone(),
            source: format!(
                "{} did not answer within {DISCOVER_WITHIN:?}",
                attach.provider
            )
            .into(),
        })
    };
    found
        .unwrap_or_else(late)
        .map_err(|source| BootstrapError::Attach {
            attach: shown(attach),
            source,
        })
}

/// Nothing is fatal, and so is less than what the policy can ever be content with.
fn check_found(
    spec: &ScenarioSpec,
    attach: &AttachSpec,
    found: &Discovery,
) -> Result<(), BootstrapError> {
    if found.nodes.is_empty() {
        return Err(BootstrapError::NothingFound {
            attach: shown(attach),
            missing: Missing(found.missing.clone()),
        });
    }
    if can_be_met(spec.readiness, spec, found) {
        return Ok(());
    }
    Err(BootstrapError::TooFewFound {
        attach: shown(attach),
        policy: spec.readiness,
        found: found.nodes.len(),
        missing: Missing(found.missing.clone()),
    })
}

/// Whether `policy` would be met if every node that was found became ready.
fn can_be_met(policy: ReadinessPolicy, spec: &ScenarioSpec, found: &Discovery) -> bool {
    let ready = found.nodes.len() + spec.sources.external().len();
    let best = ReadinessTally {
        total: ready + found.missing.len(),
        ready,
        ..ReadinessTally::default()
    };
    policy.judge(best) == ReadinessVerdict::Ready
}

/// Step 3 for attached nodes: each can do what its application allows of what is `offered` for it.
fn attached(
    app: &dyn Application,
    attach: &AttachSpec,
    found: &Discovery,
    offered: CapabilitySet,
    usual: Option<&Credential>,
) -> Vec<NodeSighting> {
    let sighting = |node: &crate::DiscoveredNode| {
        let origin = Origin::Attached {
            cluster: shown(attach),
        };
        let mut sighting = NodeSighting::new(node.name.clone(), origin);
        sighting.capabilities = CapabilitySet::BORROWED
            .union(offered.intersection(node.capabilities))
            .intersection(app.capabilities());
        sighting.endpoints.clone_from(&node.endpoints);
        sighting.credential = node.credential.as_ref().or(usual).cloned();
        sighting.network = authenticated(sighting.credential.as_ref());
        sighting
    };
    found.nodes.iter().map(sighting).collect()
}

/// What the provider can do to nodes that are opted in; only operations that were handed over count.
fn offered(provider: &dyn AttachProvider, found: &Discovery) -> CapabilitySet {
    match found.operations {
        Some(_) => provider.capabilities().intersection(CapabilitySet::OPT_IN),
        None => CapabilitySet::NONE,
    }
}

/// Step 3 for external nodes: nothing but an address is known of them, so nothing but query and submit can be done.
fn external(app: &dyn Application, node: &ExternalNode) -> NodeSighting {
    let origin = Origin::External {
        listed_in: node.listed_in.clone(),
    };
    let mut sighting = NodeSighting::new(node.name.clone(), origin);
    sighting.capabilities = CapabilitySet::BORROWED.intersection(app.capabilities());
    sighting.endpoints.clone_from(&node.endpoints);
    sighting.credential.clone_from(&node.credential);
    sighting.network = authenticated(node.credential.as_ref());
    sighting
}

/// The part of a network identity that a credential tells.
fn authenticated(credential: Option<&Credential>) -> NetworkIdentity {
    NetworkIdentity {
        auth: credential.map(|taken| taken.class().to_owned()),
        ..NetworkIdentity::default()
    }
}

fn shown(attach: &AttachSpec) -> String {
    format!("{}:{}", attach.provider, attach.cluster)
}

/// Missing nodes in one phrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(pub Vec<MissingNode>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing says which nodes there should be");
        }
        f.write_str("missing:")?;
        self.0.iter().try_for_each(|node| write!(f, "\n  {node}"))
    }
}
