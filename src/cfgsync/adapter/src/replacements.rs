//! Replacements: what an operator has a node get instead of what the application makes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cfgsync_artifacts::{ArtifactConflict, ArtifactFile, ArtifactSet};
use cfgsync_core::NodeArtifactsPayload;
use tokio::sync::watch;

/// By node, each counted until it is withdrawn. Made by operators only, so that their number needs no bound.
#[derive(Default)]
pub(crate) struct Replacements(Mutex<BTreeMap<String, Arc<NodeArtifactsPayload>>>);

impl Replacements {
    pub(crate) fn get(&self, identifier: &str) -> Option<Arc<NodeArtifactsPayload>> {
        self.all().get(identifier).cloned()
    }

    /// The version that this makes.
    pub(crate) fn replace(
        &self,
        identifier: impl Into<String>,
        files: impl IntoIterator<Item = ArtifactFile>,
        changes: &watch::Sender<u64>,
    ) -> Result<u64, ArtifactConflict> {
        let payload = NodeArtifactsPayload::new(ArtifactSet::new(files)?);
        self.all().insert(identifier.into(), Arc::new(payload));
        Ok(moved(changes))
    }

    /// Whether there was one.
    pub(crate) fn withdraw(&self, identifier: &str, changes: &watch::Sender<u64>) -> bool {
        let withdrawn = self.all().remove(identifier).is_some();
        if withdrawn {
            moved(changes);
        }
        withdrawn
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<NodeArtifactsPayload>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes those who wait, and says in which version they wake.
pub(crate) fn moved(changes: &watch::Sender<u64>) -> u64 {
    let mut now = 0;
    changes.send_modify(|version| {
        *version += 1;
        now = *version;
    });
    now
}
