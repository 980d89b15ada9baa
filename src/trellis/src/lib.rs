//! The facade: what a test crate needs in order to run features on its own application.
//!
//! Implement [`Application`] for what is to be run, register it with a [`Harness`] beside a backend such as [`LocalDeployer`], and hand over to [`Harness::main`].
//! For the phrases that speak of keys and leaders, bind [`kv::ReplicatedKv`] as well.
//! Not here: anything of its own, except the `trellis` command.

pub mod command;

pub use trellis_bootstrap::{
    Address, Application, ArtifactFile, DynError, NodeCommand, NodePlan, PeerPlan, PortSpec, Probe,
    SelfDescription, Transport,
};
pub use trellis_domain::{
    AppName, Capability, CapabilitySet, NetworkIdentity, NodeHandle, NodeName, PeerId,
};
pub use trellis_local::{LocalConfig, LocalDeployer};
pub use trellis_manual::UpClusters;
pub use trellis_observation as observation;
#[cfg(feature = "record")]
pub use trellis_record as record;
pub use trellis_runtime::Cluster;
pub use trellis_steps::{
    CfgsyncCommands, Harness, Program, StepError, StepResult, SuiteApp, TrellisWorld, kv,
};
