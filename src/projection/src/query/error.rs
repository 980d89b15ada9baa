//! What can be wrong with a query, in words that name the member and what is allowed.

use std::time::Duration;

use thiserror::Error;

use crate::{storage::StorageError, types::KeyError};

/// Why a query is not answered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QueryError {
    /// It says what no query says.
    #[error("{at} {what}")]
    Malformed {
        /// Which member.
        at: String,
        /// What is wrong with it, and what is allowed.
        what: String,
    },
    /// There are no such views.
    #[error("there is no view {view:?}; there are {}", known.join(", "))]
    UnknownView {
        /// What was asked for.
        view: String,
        /// What there is.
        known: Vec<String>,
    },
    /// No view can be called that.
    #[error("no view can have that id")]
    Id {
        /// Why not.
        #[source]
        source: KeyError,
    },
    /// The cursor was not made here, or not for this query.
    #[error("the cursor is not one of this query; leave it out to begin again")]
    CursorRefused,
    /// The cursor was made here, and cannot be gone on from any more.
    #[error("the cursor cannot be gone on from, because {why}; leave it out to begin again")]
    CursorOutdated {
        /// Why not.
        why: &'static str,
    },
    /// The views did not come as far as was asked in time.
    #[error("after {} ms the views are at {checkpoint} and not at {min_seq}", waited.as_millis())]
    Behind {
        /// How far they should be.
        min_seq: u64,
        /// How far they are.
        checkpoint: u64,
        /// How long that was waited for.
        waited: Duration,
    },
    /// The views will not come as far as was asked by themselves.
    #[error("the views are at {checkpoint} and will not come to {min_seq}: {why}")]
    Stalled {
        /// How far they should be.
        min_seq: u64,
        /// How far they are.
        checkpoint: u64,
        /// Why they do not go on.
        why: String,
    },
    /// As many queries are answered as may be at once.
    #[error("{queries_max} queries are being answered; ask again later")]
    Busy {
        /// How many that is.
        queries_max: usize,
    },
    /// The views cannot be read.
    #[error("the views cannot be read")]
    Storage {
        /// Why not.
        #[from]
        source: StorageError,
    },
}

impl QueryError {
    pub(super) fn malformed(at: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Malformed {
            at: at.into(),
            what: what.into(),
        }
    }

    /// One word for machines; the sentence is for people.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed",
            Self::UnknownView { .. } => "unknown_view",
            Self::Id { .. } => "bad_id",
            Self::CursorRefused => "cursor_refused",
            Self::CursorOutdated { .. } => "cursor_outdated",
            Self::Behind { .. } => "behind",
            Self::Stalled { .. } => "stalled",
            Self::Busy { .. } => "busy",
            Self::Storage { .. } => "storage",
        }
    }
}
