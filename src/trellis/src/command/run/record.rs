//! Records of runs: who observes, and what becomes of the record when the run ends, in whatever way.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use clap::Args;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use trellis_bootstrap::{Progress as _, in_one_line};
use trellis_domain::AppName;
use trellis_manual::{ClusterClient, ClusterName, Companion, Mirror, asked_by};
use trellis_record::{Ended, RecordError, RecordRequest, Recorder, Watched};
use trellis_runtime::Cluster;

use super::{NOTHING, Timer};
use crate::command::{
    MakeWatched, StateArguments, Trellis,
    console::Console,
    exit::Failure,
    signals::Signals,
    up::{block_on, keep, request},
};

/// How to keep a record.
#[derive(Debug, Args)]
pub(crate) struct RecordArguments {
    /// Keeps a record of what happens, in the state folder.
    #[arg(long)]
    record: bool,
    /// Publishes the events to a NATS server that runs, such as nats://127.0.0.1:4222, instead of one of its own.
    #[arg(long, value_name = "URL")]
    record_to: Option<String>,
    /// Keeps the record of a cluster that is up already, which is only looked at.
    #[arg(long, value_name = "NAME", conflicts_with = "spec")]
    cluster: Option<ClusterName>,
}

impl RecordArguments {
    /// How a record is to be kept, if one is.
    pub(crate) fn how(&self) -> Option<&Self> {
        let is_wanted = self.record || self.record_to.is_some() || self.cluster.is_some();
        is_wanted.then_some(self)
    }

    /// Runs what was said, with a record.
    pub(super) fn run(
        &self,
        mut trellis: Trellis,
        place: &StateArguments,
        said: &super::Arguments,
        timer: Arc<Timer>,
    ) -> Result<(), Failure> {
        let recorded = std::mem::take(&mut trellis.recorded);
        match (&self.cluster, &said.spec) {
            (Some(_), _) if !self.record && self.record_to.is_none() => Err(Failure::wrong(
                "a cluster that is up is kept by somebody else; say --record to keep a record of it",
            )),
            (Some(cluster), _) => self.of_theirs(place, cluster, recorded, &timer),
            (None, Some(spec)) => {
                let console = Arc::clone(&timer.console);
                let mut request = request(trellis, place, spec, said.name.as_ref(), &console)?;
                request.end = timer.end.clone();
                let record = self.request(
                    request.state.clone(),
                    &request.name,
                    request.spec.app.clone(),
                    &console,
                );
                let end = request.end.clone();
                request.companions.push(timer);
                of_ours(request, record, recorded, console, end)
            }
            (None, None) => Err(Failure::wrong(NOTHING)),
        }
    }

    fn request(
        &self,
        state: PathBuf,
        cluster: &ClusterName,
        app: AppName,
        console: &Arc<Console>,
    ) -> RecordRequest {
        RecordRequest {
            state,
            cluster: cluster.to_string(),
            app,
            nats_url: self.record_to.clone(),
            progress: Arc::clone(console) as _,
        }
    }

    /// Keeps the record of a cluster that somebody else keeps.
    fn of_theirs(
        &self,
        place: &StateArguments,
        cluster: &ClusterName,
        recorded: Vec<(AppName, MakeWatched)>,
        timer: &Timer,
    ) -> Result<(), Failure> {
        let (state, console) = (place.state()?, &timer.console);
        let client = ClusterClient::find(&state, cluster, &asked_by("trellis run --record"))?;
        block_on(async {
            let signals = Signals::take().map_err(|error| Failure::because_of(&error))?;
            let app = client.status().await?.app;
            let mirror = Mirror::of(client).await?;
            let request = self.request(state, cluster, app.clone(), console);
            let recorder = Recorder::begin(request).await?;
            tokio::spawn(signals.answer_by(timer.end.clone(), Arc::clone(console), "the record"));
            let watched = watched(&recorded, &app, mirror.inventory(), console);
            recorder.watch(mirror.inventory(), watched)?;
            say_begun(&recorder, console);
            let how = tokio::select! {
                how = mirror.keep() => how,
                () = timer.over() => format!("{} were over", timer.told()),
                () = timer.end.cancelled() => "ended by hand".to_owned(),
            };
            if !timer.end.is_cancelled() {
                console.note(&format!("ending the record: {how}"));
            }
            say_ended(&recorder.end(&how).await?, console);
            Ok(())
        })?
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Unknown { .. } => Self::of(super::super::exit::NOT_UP, error.to_string()),
            RecordError::Query { .. } => Self::wrong(error.to_string()),
            error => Self::because_of(&error),
        }
    }
}

