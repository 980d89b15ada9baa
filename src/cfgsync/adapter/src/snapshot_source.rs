//! Snapshot source: registrations in, the artifacts of the whole set out.

use std::sync::Arc;

use async_trait::async_trait;
use cfgsync_artifacts::{ArtifactConflict, ArtifactFile};
use cfgsync_core::{
    ConfigResolution, NodeConfigSource, NodeRegistration, RegisterError, RegisterOutcome,
    RegistrationLimits, RegistrationOverview, RegistrationStore,
};
use tokio::sync::watch;

use crate::{
    CachedSnapshotMaterializer, DynCfgsyncError, cached::Materialized, replacements::Replacements,
};

/// Serves what a materializer makes of all registrations together.
///
/// A node that the materializer does not admit is refused. One that has not registered is `Missing`, as is one that the catalog leaves out. While the materializer says `None`, nodes are `NotReady`.
/// An error or a panic of the materializer is an error of the requests that waited for it; the next one tries again.
///
/// Those who wait are woken when there is something for them, not by every registration of somebody else: with ten thousand nodes that wait for each other, that would be fifty million answers of "not yet".
pub struct SnapshotConfigSource {
    store: Arc<RegistrationStore>,
    materializer: CachedSnapshotMaterializer,
    replacements: Replacements,
    changes: watch::Sender<u64>,
}

impl SnapshotConfigSource {
    /// A source without registrations.
    pub fn new(materializer: CachedSnapshotMaterializer) -> Self {
        Self::with_limits(materializer, RegistrationLimits::default())
    }

    /// A source that takes in no more than this.
    pub fn with_limits(
        materializer: CachedSnapshotMaterializer,
        limits: RegistrationLimits,
    ) -> Self {
        Self {
            store: Arc::new(RegistrationStore::new(limits)),
            materializer,
            replacements: Replacements::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// Gives a node exactly these files, whatever the materializer says, until the replacement is withdrawn; wakes it if it waits. Returns the version that this makes.
    ///
    /// The node still has to register. One that has its files already gets the new ones when it asks again.
    ///
    /// # Errors
    /// Two files of one path.
    pub fn replace_artifacts(
        &self,
        identifier: impl Into<String>,
        files: impl IntoIterator<Item = ArtifactFile>,
    ) -> Result<u64, ArtifactConflict> {
        self.replacements.replace(identifier, files, &self.changes)
    }

    /// Has a node get what the materializer makes again. Returns whether it was replaced.
    pub fn withdraw_replacement(&self, identifier: &str) -> bool {
        self.replacements.withdraw(identifier, &self.changes)
    }

    /// How often the materializer was called.
    pub fn materializations(&self) -> u64 {
        self.materializer.materializations()
    }
}

#[async_trait]
impl NodeConfigSource for SnapshotConfigSource {
    async fn register(
        &self,
        registration: NodeRegistration,
    ) -> Result<RegisterOutcome, RegisterError> {
        self.materializer.admit(&registration.identifier)?;
        let outcome = self.store.register(registration)?;
        // Whoever subscribes later than this finds the new version when it asks.
        let somebody_waits = self.changes.receiver_count() > 0;
        if outcome != RegisterOutcome::Unchanged && somebody_waits {
            self.materializer.start(&self.store, &self.changes);
        }
        Ok(outcome)
    }

    async fn resolve(
        &self,
        registration: &NodeRegistration,
    ) -> Result<ConfigResolution, DynCfgsyncError> {
        let identifier = &registration.identifier;
        if !self.store.contains(identifier) {
            return Ok(unregistered(identifier));
        }
        if let Some(payload) = self.replacements.get(identifier) {
            return Ok(ConfigResolution::Ready(payload));
        }
        let materialized = self
            .materializer
            .materialize(&self.store, &self.changes)
            .await?;
        Ok(match &*materialized {
            Materialized::NotReady(awaited) => ConfigResolution::NotReady(awaited.clone()),
            Materialized::Ready(catalog) => match catalog.payload(identifier) {
                Some(payload) => ConfigResolution::Ready(payload),
                None => ConfigResolution::Missing(format!(
                    "{identifier:?} has registered, but the application made no artifacts for it"
                )),
            },
        })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// `ready` is what the materializer said last.
    fn overview(&self) -> RegistrationOverview {
        let expected = self.materializer.expected();
        expected.overview(&self.store, self.materializer.is_ready())
    }
}

pub(crate) fn unregistered(identifier: &str) -> ConfigResolution {
    ConfigResolution::Missing(format!(
        "{identifier:?} has not registered; a node registers before it asks for its artifacts"
    ))
}
