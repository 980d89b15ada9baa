//! Signals: the first Ctrl-C stops the run in order, the second one at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{EXIT_INTERRUPTED, screen::Screen};

/// The signals that end a run.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes them over from the system, which would end the process. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// A system that does not let us.
    pub(crate) fn take() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Answers signals for as long as the process lives. The second one ends it here and now: nodes die with us, and `trellis clean` removes what else is left.
    pub(crate) async fn answer(mut self, cancel: CancellationToken, screen: Screen) {
        self.next().await;
        screen.line("stopping: nodes are ended and reports written; once more stops at once");
        cancel.cancel();
        self.next().await;
        screen.line("stopped at once; `trellis clean` removes what is left");
        std::process::exit(EXIT_INTERRUPTED.into());
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