/// Keeps a cluster of our own with its record.
fn of_ours(
    mut cluster: trellis_manual::UpRequest,
    record: RecordRequest,
    recorded: Vec<(AppName, MakeWatched)>,
    console: Arc<Console>,
    end: CancellationToken,
) -> Result<(), Failure> {
    block_on(async {
        let signals = Signals::take().map_err(|error| Failure::because_of(&error))?;
        let name = cluster.name.clone();
        // First, so that no cluster is brought up whose record cannot be kept.
        let recorder = Recorder::begin(record).await?;
        let keeper = Arc::new(Keeper {
            state: Mutex::new(State::Waiting(recorder)),
            recorded,
            console: Arc::clone(&console),
        });
        cluster.companions.push(Arc::clone(&keeper) as _);
        tokio::spawn(signals.answer(end, Arc::clone(&console)));
        let kept = keep(cluster, &console).await;
        let settled = keeper.settle().await;
        kept?;
        settled.map_err(|error| {
            let why = in_one_line(&error);
            Failure::could_not(format!(
                "{name} is down, and its record was not ended: {why}"
            ))
        })
    })?
}

/// Keeps the record of the cluster that it goes along with.
struct Keeper {
    state: Mutex<State>,
    recorded: Vec<(AppName, MakeWatched)>,
    console: Arc<Console>,
}

enum State {
    /// The cluster is not up yet.
    Waiting(Recorder),
    Recording(Recorder),
    Ended(Result<(), RecordError>),
}

impl State {
    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Ended(Ok(())))
    }
}

impl Keeper {
    /// What became of the record. Where the cluster never came up there is none.
    async fn settle(&self) -> Result<(), RecordError> {
        match self.state.lock().await.take() {
            State::Waiting(recorder) => recorder.abandon().await,
            State::Recording(recorder) => recorder.end("the cluster failed").await.map(drop),
            State::Ended(result) => result,
        }
    }
}

#[async_trait]
impl Companion for Keeper {
    async fn begin(&self, cluster: &Cluster) {
        let mut state = self.state.lock().await;
        let State::Waiting(recorder) = state.take() else {
            return;
        };
        let (inventory, app) = (cluster.inventory(), &cluster.spec().app);
        let watched = watched(&self.recorded, app, inventory, &self.console);
        *state = match recorder.watch(inventory, watched) {
            Ok(()) => {
                say_begun(&recorder, &self.console);
                State::Recording(recorder)
            }
            Err(error) => {
                // The cluster is what was asked for first; it goes on.
                let why = in_one_line(&error);
                self.console.note(&format!("there is no record: {why}"));
                State::Ended(Err(error))
            }
        };
    }

    async fn end(&self) {
        let mut state = self.state.lock().await;
        if let State::Recording(recorder) = state.take() {
            let ended = recorder.end("the cluster was ended").await;
            if let Ok(ended) = &ended {
                say_ended(ended, &self.console);
            }
            *state = State::Ended(ended.map(drop));
        }
    }
}

/// What there is to observe of `app`, beside its nodes.
fn watched(
    recorded: &[(AppName, MakeWatched)],
    app: &AppName,
    inventory: &trellis_bootstrap::SharedInventory,
    console: &Console,
) -> Vec<Watched> {
    let mut of_app = recorded.iter().filter(|(of, _)| of == app);
    let Some((_, make)) = of_app.next() else {
        console.note(&format!(
            "this trellis knows no observer of {app}, so only the uptime of its nodes is put on record"
        ));
        return Vec::new();
    };
    make(inventory)
}

fn say_begun(recorder: &Recorder, console: &Console) {
    let run = recorder.run();
    console.note(&format!(
        "what happens is put on record; `trellis history {run}` shows it, now and afterwards"
    ));
}

fn say_ended(ended: &Ended, console: &Console) {
    let Ended {
        run,
        events,
        complete,
    } = ended;
    console.note(&if *complete {
        format!("the record {run} is ended, with {events} events")
    } else {
        format!(
            "the record {run} is ended with {events} events and lacks the last ones: its server did not store or fold them in time"
        )
    });
}
