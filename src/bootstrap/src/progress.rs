//! Progress: what a person is told while something is awaited.

use std::{fmt, time::Duration};

/// Listens to what is going on; called often, so implementations decide what to show.
pub trait Progress: Send + Sync + 'static {
    /// `goal` is awaited; `seen` is the last that was seen of it; `left` is the time to the deadline.
    fn waiting(&self, goal: &str, seen: &dyn fmt::Display, left: Duration);

    /// Something happened that a reader of the report should know, such as a second try with other ports.
    fn note(&self, text: &str);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn waiting(&self, _goal: &str, _seen: &dyn fmt::Display, _left: Duration) {}

    fn note(&self, _text: &str) {}
}
