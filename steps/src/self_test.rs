//! Self-test: phrases about the harness itself, which run it as a child process and read what it prints.
//!
//! The child is this very program on a feature of its own, with its own run and state folders, so that nothing it does can touch the run it is part of.

mod child;
mod kept;

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use cucumber::{gherkin::Step, given, then, when};

use child::HarnessRun;
use kept::Kept;
use trellis_domain::Secret;

use crate::{
    NodeRef, StepError, StepResult, TrellisWorld, Within,
    effect::{Effect, StepArguments, StepEffects},
    outsiders::files_below,
};

/// How long a child run may take unless a phrase says otherwise.
const RUN_WITHIN: Duration = Duration::from_secs(90);
/// The file with the settings of a child.
const SETTINGS: &str = "trellis.toml";
/// How many ports the child may choose from when a range is given to it.
const PORT_RANGE: u16 = 40;
/// Where an only port is looked for: below those that the kernel gives to outgoing connections.
const ONLY_PORTS: std::ops::Range<u16> = 18_000..19_000;

pub(crate) const EFFECTS: &[StepEffects] = &[
    StepEffects {
        expression: "somebody else kills {node}",
        of: |step| Ok(vec![Effect::MentionsAny(step.get(0)?)]),
    },
    StepEffects {
        expression: "I run the harness on this feature:",
        of: needs_a_feature,
    },
    StepEffects {
        expression: "I start the harness on this feature:",
        of: needs_a_feature,
    },
    StepEffects {
        expression: "the harness finds the file {string}:",
        of: |step| match &step.doc_string {
            Some(_) => Ok(Vec::new()),
            None => Err("the step needs a doc string with the file in it".to_owned()),
        },
    },
];

fn needs_a_feature(step: &StepArguments) -> Result<Vec<Effect>, String> {
    match &step.doc_string {
        Some(_) => Ok(Vec::new()),
        None => Err("the step needs a doc string with a feature in it".to_owned()),
    }
}

/// What a scenario prepares for a child run, and the run.
#[derive(Default)]
pub(crate) struct SelfTest {
    arguments: Vec<String>,
    variables: BTreeMap<String, Secret>,
    /// Held until the scenario ends, so that the port stays taken.
    taken: Option<TcpListener>,
    run: Option<HarnessRun>,
    kept: Kept,
}

impl SelfTest {
    fn run(&self) -> StepResult<&HarnessRun> {
        self.run.as_ref().ok_or_else(|| {
            StepError::new("the harness was not run yet; say `I run the harness on this feature:`")
        })
    }

    /// Everything that the child left in its folders, and what it printed.
    pub(crate) fn written(&self) -> StepResult<Vec<(String, Vec<u8>)>> {
        let run = self.run()?;
        let mut written = vec![(
            "what it printed".to_owned(),
            run.output().as_bytes().to_vec(),
        )];
        for folder in run.folders() {
            if folder.exists() {
                files_below(&folder, &mut written)?;
            }
        }
        Ok(written)
    }

    /// Ends a child that still runs.
    pub(crate) async fn end(self) {
        if let Some(run) = self.run {
            run.end().await;
        }
        self.kept.end().await;
    }
}

/// Adds arguments, separated by spaces, to the command line of the harness runs that follow in this scenario.
#[given(expr = "the harness is called with {string}")]
#[when(expr = "the harness is called with {string}")]
#[then(expr = "the harness is called with {string}")]
fn called_with(world: &mut TrellisWorld, arguments: String) {
    world
        .self_test
        .arguments
        .extend(arguments.split_whitespace().map(str::to_owned));
}

