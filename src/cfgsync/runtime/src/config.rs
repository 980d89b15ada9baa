//! Server configuration: what a `cfgsync-server` reads at its start.
//!
//! Configurations that are made from registrations are an application's; one that has such a rule uses [`crate::serve_snapshot_cfgsync`] and no file.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use cfgsync_adapter::{CatalogConfigSource, CatalogError, NodeArtifacts, NodeArtifactsCatalog};
use cfgsync_core::{
    BearerToken, BundleConfigSource, BundleError, NodeArtifactsBundle, NodeConfigSource,
};
use serde::Deserialize;
use thiserror::Error;

/// What a server serves, and where.
///
/// As YAML:
///
/// ```yaml
/// port: 4400
/// bind: 0.0.0.0          # loopback unless it is said
/// token_file: token.txt  # no token is asked for unless it is said
/// source:
///   kind: bundle         # or registration
///   bundle_path: bundle.yaml
/// ```
///
/// Relative paths begin at the folder of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CfgsyncServerConfig {
    /// The address to listen on; loopback unless it is said.
    pub bind: IpAddr,
    /// The port; 0 lets the system choose one.
    pub port: u16,
    /// The file that has the bearer token, if clients have to send one.
    pub token_file: Option<PathBuf>,
    /// What is served.
    pub source: CfgsyncServingMode,
}

