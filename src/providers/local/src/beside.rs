//! Beside: processes that the harness needs for itself, such as a server that keeps a record. They are no nodes, and end with us like nodes do.

use std::{io, os::unix::process::CommandExt as _, process::Command, sync::Arc};

use thiserror::Error;
use tokio::process::Child;
use trellis_bootstrap::{LedgerError, RunLedger};

use crate::{label::Label, reap::processes_entry, spawner::Spawner};

/// Starts processes of a run that are no nodes. All of them are killed when this is dropped, and when the harness ends in whatever way; `trellis clean` finds what outlived that.
#[derive(Debug)]
pub struct Beside {
    spawner: Spawner,
    ledger: Arc<RunLedger>,
}

/// Why a process was not started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BesideError {
    /// It could not be written down that there may be one.
    #[error("what is started cannot be written down")]
    Ledger(#[from] LedgerError),
    /// There is no thread to start it from.
    #[error("there is no thread to start processes from")]
    Thread(#[source] io::Error),
    /// The system did not start it.
    #[error("{program} was not started")]
    Program {
        /// The program.
        program: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

impl Beside {
    /// Of the run that `ledger` is of, in which it is written down first.
    ///
    /// # Errors
    /// The ledger cannot be written, or the system is out of threads.
    pub fn new(ledger: Arc<RunLedger>) -> Result<Self, BesideError> {
        let spawner = Spawner::new().map_err(BesideError::Thread)?;
        ledger.own(&processes_entry(ledger.run().as_str()))?;
        Ok(Self { spawner, ledger })
    }

    /// Starts `command` in a process group of its own, so that the Ctrl-C of a terminal does not reach it. The process is killed when the value is dropped.
    ///
    /// # Errors
    /// The system does not start it.
    pub async fn start(&self, mut command: Command) -> Result<Child, BesideError> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.process_group(0);
        command.envs(Label::run(self.ledger.run().clone()).variables());
        let started = self.spawner.spawn(move || Ok(command)).await;
        let started = started.map_err(io::Error::other).and_then(|child| child);
        started.map_err(|source| BesideError::Program { program, source })
    }

    /// Strikes out of the ledger what was started; to be called when all of it has ended.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn settle(&self) -> Result<(), BesideError> {
        let entry = processes_entry(self.ledger.run().as_str());
        Ok(self.ledger.removed(&entry)?)
    }
}
