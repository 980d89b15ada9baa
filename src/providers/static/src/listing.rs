//! The listing: the YAML file that says which nodes a cluster has and where they answer.
//!
//! Where secrets are is read here; the secrets themselves are got by `secrets`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde::Deserialize;
use serde_saphyr::{Error, Location, Spanned};
use trellis_bootstrap::{DiscoveredNode, Discovery, MissingNode};
use trellis_domain::{CapabilitySet, Endpoint, EndpointName, NodeName};

use crate::{
    ListingPlace, StaticError,
    secrets::{LookUp, ReadCredential, Secrets},
};

/// The endpoint that `url` stands for.
const USUAL_ENDPOINT: &str = "http";
/// Names that have less in common than this are not taken for each other.
const LIKENESS_MIN: f64 = 0.8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadListing {
    nodes: Vec<ReadNode>,
    #[serde(default)]
    expected: Vec<Spanned<String>>,
    credential: Option<Spanned<ReadCredential>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadNode {
    name: Spanned<String>,
    url: Option<Spanned<String>>,
    endpoints: Option<BTreeMap<String, Spanned<String>>>,
    credential: Option<Spanned<ReadCredential>>,
}

/// Reads what `file` lists. Blocks on files.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub(crate) fn read(file: &Path, look_up: &LookUp) -> Result<Discovery, StaticError> {
    let text = fs::read_to_string(file).map_err(|source| StaticError::Unreadable {
        file: file.to_owned(),
        source,
    })?;
    let options = serde_saphyr::options! { with_snippet: false };
    let listing: ReadListing = serde_saphyr::from_str_with_options(&text, options)
        .map_err(|error| malformed(place(file, error.location()), &error))?;
    let secrets = Secrets { file, look_up };
    let usual = listing.credential.as_ref();
    let mut names = BTreeSet::new();
    let mut nodes = Vec::new();
    for node in &listing.nodes {
        let name = name(file, &node.name)?;
        if !names.insert(name.clone()) {
            let place = place(file, Some(node.name.referenced));
            let problem = format!("{name} is listed a second time");
            return Err(StaticError::Malformed { place, problem });
        }
        let credential = node.credential.as_ref().or(usual);
        nodes.push(DiscoveredNode {
            endpoints: endpoints(file, &name, node)?,
            credential: credential.map(|wanted| secrets.get(wanted)).transpose()?,
            // Nothing but an address is known of it.
            capabilities: CapabilitySet::NONE,
            name,
        });
    }
    let mut missing = BTreeSet::new();
    for expected in &listing.expected {
        let name = name(file, expected)?;
        if !names.contains(&name) {
            let why = "it is expected, and its address is not listed".to_owned();
            missing.insert(MissingNode { name, why });
        }
    }
    Ok(Discovery {
        nodes,
        missing: missing.into_iter().collect(),
        operations: None,
    })
}

fn name(file: &Path, text: &Spanned<String>) -> Result<NodeName, StaticError> {
    text.value.parse().map_err(|source| StaticError::Name {
        place: place(file, Some(text.referenced)),
        source,
    })
}

fn endpoints(
    file: &Path,
    node: &NodeName,
    read: &ReadNode,
) -> Result<BTreeSet<Endpoint>, StaticError> {
    let endpoint = |name: EndpointName, url: &Spanned<String>| {
        Endpoint::new(name, &url.value).map_err(|source| StaticError::Endpoint {
            place: place(file, Some(url.referenced)),
            node: node.clone(),
            source,
        })
    };
    match (&read.url, &read.endpoints) {
        (Some(url), None) => {
            let usual = USUAL_ENDPOINT.parse().expect("the name is a valid one");
            Ok([endpoint(usual, url)?].into())
        }
        (None, Some(named)) if !named.is_empty() => named
            .iter()
            .map(|(key, url)| {
                let name = key.parse().map_err(|source| StaticError::Name {
                    place: place(file, Some(url.referenced)),
                    source,
                })?;
                endpoint(name, url)
            })
            .collect(),
        _ => Err(StaticError::Malformed {
            place: place(file, Some(read.name.referenced)),
            problem: format!(
                "{node} must say once where it answers; give `url: http://host:port`, or `endpoints: {{ http: http://host:port }}` where it has several"
            ),
        }),
    }
}

pub(crate) fn place(file: &Path, location: Option<Location>) -> ListingPlace {
    ListingPlace {
        file: file.to_owned(),
        position: location.map(|location| (location.line(), location.column())),
    }
}

/// Says what is wrong without a word of the values that are there: one of them may be a secret that went astray.
fn malformed(place: ListingPlace, error: &Error) -> StaticError {
    let problem = match error {
        Error::SerdeUnknownField {
            field, expected, ..
        } => unknown_key(field, expected),
        Error::SerdeMissingField { field, .. } => format!("the key `{field}` is missing"),
        Error::SerdeInvalidType { expected, .. } | Error::SerdeInvalidValue { expected, .. } => {
            format!("this must be {expected}")
        }
        Error::DuplicateMappingKey { .. } => "a key is given a second time".to_owned(),
        _ => "this is not the YAML of a listing, which is `nodes: [{ name: .., url: .. }]`"
            .to_owned(),
    };
    StaticError::Malformed { place, problem }
}

fn unknown_key(key: &str, known: &[&'static str]) -> String {
    let likeness = |word: &&str| strsim::jaro_winkler(&key.to_lowercase(), word);
    let nearest = known
        .iter()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        .filter(|word| likeness(word) >= LIKENESS_MIN);
    match nearest {
        Some(nearest) => format!("unknown key `{key}`; did you mean `{nearest}`?"),
        None => format!("unknown key `{key}`; known here: {}", known.join(", ")),
    }
}
