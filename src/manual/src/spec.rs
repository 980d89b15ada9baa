//! Specs: the file that says what `trellis up` is to bring up.
//!
//! It has the words of a feature and of `trellis.toml`: nodes to start, or a cluster to attach to, external nodes beside them, and when all of it counts as ready.

use std::{
    collections::BTreeMap,
    fs, io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use thiserror::Error;
use trellis_domain::{
    AppName, Credential, ExternalNode, ManagedNode, NodeName, ReadinessPolicy, ScenarioSources,
    ScenarioSpec, SourcesError,
};
use trellis_settings::{
    ClusterSettings, CredentialError, CredentialSource, Environment, NodeSettings, Section,
    SettingsError, read_document,
};

use crate::ClusterName;

/// What the file says, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpSpec {
    /// The file, for people.
    pub file: PathBuf,
    /// What the cluster is called; the name of the file says it, unless the file itself does.
    pub name: Option<ClusterName>,
    /// The application; may be left out where there is only one.
    pub app: Option<AppName>,
    /// The backend for the nodes to start; may be left out where there is only one.
    pub deployer: Option<String>,
    /// The nodes to start.
    pub nodes: Vec<ManagedNode>,
    /// The cluster to attach to, and how to prove oneself to its nodes.
    pub attach: Option<ClusterSettings>,
    /// Nodes that run already.
    pub external: Vec<NodeSettings>,
    /// When the cluster counts as ready.
    pub readiness: ReadinessPolicy,
    /// How long that may take.
    pub ready_within: Option<Duration>,
}

/// Why a file says nothing that could be brought up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpecError {
    /// It cannot be read.
    #[error("cannot read the spec {}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Something in it is wrong.
    #[error(transparent)]
    Wrong(SettingsError),
    /// It has no name, and neither has its file.
    #[error(
        "{} does not say what the cluster is called; give name = \"demo\", or say --name demo",
        file.display()
    )]
    Nameless {
        /// The file.
        file: PathBuf,
    },
    /// A credential cannot be had.
    #[error("the credential of {of} cannot be had")]
    Credential {
        /// Whose credential: a node, or an attached cluster.
        of: String,
        /// Why.
        #[source]
        source: CredentialError,
    },
    /// The sources do not go together.
    #[error("{} does not say what could be brought up", file.display())]
    Sources {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: SourcesError,
    },
}

impl UpSpec {
    /// Reads the file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(file: &Path) -> Result<Self, SpecError> {
        let text = fs::read_to_string(file).map_err(|source| SpecError::Unreadable {
            file: file.to_owned(),
            source,
        })?;
        read_document(file, &text, |root| of_file(file, root)).map_err(SpecError::Wrong)
    }

    /// What the cluster is called.
    ///
    /// # Errors
    /// Neither the file nor its name says it.
    pub fn name(&self) -> Result<ClusterName, SpecError> {
        let stem = || self.file.file_stem()?.to_str()?.parse().ok();
        let name = self.name.clone().or_else(stem);
        name.ok_or_else(|| SpecError::Nameless {
            file: self.file.clone(),
        })
    }

    /// What is to be brought up of `app`, with credentials from `environment`.
    ///
    /// # Errors
    /// Sources that do not go together, or a credential that cannot be had.
    pub fn scenario(
        &self,
        app: AppName,
        environment: &Environment,
    ) -> Result<ScenarioSpec, SpecError> {
        let external = self.external.iter();
        let external = external.map(|node| external_node(node, environment));
        let external = external.collect::<Result<Vec<_>, _>>()?;
        let sources = match &self.attach {
            Some(cluster) => ScenarioSources::Attached {
                attach: cluster.attach.clone(),
                external,
            },
            None if self.nodes.is_empty() && !external.is_empty() => {
                ScenarioSources::ExternalOnly { external }
            }
            None => ScenarioSources::Managed {
                nodes: self.nodes.clone(),
                external,
            },
        };
        sources.validate().map_err(|source| SpecError::Sources {
            file: self.file.clone(),
            source,
        })?;
        let mut spec = ScenarioSpec::new(app, sources);
        if let Some(cluster) = &self.attach {
            let of = format!("the cluster {}", cluster.attach.cluster);
            spec.attached_credential = resolved(cluster.credential.as_ref(), environment, of)?;
        }
        spec.readiness = self.readiness;
        spec.ready_within = self.ready_within.unwrap_or(spec.ready_within);
        Ok(spec)
    }
}

fn external_node(
    node: &NodeSettings,
    environment: &Environment,
) -> Result<ExternalNode, SpecError> {
    let credential = node.credential.as_ref();
    Ok(ExternalNode {
        name: node.name.clone(),
        endpoints: node.endpoints.clone(),
        listed_in: node.listed_in.clone(),
        credential: resolved(credential, environment, node.name.to_string())?,
    })
}

