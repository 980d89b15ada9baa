//! Ends: how the end of a node's process is noticed, looked into and reported. Ends that we order are begun in `node`.

use std::{process::ExitStatus, sync::Arc};

use tracing::{debug, warn};
use trellis_bootstrap::{Doing, ExitReport, LogTail};
use trellis_domain::Operation;

use super::{KILLED_WITHIN, Node};
use crate::{
    log,
    process::{Watched, in_words},
    survivors,
};

/// How many lines of the log an exit report has.
const REPORT_LINES: usize = 20;

impl Node {
    /// Sees a process to its end. An end that nobody ordered is looked into and reported.
    pub(super) async fn watch(self: Arc<Self>, mut watched: Watched) {
        let process = watched.process();
        let status = match watched.ended().await {
            Ok(status) => status,
            Err(error) => {
                warn!(node = %self.name, %error, "a node process was lost from sight and killed");
                ExitStatus::default()
            }
        };
        if !process.is_ordered_to_end() {
            let report = self.look_into(status).await;
            debug!(node = %self.name, status = %report.status, "node process ended by itself");
            self.report.send_replace(Some(report));
        }
        process.publish_end(status);
    }

    async fn look_into(self: &Arc<Self>, status: ExitStatus) -> ExitReport {
        // First, or a process that the node left behind is taken for a stranger on its port.
        self.end_survivors().await;
        let path = self.folder.log_file();
        let found = self.blocking(Doing::Launching, move |node| {
            (node.take_ports_back(), log::tail(&path, REPORT_LINES))
        });
        let (taken_port, log) = match found.await {
            Ok((taken_port, Ok(log))) => (taken_port, log),
            Ok((taken_port, Err(error))) => {
                let log = LogTail {
                    source: error.in_words(),
                    lines: Vec::new(),
                };
                (taken_port, log)
            }
            Err(_) => (None, LogTail::default()),
        };
        ExitReport {
            status: in_words(status),
            log,
            taken_port,
        }
    }

    /// The first of its ports that somebody else uses.
    pub(super) fn take_ports_back(&self) -> Option<u16> {
        let mut state = self.state();
        let taken: Vec<u16> = state
            .ports
            .values_mut()
            .filter_map(|port| port.take_back().then(|| port.number()))
            .collect();
        taken.first().copied()
    }

    /// Ends what the node started and left, in whatever process group.
    pub(super) async fn end_survivors(self: &Arc<Self>) -> Vec<String> {
        let sweep = self.blocking(Doing::Operating(Operation::Kill), |node| {
            survivors::end_all(&node.label, KILLED_WITHIN)
        });
        sweep.await.map(|sweep| sweep.left).unwrap_or_default()
    }

    /// Waits for the report of an end that nobody ordered. Cancel-safe.
    pub(crate) async fn exited(&self) -> ExitReport {
        let mut report = self.report.subscribe();
        let reported = report.wait_for(Option::is_some).await;
        reported
            .ok()
            .and_then(|report| report.clone())
            .expect("the sender is in self, and the value was just seen")
    }
}
