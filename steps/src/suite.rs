//! The suite: what all scenarios of a run share.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use trellis_bootstrap::{Application, Deployer, PlannedOperation, Progress, RunLedger};
use trellis_domain::AppName;
use trellis_settings::Settings;

use crate::{Program, StepError, kv::ReplicatedKv, lane::Lanes};

/// An application that scenarios may use, with the ports that its steps need.
#[derive(Clone)]
pub struct SuiteApp {
    pub(crate) application: Arc<dyn Application>,
    pub(crate) kv: Option<Arc<dyn ReplicatedKv>>,
    pub(crate) needs: Vec<Program>,
}

impl SuiteApp {
    /// An application of which nothing but its life cycle is known.
    pub fn new(application: impl Application) -> Self {
        Self {
            application: Arc::new(application),
            kv: None,
            needs: Vec::new(),
        }
    }

    /// Adds what the key-value and leader phrases need.
    #[must_use]
    pub fn with_kv(mut self, kv: impl ReplicatedKv) -> Self {
        self.kv = Some(Arc::new(kv));
        self
    }

    /// Says that its nodes are run by a program that somebody else provides. A scenario that would start one where the program is missing is skipped, or refused if nothing may be missing.
    #[must_use]
    pub fn needs(mut self, program: Program) -> Self {
        self.needs.push(program);
        self
    }
}

/// Where the programs of cfgsync are.
#[derive(Debug, Clone)]
pub struct CfgsyncCommands {
    /// The server.
    pub server: PathBuf,
    /// The client.
    pub client: PathBuf,
}

/// Where a scenario stands: what tells it from any other of the suite.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ScenarioKey {
    /// Its feature file.
    pub feature: PathBuf,
    /// The line of its `Scenario:`, or of its row in `Examples:`.
    pub line: usize,
}

/// What the check before boot found out about a scenario.
#[derive(Debug, Clone, Default)]
pub struct ScenarioPlan {
    /// The most nodes that it has at one time.
    pub nodes_max: usize,
    /// What its steps will do to nodes that they name.
    pub operations: Vec<PlannedOperation>,
    /// The programs that it would run and this machine does not have.
    pub missing: Vec<Program>,
}

/// What all scenarios of a run share. One a process.
pub struct Suite {
    /// The applications; the first is the default.
    pub apps: Vec<SuiteApp>,
    /// The backend for managed nodes.
    pub deployer: Arc<dyn Deployer>,
    /// Where what we own is written down.
    pub ledger: Arc<RunLedger>,
    /// The folder that this run leaves.
    pub folder: PathBuf,
    /// How many nodes may run at one time.
    pub budget: usize,
    /// Free places within the budget.
    pub places: Arc<Semaphore>,
    /// Who runs beside whom.
    pub lanes: Lanes,
    /// Ends the run.
    pub cancel: CancellationToken,
    /// Who is told what is awaited.
    pub progress: Arc<dyn Progress>,
    /// What the check found out, by scenario.
    pub plans: HashMap<ScenarioKey, ScenarioPlan>,
    /// What `trellis.toml` and the environment say: clusters and external nodes by name, and their credentials.
    pub settings: Arc<Settings>,
    /// The `trellis` command, for features about the harness itself.
    pub trellis_command: Option<PathBuf>,
    /// The programs of cfgsync, for features about config delivery itself.
    pub cfgsync_commands: Option<CfgsyncCommands>,
    /// Counts clusters, so that each has its own network.
    pub clusters: AtomicU64,
}

static SUITE: OnceLock<Arc<Suite>> = OnceLock::new();

impl Suite {
    /// Makes this the suite of the process; scenarios that begin from now on belong to it.
    ///
    /// # Panics
    /// When there is one already: scenarios could not tell which they belong to.
    pub fn install(self) -> Arc<Self> {
        let suite = Arc::new(self);
        assert!(
            SUITE.set(Arc::clone(&suite)).is_ok(),
            "a process runs one suite"
        );
        suite
    }

    /// The suite of this process.
    pub(crate) fn current() -> Result<Arc<Self>, StepError> {
        SUITE.get().cloned().ok_or_else(|| {
            StepError::new("no suite is set up; run features through a composition root's Harness")
        })
    }

    /// The application called `name`, or the default one.
    pub(crate) fn app(&self, name: Option<&AppName>) -> Result<&SuiteApp, StepError> {
        let found = match name {
            Some(name) => self.apps.iter().find(|app| app.application.name() == name),
            None => self.apps.first(),
        };
        found.ok_or_else(|| {
            let known: Vec<&str> = self
                .apps
                .iter()
                .map(|app| app.application.name().as_str())
                .collect();
            let wanted = name.map_or_else(|| "any".to_owned(), |name| format!("{name:?}"));
            StepError::new(format!(
                "no application {wanted} is registered; known applications: {}",
                known.join(", ")
            ))
        })
    }

    /// A network name that no other cluster of any run has.
    pub(crate) fn next_network(&self) -> String {
        let number = self.clusters.fetch_add(1, Ordering::Relaxed) + 1;
        format!("{}-{number}", self.ledger.run())
    }
}