/// The credential itself, where there is one; it is that `of` somebody.
fn resolved(
    source: Option<&CredentialSource>,
    environment: &Environment,
    of: String,
) -> Result<Option<Credential>, SpecError> {
    let resolved = source.map(|source| source.resolve(environment));
    let resolved = resolved.transpose();
    resolved.map_err(|source| SpecError::Credential { of, source })
}

fn of_file(file: &Path, mut root: Section<'_>) -> UpSpec {
    let attach = root.section("attach").map(ClusterSettings::of_file);
    let external = root.section("external");
    let spec = UpSpec {
        file: file.to_owned(),
        name: root.parsed("name", str::parse),
        app: root.parsed("app", str::parse),
        deployer: root.text("deployer"),
        nodes: nodes(&mut root),
        attach: attach.flatten(),
        external: external.map(externals).unwrap_or_default(),
        readiness: readiness(&mut root),
        ready_within: root.duration("ready_within"),
    };
    if root.has("attach") && root.has("nodes") {
        let message = "a cluster is either attached to or has nodes to start".to_owned();
        let help = "leave out nodes or attach; external nodes may stand beside either";
        root.refuse_key("attach", message, Some(help.to_owned()));
    } else if !["attach", "nodes", "external"]
        .iter()
        .any(|key| root.has(key))
    {
        let message = "there is nothing to bring up".to_owned();
        let help = "give nodes = 3 for nodes to start, [attach] for a cluster that runs, or [external.NAME] for nodes that do";
        root.refuse(message, Some(help.to_owned()));
    }
    root.finish();
    spec
}

fn externals(section: Section<'_>) -> Vec<NodeSettings> {
    let nodes = section.entries();
    nodes
        .filter_map(|(name, node)| NodeSettings::of_file(name, node))
        .collect()
}

/// `nodes = 3`, or a table for each.
fn nodes(root: &mut Section<'_>) -> Vec<ManagedNode> {
    if !root.has_table("nodes") {
        let count = root.count("nodes").map_or(0, NonZeroUsize::get);
        let names = (1..=count).map(|n| format!("NODE_{n}").parse());
        return names
            .map(|name| ManagedNode::new(name.expect("NODE_n is a node name")))
            .collect();
    }
    let Some(section) = root.section("nodes") else {
        return Vec::new();
    };
    // In the order in which people count, which is that of their numbers in the cluster.
    let mut nodes = BTreeMap::new();
    for (name, node) in section.entries() {
        if let Some(node) = managed(section.kept(name, name.parse()), node) {
            nodes.insert(node.name.clone(), node);
        }
    }
    nodes.into_values().collect()
}

fn managed(name: Option<NodeName>, mut section: Section<'_>) -> Option<ManagedNode> {
    let connected_to = section.text_list("connected_to").unwrap_or_default();
    let connected_to = connected_to
        .iter()
        .filter_map(|peer| section.kept("connected_to", peer.parse()))
        .collect();
    let overrides = section.section("overrides").map(overrides);
    section.finish();
    Some(ManagedNode {
        connected_to,
        overrides: overrides.unwrap_or_default(),
        ..ManagedNode::new(name?)
    })
}

fn overrides(section: Section<'_>) -> BTreeMap<String, String> {
    let keys = section.keys();
    keys.filter_map(|key| Some((key.to_owned(), section.scalar(key)?)))
        .collect()
}

