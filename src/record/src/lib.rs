//! Records: what observers saw of a run, as events of a stream that a projection node folds into views, to be asked while the run goes on and afterwards.
//!
//! An application says what of its observer is worth keeping by a [`Recording`]; the [`Fact`]s that it makes are published as envelopes whose tenant is the run.
//!
//! Suggested order of reading: [`Fact`], [`Recording`], [`nodes`], [`Leaders`], [`chain`], [`View`].

mod fact;
mod leaders;
mod manifest;
mod recording;

pub mod chain;
pub mod nodes;

pub use fact::{Fact, Subject, millis};
pub use leaders::Leaders;
pub use manifest::{MANIFEST, View};
pub use recording::{Delta, Recording};
