//! The readiness barrier: asks nodes until the policy is met, the deadline has passed, or one of them ends.
//!
//! It asks nodes; it never starts them (see `fleet`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt, future::Either, stream::FuturesUnordered};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout, timeout_at},
};
use trellis_domain::{NodeHandle, NodeName, ReadinessPolicy, ReadinessTally, ReadinessVerdict};

use crate::{
    Application, BootstrapError, ExitReport, LogTail, NodeControl, Probe, Progress, in_one_line,
};

/// How long one probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// The shortest pause between two probes of a node.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// A pause is this part of the time for which the node has been asked, so that nobody waits for a cluster much longer than it takes to start.
const PAUSE_PART: u32 = 10;
/// The longest pause between two probes of a node.
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// How often progress is reported.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// How many log lines of a node that is not ready are shown.
const LOG_LINES: usize = 10;

/// One node as the barrier saw it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeReadiness {
    /// The node.
    pub node: NodeName,
    /// Whether it was ready.
    pub ready: bool,
    /// What it said, or why it could not be asked.
    pub seen: String,
    /// What it logged last, for a node of ours that was not ready.
    pub log: Option<LogTail>,
}

impl fmt::Display for NodeReadiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ready = if self.ready { "ready" } else { "not ready" };
        write!(f, "  {}: {ready}", self.node)?;
        if !self.ready {
            write!(f, "; last seen: {}", self.seen)?;
        }
        match &self.log {
            Some(log) => write!(f, "\n{log}"),
            None => Ok(()),
        }
    }
}

/// Waits until nodes may be used.
pub struct ReadinessBarrier<'a> {
    /// Whom to ask how to probe.
    pub app: &'a Arc<dyn Application>,
    /// Control of the managed nodes among them, if there are any.
    pub control: Option<&'a Arc<dyn NodeControl>>,
    /// When they may be used.
    pub policy: ReadinessPolicy,
    /// Nodes that there should be besides, and that nobody found; they count as not ready.
    pub missing: usize,
    /// The deadline, from `since` on.
    pub within: Duration,
    /// When the time began; waits after one another share it.
    pub since: Instant,
    /// Who is told meanwhile.
    pub progress: &'a dyn Progress,
}

/// What one node's watch ends with.
enum Outcome {
    Ready(NodeName),
    Exited(NodeName, Box<ExitReport>),
}

/// Who was seen how; shared between the watches of all nodes.
#[derive(Clone, Default)]
struct Sightings {
    seen: Arc<Mutex<BTreeMap<NodeName, Seen>>>,
    heard: Arc<Notify>,
}

/// The last of one node.
struct Seen {
    text: String,
    /// Whether it ever answered a probe.
    heard: bool,
}

impl Sightings {
    fn note(&self, node: &NodeName, text: String, answered: bool) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.get(node).is_some_and(|seen| seen.heard);
        let heard = before || answered;
        seen.insert(node.clone(), Seen { text, heard });
        if answered && !before {
            self.heard.notify_one();
        }
    }

    fn of(&self, node: &NodeName) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(node)
            .map_or_else(|| "nothing yet".to_owned(), |seen| seen.text.clone())
    }

    fn has_answered(&self, node: &NodeName) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(node).is_some_and(|seen| seen.heard)
    }
}

