//! A source as an application has one: ready once enough nodes have registered.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cfgsync_artifacts::{ArtifactFile, ArtifactSet};
use cfgsync_core::{
    ConfigResolution, DynCfgsyncError, NodeArtifactsPayload, NodeConfigSource, NodeRegistration,
    NotReady, RegisterError, RegisterOutcome, RegistrationLimits, RegistrationOverview,
    RegistrationStore,
};
use tokio::sync::watch;

/// Gives every registered node the addresses of all, once all of `expected` have registered.
pub(crate) struct Peers {
    store: RegistrationStore,
    expected: Vec<String>,
    /// What this source does for a node of this name instead.
    failure: Mutex<Option<Failure>>,
}

#[derive(Clone, Copy)]
pub(crate) enum Failure {
    Error,
    Panic,
    Hang,
}

impl Peers {
    pub(crate) fn new(expected: &[&str]) -> Arc<Self> {
        Self::with_limits(expected, RegistrationLimits::default())
    }

    pub(crate) fn with_limits(expected: &[&str], limits: RegistrationLimits) -> Arc<Self> {
        Arc::new(Self {
            store: RegistrationStore::new(limits),
            expected: expected.iter().map(|&name| name.to_owned()).collect(),
            failure: Mutex::default(),
        })
    }

    pub(crate) fn fail(&self, failure: Failure) {
        *self.failure.lock().unwrap() = Some(failure);
    }

    fn missing(&self) -> Vec<String> {
        self.store.missing(self.expected.iter().map(String::as_str))
    }

    fn payload(&self) -> Result<NodeArtifactsPayload, DynCfgsyncError> {
        let peers = self.store.snapshot().registrations;
        let lines = peers.iter().map(|peer| format!("{}\n", peer.ip));
        let file = ArtifactFile::new("peers", lines.collect::<String>());
        Ok(NodeArtifactsPayload::new(ArtifactSet::new([file])?))
    }
}

#[async_trait]
impl NodeConfigSource for Peers {
    async fn register(
        &self,
        registration: NodeRegistration,
    ) -> Result<RegisterOutcome, RegisterError> {
        self.store.register(registration)
    }

    async fn resolve(
        &self,
        registration: &NodeRegistration,
    ) -> Result<ConfigResolution, DynCfgsyncError> {
        let failure = *self.failure.lock().unwrap();
        match failure {
            Some(Failure::Error) => return Err("no genesis: the disk is full".into()),
            Some(Failure::Panic) => panic!("the materializer fell over"),
            Some(Failure::Hang) => std::future::pending().await,
            None => {}
        }
        if !self.store.contains(&registration.identifier) {
            let text = format!("{:?} has not registered", registration.identifier);
            return Ok(ConfigResolution::Missing(text));
        }
        let missing = self.missing();
        if missing.is_empty() {
            return Ok(ConfigResolution::Ready(Arc::new(self.payload()?)));
        }
        Ok(ConfigResolution::NotReady(NotReady {
            registered: self.store.len(),
            expected: Some(self.expected.len()),
            missing,
        }))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.store.changes()
    }

    fn overview(&self) -> RegistrationOverview {
        let missing = self.missing();
        self.store
            .overview(missing.is_empty(), Some(self.expected.len()), missing)
    }
}
