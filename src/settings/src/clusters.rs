//! Clusters: those that run somewhere already and that features attach to by name.

use trellis_domain::AttachSpec;

use crate::{CredentialSource, readers::TEXT, section::Section};

/// The providers for which a cluster is a file.
const FILE_PROVIDERS: [&str; 1] = ["static"];

/// A cluster that features can attach to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Who finds its nodes, and what the provider calls it; a file of the `static` provider is an absolute path, or one below the settings file's folder.
    pub attach: AttachSpec,
    /// How to prove oneself to nodes for which the provider knows no credential of their own.
    pub credential: Option<CredentialSource>,
}

impl ClusterSettings {
    /// What the file says; `None` if something is wrong with it.
    pub fn of_file(mut section: Section<'_>) -> Option<Self> {
        let provider = required(&mut section, "provider");
        let cluster = required(&mut section, "cluster");
        let credential = CredentialSource::of_file(&mut section);
        let file = section.file;
        section.finish();
        let (provider, cluster) = (provider?, cluster?);
        let cluster = if FILE_PROVIDERS.contains(&provider.as_str()) {
            // Providers take text; a path that is not could not have been written in TOML.
            file.resolve(&cluster).to_string_lossy().into_owned()
        } else {
            cluster
        };
        Some(Self {
            attach: AttachSpec { provider, cluster },
            credential,
        })
    }
}

fn required(section: &mut Section<'_>, key: &'static str) -> Option<String> {
    if !section.has(key) {
        let message = format!("{} does not say its {key}", section.name());
        let help = "a cluster is provider = \"static\" and cluster = \"its-nodes.yaml\", or another provider with its own word for the cluster";
        section.refuse(message, Some(help.to_owned()));
    }
    section.value(key, TEXT.wanted, TEXT.of_value)
}
