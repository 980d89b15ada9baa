//! The two programs: from the command line to the exit code.
//!
//! Here so that whoever wants them under another name, or in a binary of their own, can have them.

use std::{
    error::Error,
    iter,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    pin::pin,
    process::{Command, ExitCode},
    sync::Mutex,
    time::Duration,
};

use cfgsync_artifacts::ArtifactSet;
use cfgsync_core::{CfgsyncClient, WaitProgress};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    CfgsyncServerConfig, ClientSettings, EnvironmentError, FetchError, ListeningCfgsync,
    ServeError, fetch,
};

const EXIT_FAILED: u8 = 1;
const EXIT_SETTINGS: u8 = 2;
const EXIT_NOT_WRITTEN: u8 = 3;
const EXIT_NOT_RUN: u8 = 127;
/// A signal's number is added to this in the exit code of a program that it ended.
const EXIT_SIGNAL: u8 = 128;
/// How often a client that waits for the same thing says so.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// Serves configurations to nodes.
///
/// Exit code: 0 ended by SIGINT or SIGTERM, 1 it could not serve, 2 the configuration or the call was wrong.
#[derive(Debug, Parser)]
#[command(name = "cfgsync-server", disable_version_flag = true)]
struct ServerArguments {
    /// What to serve, and where; a YAML file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Checks the configuration and everything that it names, and serves nothing.
    #[arg(long)]
    check: bool,
}

/// Registers this node, waits for its configuration, and writes it; then becomes the program, if one is given.
///
/// Everything else is said in the environment: CFGSYNC_SERVER, CFGSYNC_IDENTIFIER, CFGSYNC_OUTPUT_DIR or CFGSYNC_ROUTES (artifact=path, ..), and where wanted CFGSYNC_IP, CFGSYNC_METADATA[_FILE] (JSON), CFGSYNC_DEADLINE_SECS (300), CFGSYNC_TOKEN[_FILE].
///
/// Exit code: 0 written, 1 not fetched, 2 the environment was wrong, 3 fetched and not written, 127 the program could not be run, 130 or 143 ended by a signal (not before files that are being written are); with a program, the program's.
#[derive(Debug, Parser)]
#[command(name = "cfgsync-client", disable_version_flag = true)]
struct ClientArguments {
    /// The program to become, and its arguments.
    #[arg(last = true, value_name = "PROGRAM")]
    program: Vec<String>,
}

/// Why the client ended without its files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientRunError {
    /// The environment is wrong.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The files did not come, or could not be written.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// Does what `cfgsync-client` does, but for the program: reads the environment, says on stderr what it waits for, and writes the files.
///
/// # Errors
/// [`ClientRunError`].
///
/// # Cancel safety
/// As for [`crate::fetch_and_write_artifacts`].
pub async fn run_cfgsync_client_from_env() -> Result<Vec<PathBuf>, ClientRunError> {
    let settings = ClientSettings::from_env()?;
    let files = fetch(&settings).await?;
    Ok(fetch::write(&settings.registration, files, &settings.outputs).await?)
}

/// Fetches, and says meanwhile what it waits for.
async fn fetch(settings: &ClientSettings) -> Result<ArtifactSet, FetchError> {
    let said = Mutex::new(None);
    let mut client = CfgsyncClient::new(settings.server.as_str())
        .with_progress(move |progress| say(&said, progress));
    if let Some(token) = settings.token.clone() {
        client = client.with_bearer_token(token);
    }
    fetch::fetch_with(&client, &settings.registration, settings.within).await
}

/// Says what is waited for, when that is news or a while ago.
fn say(said: &Mutex<Option<(String, Duration)>>, progress: &WaitProgress) {
    let state = progress.state.to_string();
    let mut said = said
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let is_news = said.as_ref().is_none_or(|(before, at)| {
        *before != state || progress.waited.saturating_sub(*at) >= SAID_EVERY
    });
    if is_news {
        let seconds = progress.waited.as_secs();
        eprintln!("{}: waiting for {seconds} s: {state}", progress.identifier);
        *said = Some((state, progress.waited));
    }
}

