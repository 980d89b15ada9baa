//! Bundle: the files of all nodes, known beforehand and written as YAML.
//!
//! How it is served is `bundle_source`'s business.

use std::{
    collections::{HashMap, HashSet},
    fmt, fs, io,
    path::{Path, PathBuf},
};

use cfgsync_artifacts::{ArtifactConflict, ArtifactFile, ArtifactSet};
use serde::{Deserialize, Serialize};
use serde_saphyr::{Location, Options, Spanned};
use thiserror::Error;

/// The files of all nodes: `nodes: [{identifier, files: [{path, content}]}]`, `shared_files: [..]`.
///
/// Whoever has one knows that its identifiers are unique and that no node's file and shared file are two under one path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NodeArtifactsBundle {
    nodes: Vec<BundleNode>,
    #[serde(skip_serializing_if = "ArtifactSet::is_empty")]
    shared_files: ArtifactSet,
}

/// One node of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BundleNode {
    /// The node.
    pub identifier: String,
    /// What only this node gets.
    pub files: ArtifactSet,
}

/// Why there is no bundle.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The file cannot be read.
    #[error("the bundle {} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The text is no bundle.
    #[error(
        "{place}: {problem}; a bundle is `nodes: [{{identifier, files: [{{path, content}}]}}]` and, where wanted, `shared_files: [{{path, content}}]`"
    )]
    Malformed {
        /// Where.
        place: BundlePlace,
        /// What is wrong there.
        problem: String,
    },
    /// Two nodes of one name.
    #[error("{place} names the node {identifier:?} a second time; a node is listed once")]
    DuplicateNode {
        /// Where the second one is.
        place: BundlePlace,
        /// The name.
        identifier: String,
    },
    /// A node's file and a shared file differ under one path.
    #[error(
        "{place} gives the node {identifier:?} a file of its own at {path:?}, where the shared files have another one"
    )]
    Conflict {
        /// Where the node is.
        place: BundlePlace,
        /// The node.
        identifier: String,
        /// The path.
        path: String,
    },
}

/// A place in a bundle, for people: `bundle.yaml:3:7`, or as much of it as is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BundlePlace {
    /// The file that the bundle was read from.
    pub file: Option<PathBuf>,
    /// Line and column, both from 1.
    pub position: Option<(u64, u64)>,
}

impl fmt::Display for BundlePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.position) {
            (Some(file), Some((line, column))) => {
                write!(f, "{}:{line}:{column}", file.display())
            }
            (Some(file), None) => write!(f, "{}", file.display()),
            (None, Some((line, column))) => {
                write!(f, "line {line}, column {column} of the bundle")
            }
            (None, None) => f.write_str("the bundle"),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadBundle {
    nodes: Vec<ReadNode>,
    #[serde(default)]
    shared_files: ArtifactSet,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadNode {
    identifier: Spanned<String>,
    #[serde(default)]
    files: ArtifactSet,
}

impl NodeArtifactsBundle {
    /// A bundle of `nodes`, each of which gets `shared_files`, too.
    ///
    /// # Errors
    /// [`BundleError::DuplicateNode`] or [`BundleError::Conflict`].
    pub fn new(
        nodes: impl IntoIterator<Item = BundleNode>,
        shared_files: ArtifactSet,
    ) -> Result<Self, BundleError> {
        let nodes = nodes.into_iter();
        Self::checked(
            nodes.map(|node| (node, BundlePlace::default())),
            shared_files,
        )
    }

    /// Reads a bundle from YAML.
    ///
    /// # Errors
    /// Each with line and column.
    pub fn from_yaml(text: &str) -> Result<Self, BundleError> {
        Self::read(text, None)
    }

    /// Reads a bundle from a file.
    ///
    /// # Errors
    /// Each with the file, and with line and column where there are some.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, BundleError> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(|source| BundleError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Self::read(&text, Some(path))
    }

    /// The nodes, in the order given.
    pub fn nodes(&self) -> &[BundleNode] {
        &self.nodes
    }

    /// What every node gets.
    pub fn shared_files(&self) -> &ArtifactSet {
        &self.shared_files
    }

    fn read(text: &str, file: Option<&Path>) -> Result<Self, BundleError> {
        let place = |location: Option<Location>| BundlePlace {
            file: file.map(Path::to_owned),
            position: location.map(|location| (location.line(), location.column())),
        };
        let ReadBundle {
            nodes,
            shared_files,
        } = serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
            let place = place(error.location());
            let problem = without_position(&error, error.location());
            BundleError::Malformed { place, problem }
        })?;
        let nodes = nodes.into_iter().map(|node| {
            let place = place(Some(node.identifier.referenced));
            let node = BundleNode {
                identifier: node.identifier.value,
                files: node.files,
            };
            (node, place)
        });
        Self::checked(nodes, shared_files)
    }

    fn checked(
        placed: impl Iterator<Item = (BundleNode, BundlePlace)>,
        shared_files: ArtifactSet,
    ) -> Result<Self, BundleError> {
        let shared: HashMap<&str, _> = shared_files
            .iter()
            .map(|file| (&*file.path, file))
            .collect();
        let mut nodes = Vec::new();
        let mut names = HashSet::new();
        for (node, place) in placed {
            let BundleNode { identifier, files } = &node;
            if !names.insert(identifier.clone()) {
                let identifier = identifier.clone();
                return Err(BundleError::DuplicateNode { place, identifier });
            }
            let differs =
                |file: &&ArtifactFile| shared.get(&*file.path).is_some_and(|known| known != file);
            if let Some(file) = files.iter().find(differs) {
                return Err(BundleError::Conflict {
                    place,
                    identifier: identifier.clone(),
                    path: file.path.clone(),
                });
            }
            nodes.push(node);
        }
        Ok(Self {
            nodes,
            shared_files,
        })
    }
}

impl BundleNode {
    /// All files that this node gets: its own, then the shared ones.
    ///
    /// # Errors
    /// Never for a node of a bundle that has these shared files.
    pub fn files_with(&self, shared: &ArtifactSet) -> Result<ArtifactSet, ArtifactConflict> {
        self.files.clone().merge(shared.clone())
    }
}

/// The place is said in front of it, once.
fn without_position(error: &serde_saphyr::Error, location: Option<Location>) -> String {
    let text = error.to_string();
    let position = location.map(|at| format!(" at line {}, column {}", at.line(), at.column()));
    match position.and_then(|position| text.strip_suffix(&position).map(str::to_owned)) {
        Some(text) => text,
        None => text,
    }
}

/// Room for the bundles of ten thousand nodes; what is left of the limits keeps aliases from making much of little.
fn options() -> Options {
    serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_events: 16_000_000,
            max_nodes: 4_000_000,
            max_total_scalar_bytes: 512 * 1024 * 1024,
        },
    }
}
