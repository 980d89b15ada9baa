//! Cycle: the loop that looks at the sources again and again, and survives what it meets there.
//!
//! Everything here runs in the one task that `runtime` owns. What readers see of it is in
//! `shared`.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use tokio::{
    select,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::ObservationConfig,
    health,
    observer::Observer,
    shared::{Cycle, Shared, SharedOf, Sighting},
    source::{DynError, ObservedSource, SourceProvider},
    status::{CycleFailure, CyclePhase, FailureKind, StopReason, panic_message},
};

/// The observer, its state, and how to look.
pub(crate) struct Cycles<O: Observer, P> {
    observer: O,
    provider: P,
    config: ObservationConfig,
    shared: Arc<SharedOf<O>>,
    /// `None` before the first `init`, and after a panic that may have left it half done.
    state: Option<O::State>,
    cycle: Cycle,
}

impl<O, P> Cycles<O, P>
where
    O: Observer,
    P: SourceProvider<O::Source>,
{
    pub(crate) fn new(
        observer: O,
        provider: P,
        config: ObservationConfig,
        shared: Arc<SharedOf<O>>,
    ) -> Self {
        Self {
            observer,
            provider,
            config,
            shared,
            state: None,
            cycle: Cycle {
                number: 0,
                began_at: Instant::now(),
            },
        }
    }

    /// Runs cycles until `cancel` is cancelled, which also drops the one going on.
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        let _stop = StopOnDrop(Arc::clone(&self.shared));
        let shared = Arc::clone(&self.shared);
        loop {
            let tick = sleep(self.config.interval);
            select! {
                biased;
                () = cancel.cancelled() => break,
                () = self.cycle() => {}
            }
            select! {
                biased;
                () = cancel.cancelled() => break,
                () = shared.refresh_wanted() => {}
                () = tick => {}
            }
        }
        shared.stop(StopReason::Cancelled);
    }

    async fn cycle(&mut self) {
        self.cycle = self.shared.begin_cycle();
        let panic = AssertUnwindSafe(async {
            let mut events = Vec::new();
            let outcome = self.observe(&mut events).await;
            self.shared
                .complete_cycle(self.cycle, Sighting { events, outcome });
        })
        .catch_unwind()
        .await;
        // All calls into the app are guarded one by one, so only a destructor is left to panic.
        if let Err(panic) = panic {
            let kind = panicked(panic.as_ref());
            self.shared.complete_cycle(
                self.cycle,
                Sighting {
                    events: Vec::new(),
                    outcome: Err(self.failure(CyclePhase::Release, kind)),
                },
            );
        }
    }

    /// One cycle, phase by phase. Events found before a failure are in `events` in any case.
    async fn observe(&mut self, events: &mut Vec<O::Event>) -> Result<O::Snapshot, CycleFailure> {
        let sources = self.sources().await?;
        self.shared
            .health
            .keep_only(sources.iter().map(|source| source.name.as_str()));
        let mut state = match self.state.take() {
            Some(state) => state,
            None => self.init(&sources).await?,
        };
        let polled = self.poll(&sources, &mut state, events).await;
        if let Err(failure) = &polled
            && matches!(failure.kind, FailureKind::Panicked { .. })
        {
            drop(state);
            return Err(failure.clone());
        }
        let snapshot = polled.and_then(|()| self.snapshot(&state));
        self.state = Some(state);
        snapshot
    }

    async fn sources(&self) -> Result<Vec<ObservedSource<O::Source>>, CycleFailure> {
        let phase = CyclePhase::Sources;
        let work = async { self.provider.sources().await };
        let listed = self
            .attempt(phase, self.config.sources_timeout, work)
            .await?;
        listed.map_err(|error| self.failed(phase, error))
    }

    async fn init(&self, sources: &[ObservedSource<O::Source>]) -> Result<O::State, CycleFailure> {
        let phase = CyclePhase::Init;
        let work = async { self.observer.init(sources).await };
        let started = self.attempt(phase, self.config.init_timeout, work).await?;
        started.map_err(|error| self.failed(phase, error))
    }

    async fn poll(
        &self,
        sources: &[ObservedSource<O::Source>],
        state: &mut O::State,
        events: &mut Vec<O::Event>,
    ) -> Result<(), CycleFailure> {
        let phase = CyclePhase::Poll;
        let work = async { self.observer.poll(sources, state).await };
        match self.attempt(phase, self.config.poll_timeout, work).await? {
            Ok(found) => {
                *events = found;
                Ok(())
            }
            Err(failure) => {
                *events = failure.events;
                Err(self.failed(phase, failure.error))
            }
        }
    }

    fn snapshot(&self, state: &O::State) -> Result<O::Snapshot, CycleFailure> {
        let phase = CyclePhase::Snapshot;
        self.shared.enter(phase, self.config.poll_timeout);
        catch_unwind(AssertUnwindSafe(|| self.observer.snapshot(state)))
            .map_err(|panic| self.failure(phase, panicked(panic.as_ref())))
    }

    /// Runs a call into the app's code: bounded in time, with panics caught (those of the future's
    /// destructor too), and with the board on which `poll_sources` notes how the sources are.
    async fn attempt<T>(
        &self,
        phase: CyclePhase,
        within: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, CycleFailure> {
        self.shared.enter(phase, within);
        let bounded = async move { timeout(within, work).await };
        let board = Arc::clone(&self.shared.health);
        let guarded = AssertUnwindSafe(health::recording_on(board, bounded)).catch_unwind();
        match guarded.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(_elapsed)) => Err(self.failure(phase, FailureKind::TimedOut { within })),
            Err(panic) => Err(self.failure(phase, panicked(panic.as_ref()))),
        }
    }

    fn failed(&self, phase: CyclePhase, error: DynError) -> CycleFailure {
        self.failure(phase, FailureKind::Failed(error.into()))
    }

    fn failure(&self, phase: CyclePhase, kind: FailureKind) -> CycleFailure {
        CycleFailure {
            cycle: self.cycle.number,
            phase,
            kind,
            at: Instant::now(),
        }
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> FailureKind {
    FailureKind::Panicked {
        message: panic_message(panic),
    }
}

/// Tells the readers when the loop's task ends in a way that nobody asked for.
struct StopOnDrop<S, E>(Arc<Shared<S, E>>);

impl<S, E> Drop for StopOnDrop<S, E> {
    fn drop(&mut self) {
        self.0.stop(StopReason::Aborted);
    }
}
