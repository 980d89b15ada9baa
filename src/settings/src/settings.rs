//! Settings: the one value, how it is loaded, and what is looked up in it by name.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use thiserror::Error;
use trellis_domain::{Credential, ExternalNode, NodeName};

use crate::{
    Cell, CellError, ClusterSettings, CredentialError, CredentialSource, Environment, NodeSettings,
    RunSettings, SettingsError, SettingsProblem, default_state_folder, document::read,
    find::nearest as nearest_file, problem::nearest, resolve_cell, section::Section,
};

/// Where settings are to be looked for.
#[derive(Debug, Clone)]
pub struct SettingsSource {
    /// The file, if it was said on the command line; else `TRELLIS_CONFIG` says it.
    pub file: Option<PathBuf>,
    /// Else it is the nearest `trellis.toml` in this folder and those above it, up to the root of the workspace; it need not exist.
    pub start: PathBuf,
    /// The variables.
    pub environment: Environment,
}

/// What `trellis.toml` and the environment say.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file that was read, if there is one.
    pub file: Option<PathBuf>,
    /// How features are run.
    pub run: RunSettings,
    /// The clusters that features can attach to, by name.
    pub clusters: BTreeMap<String, ClusterSettings>,
    /// The external nodes that features can name.
    pub nodes: BTreeMap<NodeName, NodeSettings>,
    environment: Environment,
}

/// Why the settings have not got what a feature asks for by name.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LookupError {
    /// Nothing is called so.
    #[error("the settings know no {kind} {name:?}; {}", advice(nearest.as_deref(), known))]
    Unknown {
        /// What was looked for.
        kind: &'static str,
        /// Its name.
        name: String,
        /// A known name that is much like it.
        nearest: Option<String>,
        /// All known names.
        known: Vec<String>,
    },
    /// Its credential cannot be had.
    #[error("the credential of {name} cannot be had")]
    Credential {
        /// Whose credential.
        name: String,
        /// The cause.
        source: CredentialError,
    },
}

fn advice(nearest: Option<&str>, known: &[String]) -> String {
    match nearest {
        Some(nearest) => format!("did you mean {nearest:?}?"),
        None if known.is_empty() => "they list none".to_owned(),
        None => format!("known: {}", known.join(", ")),
    }
}

impl Settings {
    /// Reads the file, if there is one, and the variables.
    ///
    /// # Errors
    /// Everything that is wrong with either of them; a file that was asked for and cannot be read, too.
    pub fn load(source: &SettingsSource) -> Result<Self, SettingsError> {
        let environment = source.environment.clone();
        let said = source.file.clone();
        let said = said.or_else(|| environment.get("TRELLIS_CONFIG").map(PathBuf::from));
        let file = said.or_else(|| nearest_file(&source.start));
        let mut settings = Self::of_environment(environment.clone());
        let mut problems = Vec::new();
        if let Some(file) = &file {
            match fs::read_to_string(file) {
                Ok(text) => settings.add_file(file, &text, &mut problems),
                Err(error) => problems.push(SettingsProblem::new(format!(
                    "cannot read the settings in {}: {error}",
                    file.display()
                ))),
            }
        }
        settings.run = settings.run.overridden_by(&environment, &mut problems);
        settings.file = file;
        if problems.is_empty() {
            Ok(settings)
        } else {
            Err(SettingsError::new(problems))
        }
    }

    /// No settings but the variables that are looked up later.
    pub fn of_environment(environment: Environment) -> Self {
        Self {
            file: None,
            run: RunSettings::default(),
            clusters: BTreeMap::new(),
            nodes: BTreeMap::new(),
            environment,
        }
    }

    fn add_file(&mut self, path: &Path, text: &str, problems: &mut Vec<SettingsProblem>) {
        problems.extend(read(path, text, |root| self.add_sections(root)).1);
    }

    fn add_sections(&mut self, mut root: Section<'_>) {
        if let Some(section) = root.section("run") {
            self.run = RunSettings::of_file(section);
        }
        if let Some(section) = root.section("clusters") {
            for (name, section) in section.entries() {
                if let Some(cluster) = ClusterSettings::of_file(section) {
                    self.clusters.insert(name.to_owned(), cluster);
                }
            }
        }
        if let Some(section) = root.section("nodes") {
            for (name, section) in section.entries() {
                if let Some(node) = NodeSettings::of_file(name, section) {
                    self.nodes.insert(node.name.clone(), node);
                }
            }
        }
        root.finish();
    }

    /// The cluster called `name`.
    ///
    /// # Errors
    /// [`LookupError::Unknown`].
    pub fn cluster(&self, name: &str) -> Result<&ClusterSettings, LookupError> {
        let known = || self.clusters.keys().map(String::as_str);
        self.clusters
            .get(name)
            .ok_or_else(|| unknown("cluster", name, known()))
    }

    /// The external node called `name`, with its credential.
    ///
    /// # Errors
    /// It is unknown, or its credential cannot be had.
    pub fn external(&self, name: &NodeName) -> Result<ExternalNode, LookupError> {
        let known = || self.nodes.keys().map(NodeName::as_str);
        let node = self
            .nodes
            .get(name)
            .ok_or_else(|| unknown("node", name.as_str(), known()))?;
        Ok(ExternalNode {
            name: node.name.clone(),
            endpoints: node.endpoints.clone(),
            listed_in: node.listed_in.clone(),
            credential: self.credential(name.as_str(), node.credential.as_ref())?,
        })
    }

    /// The credential in `source`, which is that of `name`; none if there is no source.
    ///
    /// # Errors
    /// [`LookupError::Credential`].
    pub fn credential(
        &self,
        name: &str,
        source: Option<&CredentialSource>,
    ) -> Result<Option<Credential>, LookupError> {
        source
            .map(|source| source.resolve(&self.environment))
            .transpose()
            .map_err(|source| LookupError::Credential {
                name: name.to_owned(),
                source,
            })
    }

    /// What a cell of a feature's table stands for; see [`resolve_cell`].
    ///
    /// # Errors
    /// Those of [`resolve_cell`].
    pub fn cell(&self, cell: &str) -> Result<Cell, CellError> {
        resolve_cell(cell, &self.environment)
    }

    /// What the variable `name` holds, for a type that only the caller knows; `wanted` says what it must be, with an article.
    ///
    /// # Errors
    /// It holds something else.
    pub fn variable<T: FromStr>(
        &self,
        name: &str,
        wanted: &str,
    ) -> Result<Option<T>, SettingsError> {
        let Some(value) = self.environment.get(name) else {
            return Ok(None);
        };
        let parsed = value.to_str().and_then(|text| text.parse().ok());
        match parsed {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(SettingsError::new(vec![SettingsProblem::of_variable(
                name, wanted,
            )])),
        }
    }

    /// Where runs write down what they own.
    pub fn state_folder(&self) -> PathBuf {
        let said = self.run.state.clone();
        said.unwrap_or_else(|| default_state_folder(&self.environment))
    }
}

fn unknown<'a>(
    kind: &'static str,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> LookupError {
    LookupError::Unknown {
        kind,
        name: name.to_owned(),
        nearest: nearest(name, known.clone()).map(str::to_owned),
        known: known.map(str::to_owned).collect(),
    }
}
