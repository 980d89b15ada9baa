//! Node registration and config delivery: what travels, who serves it and who fetches it.
//!
//! A node registers, waits until its configuration is ready, and fetches the files that it needs in order to start.
//! Not here: when a configuration is ready and what is in it (`cfgsync-adapter` and the application behind it), and how files reach a disk (`cfgsync-runtime`).
//!
//! Suggested order of reading: [`NodeRegistration`], [`NodeArtifactsPayload`], [`ErrorBody`] (what travels); [`NodeConfigSource`] (the port), [`RegistrationStore`], [`StaticConfigSource`], [`BundleConfigSource`]; `CfgsyncServerState`, `build_cfgsync_router` and `serve_cfgsync` (feature `server`); `CfgsyncClient` (feature `client`).

mod bundle;
mod bundle_source;
#[cfg(feature = "client")]
mod client;
mod error_body;
mod payload;
mod registration;
#[cfg(feature = "server")]
mod server;
mod source;
mod static_source;
mod store;
mod token;

pub use bundle::{BundleError, BundleNode, BundlePlace, NodeArtifactsBundle};
pub use bundle_source::BundleConfigSource;
#[cfg(feature = "client")]
pub use client::{CfgsyncClient, ClientError, ClientLimits, ConfigStatus, WaitProgress, WaitState};
pub use error_body::ErrorBody;
pub use payload::{NodeArtifactsPayload, SCHEMA_VERSION};
pub use registration::{MetadataError, NodeRegistration, RegistrationPayload};
#[cfg(feature = "server")]
pub use server::{
    CfgsyncServerState, ServerLimits, bind_loopback, build_cfgsync_router, decode_registration,
    serve_cfgsync,
};
pub use source::{
    ConfigResolution, DynCfgsyncError, NodeConfigSource, NotReady, RegisterError, RegisterOutcome,
    RegistrationOverview, RegistrationRecord, in_short,
};
pub use static_source::StaticConfigSource;
pub use store::{RegistrationLimits, RegistrationStore, StoredRegistrations};
pub use token::BearerToken;
