//! Shared: what the loop writes and the handles read. All locks of the crate but the health
//! board's are here.
//!
//! No user code runs while one of them is held: not a predicate, not a clone of a snapshot or an
//! event, and not a destructor of either.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    health::HealthBoard,
    history::{Backlog, Cursor, History},
    observer::Observer,
    snapshot::{LatestCell, Observed},
    status::{CycleFailure, CyclePhase, FailureKind, ObservationStatus, StopReason, chain},
};

/// What the runtime and the handles of observer `O` share.
pub(crate) type SharedOf<O> = Shared<<O as Observer>::Snapshot, <O as Observer>::Event>;

/// A phase that is this far past its deadline has not merely been scheduled late.
const BLOCKING_AFTER: Duration = Duration::from_secs(1);

/// A cycle under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cycle {
    pub(crate) number: u64,
    pub(crate) began_at: Instant,
}

/// What a cycle saw.
pub(crate) struct Sighting<S, E> {
    /// Found before the failure, if there was one.
    pub(crate) events: Vec<E>,
    pub(crate) outcome: Result<S, CycleFailure>,
}

pub(crate) struct Shared<S, E> {
    pub(crate) name: String,
    pub(crate) health: Arc<HealthBoard>,
    latest: LatestCell<S>,
    core: Mutex<Core<E>>,
    /// Wakes everyone who waits, after each cycle and at the end. It carries nothing: they wait
    /// for states, not for changes.
    ticks: watch::Sender<()>,
    /// Wakes the loop.
    refresh: Notify,
}

struct Core<E> {
    history: History<E>,
    snapshots: u64,
    started: u64,
    completed: u64,
    /// The loop goes on without waiting for the tick until it has started this cycle.
    wanted: u64,
    phase: Option<RunningPhase>,
    failing: Option<Failing>,
    last_failure: Option<Arc<CycleFailure>>,
    stopped: Option<StopReason>,
}

#[derive(Clone, Copy)]
struct RunningPhase {
    phase: CyclePhase,
    began_at: Instant,
    within: Duration,
}

#[derive(Clone, Copy)]
struct Failing {
    since: Instant,
    consecutive: u64,
}

impl<S, E> Shared<S, E> {
    pub(crate) fn new(name: String, history_entries_max: usize) -> Self {
        Self {
            name,
            health: Arc::default(),
            latest: LatestCell::new(),
            core: Mutex::new(Core {
                history: History::new(history_entries_max),
                snapshots: 0,
                started: 0,
                completed: 0,
                wanted: 0,
                phase: None,
                failing: None,
                last_failure: None,
                stopped: None,
            }),
            ticks: watch::Sender::new(()),
            refresh: Notify::new(),
        }
    }

    /// Nothing that can panic runs under this lock, so a poisoned one is still whole.
    fn core(&self) -> MutexGuard<'_, Core<E>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The loop's side.
impl<S, E> Shared<S, E> {
    pub(crate) fn begin_cycle(&self) -> Cycle {
        let mut core = self.core();
        core.started += 1;
        Cycle {
            number: core.started,
            began_at: Instant::now(),
        }
    }

    pub(crate) fn enter(&self, phase: CyclePhase, within: Duration) {
        self.core().phase = Some(RunningPhase {
            phase,
            began_at: Instant::now(),
            within,
        });
    }

    /// Publishes what a cycle saw: snapshot, events and status become visible together.
    ///
    /// After the stop nothing is published any more.
    pub(crate) fn complete_cycle(&self, cycle: Cycle, sighting: Sighting<S, E>) {
        let now = Instant::now();
        let Sighting { events, outcome } = sighting;
        // Dropped when this function ends, after the lock.
        let _replaced;
        let _pushed_out;

        let mut core = self.core();
        if core.stopped.is_some() {
            drop(core);
            return;
        }
        let was_failing = core.failing;
        let failure = match outcome {
            Ok(snapshot) => {
                core.failing = None;
                core.snapshots += 1;
                _replaced = self.latest.replace(Arc::new(Observed {
                    snapshot,
                    version: core.snapshots,
                    cycle: cycle.number,
                    began_at: cycle.began_at,
                    taken_at: now,
                }));
                None
            }
            Err(failure) => Some(core.fail(failure)),
        };
        _pushed_out = core.history.publish(events, cycle.number, now);
        core.phase = None;
        core.completed = cycle.number;
        drop(core);

        self.ticks.send_replace(());
        self.log_turn(was_failing, failure.as_deref());
    }

    /// Logs only where failing begins and where it ends, not each cycle.
    fn log_turn(&self, was_failing: Option<Failing>, failure: Option<&CycleFailure>) {
        let observation = self.name.as_str();
        match (was_failing, failure) {
            (None, Some(failure)) => {
                tracing::warn!(observation, error = chain(failure), "observation fails");
            }
            (Some(failing), None) => {
                let cycles = failing.consecutive;
                tracing::info!(observation, cycles, "observation works again");
            }
            _ => {}
        }
    }

