//! What an application implements: artifacts made from registrations.
//!
//! How often these are called, and on which thread, is decided by the sources.

use std::sync::Arc;

use cfgsync_artifacts::ArtifactSet;
use cfgsync_core::{NodeRegistration, RegisterError};

use crate::{DynCfgsyncError, Expected, NodeArtifactsCatalog, RegistrationSnapshot};

/// Makes the artifacts of all nodes at once: for readiness or contents that depend on who else is there.
///
/// Called on a thread that may block, never twice at the same time by one [`crate::CachedSnapshotMaterializer`], and once for a version of the registrations, so that it may take its time (as for making keys).
/// What has to stay the same from one version to the next is the implementor's to remember.
pub trait RegistrationSnapshotMaterializer: Send + Sync + 'static {
    /// The artifacts of all nodes, or `None` while they are not ready.
    ///
    /// # Errors
    /// Whatever keeps them from being made. The requests that waited for them are answered with it, and the next request tries again.
    fn materialize_snapshot(
        &self,
        registrations: &RegistrationSnapshot,
    ) -> Result<Option<NodeArtifactsCatalog>, DynCfgsyncError>;

    /// Who has to register, for what people are told. Readiness is what [`Self::materialize_snapshot`] says.
    fn expected(&self) -> Expected {
        Expected::Unknown
    }

    /// Whether a node of this name may register; every one may unless it is said. Asked on a thread of the server, so it must not block.
    ///
    /// # Errors
    /// [`RegisterError::Unknown`], with those who may.
    fn admit(&self, identifier: &str) -> Result<(), RegisterError> {
        let _ = identifier;
        Ok(())
    }
}

/// Makes the artifacts of one node: for contents that depend on little else.
///
/// Called on a thread that may block, never twice at the same time for one node, and once for a node and a version of the registrations. With many nodes that wait for each other, that is many calls: a [`RegistrationSnapshotMaterializer`] is called once for all.
pub trait NodeArtifactsMaterializer: Send + Sync + 'static {
    /// The artifacts of the node that registered so, or `None` while they are not ready.
    ///
    /// # Errors
    /// As for [`RegistrationSnapshotMaterializer::materialize_snapshot`].
    fn materialize(
        &self,
        registration: &NodeRegistration,
        registrations: &RegistrationSnapshot,
    ) -> Result<Option<ArtifactSet>, DynCfgsyncError>;

    /// Who has to register, for what people are told.
    fn expected(&self) -> Expected {
        Expected::Unknown
    }
}

impl<M: RegistrationSnapshotMaterializer + ?Sized> RegistrationSnapshotMaterializer for Arc<M> {
    fn materialize_snapshot(
        &self,
        registrations: &RegistrationSnapshot,
    ) -> Result<Option<NodeArtifactsCatalog>, DynCfgsyncError> {
        (**self).materialize_snapshot(registrations)
    }

    fn expected(&self) -> Expected {
        (**self).expected()
    }

    fn admit(&self, identifier: &str) -> Result<(), RegisterError> {
        (**self).admit(identifier)
    }
}

impl<M: NodeArtifactsMaterializer + ?Sized> NodeArtifactsMaterializer for Arc<M> {
    fn materialize(
        &self,
        registration: &NodeRegistration,
        registrations: &RegistrationSnapshot,
    ) -> Result<Option<ArtifactSet>, DynCfgsyncError> {
        (**self).materialize(registration, registrations)
    }

    fn expected(&self) -> Expected {
        (**self).expected()
    }
}
