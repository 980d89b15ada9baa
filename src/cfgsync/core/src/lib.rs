//! Node registration and config delivery: what travels, who serves it and who fetches it.
//!
//! A node registers, waits until its configuration is ready, and fetches the files that it needs in order to start.
//! Not here: when a configuration is ready and what is in it (`cfgsync-adapter` and the application behind it), and how files reach a disk (`cfgsync-runtime`).
//!
//! Suggested order of reading: [`NodeRegistration`], [`NodeArtifactsPayload`], [`NodeConfigSource`].

mod payload;
mod registration;
mod source;
mod store;

pub use payload::{NodeArtifactsPayload, SCHEMA_VERSION};
pub use registration::{MetadataError, NodeRegistration, RegistrationPayload};
pub use source::{
    ConfigResolution, DynCfgsyncError, NodeConfigSource, NotReady, RegisterError, RegisterOutcome,
    RegistrationOverview, RegistrationRecord,
};
pub use store::{RegistrationLimits, RegistrationStore, StoredRegistrations};
