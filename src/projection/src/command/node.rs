//! What subcommands work on: settings, manifest and the store that they name.

use std::{collections::BTreeMap, env, error::Error, path::Path};

use crate::{
    manifest::{Projection, ProjectionManifest},
    settings::{Engine, Settings},
    storage::{StoreOptions, ViewStore},
};

/// A node as its settings describe it, whether or not it runs.
pub(super) struct Node {
    pub(super) settings: Settings,
    pub(super) manifest: ProjectionManifest,
}

/// The settings of the file and the environment.
pub(super) fn settings(file: Option<&Path>) -> Result<Settings, Box<dyn Error>> {
    let variables: BTreeMap<String, String> = env::vars().collect();
    Ok(Settings::load(file, &variables)?)
}

impl Node {
    pub(super) fn load(file: Option<&Path>) -> Result<Self, Box<dyn Error>> {
        let settings = settings(file)?;
        let manifest = ProjectionManifest::load(&settings.manifest, settings.gas_max)?;
        Ok(Self { settings, manifest })
    }

    /// The store, for somebody who changes it. No node may run on it.
    pub(super) fn owned(&self) -> Result<ViewStore, Box<dyn Error>> {
        let options = StoreOptions {
            engine: self.settings.storage_engine,
            bytes_max: self.settings.storage_bytes_max,
            durability: self.settings.durability,
        };
        Ok(ViewStore::open(&self.settings.storage_path, options)?)
    }

    /// The store, for somebody who only reads: beside a node that runs, where the engine can do that.
    pub(super) fn readable(&self) -> Result<ViewStore, Box<dyn Error>> {
        match self.settings.storage_engine {
            Engine::Mdbx => Ok(ViewStore::open_to_read(&self.settings.storage_path)?),
            Engine::Redb => self.owned(),
        }
    }

    pub(super) fn projection(&self, name: &str) -> Result<&Projection, Box<dyn Error>> {
        let found = self.manifest.find(name);
        found.ok_or_else(|| format!("there is no projection {name} in the manifest").into())
    }
}
