//! Behaviour of the observation runtime as its users see it, on paused time.
//!
//! One module a promise. What a single type does on its own is tested beside it.

mod support;

mod events;
mod failures;
mod interleavings;
mod lifecycle;
mod sources;
mod waiting;
