//! Catalog source: artifacts that are known beforehand, for nodes that register.

use async_trait::async_trait;
use cfgsync_core::{
    ConfigResolution, NodeConfigSource, NodeRegistration, NotReady, RegisterError, RegisterOutcome,
    RegistrationLimits, RegistrationOverview, RegistrationStore, in_short,
};
use tokio::sync::watch;

use crate::{
    CatalogError, DynCfgsyncError, NodeArtifactsCatalog, catalog::ServableCatalog,
    snapshot_source::unregistered,
};

/// Serves a catalog to the nodes of it that have registered; others it refuses.
#[derive(Debug)]
pub struct CatalogConfigSource {
    catalog: ServableCatalog,
    store: RegistrationStore,
    waits_for_all: bool,
    complete: watch::Sender<u64>,
}

impl CatalogConfigSource {
    /// A source of `catalog`. Every node waits for itself only.
    ///
    /// # Errors
    /// A catalog that contradicts itself.
    pub fn new(catalog: NodeArtifactsCatalog) -> Result<Self, CatalogError> {
        let limits = RegistrationLimits {
            // Only those of the catalog can register.
            nodes_max: catalog.len(),
            ..RegistrationLimits::default()
        };
        Ok(Self {
            catalog: ServableCatalog::new(catalog)?,
            store: RegistrationStore::new(limits),
            waits_for_all: false,
            complete: watch::Sender::new(0),
        })
    }

    /// The same source, which gives nobody anything before all nodes of the catalog have registered.
    #[must_use]
    pub fn waiting_for_all(self) -> Self {
        Self {
            waits_for_all: true,
            ..self
        }
    }

    fn is_ready(&self) -> bool {
        !self.waits_for_all || self.store.len() == self.catalog.identifiers().len()
    }

    fn missing(&self) -> Vec<String> {
        let names = self.catalog.identifiers();
        self.store.missing(names.map(String::as_str))
    }
}

#[async_trait]
impl NodeConfigSource for CatalogConfigSource {
    async fn register(
        &self,
        registration: NodeRegistration,
    ) -> Result<RegisterOutcome, RegisterError> {
        let identifier = &registration.identifier;
        if !self.catalog.contains(identifier) {
            return Err(RegisterError::Unknown {
                identifier: identifier.clone(),
                known: in_short(self.catalog.identifiers()),
            });
        }
        let outcome = self.store.register(registration)?;
        if outcome == RegisterOutcome::New && self.is_ready() {
            self.complete.send_modify(|version| *version += 1);
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
        if !self.is_ready() {
            let missing = self.missing();
            return Ok(ConfigResolution::NotReady(NotReady {
                registered: self.store.len(),
                expected: Some(self.catalog.identifiers().len()),
                missing,
            }));
        }
        let payload = self.catalog.payload(identifier);
        Ok(payload.map_or_else(|| unregistered(identifier), ConfigResolution::Ready))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.complete.subscribe()
    }

    fn overview(&self) -> RegistrationOverview {
        let expected = self.catalog.identifiers().len();
        self.store
            .overview(self.is_ready(), Some(expected), self.missing())
    }
}
