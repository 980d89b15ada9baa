//! Materialised once: all requests of one version of the registrations share one catalog.

use std::sync::Arc;

use cfgsync_core::{NotReady, RegisterError, RegistrationStore};
use tokio::sync::watch;

use crate::{
    Expected, MaterializeError, RegistrationSnapshot, RegistrationSnapshotMaterializer,
    catalog::ServableCatalog,
    flight::{Outcome, SingleFlight, guarded},
};

/// Has a [`RegistrationSnapshotMaterializer`] called once for a version of the registrations, however many requests wait for it.
///
/// Versions that come while it runs are made in one go when it has ended, for the newest of them.
/// A success is kept until the registrations change. An error is given to those who waited and not kept: the next request tries again.
pub struct CachedSnapshotMaterializer {
    materializer: Arc<dyn RegistrationSnapshotMaterializer>,
    flight: SingleFlight<Materialized>,
}

/// What a materializer said of one version.
pub(crate) enum Materialized {
    Ready(ServableCatalog),
    NotReady(NotReady),
}

impl CachedSnapshotMaterializer {
    /// Nothing is called before somebody asks.
    pub fn new(materializer: impl RegistrationSnapshotMaterializer) -> Self {
        Self {
            materializer: Arc::new(materializer),
            flight: SingleFlight::new(),
        }
    }

    /// How often the materializer was called.
    pub fn materializations(&self) -> u64 {
        self.flight.runs()
    }

    pub(crate) fn expected(&self) -> Expected {
        self.materializer.expected()
    }

    pub(crate) fn admit(&self, identifier: &str) -> Result<(), RegisterError> {
        self.materializer.admit(identifier)
    }

    /// What is there for the registrations of `store` as they are now. `changes` moves when those who wait can be answered.
    ///
    /// # Cancel safety
    /// The work goes on for the others when a call is dropped.
    pub(crate) async fn materialize(
        &self,
        store: &Arc<RegistrationStore>,
        changes: &watch::Sender<u64>,
    ) -> Outcome<Materialized> {
        let job = self.job(store, changes);
        self.flight.ask(store.version(), job).await
    }

    /// Has it made for the registrations as they are now, without waiting.
    pub(crate) fn start(&self, store: &Arc<RegistrationStore>, changes: &watch::Sender<u64>) {
        self.flight.start(store.version(), self.job(store, changes));
    }

    /// Whether the last one was ready.
    pub(crate) fn is_ready(&self) -> bool {
        let last = self.flight.last();
        last.is_some_and(|last| matches!(*last, Materialized::Ready(_)))
    }

    fn job(
        &self,
        store: &Arc<RegistrationStore>,
        changes: &watch::Sender<u64>,
    ) -> impl Fn() -> (u64, Result<Materialized, MaterializeError>) + Send + 'static {
        let materializer = Arc::clone(&self.materializer);
        let store = Arc::clone(store);
        let changes = changes.clone();
        move || {
            let registrations = RegistrationSnapshot::from(store.snapshot());
            let made = guarded(|| materialize(&*materializer, &registrations));
            if !matches!(made, Ok(Materialized::NotReady(_))) {
                // Whoever wakes before it has landed waits for the landing.
                changes.send_modify(|version| *version += 1);
            }
            (registrations.version(), made)
        }
    }
}

fn materialize(
    materializer: &dyn RegistrationSnapshotMaterializer,
    registrations: &RegistrationSnapshot,
) -> Result<Materialized, MaterializeError> {
    let catalog = materializer
        .materialize_snapshot(registrations)
        .map_err(MaterializeError::failed)?;
    let Some(catalog) = catalog else {
        let expected = materializer.expected();
        return Ok(Materialized::NotReady(expected.awaited(registrations)));
    };
    Ok(Materialized::Ready(ServableCatalog::new(catalog)?))
}
