//! The `trellis` command: clusters that are started by hand, the leftovers of runs, and whether nodes follow a public chain.
//!
//! It knows the applications and backends that a composition root registers, so a test crate has a binary of its own that hands over to [`Trellis::main`]. The bare `trellis` knows none; it can look at clusters, act on them, end them, and clean up.

mod ask;
mod clean;
mod console;
mod down;
mod exit;
#[cfg(feature = "record")]
mod history;
mod logs;
mod run;
mod signals;
mod status;
mod sync_check;
mod up;

use std::{env, path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Args, Parser, Subcommand};
#[cfg(feature = "record")]
use trellis_bootstrap::SharedInventory;
use trellis_bootstrap::{Application, AttachProvider, Deployer};
#[cfg(feature = "record")]
use trellis_domain::AppName;
use trellis_manual::{ClientError, ClusterClient, ClusterName, asked_by};
#[cfg(feature = "record")]
use trellis_record::Watched;
use trellis_settings::{Environment, RunSettings, Settings, SettingsSource};

use exit::Failure;

/// Makes a backend of what the settings say.
type MakeDeployer = Box<dyn Fn(&RunSettings) -> Arc<dyn Deployer>>;

/// Says what is to be observed of the nodes of a cluster, for a record.
#[cfg(feature = "record")]
type MakeWatched = Box<dyn Fn(&SharedInventory) -> Vec<Watched> + Send + Sync>;

/// Keeps clusters that are started by hand, and this machine free of what test runs left behind.
///
/// A cluster is started from a file by `trellis up` and stays until `trellis down`, Ctrl-C, or the end of its terminal. Meanwhile it can be looked at and acted on from elsewhere, and features can attach to it by its name; they borrow its nodes and cannot end it.
///
/// Exit code: 0 done, 1 could not be done, 2 the call, the spec or the settings are wrong, 3 no such cluster is up or no such record is there, 130 ended at once.
#[derive(Debug, Parser)]
#[command(name = "trellis", arg_required_else_help = true, verbatim_doc_comment)]
struct Arguments {
    #[command(flatten)]
    place: StateArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Arguments),
    Run(run::Arguments),
    Down(down::Arguments),
    Status(status::Arguments),
    Logs(logs::Arguments),
    Start(ask::StartArguments),
    Stop(ask::StopArguments),
    Restart(ask::RestartArguments),
    #[cfg(feature = "record")]
    History(history::Arguments),
    Clean(clean::Arguments),
    SyncCheck(sync_check::Arguments),
}

/// Where settings and state are.
#[derive(Debug, Args)]
struct StateArguments {
    /// The folder in which runs and clusters write down what they own [default: as trellis.toml says, else in the user's state folder]
    #[arg(long, env = "TRELLIS_STATE", value_name = "DIR", global = true)]
    state: Option<PathBuf>,
    /// The settings [default: the nearest trellis.toml in this folder and those above it]
    #[arg(long, env = "TRELLIS_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

/// Which cluster is meant.
#[derive(Debug, Args)]
struct ClusterArguments {
    /// The cluster; may be left out while only one is up.
    #[arg(short, long, value_name = "NAME")]
    cluster: Option<ClusterName>,
}

impl StateArguments {
    fn settings(&self) -> Result<Settings, Failure> {
        let start = env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        let settings = Settings::load(&SettingsSource {
            file: self.config.clone(),
            start,
            environment: Environment::of_process(),
        });
        settings.map_err(|error| Failure::wrong_file(&error))
    }

    /// A state folder that was said needs no settings, so that bad ones keep nobody from cleaning up.
    fn state(&self) -> Result<PathBuf, Failure> {
        match &self.state {
            Some(state) => Ok(state.clone()),
            None => Ok(self.settings()?.state_folder()),
        }
    }

    fn client(&self, which: &ClusterArguments) -> Result<ClusterClient, Failure> {
        let state = self.state()?;
        Ok(which.client(&state)?)
    }
}

impl ClusterArguments {
    fn client(&self, state: &std::path::Path) -> Result<ClusterClient, ClientError> {
        let by = asked_by("trellis");
        match &self.cluster {
            Some(name) => ClusterClient::find(state, name, &by),
            None => ClusterClient::only(state, &by),
        }
    }
}

/// The command with what it can start; made by a composition root.
#[must_use]
#[derive(Default)]
pub struct Trellis {
    apps: Vec<Arc<dyn Application>>,
    deployers: Vec<(&'static str, MakeDeployer)>,
    attach: Vec<Arc<dyn AttachProvider>>,
    #[cfg(feature = "record")]
    recorded: Vec<(AppName, MakeWatched)>,
}

impl Trellis {
    /// A command that can start nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers an application. A spec that names none means the first.
    pub fn app(mut self, app: impl Application) -> Self {
        self.apps.push(Arc::new(app));
        self
    }

    /// Registers a backend, made of the settings when it is needed. A spec that names none means the one that the settings name, or the first.
    pub fn deployer<D: Deployer>(
        mut self,
        name: &'static str,
        make: impl Fn(&RunSettings) -> D + 'static,
    ) -> Self {
        let make = move |settings: &RunSettings| -> Arc<dyn Deployer> { Arc::new(make(settings)) };
        self.deployers.push((name, Box::new(make)));
        self
    }

    /// Registers what finds clusters that run already. Clusters of `trellis up` are found without.
    pub fn attach_provider(mut self, provider: impl AttachProvider) -> Self {
        self.attach.push(Arc::new(provider));
        self
    }

    /// Registers what is observed of the nodes of `app` when a run of them is put on record. Their uptime is without.
    ///
    /// # Panics
    /// When `app` cannot be the name of an application.
    #[cfg(feature = "record")]
    pub fn recorded(
        mut self,
        app: &str,
        watch: impl Fn(&SharedInventory) -> Vec<Watched> + Send + Sync + 'static,
    ) -> Self {
        let app = app.parse().expect("it names an application");
        self.recorded.push((app, Box::new(watch)));
        self
    }

    /// Runs the command with the arguments of this process.
    pub fn main(self) -> ExitCode {
        let Arguments { place, command } = Arguments::parse();
        let done = match command {
            Command::Up(arguments) => up::run(self, &place, &arguments),
            Command::Run(arguments) => run::run(self, &place, &arguments),
            Command::Down(arguments) => down::run(&place, &arguments),
            Command::Status(arguments) => status::run(&place, &arguments),
            Command::Logs(arguments) => logs::run(&place, &arguments),
            Command::Start(arguments) => ask::start(&place, &arguments),
            Command::Stop(arguments) => ask::stop(&place, &arguments),
            Command::Restart(arguments) => ask::restart(&place, arguments),
            #[cfg(feature = "record")]
            Command::History(arguments) => history::run(&place, &arguments),
            Command::Clean(arguments) => clean::run(&place, &arguments),
            Command::SyncCheck(arguments) => sync_check::run(&arguments),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.exit(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