/// `"all"`, `{ quorum = 2 }`, or `{ managed = 2, total = 3 }`.
fn readiness(root: &mut Section<'_>) -> ReadinessPolicy {
    const HELP: &str = "give readiness = \"all\", { quorum = 2 } or { managed = 2, total = 3 }";
    let refuse = |root: &Section<'_>| {
        let message = "readiness is none that there is".to_owned();
        root.refuse_key("readiness", message, Some(HELP.to_owned()));
        ReadinessPolicy::AllReady
    };
    if !root.has_table("readiness") {
        return match root.text("readiness").as_deref() {
            None | Some("all") => ReadinessPolicy::AllReady,
            Some(_) => refuse(root),
        };
    }
    let Some(mut section) = root.section("readiness") else {
        return ReadinessPolicy::AllReady;
    };
    let known = ["quorum", "managed", "total"];
    let said = known.map(|key| section.has(key));
    let [quorum, managed, total] = known.map(|key| section.count(key).map_or(1, NonZeroUsize::get));
    section.finish();
    match said {
        [true, false, false] => ReadinessPolicy::Quorum(quorum),
        [false, true, true] => ReadinessPolicy::SourceAware { managed, total },
        _ => refuse(root),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<UpSpec, SpecError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("demo.toml");
        fs::write(&file, text).unwrap();
        UpSpec::load(&file)
    }

    #[track_caller]
    fn check_refused(text: &str, expected: &[&str]) {
        let Err(SpecError::Wrong(error)) = load(text) else {
            panic!("{text} was not refused");
        };
        let shown = error.render(false);
        for part in expected {
            assert!(shown.contains(part), "{part:?} is not in\n{shown}");
        }
    }

    fn scenario(text: &str) -> Result<ScenarioSpec, SpecError> {
        let environment = Environment::of([("TOKEN", "correct horse")]);
        load(text)?.scenario("kv".parse().unwrap(), &environment)
    }

    #[test]
    fn a_count_is_enough_and_the_file_gives_the_name() {
        let spec = load("nodes = 2\n").unwrap();
        assert_eq!(spec.name().unwrap().as_str(), "demo");
        let names: Vec<&str> = spec.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["NODE_1", "NODE_2"]);
        assert_eq!(spec.readiness, ReadinessPolicy::AllReady);
    }

    #[test]
    fn everything_that_can_be_said_is_understood() {
        let text = r#"
            name = "shop"
            app = "kv"
            deployer = "local"
            readiness = { managed = 2, total = 3 }
            ready_within = "1m"
            [nodes.B]
            connected_to = ["A"]
            [nodes.B.overrides]
            "raft.heartbeat_ms" = 50
            "log.file" = "x"
            [nodes.A]
            [external.PUBLIC_1]
            url = "http://10.0.0.1:80"
            credential = { bearer = { token_env = "TOKEN" } }
        "#;
        let spec = load(text).unwrap();
        assert_eq!(spec.name().unwrap().as_str(), "shop");
        assert_eq!(spec.nodes[0].name.as_str(), "A");
        assert_eq!(spec.nodes[1].connected_to, ["A".parse().unwrap()]);
        assert_eq!(spec.nodes[1].overrides["raft.heartbeat_ms"], "50");
        let scenario = scenario(text).unwrap();
        assert_eq!(scenario.ready_within, Duration::from_mins(1));
        assert!(scenario.sources.external()[0].credential.is_some());
    }

    #[test]
    fn sources_are_what_stands_there() {
        let attach = "[attach]\nprovider = \"up\"\ncluster = \"demo\"\n";
        let attached = scenario(attach).unwrap().sources;
        assert!(matches!(attached, ScenarioSources::Attached { .. }));
        let external = "[external.P]\nurl = \"http://10.0.0.1:80\"\n";
        let external = scenario(external).unwrap().sources;
        assert!(matches!(external, ScenarioSources::ExternalOnly { .. }));
        let cycle = "[nodes.A]\nconnected_to = [\"A\"]\n";
        assert!(matches!(scenario(cycle), Err(SpecError::Sources { .. })));
    }

    #[test]
    fn the_credential_of_an_attached_cluster_is_had_or_its_lack_is_told() {
        let attach = "[attach]\nprovider = \"up\"\ncluster = \"demo\"\n";
        assert_eq!(scenario(attach).unwrap().attached_credential, None);
        let with = |variable: &str| {
            scenario(&format!(
                "{attach}credential = {{ bearer = {{ token_env = \"{variable}\" }} }}\n"
            ))
        };
        let credential = with("TOKEN").unwrap().attached_credential.unwrap();
        assert_eq!(
            credential,
            Credential::Bearer("correct horse".parse().unwrap())
        );
        let error = with("NO_SUCH").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the credential of the cluster demo cannot be had"
        );
    }

    #[test]
    fn what_is_wrong_is_shown_where_it_stands_with_the_nearest_key() {
        check_refused(
            "nodes = 3\nready_witin = \"3s\"\n",
            &[
                "demo.toml:2",
                "unknown key ready_witin",
                "did you mean ready_within?",
            ],
        );
        check_refused(
            "[nodes.A]\nconected_to = []\n",
            &["nodes.A.conected_to", "did you mean connected_to?"],
        );
        check_refused("nodes = 0\n", &["nodes must be a whole number, 1 or more"]);
        check_refused("name = \"a b\"\nnodes = 1\n", &["cannot name a cluster"]);
        check_refused("nodes = 1\nreadiness = \"some\"\n", &["{ quorum = 2 }"]);
        check_refused("", &["nothing to bring up"]);
        check_refused(
            "nodes = 1\n[attach]\nprovider = \"up\"\ncluster = \"x\"\n",
            &["either attached to or has nodes"],
        );
        check_refused("nodes = \n", &["not TOML"]);
    }

    #[test]
    fn a_missing_file_and_a_missing_variable_are_named() {
        let error = UpSpec::load(Path::new("/nonexistent/demo.toml")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot read the spec /nonexistent/demo.toml"
        );
        let text = "[external.P]\nurl = \"http://10.0.0.1:80\"\ncredential = { bearer = { token_env = \"NO_SUCH\" } }\n";
        let error = scenario(text).unwrap_err();
        assert!(matches!(error, SpecError::Credential { .. }), "{error}");
    }
}
