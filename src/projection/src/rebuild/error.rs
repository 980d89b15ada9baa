//! What can stand in the way of a rebuild.

use thiserror::Error;

use crate::{
    storage::StorageError,
    stream::{BlockedReason, StreamError},
    types::{GenerationState, Scope, ViewTable, ViewType},
};

/// Why something was not done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// The store.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The stream.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The manifest has no such projection.
    #[error("there is no projection {name} in the manifest")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// Nothing was ever written.
    #[error("nothing of {view_type} is served yet; run the node first")]
    NothingServed {
        /// Which type.
        view_type: ViewType,
    },
    /// There is no such generation.
    #[error("there is no generation {table}")]
    NoGeneration {
        /// Which.
        table: ViewTable,
    },
    /// There is no shadow to serve instead.
    #[error(
        "no other generation of {view_type} is being made; projection rebuild {view_type} begins one"
    )]
    NoShadow {
        /// Of which type.
        view_type: ViewType,
    },
    /// The generation is not in a state for that.
    #[error("{table} {state}: {operation} is not for it")]
    WrongState {
        /// Which.
        table: ViewTable,
        /// What it is there for.
        state: GenerationState,
        /// What was asked for.
        operation: &'static str,
    },
    /// The generation is not where the served one is.
    #[error("{table} is at {floor} and what is served at {served}: wait until it has caught up")]
    Behind {
        /// Which.
        table: ViewTable,
        /// Where it is.
        floor: u64,
        /// Where the served one is.
        served: u64,
    },
    /// Nothing was served before that is still there.
    #[error("there is no way back: nothing that was served of {view_type} before is still there")]
    NoWayBack {
        /// Of which type.
        view_type: ViewType,
    },
    /// Another generation is served than whoever asks has seen.
    #[error("{table} is not served any more, {served} is: look again")]
    NotServed {
        /// What was seen.
        table: ViewTable,
        /// What is served.
        served: u32,
    },
    /// Views are being exchanged.
    #[error("{scope} of {view_type} are being exchanged; wait until that is done")]
    Exchanging {
        /// Of which type.
        view_type: ViewType,
        /// Which.
        scope: Scope,
    },
    /// Some views were exchanged, and others not yet.
    #[error(
        "{scope} of {view_type} are not all exchanged yet; nothing else is written to them before"
    )]
    Unfinished {
        /// Of which type.
        view_type: ViewType,
        /// Which.
        scope: Scope,
        /// Why it did not go on.
        #[source]
        source: Box<StorageError>,
    },
    /// The text of the program is not known.
    #[error("the program of {table} is not in the manifest, and its text was not kept")]
    NoProgram {
        /// Which generation.
        table: ViewTable,
    },
    /// The stream does not begin where the views have to.
    #[error(
        "the stream begins at {first}, and {table} must begin at {from}: rebuild it --from {first} to do without what is gone"
    )]
    HistoryGone {
        /// Which generation.
        table: ViewTable,
        /// Where it must begin.
        from: u64,
        /// Where the stream begins.
        first: u64,
    },
    /// The views cannot be made.
    #[error("{table} does not go on: {reason}")]
    Blocked {
        /// Which generation.
        table: ViewTable,
        /// Why.
        reason: BlockedReason,
    },
    /// The stream ended before it came to the event.
    #[error("the stream does not lead to event {until} any more")]
    NotReached {
        /// Which event.
        until: u64,
    },
    /// What an exchange waits for did not come while what is served stood still.
    #[error(
        "event {until} did not come within {within:?}, and what is served stands still for no longer"
    )]
    Late {
        /// Which event.
        until: u64,
        /// How long it was waited for.
        within: std::time::Duration,
    },
    /// It was told to stop.
    #[error("it was stopped before its end")]
    Stopped,
    /// Views are at another event than those that they are to be exchanged for, or compared with.
    #[error("{table} is at {found}, and not at {expected} as it should be")]
    Moved {
        /// Which.
        table: ViewTable,
        /// Where it should be.
        expected: u64,
        /// Where it is.
        found: u64,
    },
    /// The folder for the second reading cannot be used.
    #[error("the folder {} cannot be used", folder.display())]
    Folder {
        /// Which.
        folder: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The folder for the second reading holds something else.
    #[error("the folder {} is not empty; name one that is, or that is not there", folder.display())]
    NotEmpty {
        /// Which.
        folder: std::path::PathBuf,
    },
    /// A task of the node is no more, and nobody knows how far it came.
    #[error("{what} has panicked; the node has to be started again")]
    Panicked {
        /// What it did.
        what: &'static str,
    },
    /// The node has ended.
    #[error("the node has ended")]
    NodeEnded,
}
