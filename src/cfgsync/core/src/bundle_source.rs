//! Bundle source: serves the nodes of a bundle.

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    ConfigResolution, DynCfgsyncError, NodeArtifactsBundle, NodeArtifactsPayload, NodeConfigSource,
    NodeRegistration, RegisterError, RegisterOutcome, RegistrationOverview, StaticConfigSource,
};

/// Serves to each node of a bundle its own files and the shared ones, registered or not; other nodes it refuses.
#[derive(Debug)]
pub struct BundleConfigSource(StaticConfigSource);

impl BundleConfigSource {
    /// A source of `bundle`.
    pub fn new(bundle: &NodeArtifactsBundle) -> Self {
        let payloads = bundle.nodes().iter().map(|node| {
            let files = node.files_with(bundle.shared_files());
            let files = files.expect("a bundle has no file that conflicts with a shared one");
            (node.identifier.clone(), NodeArtifactsPayload::new(files))
        });
        Self(StaticConfigSource::new(payloads))
    }
}

#[async_trait]
impl NodeConfigSource for BundleConfigSource {
    async fn register(
        &self,
        registration: NodeRegistration,
    ) -> Result<RegisterOutcome, RegisterError> {
        self.0.register(registration).await
    }

    async fn resolve(
        &self,
        registration: &NodeRegistration,
    ) -> Result<ConfigResolution, DynCfgsyncError> {
        self.0.resolve(registration).await
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes()
    }

    fn overview(&self) -> RegistrationOverview {
        self.0.overview()
    }
}
