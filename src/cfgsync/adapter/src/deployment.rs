//! Deployment adapter: the short way from typed metadata to artifacts.

use std::net::IpAddr;

use cfgsync_artifacts::ArtifactFile;
use cfgsync_core::{MetadataError, NodeRegistration, RegisterError};
use serde::de::DeserializeOwned;

use crate::{
    DynCfgsyncError, Expected, NodeArtifacts, NodeArtifactsCatalog, RegistrationSnapshot,
    RegistrationSnapshotMaterializer,
};

/// How one kind of application is deployed: what its nodes say of themselves, who has to be there, and what each of them gets.
///
/// [`DeploymentMaterializer`] makes a [`RegistrationSnapshotMaterializer`] of it.
pub trait DeploymentAdapter: Send + Sync + 'static {
    /// What a node says of itself; `()` for one that says nothing.
    type Metadata: DeserializeOwned;

    /// Who has to register before anybody gets anything.
    fn expected(&self) -> Expected;

    /// Whether a node of this name may register; every one may unless it is said. Asked on a thread of the server, so it must not block.
    ///
    /// # Errors
    /// [`RegisterError::Unknown`], with those who may.
    fn admit(&self, identifier: &str) -> Result<(), RegisterError> {
        let _ = identifier;
        Ok(())
    }

    /// The files of one node, which is one of `all`; `all` is sorted by identifier. Called only when those who are expected are there.
    ///
    /// # Errors
    /// Whatever keeps them from being made.
    fn artifacts(
        &self,
        node: &TypedRegistration<Self::Metadata>,
        all: &[TypedRegistration<Self::Metadata>],
    ) -> Result<Vec<ArtifactFile>, DynCfgsyncError>;

    /// Files that every node gets along with its own.
    ///
    /// # Errors
    /// As for [`DeploymentAdapter::artifacts`].
    fn shared(
        &self,
        all: &[TypedRegistration<Self::Metadata>],
    ) -> Result<Vec<ArtifactFile>, DynCfgsyncError> {
        let _ = all;
        Ok(Vec::new())
    }
}

/// A registration whose metadata have a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedRegistration<M> {
    /// The node's name.
    pub identifier: String,
    /// The address at which others reach it.
    pub ip: IpAddr,
    /// What it says of itself.
    pub metadata: M,
}

impl<M: DeserializeOwned> TryFrom<&NodeRegistration> for TypedRegistration<M> {
    type Error = MetadataError;

    fn try_from(registration: &NodeRegistration) -> Result<Self, MetadataError> {
        Ok(Self {
            identifier: registration.identifier.clone(),
            ip: registration.ip,
            metadata: registration.metadata()?,
        })
    }
}

/// A [`DeploymentAdapter`] as a materializer of the whole set.
///
/// A node whose metadata are not what the adapter expects is an error for all that names this node; it is over when the node registers anew.
#[derive(Debug, Clone)]
pub struct DeploymentMaterializer<A>(A);

impl<A: DeploymentAdapter> DeploymentMaterializer<A> {
    /// A materializer that asks `adapter`.
    pub fn new(adapter: A) -> Self {
        Self(adapter)
    }
}

impl<A: DeploymentAdapter> RegistrationSnapshotMaterializer for DeploymentMaterializer<A> {
    fn materialize_snapshot(
        &self,
        registrations: &RegistrationSnapshot,
    ) -> Result<Option<NodeArtifactsCatalog>, DynCfgsyncError> {
        if !self.0.expected().is_met_by(registrations) {
            return Ok(None);
        }
        let all: Vec<TypedRegistration<A::Metadata>> = registrations
            .iter()
            .map(TypedRegistration::try_from)
            .collect::<Result<_, _>>()?;
        let artifacts = |node: &TypedRegistration<A::Metadata>| {
            Ok(NodeArtifacts {
                identifier: node.identifier.clone(),
                files: self.0.artifacts(node, &all)?,
            })
        };
        let nodes = all
            .iter()
            .map(artifacts)
            .collect::<Result<_, DynCfgsyncError>>()?;
        let shared = self.0.shared(&all)?;
        Ok(Some(
            NodeArtifactsCatalog::new(nodes).with_shared_files(shared),
        ))
    }

    fn expected(&self) -> Expected {
        self.0.expected()
    }

    fn admit(&self, identifier: &str) -> Result<(), RegisterError> {
        self.0.admit(identifier)
    }
}
