//! The harness: what a composition root registers its applications and backends with, and which runs features on them.
//!
//! From the command line to the exit code: options, check before boot, run, summary.
//! Not here: what a step means (the step modules), and what a cluster is and how it comes up (the layers below).

mod aside;
mod options;
mod record;
mod run;
mod screen;
mod signals;
mod summary;
mod writers;

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use thiserror::Error;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use trellis_bootstrap::{AttachProvider, Deployer, LedgerError, RunLedger};
use trellis_domain::AppName;
use trellis_report::{RunFolder, RunFolderError};
use trellis_settings::{Environment, Settings};

pub use options::{HarnessOptions, default_state_folder};

use options::Missing;
use record::Outcome;
use run::Context;
use screen::{Console, Screen};
use signals::Signals;

use crate::{
    CfgsyncCommands, ScenarioKey, ScenarioPlan, StepError, Suite, SuiteApp,
    check::{SelectionError, SuiteCheck, SuiteFacts, check},
    lane::Lanes,
    outsiders::Outsiders,
};

const EXIT_RED: u8 = 1;
const EXIT_REFUSED: u8 = 2;
const EXIT_INTERRUPTED: u8 = 130;
/// How long what still runs in the background may take to end after the run.
const THREADS_END_WITHIN: Duration = Duration::from_secs(5);
/// How the features of a crate are run, unless it is said.
const COMMAND: &str = "cargo test --test cucumber --";

/// Makes a backend of what was said on the command line.
type MakeDeployer = Box<dyn Fn(&HarnessOptions) -> Arc<dyn Deployer>>;

/// Makes an attach provider of the same.
type MakeProvider = Box<dyn Fn(&HarnessOptions) -> Arc<dyn AttachProvider>>;

/// What a run finds and starts nodes with.
struct Backend {
    name: &'static str,
    deployer: Arc<dyn Deployer>,
    attach: Vec<Arc<dyn AttachProvider>>,
    budget: usize,
}

