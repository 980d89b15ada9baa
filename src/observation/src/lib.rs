//! Observation: one loop that keeps looking at things, for all who want to know about them.
//!
//! An app writes an [`Observer`]: how to look at its sources once, and what that means. An
//! [`ObservationRuntime`] does the looking, on its own task. Everyone else holds an
//! [`ObservationHandle`]: they read the latest snapshot, follow the events, or wait until something
//! is true, and never write a polling loop of their own.
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//!
//! use async_trait::async_trait;
//! use trellis_observation::{
//!     DynError, ObservationConfig, ObservationRuntime, ObservedSource, Observer, PollFailure,
//!     StaticSources, poll_sources,
//! };
//!
//! /// Watches counters; here a "client" is just the step by which its counter grows.
//! struct Counters;
//!
//! #[async_trait]
//! impl Observer for Counters {
//!     type Source = u64;
//!     type State = u64;
//!     type Snapshot = u64;
//!     type Event = String;
//!
//!     async fn init(&self, _: &[ObservedSource<u64>]) -> Result<u64, DynError> {
//!         Ok(0)
//!     }
//!
//!     async fn poll(
//!         &self,
//!         sources: &[ObservedSource<u64>],
//!         total: &mut u64,
//!     ) -> Result<Vec<String>, PollFailure<String>> {
//!         let ask = async |step| Ok::<_, Infallible>(step);
//!         let mut events = Vec::new();
//!         for poll in poll_sources(sources, 16, Duration::from_secs(1), ask).await {
//!             let step = poll.result?;
//!             *total += step;
//!             events.push(format!("{} grew by {step}", poll.name));
//!         }
//!         Ok(events)
//!     }
//!
//!     fn snapshot(&self, total: &u64) -> u64 {
//!         *total
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), DynError> {
//! let sources = StaticSources::new([ObservedSource::new("one", 1), ObservedSource::new("two", 2)]);
//! let config = ObservationConfig::default().with_interval(Duration::from_millis(5));
//! let runtime = ObservationRuntime::start(Counters, sources, config);
//! let counters = runtime.handle();
//!
//! let mut events = counters.subscribe_from(counters.cursor());
//! let goal = "the counters to reach 9";
//! let seen = counters.wait_for(goal, Duration::from_secs(5), |total| *total >= 9).await?;
//! assert!(seen.snapshot >= 9 && seen.cycle >= 3);
//! assert_eq!(events.next().await.unwrap().events().next().unwrap(), "one grew by 1");
//!
//! runtime.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What is where
//!
//! | to | use |
//! | --- | --- |
//! | say what to look at | [`ObservedSource`], [`SourceProvider`], [`StaticSources`] |
//! | say how to look | [`Observer`], [`PollFailure`], [`poll_sources`] |
//! | start and stop | [`ObservationConfig`], [`ObservationRuntime`] |
//! | read what is true now | [`ObservationHandle::latest`], [`Observed`], [`Snapshots`] |
//! | read what happened | [`Cursor`], [`Backlog`], [`EventBatch`], [`Subscription`] |
//! | wait for what will be | [`ObservationHandle::wait_for`], [`Since`], [`WaitError`] |
//! | know whether to believe it | [`ObservationStatus`], [`SourceHealth`], [`Observed::age`] |
//!
//! # What is promised
//!
//! - A cycle cannot hang or die in silence. Listing the sources, `init` and `poll` have deadlines;
//!   their errors and panics are caught, recorded and tried again in the next cycle. Code that
//!   blocks its thread cannot be dropped, but [`ObservationHandle::status`] still tells of it.
//! - A failed cycle publishes the events it found, leaves the last snapshot in place, and lets it
//!   age. So after a failure the events may be ahead of the snapshot; `cycle`, which both carry,
//!   tells. A good cycle publishes snapshot and events together.
//! - Each published event reaches a reader once, or the reader is told how many the bound dropped.
//!   An event that a poll found but never returned, because it panicked or was dropped at its
//!   deadline, was not published; [`Observer`] says how not to lose it.
//! - Readers never slow the loop, and the loop never holds a lock over their code.
//!
//! # What is not here
//!
//! Nodes, clusters and apps: this crate knows none. What a snapshot means is the app's, and so is
//! everything built upon one.

// What an app writes.
mod observer;
mod poll;
mod source;

// What runs it.
mod config;
mod cycle;
mod runtime;

// What readers get.
mod handle;
mod health;
mod history;
mod snapshot;
mod status;
mod subscription;
mod wait;

// Between the two.
mod shared;

pub use crate::{
    config::ObservationConfig,
    handle::ObservationHandle,
    health::{SourceFailure, SourceHealth},
    history::{Backlog, Cursor, EventBatch},
    observer::{Observer, PollFailure},
    poll::{SourcePoll, SourcePollError, poll_sources},
    runtime::ObservationRuntime,
    snapshot::{Observed, Since},
    source::{DynError, ObservedSource, SourceProvider, StaticSources},
    status::{CycleFailure, CyclePhase, FailureKind, ObservationStatus, StopReason},
    subscription::{Snapshots, Subscription},
    wait::{WaitError, WaitReason},
};
