//! Kept clusters: phrases about clusters that a person keeps with `trellis up`, beside the harness runs of a scenario.
//!
//! They share the state folder of those runs, so that the runs find them and `trellis clean` could.

use std::{collections::BTreeMap, path::PathBuf, process::Stdio, time::Duration};

use cucumber::{given, then, when};
use tokio::process::Command;

use crate::{Count, StepError, StepResult, TrellisWorld, child::ChildProcess};

use super::self_test_folder;

/// How long such a cluster may take to come up, and to end.
const WITHIN: Duration = Duration::from_secs(40);

/// The clusters that are up, by name.
#[derive(Default)]
pub(crate) struct Kept(BTreeMap<String, ChildProcess>);

impl Kept {
    /// Ends those that are still up.
    pub(crate) async fn end(self) {
        for (_, cluster) in self.0 {
            cluster.end().await;
        }
    }
}

/// Runs `trellis up` for so many nodes of the first application that the command knows, and waits until they are ready. The cluster stays until it is ended or the scenario is; the harness runs that follow can attach to it as `up:` and its name.
#[given(expr = "trellis up keeps the cluster {string} of {count} node(s)")]
#[when(expr = "trellis up keeps the cluster {string} of {count} node(s)")]
#[then(expr = "trellis up keeps the cluster {string} of {count} node(s)")]
async fn keep(world: &mut TrellisWorld, name: String, count: Count) -> StepResult {
    let folder = self_test_folder(world);
    tokio::fs::create_dir_all(&folder).await?;
    let spec = folder.join(format!("{name}.toml"));
    tokio::fs::write(&spec, format!("nodes = {}\n", *count)).await?;
    let mut command = trellis(world)?;
    command.arg("up").arg(&spec);
    let up = ChildProcess::start("trellis up", &mut command)?;
    let last = format!("NODE_{}", *count);
    let printed = up.prints(&last, WITHIN);
    let goal = format!("{name} to be up");
    let awaited = world
        .watched(&goal, WITHIN, || up.last_line(), printed)
        .await
        .and_then(|printed| printed);
    world.self_test.kept.0.insert(name, up);
    awaited
}

/// Runs `trellis down` for a cluster that `trellis up` keeps, and fails unless both end well.
#[given(expr = "trellis down ends the cluster {string}")]
#[when(expr = "trellis down ends the cluster {string}")]
#[then(expr = "trellis down ends the cluster {string}")]
async fn down(world: &mut TrellisWorld, name: String) -> StepResult {
    run(world, &["down", "--cluster", &name]).await?;
    let Some(up) = world.self_test.kept.0.remove(&name) else {
        return Err(StepError::new(format!("no cluster {name:?} was kept here")));
    };
    up.ended(WITHIN).await?;
    match up.exit_code() {
        Some(0) => Ok(()),
        code => Err(up.complaint(&format!("trellis up ended with {code:?}"))),
    }
}

/// Fails unless `trellis status` of a cluster that is kept shows this text.
#[given(expr = "trellis status of {string} shows {string}")]
#[when(expr = "trellis status of {string} shows {string}")]
#[then(expr = "trellis status of {string} shows {string}")]
async fn status(world: &mut TrellisWorld, name: String, text: String) -> StepResult {
    let shown = run(world, &["status", "--cluster", &name]).await?;
    if shown.contains(&text) {
        return Ok(());
    }
    Err(StepError::new(format!(
        "trellis status does not show {text:?}; it shows:\n{shown}"
    )))
}

fn trellis(world: &TrellisWorld) -> StepResult<Command> {
    let program: Option<&PathBuf> = world.suite.trellis_command.as_ref();
    let program =
        program.ok_or_else(|| StepError::new("the composition root names no trellis command"))?;
    let mut command = Command::new(program);
    command
        .env("TRELLIS_STATE", self_test_folder(world).join("state"))
        .env_remove("TRELLIS_CONFIG");
    Ok(command)
}

/// What the command writes, which must end well.
async fn run(world: &TrellisWorld, arguments: &[&str]) -> StepResult<String> {
    let mut command = trellis(world)?;
    let output = command.args(arguments).stdin(Stdio::null()).output();
    let output = world.interruptible(output).await??;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(StepError::new(format!(
        "trellis {} failed ({}):\n{text}{}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    )))
}
