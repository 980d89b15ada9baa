//! Errors: why there is no record, or no answer from one.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;
use trellis_bootstrap::{DynError, LedgerError};
use trellis_local::BesideError;

/// Why nothing can be put on record, or found there.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// There is no server to keep the events.
    #[error(
        "a record needs a NATS server, and there is no nats-server on this machine: {install}; or give the address of one that runs with --record-to"
    )]
    NoServer {
        /// How to get one.
        install: &'static str,
    },
    /// The server does not run.
    #[error("the NATS server of the record does not start: {how}; its log is {}", log.display())]
    ServerEnded {
        /// What became of it.
        how: String,
        /// What it says itself.
        log: PathBuf,
    },
    /// A process was not started.
    #[error("the NATS server of the record was not started")]
    Beside(#[from] BesideError),
    /// It cannot be written down that there is one.
    #[error("the record cannot be written down")]
    Ledger(#[from] LedgerError),
    /// The server cannot be reached.
    #[error("there is no NATS server with JetStream at {url}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why not.
        #[source]
        source: DynError,
    },
    /// The stream is not there and cannot be made.
    #[error("the stream {stream} cannot be had at {url}")]
    Stream {
        /// The stream.
        stream: &'static str,
        /// The server.
        url: String,
        /// Why not.
        #[source]
        source: DynError,
    },
    /// The views cannot be kept.
    #[error("the views of the record cannot be kept")]
    Views(#[source] DynError),
    /// A file or a folder cannot be used.
    #[error("cannot {doing} {}", path.display())]
    Files {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// There is none of that name.
    #[error("there is no record {wanted:?}; {}", near(known))]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// Those that there are, the nearest first.
        known: Vec<String>,
    },
    /// What is there is not what a record is.
    #[error("the record {run} is damaged: {what}; `trellis history rm {run}` removes it")]
    Damaged {
        /// The record.
        run: String,
        /// What is wrong with it.
        what: String,
        /// Why.
        #[source]
        source: Option<DynError>,
    },
    /// It is still being written.
    #[error("the record {run} is being written; end its run first")]
    Live {
        /// The record.
        run: String,
    },
    /// Whoever writes it does not answer.
    #[error("the record {run} is being written, and who writes it (pid {pid}) does not answer")]
    Silent {
        /// The record.
        run: String,
        /// Who writes it.
        pid: u32,
        /// Why not.
        #[source]
        source: DynError,
    },
    /// The query is none.
    #[error("{what}")]
    Query {
        /// What is wrong with it.
        what: String,
    },
}

impl RecordError {
    pub(crate) fn files(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Files {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

fn near(known: &[String]) -> String {
    match known {
        [] => "there is none at all: `trellis run SPEC --record` makes one".to_owned(),
        known => format!("there are: {}", known.join(", ")),
    }
}
