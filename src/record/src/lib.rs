//! Records: what observers saw of a run, as events of a stream that a projection node folds into views, to be asked while the run goes on and afterwards.
//!
//! An application says what of its observer is worth keeping by a [`Recording`]; the [`Fact`]s that it makes are published as envelopes whose tenant is the run. A [`Recorder`] keeps the record of a run, and a [`History`] is what can be asked of it.
//!
//! Suggested order of reading: [`Fact`], [`Recording`], [`nodes`], [`Leaders`], [`chain`], [`View`]; then `sink` and `publisher` (how facts get into the stream), `server` and `views` (what keeps and folds them), [`Recorder`], [`Record`], [`History`].
//!
//! Not here: the commands `trellis run` and `trellis history`, and which application is observed how.

mod error;
mod fact;
mod history;
mod leaders;
mod manifest;
mod place;
mod publisher;
mod recorder;
mod recording;
mod server;
mod sink;
mod views;

pub mod chain;
pub mod nodes;

pub use error::RecordError;
pub use fact::{Fact, Subject, millis};
pub use history::{Found, History, Wanted};
pub use leaders::Leaders;
pub use manifest::{MANIFEST, View};
pub use place::{About, Condition, Record};
pub use projection::query::Row;
pub use publisher::STREAM;
pub use recorder::{Ended, RecordRequest, Recorder};
pub use recording::{Delta, Recording};
pub use sink::Watched;
