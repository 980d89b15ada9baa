//! `trellis up`: brings a cluster up from a file, and keeps it.

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;
use trellis_bootstrap::{Application, Deployer};
use trellis_manual::{ClusterName, UpClusters, UpRequest, UpSpec, asked_by, up};
use trellis_settings::{Environment, RunSettings};

use super::{
    StateArguments, Trellis, console::Console, down::told, exit::Failure, signals::Signals,
};

/// Brings a cluster up and keeps it until `trellis down`, Ctrl-C, or the end of the terminal.
///
/// The first Ctrl-C ends it in order: nodes that it started are stopped and everything they kept is removed. The second one ends it at once.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The file that says what to bring up.
    spec: PathBuf,
    /// What to call the cluster [default: as the file says, else the name of the file]
    #[arg(long, value_name = "NAME")]
    name: Option<ClusterName>,
    /// Writes nothing but errors.
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn run(
    trellis: Trellis,
    place: &StateArguments,
    said: &Arguments,
) -> Result<(), Failure> {
    let console = Arc::new(Console::new(said.quiet));
    let request = request(trellis, place, &said.spec, said.name.as_ref(), &console)?;
    block_on(async {
        let signals = Signals::take().map_err(|error| Failure::because_of(&error))?;
        tokio::spawn(signals.answer(request.end.clone(), Arc::clone(&console)));
        keep(request, &console).await
    })?
}

/// What a supervisor needs to know in order to bring up what `file` says.
pub(crate) fn request(
    trellis: Trellis,
    place: &StateArguments,
    file: &Path,
    name: Option<&ClusterName>,
    console: &Arc<Console>,
) -> Result<UpRequest, Failure> {
    let settings = place.settings()?;
    let spec = UpSpec::load(file)?;
    let app = trellis.chosen_app(&spec)?;
    let deployer = trellis.chosen_deployer(&spec, &settings.run)?;
    let name = match name {
        Some(name) => name.clone(),
        None => spec.name()?,
    };
    let state = place.state.clone();
    let state = state.unwrap_or_else(|| settings.state_folder());
    let mut attach = trellis.attach;
    let found_by = UpClusters::new(&state).asked_by(asked_by(&format!("cluster {name}")));
    attach.push(Arc::new(found_by));
    Ok(UpRequest {
        name,
        spec_file: file.display().to_string(),
        spec: spec.scenario(app.name().clone(), &Environment::of_process())?,
        app,
        deployer,
        attach,
        state,
        progress: Arc::clone(console) as _,
        end: CancellationToken::new(),
        companions: Vec::new(),
    })
}

/// Keeps a cluster until it is ended, and says what became of it.
pub(crate) async fn keep(request: UpRequest, console: &Console) -> Result<(), Failure> {
    let name = request.name.clone();
    let ended = up(request).await;
    let ended = ended.map_err(|error| Failure::because_of(&error))?;
    if ended.interrupted {
        return Err(Failure::interrupted(format!(
            "{name} was ended before it was ready"
        )));
    }
    console.say(&told(&name, &ended.released));
    match &ended.released.left {
        None => Ok(()),
        Some(left) => Err(Failure::could_not(left)),
    }
}

/// Runs `work` on a runtime of its own.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::because_of(&error))?;
    Ok(runtime.block_on(work))
}

impl Trellis {
    fn chosen_app(&self, spec: &UpSpec) -> Result<Arc<dyn Application>, Failure> {
        let known: Vec<&str> = self.apps.iter().map(|app| app.name().as_str()).collect();
        let found = match (&spec.app, self.apps.as_slice()) {
            (_, []) => {
                return Err(Failure::wrong(
                    "this trellis knows no application, so it can start no cluster; use that of your test crate, a binary that calls trellis::command::Trellis::new().app(..).main()",
                ));
            }
            (Some(wanted), apps) => apps.iter().find(|app| app.name() == wanted),
            (None, [first, ..]) => Some(first),
        };
        found.cloned().ok_or_else(|| {
            let wanted = spec.app.as_ref().map_or("", |app| app.as_str());
            Failure::wrong(format!(
                "{} wants the application {wanted}, which this trellis does not know; known: {}",
                spec.file.display(),
                known.join(", ")
            ))
        })
    }

    fn chosen_deployer(
        &self,
        spec: &UpSpec,
        settings: &RunSettings,
    ) -> Result<Arc<dyn Deployer>, Failure> {
        let wanted = spec.deployer.as_ref().or(settings.deployer.as_ref());
        let mut deployers = self.deployers.iter();
        let found = match wanted {
            None => deployers.next(),
            Some(wanted) => deployers.find(|(name, _)| name == wanted),
        };
        let known: Vec<&str> = self.deployers.iter().map(|(name, _)| *name).collect();
        found.map(|(_, make)| make(settings)).ok_or_else(|| {
            let wanted = wanted.map_or("any", String::as_str);
            Failure::wrong(format!(
                "there is no backend {wanted:?}; known backends: {}",
                known.join(", ")
            ))
        })
    }
}
