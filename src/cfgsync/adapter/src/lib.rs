//! From registrations to artifacts: where an application's own rules plug in.
//!
//! An application says when the registered nodes are complete and which files each of them gets, in one of three ways:
//! a [`DeploymentAdapter`], which is the short one, with metadata that have a type;
//! a [`RegistrationSnapshotMaterializer`], which makes the files of all nodes at once;
//! a [`NodeArtifactsMaterializer`], which makes those of one node.
//! [`SnapshotConfigSource`] and [`MaterializingConfigSource`] then stand behind the server of `cfgsync-core`.
//!
//! Not here: transport and the registration store (`cfgsync-core`), files on a disk and the binaries (`cfgsync-runtime`).
//!
//! Suggested order of reading: [`RegistrationSnapshot`], [`NodeArtifactsCatalog`], [`RegistrationSnapshotMaterializer`], [`SnapshotConfigSource`], [`DeploymentAdapter`].

mod cached;
mod catalog;
mod catalog_source;
mod deployment;
mod error;
mod expected;
mod flight;
mod materializer;
mod node_source;
mod replacements;
mod snapshot;
mod snapshot_source;

pub use cached::CachedSnapshotMaterializer;
pub use catalog::{CatalogError, NodeArtifacts, NodeArtifactsCatalog};
pub use catalog_source::CatalogConfigSource;
pub use cfgsync_core::DynCfgsyncError;
pub use deployment::{DeploymentAdapter, DeploymentMaterializer, TypedRegistration};
pub use error::MaterializeError;
pub use expected::Expected;
pub use materializer::{NodeArtifactsMaterializer, RegistrationSnapshotMaterializer};
pub use node_source::MaterializingConfigSource;
pub use snapshot::RegistrationSnapshot;
pub use snapshot_source::SnapshotConfigSource;