    /// Ends the observation for all readers. The first reason stands.
    pub(crate) fn stop(&self, reason: StopReason) {
        let mut core = self.core();
        if core.stopped.is_some() {
            return;
        }
        core.stopped = Some(reason);
        drop(core);
        self.ticks.send_replace(());
    }

    /// Returns once a reader wants a cycle that has not started yet.
    ///
    /// Cancel-safe: the wish is a state, and is seen by the next call.
    pub(crate) async fn refresh_wanted(&self) {
        loop {
            let woken = self.refresh.notified();
            {
                let core = self.core();
                if core.wanted > core.started {
                    return;
                }
            }
            woken.await;
        }
    }
}

/// The readers' side.
impl<S, E> Shared<S, E> {
    pub(crate) fn latest(&self) -> Option<Arc<Observed<S>>> {
        self.latest.get()
    }

    pub(crate) fn started(&self) -> u64 {
        self.core().started
    }

    pub(crate) fn completed(&self) -> u64 {
        self.core().completed
    }

    pub(crate) fn stopped(&self) -> Option<StopReason> {
        self.core().stopped
    }

    pub(crate) fn cursor(&self) -> Cursor {
        self.core().history.end()
    }

    pub(crate) fn events_since(&self, cursor: Cursor) -> Backlog<E> {
        self.core().history.since(cursor)
    }

    pub(crate) fn last_failure(&self) -> Option<Arc<CycleFailure>> {
        match self.status() {
            ObservationStatus::Failing { last_error, .. } => Some(last_error),
            _ => self.core().last_failure.clone(),
        }
    }

    pub(crate) fn status(&self) -> ObservationStatus {
        self.core().status()
    }

    /// Asks for a cycle that starts after this call, and returns its number. All who ask during
    /// one cycle get the same next one.
    pub(crate) fn want_cycle(&self) -> u64 {
        let mut core = self.core();
        let next = core.started + 1;
        core.wanted = core.wanted.max(next);
        drop(core);
        self.refresh.notify_one();
        next
    }

    /// Tries `check` now and after each cycle, and once more at the stop, until it gives a value.
    ///
    /// Cancel-safe: dropping loses nothing. `check` runs without a lock.
    pub(crate) async fn until<T>(&self, mut check: impl FnMut() -> Option<T>) -> T {
        let mut ticks = self.ticks.subscribe();
        loop {
            if let Some(value) = check() {
                return value;
            }
            ticks
                .changed()
                .await
                .expect("the sender lives as long as this borrow of it");
        }
    }

    /// What was published after `cursor`, once there is something; `None` when the loop has
    /// stopped and nothing is left.
    pub(crate) async fn events_after(&self, cursor: Cursor) -> Option<Backlog<E>> {
        self.until(|| {
            let core = self.core();
            let backlog = core.history.since(cursor);
            if backlog.is_empty() {
                core.stopped.map(|_| None)
            } else {
                Some(Some(backlog))
            }
        })
        .await
    }
}

impl<E> Core<E> {
    fn fail(&mut self, failure: CycleFailure) -> Arc<CycleFailure> {
        let failing = self.failing.get_or_insert(Failing {
            since: failure.at,
            consecutive: 0,
        });
        failing.consecutive += 1;
        let failure = Arc::new(failure);
        self.last_failure = Some(Arc::clone(&failure));
        failure
    }

    fn status(&self) -> ObservationStatus {
        if let Some(reason) = self.stopped {
            return ObservationStatus::Stopped { reason };
        }
        if let Some(status) = self.blocking() {
            return status;
        }
        match (self.failing, &self.last_failure) {
            (Some(failing), Some(last_error)) => ObservationStatus::Failing {
                since: failing.since,
                consecutive: failing.consecutive,
                last_error: Arc::clone(last_error),
            },
            _ if self.completed == 0 => ObservationStatus::Starting,
            _ => ObservationStatus::Running,
        }
    }

    /// A phase whose deadline is long past was not dropped by its timer: it blocks the loop's
    /// thread. The loop cannot say so itself, so whoever reads the status finds it out.
    fn blocking(&self) -> Option<ObservationStatus> {
        let RunningPhase {
            phase,
            began_at,
            within,
        } = self.phase?;
        let deadline = began_at.checked_add(within)?;
        let at = Instant::now();
        if at.duration_since(deadline) < BLOCKING_AFTER {
            return None;
        }
        let failing = self.failing.unwrap_or(Failing {
            since: deadline,
            consecutive: 0,
        });
        Some(ObservationStatus::Failing {
            since: failing.since,
            consecutive: failing.consecutive + 1,
            last_error: Arc::new(CycleFailure {
                cycle: self.started,
                phase,
                kind: FailureKind::Blocking { within },
                at,
            }),
        })
    }
}