/// Writes the doc string into a file beside the features of the harness runs that follow in this scenario. `env(THEIRS_1_URL)` and the like are replaced by the addresses of nodes that somebody else runs. A file called `trellis.toml` has the settings of those runs.
#[given(expr = "the harness finds the file {string}:")]
#[when(expr = "the harness finds the file {string}:")]
#[then(expr = "the harness finds the file {string}:")]
async fn finds_file(world: &mut TrellisWorld, name: String, step: &Step) -> StepResult {
    let text = step.docstring.clone().unwrap_or_default();
    let variables = world.outsiders.variables();
    let urls = variables.iter().filter(|(name, _)| name.ends_with("_URL"));
    let text = urls.fold(text, |text, (name, url)| {
        text.replace(&format!("env({name})"), url.expose())
    });
    let folder = self_test_folder(world);
    tokio::fs::create_dir_all(&folder).await?;
    let file = folder.join(&name);
    tokio::fs::write(&file, text.trim_start_matches('\n')).await?;
    if name == SETTINGS {
        let file = file.display().to_string();
        world
            .self_test
            .arguments
            .extend(["--config".to_owned(), file]);
    }
    Ok(())
}

fn self_test_folder(world: &TrellisWorld) -> PathBuf {
    world.folder.join("self-test")
}

/// Listens on a free port until the scenario ends, and gives the harness runs that follow a range of 41 ports that begins with it.
#[given(expr = "the harness is given a range of ports of which the first is taken")]
#[when(expr = "the harness is given a range of ports of which the first is taken")]
#[then(expr = "the harness is given a range of ports of which the first is taken")]
fn taken_port(world: &mut TrellisWorld) -> StepResult {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let first = listener.local_addr()?.port();
    let last = first.saturating_add(PORT_RANGE);
    world.self_test.taken = Some(listener);
    world
        .self_test
        .arguments
        .extend(["--ports".to_owned(), format!("{first}-{last}")]);
    Ok(())
}

/// Gives the harness runs that follow one port to choose from, which is free now; the variable has the URL that a node would have there.
#[given(expr = "the harness is given one port, whose URL is in the variable {word}")]
#[when(expr = "the harness is given one port, whose URL is in the variable {word}")]
#[then(expr = "the harness is given one port, whose URL is in the variable {word}")]
fn only_port(world: &mut TrellisWorld, variable: String) -> StepResult {
    // Scenarios of this process begin at different places, and so do other processes.
    let offset = u64::from(std::process::id()) * 37 + world.suite.next_number();
    let offset = usize::try_from(offset).unwrap_or_default() % ONLY_PORTS.len();
    let mut ports = ONLY_PORTS.skip(offset).chain(ONLY_PORTS);
    let free = ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let Some(port) = free else {
        return Err(StepError::new(format!("no port of {ONLY_PORTS:?} is free")));
    };
    let url = format!("http://127.0.0.1:{port}");
    let test = &mut world.self_test;
    test.variables.insert(variable, Secret::from(url));
    let range = format!("{port}-{port}");
    test.arguments.extend(["--ports".to_owned(), range]);
    Ok(())
}

/// Runs this program as a child process on the feature in the doc string, with folders of its own, and waits until it ends, at most 90 seconds. The exit code is not judged here.
#[given(expr = "I run the harness on this feature:")]
#[when(expr = "I run the harness on this feature:")]
#[then(expr = "I run the harness on this feature:")]
async fn run_harness(world: &mut TrellisWorld, step: &Step) -> StepResult {
    start_child(world, step).await?;
    let run = world.self_test.run()?;
    let end = run.ended(RUN_WITHIN);
    world
        .watched("the harness to end", RUN_WITHIN, || run.last_line(), end)
        .await?
}

/// Starts this program as a child process on the feature in the doc string, with folders of its own, and does not wait.
#[given(expr = "I start the harness on this feature:")]
#[when(expr = "I start the harness on this feature:")]
#[then(expr = "I start the harness on this feature:")]
async fn start_harness(world: &mut TrellisWorld, step: &Step) -> StepResult {
    start_child(world, step).await
}

async fn start_child(world: &mut TrellisWorld, step: &Step) -> StepResult {
    let Some(feature) = &step.docstring else {
        return Err(StepError::new(
            "the step needs a doc string with a feature in it",
        ));
    };
    let mut variables = world.outsiders.variables();
    variables.extend(world.self_test.variables.clone());
    let run = HarnessRun::start(
        &self_test_folder(world),
        feature.trim_start_matches('\n'),
        &world.self_test.arguments,
        &variables,
    )
    .await?;
    world.self_test.run = Some(run);
    Ok(())
}