/// The program `cfgsync-client`.
pub fn client_main() -> ExitCode {
    let arguments = ClientArguments::parse();
    match run(run_client()) {
        Ok(Ok(files)) => {
            for file in files {
                eprintln!("wrote {}", file.display());
            }
        }
        Ok(Err(error)) => return fail(&error, exit_code(&error)),
        Err(ended) => return ended,
    }
    let Some((program, rest)) = arguments.program.split_first() else {
        return ExitCode::SUCCESS;
    };
    // It returns only when the program did not begin.
    let error = Command::new(program)
        .args(rest)
        // It is between the server and this client.
        .env_remove("CFGSYNC_TOKEN")
        .exec();
    eprintln!("error: {program} cannot be run: {error}");
    EXIT_NOT_RUN.into()
}

fn exit_code(error: &ClientRunError) -> u8 {
    match error {
        ClientRunError::Environment(_) => EXIT_SETTINGS,
        ClientRunError::Fetch(FetchError::Write { .. }) => EXIT_NOT_WRITTEN,
        ClientRunError::Fetch(_) => EXIT_FAILED,
    }
}

/// Runs the client until it is done or a signal ends it. The first process of a container has to look after signals itself.
///
/// A signal ends the wait at once. One that comes while files are written ends the client after that: a set that is half written helps nobody.
async fn run_client() -> Result<Result<Vec<PathBuf>, ClientRunError>, ExitCode> {
    let settings = match ClientSettings::from_env() {
        Ok(settings) => settings,
        Err(error) => return Ok(Err(error.into())),
    };
    let mut ended = pin!(ended_by_signal());
    let fetched = tokio::select! {
        fetched = fetch(&settings) => fetched,
        code = &mut ended => return Err(code.into()),
    };
    let files = match fetched {
        Ok(files) => files,
        Err(error) => return Ok(Err(error.into())),
    };
    let written = fetch::write(&settings.registration, files, &settings.outputs).await;
    tokio::select! {
        biased;
        // It was heard while the files were written; what went wrong with them is said all the same.
        code = &mut ended, if written.is_ok() => Err(code.into()),
        () = std::future::ready(()) => Ok(written.map_err(Into::into)),
    }
}

/// The program `cfgsync-server`.
pub fn server_main() -> ExitCode {
    let arguments = ServerArguments::parse();
    let config = match CfgsyncServerConfig::from_file(&arguments.config) {
        Ok(config) => config,
        Err(error) => return fail(&error, EXIT_SETTINGS),
    };
    if arguments.check {
        return match config.open().and(config.token()) {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => fail(&error, EXIT_SETTINGS),
        };
    }
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .init();
    run(serve(config))
}

async fn serve(config: CfgsyncServerConfig) -> ExitCode {
    let listening = match ListeningCfgsync::open(&config) {
        Ok(listening) => listening,
        Err(error @ ServeError::Config(_)) => return fail(&error, EXIT_SETTINGS),
        Err(error) => return fail(&error, EXIT_FAILED),
    };
    println!("serving on http://{}", listening.address());
    let until_signal = async {
        ended_by_signal().await;
    };
    match listening.serve(until_signal).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, EXIT_FAILED),
    }
}

/// Waits for SIGINT or SIGTERM, and gives the exit code that goes with it.
async fn ended_by_signal() -> u8 {
    let wait = |kind: SignalKind| async move {
        match signal(kind) {
            Ok(mut signals) => signals.recv().await.map_or((), |()| ()),
            Err(_) => std::future::pending().await,
        }
        EXIT_SIGNAL + u8::try_from(kind.as_raw_value()).unwrap_or(0)
    };
    tokio::select! {
        code = wait(SignalKind::interrupt()) => code,
        code = wait(SignalKind::terminate()) => code,
    }
}

fn run<T>(program: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("the system gives a program its threads");
    let done = runtime.block_on(program);
    // Nothing is being written any more; all that may be left is a look-up of a name, for which nobody waits.
    runtime.shutdown_background();
    done
}

/// Prints an error with all its causes in one line.
fn fail(error: &(dyn Error + 'static), code: u8) -> ExitCode {
    let causes = iter::successors(error.source(), |&cause| cause.source());
    let line = causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"));
    eprintln!("error: {line}");
    code.into()
}
