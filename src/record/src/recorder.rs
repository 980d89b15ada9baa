//! The recorder: keeps a record of one run, from its server to its last event.
//!
//! All of it is in this process or dies with it: the server is killed by the kernel when the process ends in whatever way, and the views are on the disk as far as they were committed.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use trellis_bootstrap::{Progress, RunLedger, SharedInventory};
use trellis_domain::{AppName, RunId};
use trellis_local::Beside;
use trellis_observation::{ObservationConfig, ObservationRuntime, StaticSources};

use crate::{
    Fact, RecordError, Subject, Watched, millis,
    nodes::{NodesObserver, NodesRecording, wake_on_changes},
    place::{About, Claim},
    publisher::{Clock, Publisher},
    server::Server,
    sink::{Outlet, follow},
    views::{self, Views},
};

/// How often a record says that it is still written, so that it is known of a killed one until when it was.
const ALIVE_EVERY: Duration = Duration::from_secs(2);
/// How long what is held back may take to be stored when a record is ended.
const FLUSHED_WITHIN: Duration = Duration::from_secs(5);
/// How long the last events may take to be in the views.
const FOLDED_WITHIN: Duration = Duration::from_secs(5);
/// The folder of the server.
const NATS: &str = "nats";
/// What node states are called on record.
const NODES: &str = "nodes";

/// What a recorder needs to know.
pub struct RecordRequest {
    /// The folder in which records are, and what is owned is written down.
    pub state: PathBuf,
    /// What the cluster is called.
    pub cluster: String,
    /// The application of its nodes.
    pub app: AppName,
    /// The server to publish to; one of our own where none is named.
    pub nats_url: Option<String>,
    /// Who is told what happens.
    pub progress: Arc<dyn Progress>,
}

/// Keeps a record. Dropped, it leaves one whose writer was killed.
pub struct Recorder {
    claim: Claim,
    about: Mutex<About>,
    outlet: Outlet,
    tasks: TaskTracker,
    /// Cancelled for those that do not end by themselves.
    give_up: CancellationToken,
    views: Views,
    own: Option<Own>,
    ledger: Arc<RunLedger>,
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The run.
    pub run: RunId,
    /// How many events it has.
    pub events: u64,
    /// Whether all that was observed is in it.
    pub complete: bool,
}

impl Recorder {
    /// Begins a record: its folder, its server, its views.
    ///
    /// # Errors
    /// One of them cannot be had; nothing is left then.
    pub async fn begin(request: RecordRequest) -> Result<Self, RecordError> {
        let now = SystemTime::now();
        let (claim, run) = Claim::take(&request.state, &request.cluster, now)?;
        let ledger = Arc::new(RunLedger::open(&request.state, run.clone())?);
        match Parts::start(&request, &claim, &run, &ledger).await {
            Ok(parts) => Self::of_parts(request, claim, run, now, ledger, parts),
            Err(error) => {
                claim.abandon();
                ledger.close()?;
                Err(error)
            }
        }
    }

    fn of_parts(
        request: RecordRequest,
        claim: Claim,
        run: RunId,
        now: SystemTime,
        ledger: Arc<RunLedger>,
        parts: Parts,
    ) -> Result<Self, RecordError> {
        let about = About {
            run: run.clone(),
            cluster: request.cluster.clone(),
            app: request.app.clone(),
            observed: Vec::new(),
            nats_url: parts.url,
            own_server: parts.own.is_some(),
            address: Some(parts.views.address()),
            pid: std::process::id(),
            begun_ms: millis(now),
            ended_ms: None,
            how: None,
            is_cut_off: false,
        };
        claim.write(&about)?;
        let recorder = Self {
            claim,
            about: Mutex::new(about),
            outlet: Outlet {
                run,
                publisher: Arc::new(parts.publisher),
                clock: Clock::new(),
                stop: CancellationToken::new(),
            },
            tasks: TaskTracker::new(),
            give_up: CancellationToken::new(),
            views: parts.views,
            own: parts.own,
            ledger,
        };
        let details = json!({ "cluster": request.cluster, "app": request.app });
        recorder.spawn(alive(recorder.outlet.clone(), details));
        Ok(recorder)
    }

    /// The run.
    pub fn run(&self) -> &RunId {
        &self.outlet.run
    }

    /// Puts on record from now on what the nodes of `inventory` do, and all that is `watched`.
    ///
    /// # Errors
    /// It cannot be written down what is observed.
    pub fn watch(
        &self,
        inventory: &SharedInventory,
        watched: Vec<Watched>,
    ) -> Result<(), RecordError> {
        {
            let mut about = self.about.lock().unwrap_or_else(PoisonError::into_inner);
            let names = watched.iter().map(|watched| watched.name().to_owned());
            about.observed.extend(names);
            self.claim.write(&about)?;
        }
        self.watch_nodes(inventory);
        for watched in watched {
            self.spawn(watched.begin(self.outlet.clone()));
        }
        Ok(())
    }

