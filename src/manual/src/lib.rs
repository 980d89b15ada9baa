//! Clusters by hand: a supervisor keeps one for as long as a person wants it, and other processes look at it, act on it, attach to it, and end it.
//!
//! Who may do what is decided as everywhere else: the supervisor owns what it started, and features that attach borrow it.
//! Not here: how a cluster comes up (`trellis-bootstrap`), what may be done to its nodes (`trellis-runtime`), and the command line (`trellis`).
//!
//! Suggested order of reading: [`UpSpec`] (what is wanted), [`up`] (the supervisor), `place` (one supervisor a name), `protocol`, `server` and `desk` (what it answers), [`ClusterClient`], [`UpClusters`], [`Mirror`].

mod client;
mod companion;
mod desk;
mod error;
mod events;
mod mirror;
mod name;
mod place;
mod protocol;
mod provider;
mod server;
mod spec;
mod supervisor;
mod wire;

pub use client::ClusterClient;
pub use companion::Companion;
pub use error::{ClientError, UpError};
pub use mirror::Mirror;
pub use name::{ClusterName, ClusterNameError};
pub use place::{PlaceError, Supervision, SupervisorId, forget_dead, known_clusters};
pub use protocol::{Action, ClusterStatus, Done, NodeStatus, Phase, Released};
pub use provider::{UpClusters, asked_by};
pub use spec::{SpecError, UpSpec};
pub use supervisor::{Ended, UpRequest, up};
pub use wire::WireError;