/// Runs features; made by a composition root.
#[must_use]
pub struct Harness {
    features: PathBuf,
    apps: Vec<SuiteApp>,
    deployers: Vec<(&'static str, MakeDeployer)>,
    default_deployer: Option<&'static str>,
    attach: Vec<MakeProvider>,
    outsiders: Option<Arc<dyn Outsiders>>,
    trellis_command: Option<PathBuf>,
    cfgsync_commands: Option<CfgsyncCommands>,
    target: PathBuf,
    command: &'static str,
}

/// Why a run did not begin, or could not be carried on.
#[derive(Debug, Error)]
enum HarnessError {
    #[error("no application is registered with the harness")]
    NoApplication,
    #[error("there is no backend {wanted:?}; known backends: {}", known.join(", "))]
    UnknownDeployer {
        wanted: String,
        known: Vec<&'static str>,
    },
    #[error("there are no features in {}", .0.display())]
    NoFeatures(PathBuf),
    #[error(transparent)]
    Selection(#[from] SelectionError),
    #[error(transparent)]
    Folder(#[from] RunFolderError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the run's name cannot be used")]
    Name(#[from] trellis_domain::NameError),
    #[error("cannot start the machinery of the run")]
    Machinery(#[source] io::Error),
    #[error("{0}")]
    Broken(StepError),
}

impl Harness {
    /// A harness for the features below `features`.
    pub fn new(features: impl Into<PathBuf>) -> Self {
        Self {
            features: features.into(),
            apps: Vec::new(),
            deployers: Vec::new(),
            default_deployer: None,
            attach: Vec::new(),
            outsiders: None,
            trellis_command: None,
            cfgsync_commands: None,
            target: PathBuf::from("target/trellis"),
            command: COMMAND,
        }
    }

    /// Adds an application; scenarios that name none use the first.
    pub fn app(mut self, app: SuiteApp) -> Self {
        self.apps.push(app);
        self
    }

    /// Adds a backend, which is made when it was chosen; the first is the default.
    pub fn deployer<D: Deployer>(
        mut self,
        name: &'static str,
        make: impl Fn(&HarnessOptions) -> D + 'static,
    ) -> Self {
        self.deployers
            .push((name, Box::new(move |options| Arc::new(make(options)))));
        self
    }

    /// Chooses the backend that is used unless another is asked for.
    pub fn default_deployer(mut self, name: &'static str) -> Self {
        self.default_deployer = Some(name);
        self
    }

    /// Adds something that finds the nodes of clusters that run already; features call it by the name that it gives itself.
    pub fn attach_provider<P: AttachProvider>(
        mut self,
        make: impl Fn(&HarnessOptions) -> P + 'static,
    ) -> Self {
        self.attach
            .push(Box::new(move |options| Arc::new(make(options))));
        self
    }

    /// Says who runs nodes that are not ours, for features about such nodes.
    pub fn outsiders(mut self, outsiders: impl Outsiders) -> Self {
        self.outsiders = Some(Arc::new(outsiders));
        self
    }

    /// Says where the `trellis` command is, for features about the harness itself.
    pub fn trellis_command(mut self, path: impl Into<PathBuf>) -> Self {
        self.trellis_command = Some(path.into());
        self
    }

    /// Says where the programs of cfgsync are, for features about config delivery itself.
    pub fn cfgsync_commands(mut self, commands: CfgsyncCommands) -> Self {
        self.cfgsync_commands = Some(commands);
        self
    }

    /// Says where runs leave their folders, unless it is said on the command line; `target/trellis` otherwise.
    pub fn target_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.target = path.into();
        self
    }

    /// Says how people call this program, for help texts and for the command that runs a failed scenario again.
    pub fn command(mut self, command: &'static str) -> Self {
        self.command = command;
        self
    }

    /// Reads the command line, runs what it asks for, and says how that went: 0 all passed, 1 some failed, 2 nothing was started because something is wrong, 130 interrupted.
    pub fn main(self) -> ExitCode {
        let mut options = match HarnessOptions::of_process(self.command) {
            Ok(options) => options,
            Err(error) => {
                // A closed output leaves nobody to tell.
                let _ = error.print();
                return u8::try_from(error.exit_code())
                    .unwrap_or(EXIT_REFUSED)
                    .into();
            }
        };
        let screen = Screen::of_process();
        let settings = match options.complete(&self.features, Environment::of_process()) {
            Ok(settings) => settings,
            Err(error) => {
                screen.aside(error.render(options.colored()));
                screen.aside("the settings cannot be used; nothing was started");
                return EXIT_REFUSED.into();
            }
        };
        self.execute(&options, settings, &screen)
            .unwrap_or_else(|error| {
                let code = match error {
                    HarnessError::Broken(_) => EXIT_RED,
                    _ => EXIT_REFUSED,
                };
                screen.aside(format_args!("error: {}", StepError::from(error)));
                code.into()
            })
    }

    fn execute(
        mut self,
        options: &HarnessOptions,
        settings: Settings,
        screen: &Screen,
    ) -> Result<ExitCode, HarnessError> {
        let Ok(features) = self.features.canonicalize() else {
            return Err(HarnessError::NoFeatures(self.features));
        };
        self.features = features;
        let backend = self.choose_backend(options)?;
        let begun = Instant::now();
        let settings = Arc::new(settings);
        let checked = self.check(options, &settings, &backend)?;
        if options.list {
            summary::list(&checked, options, screen);
            return Ok(ExitCode::SUCCESS);
        }
        if !checked.problems.is_empty() {
            summary::problems(&checked, options, screen);
            return Ok(EXIT_REFUSED.into());
        }
        if checked.scenarios() == 0 || options.wants_nothing() {
            if options.selection(&self.features).is_everything() && !options.wants_nothing() {
                return Err(HarnessError::NoFeatures(self.features));
            }
            screen.line("0 scenarios matched\n0 passed, 0 failed, 0 skipped");
            return Ok(ExitCode::SUCCESS);
        }
        if options.dry_run {
            screen.line(format_args!(
                "checked {} ({}) in {} ms; nothing was started",
                summary::counted(checked.scenarios(), "scenario"),
                summary::counted(checked.steps, "step"),
                begun.elapsed().as_millis()
            ));
            summary::lacking(&aside::lacking(&checked.plans), screen);
            return Ok(ExitCode::SUCCESS);
        }
        self.run(options, settings, screen, checked, backend)
    }

    fn choose_backend(&self, options: &HarnessOptions) -> Result<Backend, HarnessError> {
        let said = options.deployer.as_deref().or(self.default_deployer);
        let found = match said {
            Some(wanted) => self.deployers.iter().find(|(name, _)| *name == wanted),
            None => self.deployers.first(),
        };
        match found {
            Some((name, make)) => Ok(Backend {
                name,
                deployer: make(options),
                attach: self.attach.iter().map(|make| make(options)).collect(),
                budget: options.budget(),
            }),
            None => Err(HarnessError::UnknownDeployer {
                wanted: said.unwrap_or("(none)").to_owned(),
                known: self.deployers.iter().map(|(name, _)| *name).collect(),
            }),
        }
    }

    fn apps_with(&self, has: impl Fn(&SuiteApp) -> bool) -> Vec<AppName> {
        let apps = self.apps.iter().filter(|app| has(app));
        apps.map(|app| app.application.name().clone()).collect()
    }

    fn check(
        &self,
        options: &HarnessOptions,
        settings: &Arc<Settings>,
        backend: &Backend,
    ) -> Result<SuiteCheck, HarnessError> {
        if self.apps.is_empty() {
            return Err(HarnessError::NoApplication);
        }
        let app = |app: &SuiteApp| {
            (
                app.application.name().clone(),
                app.application.capabilities(),
            )
        };
        let facts = SuiteFacts {
            apps: self.apps.iter().map(app).collect(),
            chains: self.apps_with(|app| app.chain.is_some()),
            faucets: self.apps_with(|app| {
                let chain = app.chain.as_ref();
                chain.is_some_and(|chain| chain.faucet().is_some())
            }),
            projections: self.apps_with(|app| app.projection.is_some()),
            backend: backend.deployer.capabilities(),
            attach: backend
                .attach
                .iter()
                .map(|provider| (provider.name(), provider.capabilities()))
                .collect(),
            settings: Arc::clone(settings),
            budget: backend.budget,
            missing: aside::missing(&self.apps, options.search_path.as_deref()),
            disks: aside::privileges(&self.apps),
            missing_is_wrong: options.missing == Missing::Fail,
        };
        Ok(check(
            &self.features,
            &options.selection(&self.features),
            &facts,
        )?)
    }

    /// Runs what was checked, from the folder of the run to its last line.
    fn run(
        self,
        options: &HarnessOptions,
        settings: Arc<Settings>,
        screen: &Screen,
        mut checked: SuiteCheck,
        backend: Backend,
    ) -> Result<ExitCode, HarnessError> {
        let total = checked.scenarios();
        let features = aside::set_aside(checked.features, &checked.plans);
        let plans = std::mem::take(&mut checked.plans);
        let context = self.prepare(options, settings, screen, backend, plans)?;
        let cancel = context.suite.cancel.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(HarnessError::Machinery)?;
        let result = {
            let _inside = runtime.enter();
            let signals = Signals::take().map_err(HarnessError::Machinery)?;
            runtime.spawn(signals.answer(cancel.clone(), screen.clone()));
            runtime.block_on(run::run(&context, features, total, options, screen))
        };
        // What hangs is left behind; it ends with the process.
        runtime.shutdown_timeout(THREADS_END_WITHIN);
        if let Err(error) = summary::left(&context.suite.ledger, screen) {
            screen.aside(StepError::from(error));
        }
        let outcome = result.map_err(HarnessError::Broken)?;
        summary::outcome(&outcome, context.folder.path(), screen);
        Ok(exit_code(&outcome, cancel.is_cancelled()))
    }

    /// Makes the folder, the ledger and the suite of the run.
    fn prepare(
        self,
        options: &HarnessOptions,
        settings: Arc<Settings>,
        screen: &Screen,
        backend: Backend,
        plans: HashMap<ScenarioKey, ScenarioPlan>,
    ) -> Result<Arc<Context>, HarnessError> {
        let state = options.state();
        summary::abandoned(&state, screen);
        let folder = RunFolder::create(options.out.as_deref().unwrap_or(&self.target))?;
        log_to(folder.path(), options.log_filter());
        screen.line(format_args!(
            "running {} on {}: at most {} at one time, at most {} nodes",
            summary::counted(plans.len(), "scenario"),
            backend.name,
            options.concurrency(),
            backend.budget
        ));
        let suite = Suite {
            apps: self.apps,
            deployer: backend.deployer,
            attach: backend.attach,
            ledger: Arc::new(RunLedger::open(&state, folder.id().parse()?)?),
            folder: folder.path().to_owned(),
            budget: backend.budget,
            places: Arc::new(Semaphore::new(backend.budget)),
            lanes: Lanes::default(),
            cancel: CancellationToken::new(),
            progress: Arc::new(Console::new(screen.clone())),
            plans,
            settings,
            trellis_command: self.trellis_command,
            cfgsync_commands: self.cfgsync_commands,
            outsiders: self.outsiders,
            clusters: AtomicU64::new(0),
        };
        let command = again_command(self.command, options);
        let context = Context::new(suite.install(), folder, options.keep, command);
        Ok(Arc::new(context))
    }
}

fn exit_code(outcome: &Outcome, interrupted: bool) -> ExitCode {
    if interrupted {
        EXIT_INTERRUPTED.into()
    } else if outcome.is_green() {
        ExitCode::SUCCESS
    } else {
        EXIT_RED.into()
    }
}

/// The command by which a scenario is run again under the same circumstances.
fn again_command(command: &str, options: &HarnessOptions) -> String {
    let config = options.config.as_ref();
    let config = config.map(|file| format!(" --config '{}'", file.display()));
    let deployer = options.deployer.as_ref();
    let deployer = deployer.map(|name| format!(" --deployer {name}"));
    format!(
        "{command}{}{}",
        config.unwrap_or_default(),
        deployer.unwrap_or_default()
    )
}

/// Lets the harness's own log go into the run's folder; a run without a log is still a run.
fn log_to(folder: &Path, filter: &str) {
    let Ok(file) = std::fs::File::create(folder.join("harness.log")) else {
        return;
    };
    let filter = tracing_subscriber::EnvFilter::new(filter);
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::sync::Mutex::new(file))
        .finish();
    // Another subscriber is the embedding program's choice.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