    /// Runs `task` to its end, unless what it waits for does not come before the record has to end.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let give_up = self.give_up.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = give_up.cancelled() => {}
            }
        });
    }

    fn watch_nodes(&self, inventory: &SharedInventory) {
        let runtime = ObservationRuntime::start(
            NodesObserver::new(inventory.clone()),
            StaticSources::new([]),
            ObservationConfig::default().with_name(NODES),
        );
        let (inventory, outlet) = (inventory.clone(), self.outlet.clone());
        self.spawn(async move {
            let handle = runtime.handle();
            let waking = wake_on_changes(handle.clone(), inventory);
            let following = follow(NODES, handle, NodesRecording::default(), &outlet);
            tokio::select! {
                () = following => {}
                () = async { waking.await; std::future::pending().await } => {}
            }
            runtime.shutdown().await;
        });
    }

    /// Ends the record: what was observed until now is in it then, unless its server is away.
    ///
    /// # Errors
    /// It cannot be written down that it has ended.
    pub async fn end(self, how: &str) -> Result<Ended, RecordError> {
        self.outlet.stop.cancel();
        self.tasks.close();
        let publisher = Arc::clone(&self.outlet.publisher);
        let complete = timeout(FLUSHED_WITHIN, self.last_words(how)).await.is_ok()
            && self.views.reached(publisher.last(), FOLDED_WITHIN).await;
        self.give_up.cancel();
        self.views.end().await;
        if let Some(own) = self.own {
            own.end().await?;
        }
        let mut about = self
            .about
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        about.address = None;
        about.ended_ms = Some(millis(SystemTime::now()));
        about.how = Some(how.to_owned());
        about.is_cut_off = !complete;
        self.claim.write(&about)?;
        self.ledger.close()?;
        Ok(Ended {
            run: about.run,
            events: publisher.published(),
            complete,
        })
    }

    /// Publishes what there is, and that this was all.
    async fn last_words(&self, how: &str) {
        self.tasks.wait().await;
        let ended = of_record(&self.outlet, "RecordEnded", json!({ "how": how }));
        self.outlet.publisher.publish("record/ended", &ended).await;
    }

    /// Ends a record that nothing was put on, and removes it.
    ///
    /// # Errors
    /// It cannot be removed.
    pub async fn abandon(self) -> Result<(), RecordError> {
        let folder = self.claim.folder().to_owned();
        self.end("abandoned").await?;
        std::fs::remove_dir_all(&folder)
            .map_err(|source| RecordError::files("remove", &folder, source))
    }
}

/// What a record is made with.
struct Parts {
    own: Option<Own>,
    url: String,
    publisher: Publisher,
    views: Views,
}

impl Parts {
    async fn start(
        request: &RecordRequest,
        claim: &Claim,
        run: &RunId,
        ledger: &Arc<RunLedger>,
    ) -> Result<Self, RecordError> {
        let own = match &request.nats_url {
            Some(_) => None,
            None => Some(Own::start(request, claim, ledger).await?),
        };
        match Self::connect(request, claim, run, own.as_ref()).await {
            Ok((url, publisher, views)) => Ok(Self {
                own,
                url,
                publisher,
                views,
            }),
            Err(error) => {
                if let Some(own) = own {
                    own.end().await?;
                }
                Err(error)
            }
        }
    }

    async fn connect(
        request: &RecordRequest,
        claim: &Claim,
        run: &RunId,
        own: Option<&Own>,
    ) -> Result<(String, Publisher, Views), RecordError> {
        let own = own.map(|own| own.server.url());
        let url = request.nats_url.as_deref().or(own);
        let url = url.expect("there is a server of our own where none is named");
        let progress = || Arc::clone(&request.progress);
        let publisher = Publisher::connect(url, run.clone(), progress()).await?;
        views::describe(claim.folder(), run, url)?;
        let views = Views::start(claim.folder(), progress()).await?;
        Ok((url.to_owned(), publisher, views))
    }
}

/// A server of our own, and what starts it.
struct Own {
    server: Server,
    beside: Arc<Beside>,
}

impl Own {
    async fn start(
        request: &RecordRequest,
        claim: &Claim,
        ledger: &Arc<RunLedger>,
    ) -> Result<Self, RecordError> {
        let beside = Arc::new(Beside::new(Arc::clone(ledger))?);
        let folder = claim.folder().join(NATS);
        let progress = Arc::clone(&request.progress);
        match Server::start(&folder, Arc::clone(&beside), progress).await {
            Ok(server) => Ok(Self { server, beside }),
            Err(error) => {
                beside.settle()?;
                Err(error)
            }
        }
    }

    async fn end(self) -> Result<(), RecordError> {
        self.server.end().await;
        Ok(self.beside.settle()?)
    }
}

/// Says that the record is begun, and again and again that it is being written.
async fn alive(outlet: Outlet, details: serde_json::Value) {
    let begun = of_record(&outlet, "RecordBegan", details);
    outlet.publisher.publish("record/begun", &begun).await;
    let mut ticks = interval(ALIVE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first one is at once.
    ticks.tick().await;
    for number in 1_u64.. {
        tokio::select! {
            _ = ticks.tick() => {}
            () = outlet.stop.cancelled() => return,
        }
        let fact = of_record(&outlet, "RecordAlive", json!({}));
        let id = format!("record/alive-{number}");
        tokio::select! {
            () = outlet.publisher.publish(&id, &fact) => {}
            () = outlet.stop.cancelled() => return,
        }
    }
}

fn of_record(outlet: &Outlet, event: &'static str, details: serde_json::Value) -> Fact {
    let run = outlet.run.as_str();
    Fact::new(Subject::Record, run, event, outlet.clock.now(), details)
}
