//! A scripted observer: each poll does what the test wrote down for it.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::sleep;
use trellis_observation::{
    DynError, ObservationConfig, ObservationHandle, ObservationRuntime, ObservedSource, Observer,
    PollFailure, SourceProvider, StaticSources,
};

pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
pub(crate) const POLL_TIMEOUT: Duration = Duration::from_secs(1);
/// Far more than any wait in these tests needs; on paused time it costs nothing.
pub(crate) const LONG: Duration = Duration::from_hours(1);

/// What one call does.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Find(Vec<u32>),
    FailAfter(Vec<u32>),
    Hang,
    /// Writes half of what it has to write, then hangs.
    HangHalfway,
    /// Puts an event into the state together with what it is about, then hangs.
    HangWith(u32),
    Take(Duration),
    /// Keeps the thread, so that no timer can fire.
    Block(Duration),
    /// Writes half of what it has to write, then panics.
    Panic,
    PanicInSnapshot(Vec<u32>),
}

#[derive(Debug, Default)]
pub(crate) struct State {
    polls: u64,
    inits: u64,
    /// Differs from `polls` while a poll is half done.
    polls_ended: u64,
    undelivered: Vec<u32>,
    sources: Vec<String>,
    snapshot_panics: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Polls that this state has begun.
    pub(crate) polls: u64,
    pub(crate) polls_ended: u64,
    /// How many times a state was built before this one, plus one.
    pub(crate) inits: u64,
    pub(crate) sources: Vec<String>,
}

type Script = Box<dyn Fn(u64) -> Act + Send + Sync>;

/// Acts by two scripts, which are given the number of the call, from 1.
pub(crate) struct Scripted {
    init: Script,
    poll: Script,
    inits: AtomicU64,
    polls: Arc<AtomicU64>,
}

impl Scripted {
    pub(crate) fn polling(poll: impl Fn(u64) -> Act + Send + Sync + 'static) -> Self {
        Self {
            init: Box::new(|_| Act::Find(Vec::new())),
            poll: Box::new(poll),
            inits: AtomicU64::new(0),
            polls: Arc::default(),
        }
    }

    pub(crate) fn quiet() -> Self {
        Self::polling(|_| Act::Find(Vec::new()))
    }

    pub(crate) fn starting(mut self, init: impl Fn(u64) -> Act + Send + Sync + 'static) -> Self {
        self.init = Box::new(init);
        self
    }

    /// Counts the calls of `poll`, also after the observer has moved into its runtime.
    pub(crate) fn poll_count(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.polls)
    }

    pub(crate) fn start(self) -> (ObservationRuntime<Self>, ObservationHandle<Self>) {
        self.start_with(StaticSources::new([]), config())
    }

    pub(crate) fn start_with(
        self,
        provider: impl SourceProvider<u32>,
        config: ObservationConfig,
    ) -> (ObservationRuntime<Self>, ObservationHandle<Self>) {
        let runtime = ObservationRuntime::start(self, provider, config);
        let handle = runtime.handle();
        (runtime, handle)
    }
}

pub(crate) fn config() -> ObservationConfig {
    ObservationConfig::default()
        .with_interval(INTERVAL)
        .with_sources_timeout(POLL_TIMEOUT)
        .with_init_timeout(POLL_TIMEOUT)
        .with_poll_timeout(POLL_TIMEOUT)
}

#[async_trait]
impl Observer for Scripted {
    type Source = u32;
    type State = State;
    type Snapshot = Seen;
    type Event = u32;

    async fn init(&self, _: &[ObservedSource<u32>]) -> Result<State, DynError> {
        let inits = self.inits.fetch_add(1, Ordering::SeqCst) + 1;
        match (self.init)(inits) {
            Act::FailAfter(_) => return Err("init broke".into()),
            Act::Hang => pending().await,
            Act::Panic => panic!("init fell over"),
            _ => {}
        }
        Ok(State {
            inits,
            ..State::default()
        })
    }

    async fn poll(
        &self,
        sources: &[ObservedSource<u32>],
        state: &mut State,
    ) -> Result<Vec<u32>, PollFailure<u32>> {
        let call = self.polls.fetch_add(1, Ordering::SeqCst) + 1;
        state.polls += 1;
        state.sources = sources.iter().map(|source| source.name.clone()).collect();
        match (self.poll)(call) {
            Act::Find(events) => state.undelivered.extend(events),
            Act::FailAfter(events) => {
                return Err(PollFailure::with_events("the source is away", events));
            }
            Act::Hang | Act::HangHalfway => pending().await,
            Act::HangWith(event) => {
                state.undelivered.push(event);
                pending::<()>().await;
            }
            Act::Take(time) => sleep(time).await,
            Act::Block(time) => std::thread::sleep(time),
            Act::Panic => panic!("poll fell over"),
            Act::PanicInSnapshot(events) => {
                state.snapshot_panics = true;
                state.polls_ended += 1;
                return Ok(events);
            }
        }
        state.snapshot_panics = false;
        state.polls_ended += 1;
        Ok(std::mem::take(&mut state.undelivered))
    }

    fn snapshot(&self, state: &State) -> Seen {
        assert!(!state.snapshot_panics, "snapshot fell over");
        Seen {
            polls: state.polls,
            polls_ended: state.polls_ended,
            inits: state.inits,
            sources: state.sources.clone(),
        }
    }
}

/// A provider whose answer a test changes as it goes on.
#[derive(Clone, Default)]
pub(crate) struct ChangingSources(Arc<Mutex<Answer>>);

#[derive(Clone, Default)]
enum Answer {
    #[default]
    Nobody,
    Names(Vec<&'static str>),
    Error,
    Panic,
    Hang,
}

impl ChangingSources {
    pub(crate) fn become_names(&self, names: &[&'static str]) {
        *self.0.lock().unwrap() = Answer::Names(names.to_vec());
    }

    pub(crate) fn become_error(&self) {
        *self.0.lock().unwrap() = Answer::Error;
    }

    pub(crate) fn become_panic(&self) {
        *self.0.lock().unwrap() = Answer::Panic;
    }

    pub(crate) fn become_hang(&self) {
        *self.0.lock().unwrap() = Answer::Hang;
    }
}

#[async_trait]
impl SourceProvider<u32> for ChangingSources {
    async fn sources(&self) -> Result<Vec<ObservedSource<u32>>, DynError> {
        let answer = self.0.lock().unwrap().clone();
        match answer {
            Answer::Nobody => Ok(Vec::new()),
            Answer::Names(names) => Ok(names
                .into_iter()
                .map(|name| ObservedSource::new(name, 0))
                .collect()),
            Answer::Error => Err("the cluster's API is away".into()),
            Answer::Panic => panic!("the listing fell over"),
            Answer::Hang => pending().await,
        }
    }
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}
