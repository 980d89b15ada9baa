//! The World, the parameter types and the step modules: what QA's phrases mean.
//!
//! Steps name no provider and no application. They ask the [`TrellisWorld`] for a cluster, act on it through `trellis-runtime`, and wait on observations; what they need of an application beyond that is a port in [`kv`].
//! Composition roots register applications and backends with a [`Harness`] and hand over.

mod cfgsync;
pub mod chain;
pub mod check;
mod child;
mod cluster;
mod draft;
mod effect;
mod error;
mod external;
mod harness;
pub mod kv;
mod lane;
mod lifecycle;
mod observation;
pub mod outsiders;
mod parameters;
mod program;
pub mod projection;
mod self_test;
mod sources;
mod suite;
mod table;
mod world;

pub use draft::Draft;
pub use error::{StepError, StepResult};
pub use harness::{Harness, HarnessOptions, default_state_folder};
pub use parameters::{Count, NodeRef, Within};
pub use program::{Privilege, Program};
pub use suite::{CfgsyncCommands, ScenarioKey, ScenarioPlan, Suite, SuiteApp};
pub use world::{OpenError, TrellisWorld};
