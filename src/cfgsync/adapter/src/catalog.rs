//! The catalog: which node gets which files.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use cfgsync_artifacts::{ArtifactConflict, ArtifactFile, ArtifactSet};
use cfgsync_core::NodeArtifactsPayload;
use thiserror::Error;

/// The files of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeArtifacts {
    /// The node.
    pub identifier: String,
    /// Its own files; those that all nodes share are the catalog's.
    pub files: Vec<ArtifactFile>,
}

/// The files of all nodes, as an application gives them.
///
/// Nothing is refused while it is put together, so that this can be one expression; [`NodeArtifactsCatalog::check`] says what contradicts itself, and a source serves none of it before that has passed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeArtifactsCatalog {
    nodes: Vec<NodeArtifacts>,
    shared: Vec<ArtifactFile>,
    version: u64,
}

/// What contradicts itself in a catalog.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// One node, twice.
    #[error("{identifier:?} is in the catalog twice; a node has one entry")]
    NodeTwice {
        /// The node.
        identifier: String,
    },
    /// Two files of one path among a node's own.
    #[error("the files of {identifier:?} contradict each other")]
    Node {
        /// The node.
        identifier: String,
        /// The path.
        source: ArtifactConflict,
    },
    /// Two files of one path among the shared ones.
    #[error("the shared files contradict each other")]
    Shared {
        /// The path.
        source: ArtifactConflict,
    },
    /// A node's own file that differs from the shared one of its path.
    #[error(
        "{identifier:?} has a file of its own at {path:?}, which is a shared file; which of them is meant?"
    )]
    NodeAndShared {
        /// The node.
        identifier: String,
        /// The path.
        path: String,
    },
}

impl NodeArtifactsCatalog {
    /// A catalog of these nodes.
    pub fn new(nodes: Vec<NodeArtifacts>) -> Self {
        Self {
            nodes,
            ..Self::default()
        }
    }

    /// The same catalog, with files that every node gets along with its own.
    #[must_use]
    pub fn with_shared_files(mut self, files: impl IntoIterator<Item = ArtifactFile>) -> Self {
        self.shared.extend(files);
        self
    }

    /// The nodes, in the order given.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &NodeArtifacts> {
        self.nodes.iter()
    }

    /// The files of one node, without the shared ones.
    pub fn get(&self, identifier: &str) -> Option<&NodeArtifacts> {
        self.nodes.iter().find(|node| node.identifier == identifier)
    }

    /// The files that every node gets.
    pub fn shared_files(&self) -> &[ArtifactFile] {
        &self.shared
    }

    /// How many nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// 0, and one more with each replacement.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Gives a node these files instead of its own; the shared ones still come along. A node that was not there is now. Returns what it had.
    pub fn replace(&mut self, artifacts: NodeArtifacts) -> Option<NodeArtifacts> {
        self.version += 1;
        let nodes = &mut self.nodes;
        let known = nodes
            .iter_mut()
            .find(|node| node.identifier == artifacts.identifier);
        if let Some(node) = known {
            return Some(std::mem::replace(node, artifacts));
        }
        nodes.push(artifacts);
        None
    }

    /// Whether the catalog can be served.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn check(&self) -> Result<(), CatalogError> {
        ServableCatalog::new(self.clone()).map(drop)
    }
}

/// A catalog without contradictions, by node.
#[derive(Debug)]
pub(crate) struct ServableCatalog {
    nodes: BTreeMap<String, Arc<NodeArtifactsPayload>>,
    shared: ArtifactSet,
}

impl ServableCatalog {
    pub(crate) fn new(catalog: NodeArtifactsCatalog) -> Result<Self, CatalogError> {
        let shared =
            ArtifactSet::new(catalog.shared).map_err(|source| CatalogError::Shared { source })?;
        let mut nodes = BTreeMap::new();
        let by_path: HashMap<&str, &ArtifactFile> = shared
            .iter()
            .map(|file| (file.path.as_str(), file))
            .collect();
        for NodeArtifacts { identifier, files } in catalog.nodes {
            let files = own_files(&identifier, files, &by_path)?;
            let payload = Arc::new(NodeArtifactsPayload::new(files));
            if nodes.insert(identifier.clone(), payload).is_some() {
                return Err(CatalogError::NodeTwice { identifier });
            }
        }
        Ok(Self { nodes, shared })
    }

