//! The World, the parameter types and the step modules: what QA's phrases mean.
//!
//! Steps name no provider and no application. They ask the [`TrellisWorld`] for a cluster, act on it through `trellis-runtime`, and wait on observations; what they need of an application beyond that is a port in [`kv`].
//! Composition roots register applications and backends with a [`Harness`] and hand over.

mod error;
mod parameters;
mod suite;
mod draft;
mod world;
mod effect;
pub mod kv;
mod cluster;
mod lifecycle;
mod observation;
mod self_test;
mod check;
mod harness;

pub use draft::Draft;
pub use harness::Harness;
pub use error::{StepError, StepResult};
pub use parameters::{Count, NodeRef, Within};
pub use suite::{ScenarioKey, ScenarioPlan, Suite, SuiteApp};
pub use world::TrellisWorld;
