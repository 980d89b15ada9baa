//! The running cluster: what a step may ask of it.
//!
//! A [`Cluster`] is the one door to the nodes of a scenario. Every operation goes through one check of ownership, capability and state, whoever asks.
//! Not here: how a cluster comes up (`trellis-bootstrap`), how a backend does what is asked (`trellis-local` and its siblings), and what the application's state means (its observer).

mod cluster;
mod delivery;
mod error;
mod journal;
mod monitor;
mod operations;
mod sources;
mod tasks;

pub use cluster::Cluster;
pub use delivery::CfgsyncDelivery;
pub use error::OperationError;
pub use journal::{Journal, JournalEntry};
pub use sources::NodeSources;
pub use tasks::{TaskFailure, Tasks};
pub use trellis_bootstrap::SharedInventory;