/// Kills the child with SIGKILL and waits until it is gone, at most 90 seconds.
#[given(expr = "I kill the harness")]
#[when(expr = "I kill the harness")]
#[then(expr = "I kill the harness")]
async fn kill_harness(world: &mut TrellisWorld) -> StepResult {
    world.self_test.run()?.kill()?;
    world.self_test.run()?.ended(RUN_WITHIN).await
}

/// Sends SIGINT to the child, as one Ctrl-C does, and does not wait.
#[given(expr = "I interrupt the harness")]
#[when(expr = "I interrupt the harness")]
#[then(expr = "I interrupt the harness")]
fn interrupt(world: &mut TrellisWorld) -> StepResult {
    world.self_test.run()?.interrupt()
}

/// Waits until the child has ended, with whatever exit code.
#[given(expr = "the harness ends within {duration}")]
#[when(expr = "the harness ends within {duration}")]
#[then(expr = "the harness ends within {duration}")]
async fn ends(world: &mut TrellisWorld, within: Within) -> StepResult {
    let run = world.self_test.run()?;
    world
        .watched(
            "the harness to end",
            *within,
            || run.last_line(),
            run.ended(*within),
        )
        .await?
}

/// Fails unless the child has ended with this exit code.
#[given(expr = "the exit code is {int}")]
#[when(expr = "the exit code is {int}")]
#[then(expr = "the exit code is {int}")]
fn exit_code(world: &mut TrellisWorld, code: i32) -> StepResult {
    let run = world.self_test.run()?;
    match run.exit_code() {
        Some(found) if found == code => Ok(()),
        found => Err(run.complaint(&format!("the exit code is {found:?}, not {code}"))),
    }
}

/// Waits until the child has printed this text on either output, at any time since its start. Fails at once when it ends without.
#[given(expr = "it prints {string} within {duration}")]
#[when(expr = "it prints {string} within {duration}")]
#[then(expr = "it prints {string} within {duration}")]
async fn prints_within(world: &mut TrellisWorld, text: String, within: Within) -> StepResult {
    let run = world.self_test.run()?;
    let goal = format!("the harness to print {text:?}");
    world
        .watched(
            &goal,
            *within,
            || run.last_line(),
            run.prints(&text, *within),
        )
        .await?
}

/// Fails unless the child has printed this text on either output so far.
#[given(expr = "it prints {string}")]
#[when(expr = "it prints {string}")]
#[then(expr = "it prints {string}")]
fn prints(world: &mut TrellisWorld, text: String) -> StepResult {
    let run = world.self_test.run()?;
    if run.output().contains(&text) {
        return Ok(());
    }
    Err(run.complaint(&format!("the harness did not print {text:?}")))
}

/// Fails if the child has printed this text on either output so far.
#[given(expr = "it does not print {string}")]
#[when(expr = "it does not print {string}")]
#[then(expr = "it does not print {string}")]
fn does_not_print(world: &mut TrellisWorld, text: String) -> StepResult {
    let run = world.self_test.run()?;
    if run.output().contains(&text) {
        return Err(run.complaint(&format!("the harness printed {text:?}")));
    }
    Ok(())
}

/// Fails if a file that the harness run left, or what it printed, has this text in it.
#[given(expr = "nothing that the harness left says {string}")]
#[when(expr = "nothing that the harness left says {string}")]
#[then(expr = "nothing that the harness left says {string}")]
fn nothing_left_says(world: &mut TrellisWorld, text: String) -> StepResult {
    let written = world.self_test.written()?;
    let found = written.iter().filter(|(_, written)| says(written, &text));
    let found: Vec<&str> = found.map(|(what, _)| what.as_str()).collect();
    if found.is_empty() {
        return Ok(());
    }
    Err(StepError::new(format!("it is in {}", found.join(", "))))
}

