//! Signals: the first one ends the cluster in order, the second one at once.

use std::{io, sync::Arc};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{console::Console, exit::INTERRUPTED};

/// The signals that end a supervisor: Ctrl-C, the end of its terminal, and what init systems send.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
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
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Answers signals for as long as the process lives. The second one ends it here and now: nodes die with us, and `trellis clean` removes what else is left.
    pub(crate) async fn answer(self, end: CancellationToken, console: Arc<Console>) {
        self.answer_by(end, console, "the cluster").await;
    }

    /// The same for something else that is ended.
    pub(crate) async fn answer_by(
        mut self,
        end: CancellationToken,
        console: Arc<Console>,
        what: &str,
    ) {
        self.next().await;
        console.say(&format!("ending {what}; once more ends it at once"));
        end.cancel();
        self.next().await;
        console.say("ended at once; `trellis clean` removes what is left");
        std::process::exit(INTERRUPTED.into());
    }

    /// Waits for the next one.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