    /// All files of a node. The shared ones are joined to its own only here: a copy for each of many nodes would be kept for as long as the catalog is.
    pub(crate) fn payload(&self, identifier: &str) -> Option<Arc<NodeArtifactsPayload>> {
        let own = self.nodes.get(identifier)?;
        if self.shared.is_empty() {
            return Some(Arc::clone(own));
        }
        let files = own.files.clone().merge(self.shared.clone());
        let files = files.expect("own files at shared paths are refused or left out by `new`");
        Some(Arc::new(NodeArtifactsPayload::new(files)))
    }

    pub(crate) fn identifiers(&self) -> impl ExactSizeIterator<Item = &String> {
        self.nodes.keys()
    }

    pub(crate) fn contains(&self, identifier: &str) -> bool {
        self.nodes.contains_key(identifier)
    }
}

/// A node's files without those that are shared files to the letter.
fn own_files(
    identifier: &str,
    files: Vec<ArtifactFile>,
    shared: &HashMap<&str, &ArtifactFile>,
) -> Result<ArtifactSet, CatalogError> {
    let files = ArtifactSet::new(files).map_err(|source| CatalogError::Node {
        identifier: identifier.to_owned(),
        source,
    })?;
    let differs = |file: &&ArtifactFile| {
        let other = shared.get(file.path.as_str());
        other.is_some_and(|other| other != file)
    };
    if let Some(file) = files.iter().find(differs) {
        return Err(CatalogError::NodeAndShared {
            identifier: identifier.to_owned(),
            path: file.path.clone(),
        });
    }
    let own = files
        .into_iter()
        .filter(|file| !shared.contains_key(file.path.as_str()));
    Ok(ArtifactSet::new(own).expect("a part of a set has no path twice"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(identifier: &str, files: &[(&str, &str)]) -> NodeArtifacts {
        let files = files.iter();
        NodeArtifacts {
            identifier: identifier.to_owned(),
            files: files
                .map(|(path, text)| ArtifactFile::new(*path, *text))
                .collect(),
        }
    }

    fn refusal(catalog: NodeArtifactsCatalog) -> String {
        catalog.check().unwrap_err().to_string()
    }

    #[test]
    fn shared_files_come_along_once() {
        let catalog = NodeArtifactsCatalog::new(vec![node("a", &[("own", "1"), ("all", "2")])])
            .with_shared_files([
                ArtifactFile::new("all", "2"),
                ArtifactFile::new("more", "3"),
            ]);
        let servable = ServableCatalog::new(catalog).unwrap();
        let payload = servable.payload("a").unwrap();
        let paths: Vec<&str> = payload
            .files
            .iter()
            .map(|file| file.path.as_str())
            .collect();
        assert_eq!(paths, ["own", "all", "more"]);
        assert!(servable.payload("b").is_none());
    }

    #[test]
    fn contradictions_are_refused_with_their_place() {
        let twice = NodeArtifactsCatalog::new(vec![node("a", &[]), node("a", &[])]);
        assert_eq!(
            refusal(twice),
            "\"a\" is in the catalog twice; a node has one entry"
        );
        let files = NodeArtifactsCatalog::new(vec![node("a", &[("x", "1"), ("x", "2")])]);
        assert_eq!(refusal(files), "the files of \"a\" contradict each other");
        let shared = NodeArtifactsCatalog::new(vec![node("a", &[("x", "1")])])
            .with_shared_files([ArtifactFile::new("x", "2")]);
        assert!(refusal(shared).contains("a file of its own at \"x\""));
    }

    #[test]
    fn a_replacement_is_a_version_and_returns_what_was_there() {
        let mut catalog = NodeArtifactsCatalog::new(vec![node("a", &[("x", "1")])]);
        assert_eq!(
            catalog.replace(node("a", &[("x", "2")])),
            Some(node("a", &[("x", "1")]))
        );
        assert_eq!(catalog.replace(node("b", &[])), None);
        assert_eq!(catalog.get("a"), Some(&node("a", &[("x", "2")])));
        assert_eq!((catalog.len(), catalog.version()), (2, 2));
    }
}