/// What a server serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CfgsyncServingMode {
    /// A bundle, to every node in it.
    Bundle {
        /// The bundle.
        bundle_path: PathBuf,
    },
    /// Files that are made already, to nodes that have registered.
    Registration {
        /// The files, in the form of a bundle.
        artifacts_path: PathBuf,
        /// Whether nobody gets anything before all nodes have registered.
        wait_for_all: bool,
    },
}

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerConfigError {
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The text is no configuration.
    #[error("{}{}: {problem}", path.display(), Position(*position))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line and column, both from 1.
        position: Option<(u64, u64)>,
        /// What is wrong there.
        problem: String,
    },
    /// The bundle cannot be used.
    #[error("the files to serve cannot be used")]
    Bundle(#[from] BundleError),
    /// The files contradict each other.
    #[error("the files to serve contradict each other")]
    Catalog(#[from] CatalogError),
    /// The file for the token has none.
    #[error("the token file {} is empty; it must have the token in it, and nothing else", path.display())]
    EmptyToken {
        /// The file.
        path: PathBuf,
    },
}

struct Position(Option<(u64, u64)>);

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some((line, column)) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadConfig {
    port: u16,
    bind: Option<IpAddr>,
    token_file: Option<PathBuf>,
    source: ReadSource,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadSource {
    kind: Kind,
    bundle_path: Option<PathBuf>,
    artifacts_path: Option<PathBuf>,
    wait_for_all: Option<bool>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Bundle,
    Registration,
}

impl CfgsyncServerConfig {
    /// Reads a configuration from a YAML file.
    ///
    /// # Errors
    /// Each with the file, and with line and column where there are some.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ServerConfigError> {
        let path = path.as_ref();
        let text = read(path)?;
        let malformed = |position, problem| ServerConfigError::Malformed {
            path: path.to_owned(),
            position,
            problem,
        };
        let config: ReadConfig = serde_saphyr::from_str_with_options(
            &text,
            serde_saphyr::options! { with_snippet: false },
        )
        .map_err(|error| {
            let place = error.location().map(|place| (place.line(), place.column()));
            malformed(place, error.to_string())
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let source = mode(config.source, folder).map_err(|problem| malformed(None, problem))?;
        Ok(Self {
            bind: config.bind.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            port: config.port,
            token_file: config.token_file.map(|file| folder.join(file)),
            source,
        })
    }

    /// Where to listen.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.bind, self.port)
    }

    /// Reads the token, where one is wanted.
    ///
    /// # Errors
    /// A file that cannot be read or has nothing in it.
    pub fn token(&self) -> Result<Option<BearerToken>, ServerConfigError> {
        let Some(path) = &self.token_file else {
            return Ok(None);
        };
        match read(path)?.trim() {
            "" => Err(ServerConfigError::EmptyToken { path: path.clone() }),
            token => Ok(Some(BearerToken::new(token))),
        }
    }

    /// Reads what is to be served.
    ///
    /// # Errors
    /// Files that cannot be used.
    pub fn open(&self) -> Result<Arc<dyn NodeConfigSource>, ServerConfigError> {
        match &self.source {
            CfgsyncServingMode::Bundle { bundle_path } => {
                let bundle = NodeArtifactsBundle::from_file(bundle_path)?;
                Ok(Arc::new(BundleConfigSource::new(&bundle)))
            }
            CfgsyncServingMode::Registration {
                artifacts_path,
                wait_for_all,
            } => {
                let catalog = catalog(&NodeArtifactsBundle::from_file(artifacts_path)?);
                let source = CatalogConfigSource::new(catalog)?;
                Ok(if *wait_for_all {
                    Arc::new(source.waiting_for_all())
                } else {
                    Arc::new(source)
                })
            }
        }
    }
}

fn read(path: &Path) -> Result<String, ServerConfigError> {
    fs::read_to_string(path).map_err(|source| ServerConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

/// The mode, if the paths are those of its kind.
fn mode(source: ReadSource, folder: &Path) -> Result<CfgsyncServingMode, String> {
    let needs = |kind: &str, field: &str| format!("a source of kind {kind} needs {field}");
    let has_not = |kind: &str, field: &str| format!("a source of kind {kind} has no {field}");
    match source.kind {
        Kind::Bundle if source.artifacts_path.is_some() => Err(has_not("bundle", "artifacts_path")),
        Kind::Bundle if source.wait_for_all.is_some() => Err(has_not("bundle", "wait_for_all")),
        Kind::Bundle => match source.bundle_path {
            Some(path) => Ok(CfgsyncServingMode::Bundle {
                bundle_path: folder.join(path),
            }),
            None => Err(needs("bundle", "bundle_path")),
        },
        Kind::Registration if source.bundle_path.is_some() => {
            Err(has_not("registration", "bundle_path"))
        }
        Kind::Registration => match source.artifacts_path {
            Some(path) => Ok(CfgsyncServingMode::Registration {
                artifacts_path: folder.join(path),
                wait_for_all: source.wait_for_all.unwrap_or(false),
            }),
            None => Err(needs("registration", "artifacts_path")),
        },
    }
}

fn catalog(bundle: &NodeArtifactsBundle) -> NodeArtifactsCatalog {
    let nodes = bundle.nodes().iter().map(|node| NodeArtifacts {
        identifier: node.identifier.clone(),
        files: node.files.iter().cloned().collect(),
    });
    let shared: Vec<_> = bundle.shared_files().iter().cloned().collect();
    NodeArtifactsCatalog::new(nodes.collect()).with_shared_files(shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<CfgsyncServerConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.yaml");
        fs::write(&path, text).unwrap();
        CfgsyncServerConfig::from_file(&path).map_err(|error| {
            let text = error.to_string();
            text.replace(&folder.path().display().to_string(), "")
        })
    }

    #[test]
    fn loopback_is_the_address_unless_another_is_said() {
        let text = "port: 4400\nsource: {kind: bundle, bundle_path: b.yaml}";
        assert_eq!(check(text).unwrap().address().to_string(), "127.0.0.1:4400");
        let open = format!("bind: '::'\n{text}");
        assert_eq!(check(&open).unwrap().address().to_string(), "[::]:4400");
    }

    #[test]
    fn paths_begin_at_the_folder_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.yaml");
        let text = "port: 1\nsource: {kind: registration, artifacts_path: a/files.yaml}";
        fs::write(&path, text).unwrap();
        let config = CfgsyncServerConfig::from_file(&path).unwrap();
        let CfgsyncServingMode::Registration { artifacts_path, .. } = config.source else {
            panic!("{config:?}");
        };
        assert_eq!(artifacts_path, folder.path().join("a/files.yaml"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let unknown = check("port: 1\nsuorce: {}\n").unwrap_err();
        assert!(unknown.starts_with("/server.yaml:2:1"), "{unknown}");
        assert!(unknown.contains("suorce"), "{unknown}");
        let port = check("port: many\nsource: {kind: bundle, bundle_path: b}").unwrap_err();
        assert!(port.starts_with("/server.yaml:1:7"), "{port}");
    }

    #[test]
    fn a_kind_has_its_own_path_and_no_other() {
        let missing = check("port: 1\nsource: {kind: bundle}").unwrap_err();
        assert!(missing.contains("needs bundle_path"), "{missing}");
        let other = check("port: 1\nsource: {kind: registration, bundle_path: b}").unwrap_err();
        assert!(other.contains("has no bundle_path"), "{other}");
    }
}
