//! Node source: registrations in, the artifacts of one node after the other out.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use cfgsync_artifacts::{ArtifactConflict, ArtifactFile};
use cfgsync_core::{
    ConfigResolution, NodeArtifactsPayload, NodeConfigSource, NodeRegistration, RegisterError,
    RegisterOutcome, RegistrationLimits, RegistrationOverview, RegistrationStore,
};
use tokio::sync::watch;

use crate::{
    DynCfgsyncError, MaterializeError, NodeArtifactsMaterializer, RegistrationSnapshot,
    flight::{SingleFlight, guarded},
    replacements::{Replacements, moved},
    snapshot_source::unregistered,
};

/// Serves what a materializer makes of each registration.
///
/// It answers as [`crate::SnapshotConfigSource`] does. Every registration wakes all who wait, since any of them may be the one that it completes.
pub struct MaterializingConfigSource {
    store: Arc<RegistrationStore>,
    materializer: Arc<dyn NodeArtifactsMaterializer>,
    flights: Mutex<HashMap<String, Arc<NodeFlight>>>,
    replacements: Replacements,
    changes: watch::Sender<u64>,
}

type NodeFlight = SingleFlight<ConfigResolution>;

impl MaterializingConfigSource {
    /// A source without registrations.
    pub fn new(materializer: impl NodeArtifactsMaterializer) -> Self {
        Self::with_limits(materializer, RegistrationLimits::default())
    }

    /// A source that takes in no more than this.
    pub fn with_limits(
        materializer: impl NodeArtifactsMaterializer,
        limits: RegistrationLimits,
    ) -> Self {
        Self {
            store: Arc::new(RegistrationStore::new(limits)),
            materializer: Arc::new(materializer),
            flights: Mutex::default(),
            replacements: Replacements::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// As [`crate::SnapshotConfigSource::replace_artifacts`].
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

    /// As [`crate::SnapshotConfigSource::withdraw_replacement`].
    pub fn withdraw_replacement(&self, identifier: &str) -> bool {
        self.replacements.withdraw(identifier, &self.changes)
    }

    /// How often the materializer was called, for all nodes together.
    pub fn materializations(&self) -> u64 {
        let flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.values().map(|flight| flight.runs()).sum()
    }

    /// One for each registered node, so that the store bounds them.
    fn flight(&self, identifier: &str) -> Arc<NodeFlight> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(identifier) {
            return Arc::clone(flight);
        }
        let flight = Arc::new(SingleFlight::new());
        flights.insert(identifier.to_owned(), Arc::clone(&flight));
        flight
    }

    fn job(
        &self,
        identifier: &str,
    ) -> impl Fn() -> (u64, Result<ConfigResolution, MaterializeError>) + Send + 'static {
        let materializer = Arc::clone(&self.materializer);
        let store = Arc::clone(&self.store);
        let identifier = identifier.to_owned();
        move || {
            let registrations = RegistrationSnapshot::from(store.snapshot());
            let made = guarded(|| materialize(&*materializer, &identifier, &registrations));
            (registrations.version(), made)
        }
    }
}

fn materialize(
    materializer: &dyn NodeArtifactsMaterializer,
    identifier: &str,
    registrations: &RegistrationSnapshot,
) -> Result<ConfigResolution, MaterializeError> {
    let Some(registration) = registrations.get(identifier) else {
        return Ok(unregistered(identifier));
    };
    let files = materializer
        .materialize(registration, registrations)
        .map_err(MaterializeError::failed)?;
    Ok(match files {
        Some(files) => ConfigResolution::Ready(Arc::new(NodeArtifactsPayload::new(files))),
        None => ConfigResolution::NotReady(materializer.expected().awaited(registrations)),
    })
}

#[async_trait]
impl NodeConfigSource for MaterializingConfigSource {
    async fn register(
        &self,
        registration: NodeRegistration,
    ) -> Result<RegisterOutcome, RegisterError> {
        let outcome = self.store.register(registration)?;
        if outcome != RegisterOutcome::Unchanged {
            moved(&self.changes);
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
        let flight = self.flight(identifier);
        let made = flight
            .ask(self.store.version(), self.job(identifier))
            .await?;
        Ok(ConfigResolution::clone(&made))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// `ready` is whether those who have to have registered.
    fn overview(&self) -> RegistrationOverview {
        let expected = self.materializer.expected();
        let ready = expected.is_met_by(&self.store.snapshot().into());
        expected.overview(&self.store, ready)
    }
}
