//! Any sequence of registrations, replacements and requests gives what a model says.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use cfgsync_adapter::{
    CachedSnapshotMaterializer, DynCfgsyncError, NodeArtifacts, NodeArtifactsCatalog,
    RegistrationSnapshot, RegistrationSnapshotMaterializer, SnapshotConfigSource,
};
use cfgsync_artifacts::ArtifactFile;
use cfgsync_core::{ConfigResolution, NodeConfigSource, NodeRegistration, RegisterOutcome};
use proptest::prelude::*;

/// Ready with so many nodes.
const QUORUM: usize = 3;
/// A node that the application has no artifacts for.
const STRANGER: &str = "n0";

#[derive(Debug, Clone)]
enum Action {
    Register(u8, u8),
    Replace(u8, u8),
    Withdraw(u8),
    Fetch(u8),
}

fn action() -> impl Strategy<Value = Action> {
    let name = 0..6_u8;
    prop_oneof![
        3 => (name.clone(), 0..3_u8).prop_map(|(name, last)| Action::Register(name, last)),
        1 => (name.clone(), 0..3_u8).prop_map(|(name, text)| Action::Replace(name, text)),
        1 => name.clone().prop_map(Action::Withdraw),
        4 => name.prop_map(Action::Fetch),
    ]
}

#[derive(Default)]
struct Model {
    addresses: BTreeMap<String, u8>,
    replaced: BTreeMap<String, u8>,
    version: u64,
    /// The versions that were asked for, which are those that may be made.
    asked: BTreeSet<u64>,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Missing,
    NotReady(usize),
    Ready(String),
}

impl Model {
    fn register(&mut self, name: String, last: u8) -> RegisterOutcome {
        let before = self.addresses.insert(name, last);
        let outcome = match before {
            None => RegisterOutcome::New,
            Some(before) if before != last => RegisterOutcome::Changed,
            Some(_) => return RegisterOutcome::Unchanged,
        };
        self.version += 1;
        outcome
    }

    fn fetch(&mut self, name: &str) -> Answer {
        if !self.addresses.contains_key(name) {
            return Answer::Missing;
        }
        if let Some(text) = self.replaced.get(name) {
            return Answer::Ready(text.to_string());
        }
        self.asked.insert(self.version);
        match self.addresses.len() {
            registered @ ..QUORUM => Answer::NotReady(registered),
            _ if name == STRANGER => Answer::Missing,
            _ => Answer::Ready(format!("{:?}", self.addresses)),
        }
    }
}

struct Addresses;

impl RegistrationSnapshotMaterializer for Addresses {
    fn materialize_snapshot(
        &self,
        registrations: &RegistrationSnapshot,
    ) -> Result<Option<NodeArtifactsCatalog>, DynCfgsyncError> {
        if registrations.len() < QUORUM {
            return Ok(None);
        }
        let last = |node: &NodeRegistration| match node.ip {
            IpAddr::V4(ip) => (node.identifier.clone(), ip.octets()[3]),
            IpAddr::V6(_) => unreachable!("the model has no such address"),
        };
        let addresses: BTreeMap<String, u8> = registrations.iter().map(last).collect();
        let served = registrations
            .iter()
            .filter(|node| node.identifier != STRANGER);
        let nodes = served.map(|node| NodeArtifacts {
            identifier: node.identifier.clone(),
            files: vec![ArtifactFile::new("addresses", format!("{addresses:?}"))],
        });
        Ok(Some(NodeArtifactsCatalog::new(nodes.collect())))
    }
}

fn node(name: &str, last: u8) -> NodeRegistration {
    NodeRegistration::new(name, IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)))
}

async fn fetched(source: &SnapshotConfigSource, name: &str) -> Answer {
    match source.resolve(&node(name, 99)).await {
        Ok(ConfigResolution::Missing(_)) => Answer::Missing,
        Ok(ConfigResolution::NotReady(awaited)) => Answer::NotReady(awaited.registered),
        Ok(ConfigResolution::Ready(payload)) => {
            let file = payload.files.iter().next().expect("there is one file");
            Answer::Ready(file.content.as_text().unwrap_or_default().to_owned())
        }
        Err(error) => panic!("nothing fails here: {error}"),
    }
}

async fn play(actions: Vec<Action>) -> Result<(), TestCaseError> {
    let source = SnapshotConfigSource::new(CachedSnapshotMaterializer::new(Addresses));
    let mut model = Model::default();
    for action in actions {
        match action {
            Action::Register(name, last) => {
                let name = format!("n{name}");
                let outcome = source.register(node(&name, last)).await;
                prop_assert_eq!(outcome, Ok(model.register(name, last)));
            }
            Action::Replace(name, text) => {
                let name = format!("n{name}");
                let files = [ArtifactFile::new("by hand", text.to_string())];
                let before = *source.changes().borrow();
                let version = source.replace_artifacts(&name, files);
                prop_assert!(version.is_ok_and(|version| version > before));
                model.replaced.insert(name, text);
            }
            Action::Withdraw(name) => {
                let name = format!("n{name}");
                let withdrawn = source.withdraw_replacement(&name);
                prop_assert_eq!(withdrawn, model.replaced.remove(&name).is_some());
            }
            Action::Fetch(name) => {
                let name = format!("n{name}");
                prop_assert_eq!(fetched(&source, &name).await, model.fetch(&name));
            }
        }
        let version = source.overview().version;
        prop_assert_eq!(version, model.version);
    }
    prop_assert_eq!(source.materializations(), model.asked.len() as u64);
    Ok(())
}

proptest! {
    #[test]
    fn any_sequence_gives_what_the_model_says(actions in prop::collection::vec(action(), 0..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(play(actions))?;
    }
}
