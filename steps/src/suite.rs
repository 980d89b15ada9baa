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
use trellis_bootstrap::{
    Application, AttachProvider, Deployer, PlannedOperation, Progress, RunLedger,
};
use trellis_domain::{AppName, AttachSpec, Credential};
use trellis_settings::Settings;

use crate::{
    Privilege, Program, StepError, chain::ChainApp, kv::ReplicatedKv, lane::Lanes,
    outsiders::Outsiders, projection::ProjectionApp,
};

/// An application that scenarios may use, with the ports that its steps need.
#[derive(Clone)]
pub struct SuiteApp {
    pub(crate) application: Arc<dyn Application>,
    pub(crate) kv: Option<Arc<dyn ReplicatedKv>>,
    pub(crate) chain: Option<Arc<dyn ChainApp>>,
    pub(crate) projection: Option<Arc<dyn ProjectionApp>>,
    pub(crate) needs: Vec<Program>,
    pub(crate) disks: Option<Privilege>,
    pub(crate) outsiders: Option<Arc<dyn Outsiders>>,
}

impl SuiteApp {
    /// An application of which nothing but its life cycle is known.
    pub fn new(application: impl Application) -> Self {
        Self {
            application: Arc::new(application),
            kv: None,
            chain: None,
            projection: None,
            needs: Vec::new(),
            disks: None,
            outsiders: None,
        }
    }

    /// Adds what the key-value and leader phrases need.
    #[must_use]
    pub fn with_kv(mut self, kv: impl ReplicatedKv) -> Self {
        self.kv = Some(Arc::new(kv));
        self
    }

    /// Adds what the phrases about chains need.
    #[must_use]
    pub fn with_chain(mut self, chain: impl ChainApp) -> Self {
        self.chain = Some(Arc::new(chain));
        self
    }

    /// Adds what the phrases about events and views need.
    #[must_use]
    pub fn with_projection(mut self, projection: impl ProjectionApp) -> Self {
        self.projection = Some(Arc::new(projection));
        self
    }

    /// Says what a machine has to allow before a node of it can have a disk of its own. A scenario that wants one is skipped elsewhere, as with a program that is missing.
    #[must_use]
    pub fn with_disks(mut self, privilege: Privilege) -> Self {
        self.disks = Some(privilege);
        self
    }

    /// Says that its nodes are run by a program that somebody else provides. A scenario that would start one where the program is missing is skipped, or refused if nothing may be missing.
    #[must_use]
    pub fn needs(mut self, program: Program) -> Self {
        self.needs.push(program);
        self
    }

    /// Says who runs nodes of it that are not ours, if not those of the harness do, for features about such nodes.
    #[must_use]
    pub fn with_outsiders(mut self, outsiders: impl Outsiders) -> Self {
        self.outsiders = Some(Arc::new(outsiders));
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
    /// What finds the nodes of clusters that run already.
    pub attach: Vec<Arc<dyn AttachProvider>>,
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
    /// Who runs nodes of others, for features about those.
    pub outsiders: Option<Arc<dyn Outsiders>>,
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

    /// The cluster that a phrase calls `name`, with the credential that the settings have for its nodes.
    pub(crate) fn attach_spec(
        &self,
        name: &str,
    ) -> Result<(AttachSpec, Option<Credential>), StepError> {
        let providers: Vec<&str> = self.attach.iter().map(|provider| provider.name()).collect();
        let attach = attach_spec(name, &self.settings, &providers).map_err(StepError::new)?;
        let of_settings = self.settings.clusters.get(name);
        let source = of_settings.and_then(|cluster| cluster.credential.as_ref());
        Ok((attach, self.settings.credential(name, source)?))
    }

    /// A network name that no other cluster of any run has.
    pub(crate) fn next_network(&self) -> String {
        format!("{}-{}", self.ledger.run(), self.next_number())
    }

    /// A number that nothing else of this run has.
    pub(crate) fn next_number(&self) -> u64 {
        self.clusters.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// The cluster that a phrase calls `name`: one of the settings, else `provider:cluster`.
///
/// # Errors
/// Nothing is called so, with what is known; in words.
pub(crate) fn attach_spec(
    name: &str,
    settings: &Settings,
    providers: &[&str],
) -> Result<AttachSpec, String> {
    let of_settings = settings.cluster(name).map(|cluster| cluster.attach.clone());
    let attach = match (of_settings, name.split_once(':')) {
        (Ok(attach), _) => attach,
        (Err(_), Some((provider, cluster))) => AttachSpec {
            provider: provider.to_owned(),
            cluster: cluster.to_owned(),
        },
        (Err(error), None) => {
            return Err(format!(
                "{error}; a cluster that they do not name is written as provider:cluster"
            ));
        }
    };
    if providers.contains(&attach.provider.as_str()) {
        return Ok(attach);
    }
    let known = match providers {
        [] => "none is registered".to_owned(),
        known => format!("known attach providers: {}", known.join(", ")),
    };
    Err(format!(
        "there is no attach provider {:?}; {known}",
        attach.provider
    ))
}
