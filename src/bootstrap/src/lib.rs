//! From the sources of a scenario to a cluster that is ready: orchestrator, readiness barrier, preflight, and the ports to applications and backends.
mod application;
mod deployer;
mod ledger;
mod provider_error;

pub use application::{
    Address, Application, Artifact, NodeCommand, NodePlan, PortSpec, Probe, SelfDescription,
    Transport,
};
pub use deployer::{
    ClusterRequest, Deployer, Doing, ExitReport, Instance, LogTail, NodeControl, Placement,
    StopReport,
};
pub use ledger::{AbandonedRun, KnownRuns, LedgerError, Resource, RunLedger, known_runs};
pub use provider_error::ProviderError;

/// Any error, for ports whose callers own their errors.
pub type DynError = Box<dyn std::error::Error + Send + Sync>;
