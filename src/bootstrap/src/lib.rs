//! From the sources of a scenario to a cluster that is ready: orchestrator, readiness barrier, preflight, and the ports to applications and backends.
//!
//! Not here: what a step may do to a cluster once it runs (`trellis-runtime`), and how any backend does it (`trellis-local` and its siblings).
//!
//! Suggested order of reading: [`Application`], [`Deployer`] and [`AttachProvider`] (the ports), [`bootstrap`] (the nine steps), [`Fleet`] (the nodes that we start), [`ConfigDelivery`] and [`Rendering`] (how they get their files), [`ReadinessBarrier`], [`RunLedger`].

mod application;
mod attach;
mod barrier;
mod cleanup;
mod compatibility;
mod delivery;
mod deployer;
mod discovery;
mod error;
mod fleet;
mod identity;
mod join;
mod ledger;
mod node_operations;
mod orchestrator;
mod patch;
mod peers;
mod preflight;
mod progress;
mod provider_error;
mod rendering;
mod shared_inventory;

pub use application::{
    Address, Application, NodeCommand, NodePlan, PeerPlan, PortSpec, Probe, SelfDescription,
    Transport,
};
pub use attach::{AttachError, AttachProvider, DiscoveredNode, Discovery, MissingNode};
pub use barrier::{NodeReadiness, ReadinessBarrier};
pub use cleanup::Cleanup;
pub use compatibility::{Incompatibility, UnknownField};
pub use delivery::{ConfigChannel, ConfigDelivery};
pub use deployer::{
    ClusterRequest, Deployer, Doing, ExitReport, Instance, LogTail, NodeControl, Placement,
    StopReport,
};
pub use discovery::Missing;
pub use error::{BootstrapError, in_one_line};
pub use fleet::Fleet;
pub use join::{JoinRequest, Settling, join};
pub use ledger::{AbandonedRun, KnownRuns, LedgerError, Resource, RunLedger, known_runs};
pub use node_operations::NodeOperations;
pub use orchestrator::{BootstrapRequest, Bootstrapped, bootstrap};
pub use patch::{PatchError, apply_overrides};
pub use peers::{borrowed_peers, seeds};
pub use preflight::{PlannedOperation, PlannedRefusal, ValidationError};
pub use progress::{Progress, Silent};
pub use provider_error::ProviderError;
pub use rendering::{NodeRecord, Rendering};
pub use shared_inventory::SharedInventory;

/// The files of a node are cfgsync's, since that is how they get there; named here so that an application needs no other crate for them.
pub use cfgsync_artifacts::{ArtifactFile, FileMode};

/// Any error, for ports whose callers own their errors.
pub type DynError = Box<dyn std::error::Error + Send + Sync>;