/// Fails unless the child left a file of this name that has this text in it.
#[given(expr = "the harness left a file {string} that says {string}")]
#[when(expr = "the harness left a file {string} that says {string}")]
#[then(expr = "the harness left a file {string} that says {string}")]
fn left_file_says(world: &mut TrellisWorld, file: String, text: String) -> StepResult {
    let written = world.self_test.written()?;
    let mut left = written
        .iter()
        .filter(|(what, _)| Path::new(what).ends_with(&file));
    if left.any(|(_, written)| says(written, &text)) {
        return Ok(());
    }
    let run = world.self_test.run()?;
    Err(run.complaint(&format!("the harness left no {file} that says {text:?}")))
}

fn says(written: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(written).contains(text)
}

/// Fails unless the child ran for less than this, or has run for less so far.
#[given(expr = "the harness took less than {duration}")]
#[when(expr = "the harness took less than {duration}")]
#[then(expr = "the harness took less than {duration}")]
fn took(world: &mut TrellisWorld, within: Within) -> StepResult {
    let run = world.self_test.run()?;
    let took = run.took();
    if took < *within {
        return Ok(());
    }
    Err(run.complaint(&format!(
        "the harness took {took:?}, not less than {within}"
    )))
}

/// Fails unless the inventories that the child printed name exactly so many process ids, and none of these processes exists when the time is over. It goes on as soon as all are gone.
#[given(expr = "none of its {int} processes is left within {duration}")]
#[when(expr = "none of its {int} processes is left within {duration}")]
#[then(expr = "none of its {int} processes is left within {duration}")]
async fn no_process_left(world: &mut TrellisWorld, count: usize, within: Within) -> StepResult {
    let run = world.self_test.run()?;
    let pids = run.pids();
    if pids.len() != count {
        return Err(run.complaint(&format!(
            "the harness showed {} processes, not {count}",
            pids.len()
        )));
    }
    let gone = child::gone(&pids, *within);
    match world.interruptible(gone).await? {
        Ok(()) => Ok(()),
        Err(left) => Err(run.complaint(&format!(
            "processes are still there after {within}: {left:?}"
        ))),
    }
}

/// Runs `trellis clean` on the state folder of the child. Fails when the command does.
#[given(expr = "I run trellis clean")]
#[when(expr = "I run trellis clean")]
#[then(expr = "I run trellis clean")]
async fn clean(world: &mut TrellisWorld) -> StepResult {
    let Some(command) = world.suite.trellis_command.clone() else {
        return Err(StepError::new(
            "the composition root names no trellis command",
        ));
    };
    let report = world.self_test.run()?.clean(&command).await?;
    world.journal.note(format!("trellis clean: {report}"));
    Ok(())
}

/// Fails if the state folder of the child has the ledger of a run in it, live or abandoned, or its run folder a cluster folder that is not empty.
#[given(expr = "nothing of that run is left")]
#[when(expr = "nothing of that run is left")]
#[then(expr = "nothing of that run is left")]
fn nothing_left(world: &mut TrellisWorld) -> StepResult {
    let run = world.self_test.run()?;
    let left = run.left()?;
    if left.is_empty() {
        return Ok(());
    }
    Err(run.complaint(&format!(
        "something of the run is left: {}",
        left.join(", ")
    )))
}

/// Kills the process of a node without telling the harness, as somebody else on this machine could; also one of the nodes that somebody else runs, before or after the cluster has come up.
#[given(expr = "somebody else kills {node}")]
#[when(expr = "somebody else kills {node}")]
#[then(expr = "somebody else kills {node}")]
async fn killed_by_others(world: &mut TrellisWorld, node: NodeRef) -> StepResult {
    if let NodeRef::Named(name) = &node
        && world.outsiders.kill(name).await?
    {
        return Ok(());
    }
    let name = world.resolve(&node).await?;
    let node = world.cluster()?.node(&name)?;
    child::kill_behind_our_back(node.instance.as_deref().unwrap_or_default())
}
