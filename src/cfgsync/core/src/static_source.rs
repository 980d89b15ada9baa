//! Static source: configurations that are known beforehand, whoever registers.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    ConfigResolution, DynCfgsyncError, NodeArtifactsPayload, NodeConfigSource, NodeRegistration,
    RegisterError, RegisterOutcome, RegistrationLimits, RegistrationOverview, RegistrationStore,
    source::in_short,
};

/// Serves to each node that it knows the payload that it was given for it, registered or not; other nodes it refuses.
///
/// Registrations are kept for people only.
#[derive(Debug)]
pub struct StaticConfigSource {
    payloads: BTreeMap<String, Arc<NodeArtifactsPayload>>,
    store: RegistrationStore,
}

impl StaticConfigSource {
    /// A payload for each identifier; the last one counts where one is given twice.
    pub fn new(payloads: impl IntoIterator<Item = (String, NodeArtifactsPayload)>) -> Self {
        let shared = |(identifier, payload)| (identifier, Arc::new(payload));
        Self::of(payloads.into_iter().map(shared).collect())
    }

    /// The same payload, held once, for all of `identifiers`.
    pub fn uniform(
        identifiers: impl IntoIterator<Item = impl Into<String>>,
        payload: NodeArtifactsPayload,
    ) -> Self {
        let payload = Arc::new(payload);
        let shared = |identifier: _| (Into::into(identifier), Arc::clone(&payload));
        Self::of(identifiers.into_iter().map(shared).collect())
    }

    fn of(payloads: BTreeMap<String, Arc<NodeArtifactsPayload>>) -> Self {
        // Only those that are served can register, so that their number is the limit.
        let limits = RegistrationLimits {
            nodes_max: payloads.len(),
            ..RegistrationLimits::default()
        };
        Self {
            payloads,
            store: RegistrationStore::new(limits),
        }
    }

    fn known(&self) -> String {
        in_short(self.payloads.keys())
    }
}

#[async_trait]
impl NodeConfigSource for StaticConfigSource {
    async fn register(
        &self,
        registration: NodeRegistration,
    ) -> Result<RegisterOutcome, RegisterError> {
        if self.payloads.contains_key(&registration.identifier) {
            self.store.register(registration)
        } else {
            Err(RegisterError::Unknown {
                identifier: registration.identifier,
                known: self.known(),
            })
        }
    }

    async fn resolve(
        &self,
        registration: &NodeRegistration,
    ) -> Result<ConfigResolution, DynCfgsyncError> {
        let identifier = &registration.identifier;
        Ok(match self.payloads.get(identifier) {
            Some(payload) => ConfigResolution::Ready(Arc::clone(payload)),
            None => ConfigResolution::Missing(
                RegisterError::Unknown {
                    identifier: identifier.clone(),
                    known: self.known(),
                }
                .to_string(),
            ),
        })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.store.changes()
    }

    fn overview(&self) -> RegistrationOverview {
        let names = self.payloads.keys().map(String::as_str);
        let missing = self.store.missing(names);
        self.store
            .overview(true, Some(self.payloads.len()), missing)
    }
}