impl ReadinessBarrier<'_> {
    /// Waits, and says which nodes are ready; under a quorum that may be fewer than all.
    ///
    /// A policy that is met is not enough while a node of ours has not answered at all: it may be about to end, or hang, and no quorum hides that. One that has not answered by the deadline has failed.
    ///
    /// # Errors
    /// [`BootstrapError::Exited`] as soon as a managed node ends, [`BootstrapError::NotReady`] at the deadline, [`BootstrapError::NeverReady`] when waiting cannot help.
    ///
    /// # Cancel safety
    /// Dropping it stops asking; nothing else.
    pub async fn wait(&self, nodes: &[NodeHandle]) -> Result<BTreeSet<NodeName>, BootstrapError> {
        let deadline = self.since + self.within;
        let sightings = Sightings::default();
        let mut ready = BTreeSet::new();
        let mut watches: FuturesUnordered<_> = nodes
            .iter()
            .map(|node| self.watch(node, &sightings))
            .collect();
        let mut next_report = Instant::now() + PROGRESS_EVERY;
        loop {
            let unheard = self.unheard(nodes, &ready, &sightings);
            match self.policy.judge(self.tally(nodes, &ready, 0)) {
                ReadinessVerdict::Ready if unheard == 0 => return Ok(ready),
                ReadinessVerdict::Ready | ReadinessVerdict::NotYet => {}
                ReadinessVerdict::Impossible => {
                    let nodes = self.describe(nodes, &ready, &sightings).await;
                    return Err(BootstrapError::NeverReady {
                        policy: self.policy,
                        nodes,
                    });
                }
            }
            let news = async {
                tokio::select! {
                    ended = watches.next() => ended.map(Some),
                    () = sightings.heard.notified() => Some(None),
                }
            };
            match timeout_at(next_report.min(deadline), news).await {
                Ok(Some(Some(Outcome::Ready(node)))) => {
                    ready.insert(node);
                }
                Ok(Some(Some(Outcome::Exited(node, report)))) => {
                    return Err(BootstrapError::Exited { node, report });
                }
                Ok(Some(None)) => {}
                Err(_) if Instant::now() < deadline => {
                    next_report += PROGRESS_EVERY;
                    let left = deadline.saturating_duration_since(Instant::now());
                    let seen = waiting_for(nodes, &ready, &sightings);
                    self.progress.waiting(&self.policy.to_string(), &seen, left);
                }
                Ok(None) => {
                    return Err(BootstrapError::NeverReady {
                        policy: self.policy,
                        nodes: self.describe(nodes, &ready, &sightings).await,
                    });
                }
                Err(_) => {
                    // Who of ours was not heard until now has failed.
                    let failed = self.unheard(nodes, &ready, &sightings);
                    let tally = self.tally(nodes, &ready, failed);
                    if self.policy.judge(tally) == ReadinessVerdict::Ready {
                        return Ok(ready);
                    }
                    return Err(BootstrapError::NotReady {
                        policy: self.policy,
                        within: self.within,
                        nodes: self.describe(nodes, &ready, &sightings).await,
                    });
                }
            }
        }
    }

    /// Probes one node until it is ready or, if it is ours, has ended.
    async fn watch(&self, node: &NodeHandle, sightings: &Sightings) -> Outcome {
        let ready = probe_until_ready(&**self.app, node, sightings);
        let Some(control) = self.control.filter(|_| node.is_managed()) else {
            ready.await;
            return Outcome::Ready(node.name().clone());
        };
        let exited = control.exited(node.name());
        match futures::future::select(exited, std::pin::pin!(ready)).await {
            Either::Left((report, _)) => Outcome::Exited(node.name().clone(), Box::new(report)),
            Either::Right(((), _)) => Outcome::Ready(node.name().clone()),
        }
    }

    fn tally(
        &self,
        nodes: &[NodeHandle],
        ready: &BTreeSet<NodeName>,
        managed_failed: usize,
    ) -> ReadinessTally {
        let managed = || nodes.iter().filter(|node| node.is_managed());
        ReadinessTally {
            total: nodes.len() + self.missing,
            ready: ready.len(),
            managed: managed().count(),
            managed_ready: managed().filter(|node| ready.contains(node.name())).count(),
            managed_failed,
        }
    }

    /// How many nodes of ours have neither been ready nor answered even once.
    fn unheard(
        &self,
        nodes: &[NodeHandle],
        ready: &BTreeSet<NodeName>,
        sightings: &Sightings,
    ) -> usize {
        let ours = nodes
            .iter()
            .filter(|node| self.control.is_some() && node.is_managed());
        ours.map(NodeHandle::name)
            .filter(|name| !ready.contains(*name) && !sightings.has_answered(name))
            .count()
    }

    async fn describe(
        &self,
        nodes: &[NodeHandle],
        ready: &BTreeSet<NodeName>,
        sightings: &Sightings,
    ) -> Vec<NodeReadiness> {
        let mut described = Vec::with_capacity(nodes.len());
        for node in nodes {
            let is_ready = ready.contains(node.name());
            let log = match self.control {
                Some(control) if node.is_managed() && !is_ready => {
                    control.log_tail(node.name(), LOG_LINES).await.ok()
                }
                _ => None,
            };
            described.push(NodeReadiness {
                node: node.name().clone(),
                ready: is_ready,
                seen: sightings.of(node.name()),
                log,
            });
        }
        described
    }
}

async fn probe_until_ready(app: &dyn Application, node: &NodeHandle, sightings: &Sightings) {
    let begun = Instant::now();
    loop {
        let (seen, answered) = match timeout(PROBE_TIMEOUT, app.probe(node)).await {
            Ok(Ok(Probe::Ready)) => return,
            Ok(Ok(Probe::NotYet(seen))) => (seen, true),
            Ok(Err(error)) => (in_one_line(&*error), false),
            Err(_) => (
                format!("no answer to a probe within {PROBE_TIMEOUT:?}"),
                false,
            ),
        };
        sightings.note(node.name(), seen, answered);
        sleep((begun.elapsed() / PAUSE_PART).clamp(PAUSE_MIN, PAUSE_MAX)).await;
    }
}

fn waiting_for(nodes: &[NodeHandle], ready: &BTreeSet<NodeName>, sightings: &Sightings) -> String {
    let missing = nodes.iter().filter(|node| !ready.contains(node.name()));
    let missing: Vec<String> = missing
        .map(|node| format!("{} ({})", node.name(), sightings.of(node.name())))
        .collect();
    format!(
        "{} of {} ready, waiting for {}",
        ready.len(),
        nodes.len(),
        missing.join(", ")
    )
}
