//! What subcommands work on: settings, manifest and the store that they name.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    path::{Path, PathBuf},
    time::Duration,
};

use super::remote::Remote;
use crate::{
    http::quarantine::meant,
    manifest::{Projection, ProjectionManifest},
    pipeline::ShardOptions,
    rebuild::{self, RebuildError},
    settings::{Engine, Settings},
    shards::{ShardId, Share},
    storage::{StoreOptions, ViewStore},
};

/// Where a subcommand is told to look.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) file: Option<&'a Path>,
    pub(super) shard: Option<ShardId>,
}

/// A node as its settings describe it, whether or not it runs.
pub(super) struct Node {
    pub(super) settings: Settings,
    pub(super) manifest: ProjectionManifest,
    /// What of the stream its store is of.
    pub(super) share: Share,
    /// The folder of the whole node, whose store may be in one below it.
    folder: PathBuf,
}

/// The settings of the file and the environment.
pub(super) fn settings(file: Option<&Path>) -> Result<Settings, Box<dyn Error>> {
    let variables: BTreeMap<String, String> = env::vars().collect();
    Ok(Settings::load(file, &variables)?)
}

impl Node {
    /// The whole node.
    pub(super) fn load(place: Place<'_>) -> Result<Self, Box<dyn Error>> {
        let settings = settings(place.file)?;
        let manifest = ProjectionManifest::load(&settings.manifest, settings.gas_max)?;
        Ok(Self {
            folder: settings.storage_path.clone(),
            settings,
            manifest,
            share: Share::default(),
        })
    }

    /// The one of its shards that is named, for what works on a store.
    pub(super) fn of_shard(place: Place<'_>) -> Result<Self, Box<dyn Error>> {
        let node = Self::load(place)?;
        let layout = node.settings.layout()?;
        let shard = match place.shard {
            Some(shard) if shard.number() < layout.count() => shard,
            Some(_) => return Err(format!("there are {} shards, from 0", layout.count()).into()),
            None if layout.count() == 1 => ShardId::default(),
            None => {
                return Err(
                    "there are several shards, each with its store: name one with --shard".into(),
                );
            }
        };
        Ok(Self {
            settings: node.settings.of_shard(shard),
            manifest: node.manifest,
            share: Share { layout, shard },
            folder: node.folder,
        })
    }

    /// The shards that are meant: the one that is named, or all; `None` where there is one only.
    pub(super) fn shards(&self, place: Place<'_>) -> Result<Vec<Option<ShardId>>, Box<dyn Error>> {
        let shards: Vec<_> = match place.shard {
            Some(_) => vec![Self::of_shard(place)?.share.shard],
            None => self.settings.layout()?.ids().collect(),
        };
        let named = |shard| self.has_shards().then_some(shard);
        Ok(shards.into_iter().map(named).collect())
    }

    /// Whether it takes part in sharing out shards, be it as the only one.
    pub(super) fn has_shards(&self) -> bool {
        self.settings.shards > 1 || self.settings.leases.is_some()
    }

    /// The node that owns the store, or would: at `url`, or else where it has noted that it answers.
    pub(super) fn remote(
        &self,
        url: Option<&str>,
        within: Duration,
    ) -> Result<Remote, Box<dyn Error>> {
        let remote = self.whole(url, within)?;
        Ok(if self.has_shards() {
            remote.of_shard(self.share.shard)
        } else {
            remote
        })
    }

    /// The same for all of its shards together.
    pub(super) fn whole(
        &self,
        url: Option<&str>,
        within: Duration,
    ) -> Result<Remote, Box<dyn Error>> {
        match url {
            Some(url) => Remote::at(url, self.settings.operator_token.as_ref(), within),
            None => Remote::of(&self.folder, &self.settings, within),
        }
    }

    /// How its shard is run.
    pub(super) fn options(&self) -> ShardOptions {
        ShardOptions::of(&self.settings).of_share(self.share)
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

    /// What is served in `store`, or should be where nothing is yet.
    pub(super) fn served(&self, store: &ViewStore) -> Result<Vec<Projection>, Box<dyn Error>> {
        let mut served: Vec<Projection> = Vec::new();
        for projection in self.manifest.projections() {
            let of_type = &projection.table.view_type;
            if !served.iter().any(|known| known.table.view_type == *of_type) {
                let found = rebuild::find(store, &self.manifest, of_type.as_str());
                served.push(match found {
                    // Without its program it is blocked, and what mends that is worth showing.
                    Err(RebuildError::NoProgram { table }) => Projection {
                        table,
                        ..projection.clone()
                    },
                    _ => self.meant(store, of_type.as_str())?,
                });
            }
        }
        Ok(served)
    }

    /// What the manifest says of `name`.
    pub(super) fn projection(&self, name: &str) -> Result<&Projection, Box<dyn Error>> {
        let found = self.manifest.find(name);
        found.ok_or_else(|| format!("there is no projection {name} in the manifest").into())
    }

    /// What `name` stands for in `store`: what is served of a type, or one generation of it.
    pub(super) fn meant(
        &self,
        store: &ViewStore,
        name: &str,
    ) -> Result<Projection, Box<dyn Error>> {
        Ok(meant(store, &self.manifest, name)?)
    }
}
