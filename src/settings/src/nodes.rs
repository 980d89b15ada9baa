//! Nodes: external ones, which features call by name so that no feature has to hold an address or a credential.

use std::collections::BTreeSet;

use trellis_domain::{Endpoint, EndpointName, NodeName};

use crate::{CredentialSource, section::Section};

/// The endpoint that `url` stands for.
const USUAL_ENDPOINT: &str = "http";

/// An external node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    /// Its name in features.
    pub name: NodeName,
    /// Where it answers; at least one.
    pub endpoints: BTreeSet<Endpoint>,
    /// How to prove oneself to it.
    pub credential: Option<CredentialSource>,
    /// The file that lists it, for people.
    pub listed_in: String,
}

impl NodeSettings {
    /// What the file says; `None` if something is wrong with it.
    pub fn of_file(name: &str, mut section: Section<'_>) -> Option<Self> {
        let name = match name.parse::<NodeName>() {
            Ok(name) => Some(name),
            Err(error) => {
                let message = format!("{} cannot be used: {error}", section.name());
                section.refuse(message, None);
                None
            }
        };
        let endpoints = endpoints(&mut section);
        let credential = CredentialSource::of_file(&mut section);
        let listed_in = section.file.path.display().to_string();
        section.finish();
        Some(Self {
            name: name?,
            endpoints: endpoints?,
            credential,
            listed_in,
        })
    }
}

fn endpoints(section: &mut Section<'_>) -> Option<BTreeSet<Endpoint>> {
    let usual: EndpointName = USUAL_ENDPOINT.parse().expect("the name is a valid one");
    let by_url = section.parsed("url", |url| Endpoint::new(usual, url));
    let named = section.section("endpoints").map(named_endpoints);
    match (section.has("url"), section.has("endpoints")) {
        (true, false) => by_url.map(|endpoint| [endpoint].into()),
        (false, true) => named?,
        (both, _) => {
            let wrong = if both { "twice" } else { "nowhere" };
            let message = format!("{} says {wrong} where it answers", section.name());
            let help = "give url = \"http://host:port\", or endpoints = { http = \"http://host:port\" } where it has several";
            section.refuse(message, Some(help.to_owned()));
            None
        }
    }
}

/// All of them, or none if something is wrong with one.
fn named_endpoints(section: Section<'_>) -> Option<BTreeSet<Endpoint>> {
    let mut endpoints = BTreeSet::new();
    let mut wrong = 0;
    let mut found = 0;
    for (key, url) in section.texts() {
        found += 1;
        let name = section.kept(key, key.parse::<EndpointName>());
        let endpoint = name.and_then(|name| section.kept(key, Endpoint::new(name, url)));
        match endpoint {
            Some(endpoint) => drop(endpoints.insert(endpoint)),
            None => wrong += 1,
        }
    }
    if found == 0 {
        section.refuse(format!("{} has no endpoint", section.name()), None);
    }
    (wrong == 0 && found > 0).then_some(endpoints)
}
