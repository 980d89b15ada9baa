//! Single flight: work that many ask for at once is done once, and never twice at the same time.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{sync::watch, task};

use crate::MaterializeError;

/// What came of it.
pub(crate) type Outcome<T> = Result<Arc<T>, MaterializeError>;

/// Makes a `T` for a version of something, on a thread that may block.
///
/// Success is kept until a newer version is asked for. Failure is given to those who waited for it and not kept.
pub(crate) struct SingleFlight<T>(Arc<Shared<T>>);

struct Shared<T> {
    demand: Mutex<Demand>,
    landed: watch::Sender<Option<Landed<T>>>,
    runs: AtomicU64,
}

#[derive(Default)]
struct Demand {
    running: bool,
    /// The newest version that somebody wants.
    version: u64,
}

struct Landed<T> {
    version: u64,
    /// Which run it was, from 1.
    run: u64,
    outcome: Outcome<T>,
}

impl<T: Send + Sync + 'static> SingleFlight<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            demand: Mutex::default(),
            landed: watch::Sender::new(None),
            runs: AtomicU64::new(0),
        }))
    }

    /// What was made for `version` or a later one; `make` makes it for the version that is the newest when it is called, and says which that is.
    ///
    /// # Cancel safety
    /// The work goes on for the others when a call is dropped.
    pub(crate) async fn ask<F>(&self, version: u64, make: F) -> Outcome<T>
    where
        F: Fn() -> (u64, Result<T, MaterializeError>) + Send + 'static,
    {
        let (mut landed, runs_before) = match self.request(version, make) {
            Request::Landed(outcome) => return outcome,
            Request::Running {
                landed,
                runs_before,
            } => (landed, runs_before),
        };
        let answers = |landed: &Landed<T>| landed.version >= version && landed.run > runs_before;
        let landed = landed
            .wait_for(|landed| landed.as_ref().is_some_and(answers))
            .await;
        let landed = landed.expect("the sender is kept by `self`");
        let landed = landed.as_ref().expect("it was just waited for");
        landed.outcome.clone()
    }

    /// Has it made for `version` without waiting, unless it is there already.
    pub(crate) fn start<F>(&self, version: u64, make: F)
    where
        F: Fn() -> (u64, Result<T, MaterializeError>) + Send + 'static,
    {
        self.request(version, make);
    }

    /// What was made last, if that went well.
    pub(crate) fn last(&self) -> Option<Arc<T>> {
        let landed = self.0.landed.borrow();
        landed.as_ref()?.outcome.clone().ok()
    }

    /// How often something was made, well or not.
    pub(crate) fn runs(&self) -> u64 {
        self.0.runs.load(Ordering::Relaxed)
    }

    fn request<F>(&self, version: u64, make: F) -> Request<T>
    where
        F: Fn() -> (u64, Result<T, MaterializeError>) + Send + 'static,
    {
        let mut demand = self.0.demand();
        let landed = self.0.landed.subscribe();
        let runs_before = {
            let last = landed.borrow();
            let last = last.as_ref();
            if let Some(last) = last.filter(|last| last.version >= version && last.outcome.is_ok())
            {
                return Request::Landed(last.outcome.clone());
            }
            last.map_or(0, |last| last.run)
        };
        demand.version = demand.version.max(version);
        if !demand.running {
            demand.running = true;
            let shared = Arc::clone(&self.0);
            task::spawn_blocking(move || shared.fly(make));
        }
        Request::Running {
            landed,
            runs_before,
        }
    }
}

enum Request<T> {
    Landed(Outcome<T>),
    Running {
        landed: watch::Receiver<Option<Landed<T>>>,
        runs_before: u64,
    },
}

impl<T> Shared<T> {
    /// Makes it until nobody wants a newer one.
    fn fly(&self, make: impl Fn() -> (u64, Result<T, MaterializeError>)) {
        loop {
            let run = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
            let (version, made) = make();
            let mut demand = self.demand();
            self.landed.send_replace(Some(Landed {
                version,
                run,
                outcome: made.map(Arc::new),
            }));
            if demand.version <= version {
                demand.running = false;
                return;
            }
        }
    }

    fn demand(&self) -> MutexGuard<'_, Demand> {
        self.demand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls into an application, whose panic is an error as any other.
pub(crate) fn guarded<T>(
    call: impl FnOnce() -> Result<T, MaterializeError>,
) -> Result<T, MaterializeError> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|payload| Err(MaterializeError::panicked(&*payload)))
}
