//! cfgsync in operation: written files, served configurations, the two programs.
//!
//! Not here: the protocol (`cfgsync-core`), and when configurations are ready and what is in them (`cfgsync-adapter` and the application behind it).
//!
//! Suggested order of reading: [`ArtifactOutputMap`], [`write_artifacts`], [`fetch_and_write_artifacts`], [`ClientSettings`], [`CfgsyncServerConfig`], [`serve_snapshot_cfgsync`].

pub mod command;
mod config;
mod environment;
mod fetch;
mod outputs;
mod serve;
mod write;

pub use command::{ClientRunError, run_cfgsync_client_from_env};
pub use config::{CfgsyncServerConfig, CfgsyncServingMode, ServerConfigError};
pub use environment::{ClientSettings, EnvironmentError};
pub use fetch::{
    FETCH_WITHIN, FetchError, fetch_and_write_artifacts, fetch_and_write_with,
    register_and_fetch_artifacts,
};
pub use outputs::{ArtifactOutputMap, OutputError, PathProblem};
pub use serve::{ListeningCfgsync, ServeError, serve_cfgsync_from_config, serve_snapshot_cfgsync};
pub use write::{NotPutBack, WriteError, write_artifacts};

/// The code of the book's page, tested with the crate.
#[cfg(doctest)]
#[doc = include_str!("../../../../docs/src/how-to/cfgsync.md")]
struct HowTo;
