//! Programs: the deterministic rule that folds an event into a view.
//!
//! First the keys, from the event alone; then, for each key, the new view. So keys can be folded side by side while each key sees its events in order.

pub mod dag;
#[cfg(feature = "wasm")]
pub mod wasm;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use thiserror::Error;

use crate::{
    quarantine::Fault,
    types::{Envelope, TenantId, ViewId, ViewType},
};

/// The name of the language of WebAssembly modules, which is known where they cannot be run as well.
pub(crate) const WASM_LANGUAGE: &str = "wasm/v1";

/// The most views that one event may change.
const KEYS_MAX: usize = 64;

/// How many bytes that are made or compared cost as much gas as a step.
const BYTES_PER_GAS: usize = 64;

/// A rule. The same input always gives the same output: it has no clock, no chance, and nowhere to keep anything.
pub trait Program: Send + Sync {
    /// Names the program and its version: programs with the same hash give the same views.
    fn hash(&self) -> &str;

    /// The views that `event` changes; none where it is not for this projection.
    ///
    /// # Errors
    /// The program cannot deal with the event, and never will; or, said as such, was stopped by something that may pass.
    fn keys(&self, event: &Envelope, meta: &Meta<'_>) -> Result<Vec<ViewId>, ProgramError>;

    /// What becomes of `view` by `event`.
    ///
    /// # Errors
    /// The program cannot deal with the event, and never will; or, said as such, was stopped by something that may pass.
    fn project(
        &self,
        view: Option<&Value>,
        event: &Envelope,
        meta: &Meta<'_>,
    ) -> Result<Outcome, ProgramError>;

    /// The same, with the gas that it took; none where the engine does not count it.
    fn measured(
        &self,
        view: Option<&Value>,
        event: &Envelope,
        meta: &Meta<'_>,
    ) -> (Result<Outcome, ProgramError>, Option<u64>) {
        (self.project(view, event, meta), None)
    }
}

/// What a program may know beside the event.
#[derive(Debug, Clone, Copy)]
pub struct Meta<'a> {
    /// Where the event is in its stream.
    pub stream_seq: u64,
    /// Whose event it is.
    pub tenant: &'a TenantId,
    /// The type of the views.
    pub view_type: &'a ViewType,
    /// The view that is folded; `None` while the keys are found.
    pub view_id: Option<&'a ViewId>,
}

/// What becomes of a view.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It is this now.
    View(Value),
    /// It is no more.
    Delete,
    /// It stays as it is.
    Unchanged,
}

/// Why a program cannot deal with an event. All but [`ProgramError::Unfinished`] are verdicts on the event: the same on every machine and every time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The event, or the view, is not what the program is for.
    #[error("at {node}: {what}")]
    Contract {
        /// Where in the program.
        node: String,
        /// What is wrong.
        what: String,
    },
    /// The event causes too much work.
    #[error("the event needs more than {gas_max} gas")]
    Gas {
        /// How much there was.
        gas_max: u64,
    },
    /// The event or the view is too large.
    #[error("{what} has {bytes} bytes, more than {bytes_max}")]
    Size {
        /// Which of them.
        what: &'static str,
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        bytes_max: usize,
    },
    /// This machine did not get to the end of it, another one might. It says nothing about the event, which is tried again.
    #[error("the program did not finish: {what}")]
    Unfinished {
        /// What stopped it.
        what: String,
    },
}

impl ProgramError {
    /// How it is recorded; `None` where it is no verdict, and must not be.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Contract { .. } => Some(Fault::Contract),
            Self::Gas { .. } => Some(Fault::Gas),
            Self::Size { .. } => Some(Fault::Size),
            Self::Unfinished { .. } => None,
        }
    }
}

/// Null is a value as well, where it is written.
fn written<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// How deep lists and objects stand in each other in a value.
pub(crate) fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// About how many bytes a value is as JSON; the same for equal values.
pub(crate) fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(weight).sum::<usize>(),
        Value::Object(members) => {
            2 + members
                .iter()
                .map(|(name, value)| name.len() + 4 + weight(value))
                .sum::<usize>()
        }
    }
}
