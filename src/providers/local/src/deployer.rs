//! The deployer of this machine.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use trellis_bootstrap::{ClusterRequest, Deployer, NodeControl, ProviderError};
use trellis_domain::{Capability, CapabilitySet};

use crate::{LocalConfig, control::LocalControl, ports::PortPool, spawner::Spawner};

/// What features, reports and ledgers call this backend.
pub(crate) const BACKEND: &str = "local";

/// Runs owned nodes as processes of this machine.
///
/// Its processes are killed by the kernel when the harness ends, however that ends; what survives that (processes which nodes started, folders) is in the run ledger, for [`reap`](crate::reap()).
#[derive(Debug)]
pub struct LocalDeployer {
    pool: Arc<PortPool>,
    /// Started when the first cluster is opened.
    spawner: Mutex<Option<Spawner>>,
}

impl LocalDeployer {
    /// A deployer that does nothing yet.
    pub fn new(config: LocalConfig) -> Self {
        Self {
            pool: Arc::new(PortPool::new(config.host, config.ports)),
            spawner: Mutex::new(None),
        }
    }

    fn spawner(&self) -> Result<Spawner, ProviderError> {
        let mut spawner = self.spawner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(spawner) = &*spawner {
            return Ok(spawner.clone());
        }
        let started =
            Spawner::new().map_err(|error| unusable(format!("it gets no thread: {error}")))?;
        Ok(spawner.insert(started).clone())
    }
}

/// The error of a backend that cannot be used at all.
pub(crate) fn unusable(detail: String) -> ProviderError {
    ProviderError::Backend {
        backend: BACKEND,
        detail,
    }
}

#[async_trait]
impl Deployer for LocalDeployer {
    fn name(&self) -> &'static str {
        BACKEND
    }

    fn capabilities(&self) -> CapabilitySet {
        Capability::ALL
            .into_iter()
            .filter(|capability| *capability != Capability::NetworkFault)
            .collect()
    }

    async fn open(&self, request: ClusterRequest) -> Result<Arc<dyn NodeControl>, ProviderError> {
        let (pool, spawner) = (self.pool.clone(), self.spawner()?);
        let opening =
            tokio::task::spawn_blocking(move || LocalControl::open(request, pool, spawner));
        let control = opening
            .await
            .map_err(|error| unusable(format!("a cluster was not opened: {error}")))??;
        Ok(Arc::new(control))
    }
}
