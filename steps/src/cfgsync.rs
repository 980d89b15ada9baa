//! cfgsync: phrases about config delivery by itself, with its server and its client as programs.
//!
//! How the nodes of a cluster get their files is no phrase: it happens whenever one starts.

mod programs;

use std::{net::IpAddr, time::Duration};

use cucumber::{gherkin::Step, given, then, when};

pub(crate) use programs::CfgsyncPrograms;

use programs::{Disk, Mode};

use crate::{
    StepError, StepResult, TrellisWorld, Within,
    effect::{Effect, StepArguments, StepEffects},
};

/// The columns of a table of files.
const FILE_COLUMNS: [&str; 3] = ["path", "content", "mode"];
/// How long the programs may take for what they do at once.
const SOON: Duration = Duration::from_secs(10);
/// Where a node is unless a phrase says otherwise.
const LOOPBACK: &str = "127.0.0.1";

pub(crate) const EFFECTS: &[StepEffects] = &[
    StepEffects {
        expression: "cfgsync serves this bundle:",
        of: needs_yaml,
    },
    StepEffects {
        expression: "cfgsync serves these files when all of their nodes have registered:",
        of: needs_yaml,
    },
    StepEffects {
        expression: "node {string} has these files within {duration}:",
        of: |step| step.rows(&FILE_COLUMNS).map(|_| Vec::new()),
    },
    StepEffects {
        expression: "node {string} at {word} asks cfgsync for its files",
        of: |step| step.get::<IpAddr>(1).map(|_| Vec::new()),
    },
    StepEffects {
        expression: "cfgsync knows node {string} at {word}",
        of: |step| step.get::<IpAddr>(1).map(|_| Vec::new()),
    },
];

fn needs_yaml(step: &StepArguments) -> Result<Vec<Effect>, String> {
    match &step.doc_string {
        Some(_) => Ok(Vec::new()),
        None => Err("the step needs a doc string with nodes and their files in YAML".to_owned()),
    }
}

/// Starts a cfgsync server on loopback that serves the bundle in the doc string to whoever is in it.
#[given(expr = "cfgsync serves this bundle:")]
#[when(expr = "cfgsync serves this bundle:")]
#[then(expr = "cfgsync serves this bundle:")]
async fn serves_bundle(world: &mut TrellisWorld, step: &Step) -> StepResult {
    serve(world, Mode::Bundle, step).await
}

/// Starts a cfgsync server on loopback that serves the files in the doc string to their nodes, to none before all of them have registered.
#[given(expr = "cfgsync serves these files when all of their nodes have registered:")]
#[when(expr = "cfgsync serves these files when all of their nodes have registered:")]
#[then(expr = "cfgsync serves these files when all of their nodes have registered:")]
async fn serves_registered(world: &mut TrellisWorld, step: &Step) -> StepResult {
    serve(world, Mode::Registration, step).await
}

async fn serve(world: &mut TrellisWorld, mode: Mode, step: &Step) -> StepResult {
    let Some(files) = &step.docstring else {
        return Err(StepError::new("the step needs a doc string with YAML"));
    };
    let commands = world.suite.cfgsync_commands.clone();
    let folder = world.folder.join("cfgsync");
    world.cfgsync = CfgsyncPrograms::new(commands, folder);
    world.cfgsync.serve(mode, files, SOON).await
}

/// Kills the cfgsync server with SIGKILL; it forgets who had registered.
#[given(expr = "the cfgsync server is killed")]
#[when(expr = "the cfgsync server is killed")]
#[then(expr = "the cfgsync server is killed")]
async fn server_killed(world: &mut TrellisWorld) -> StepResult {
    world.cfgsync.kill_server(SOON).await
}

/// Starts the cfgsync server again, on the same port and with the same files.
#[given(expr = "the cfgsync server starts again")]
#[when(expr = "the cfgsync server starts again")]
#[then(expr = "the cfgsync server starts again")]
async fn server_starts_again(world: &mut TrellisWorld) -> StepResult {
    world.cfgsync.restart_server(SOON).await
}

/// Starts the cfgsync client for a node and goes on; it registers, waits for its files for 60 seconds at most, and writes them to a folder of its own.
#[given(expr = "node {string} asks cfgsync for its files")]
#[when(expr = "node {string} asks cfgsync for its files")]
#[then(expr = "node {string} asks cfgsync for its files")]
fn asks(world: &mut TrellisWorld, node: String) -> StepResult {
    world.cfgsync.ask(&node, LOOPBACK, Disk::Usual)
}

/// As without an address, for a node that others reach at this one. A client of the same node that still runs is ended first.
#[given(expr = "node {string} at {word} asks cfgsync for its files")]
#[when(expr = "node {string} at {word} asks cfgsync for its files")]
#[then(expr = "node {string} at {word} asks cfgsync for its files")]
fn asks_at(world: &mut TrellisWorld, node: String, address: String) -> StepResult {
    world.cfgsync.ask(&node, &address, Disk::Usual)
}

/// As on a disk with room, for a node whose output folder is a file system that takes two files and then is full.
#[given(expr = "node {string} asks cfgsync for its files with a disk that has room for two files")]
#[when(expr = "node {string} asks cfgsync for its files with a disk that has room for two files")]
#[then(expr = "node {string} asks cfgsync for its files with a disk that has room for two files")]
fn asks_small_disk(world: &mut TrellisWorld, node: String) -> StepResult {
    world.cfgsync.ask(&node, LOOPBACK, Disk::Small)
}

/// As in a folder that can be written, for a node whose output folder is a file system that is mounted read-only.
#[given(expr = "node {string} asks cfgsync for its files with a read-only disk")]
#[when(expr = "node {string} asks cfgsync for its files with a read-only disk")]
#[then(expr = "node {string} asks cfgsync for its files with a read-only disk")]
fn asks_read_only(world: &mut TrellisWorld, node: String) -> StepResult {
    world.cfgsync.ask(&node, LOOPBACK, Disk::ReadOnly)
}

/// Waits until the client of the node says so while it goes on waiting.
#[given(expr = "node {string} waits, because {string} within {duration}")]
#[when(expr = "node {string} waits, because {string} within {duration}")]
#[then(expr = "node {string} waits, because {string} within {duration}")]
async fn waits(
    world: &mut TrellisWorld,
    node: String,
    reason: String,
    within: Within,
) -> StepResult {
    let client = world.cfgsync.client(&node)?;
    world.interruptible(client.waits(&reason, *within)).await?
}

/// Waits until the client of the node has ended well, and fails unless the node's folder has exactly the files in the table, with the columns `path`, `content` and `mode`. Line ends at the end of a content are not compared.
#[given(expr = "node {string} has these files within {duration}:")]
#[when(expr = "node {string} has these files within {duration}:")]
#[then(expr = "node {string} has these files within {duration}:")]
async fn has_files(
    world: &mut TrellisWorld,
    node: String,
    within: Within,
    step: &Step,
) -> StepResult {
    let arguments = StepArguments {
        table: step.table.as_ref().map(|table| table.rows.clone()),
        ..StepArguments::default()
    };
    let rows = arguments.rows(&FILE_COLUMNS).map_err(StepError::new)?;
    let client = world.cfgsync.client(&node)?;
    world.interruptible(client.succeeds(*within)).await??;
    client.has_exactly(rows)
}

/// Waits until the client of the node has failed with this reason, and fails if it has left anything in the node's folder, half-written files included.
#[given(expr = "node {string} gets nothing within {duration}, because {string}")]
#[when(expr = "node {string} gets nothing within {duration}, because {string}")]
#[then(expr = "node {string} gets nothing within {duration}, because {string}")]
async fn gets_nothing(
    world: &mut TrellisWorld,
    node: String,
    within: Within,
    reason: String,
) -> StepResult {
    let client = world.cfgsync.client(&node)?;
    world
        .interruptible(client.fails(&reason, *within))
        .await??;
    client.has_nothing()
}

/// Asks the cfgsync server for its list of registrations, and fails unless the node is in it with this address.
#[given(expr = "cfgsync knows node {string} at {word}")]
#[when(expr = "cfgsync knows node {string} at {word}")]
#[then(expr = "cfgsync knows node {string} at {word}")]
async fn knows_at(world: &mut TrellisWorld, node: String, address: String) -> StepResult {
    let known = world.interruptible(world.cfgsync.registrations()).await??;
    match known.get(&node) {
        Some(at) if *at == address => Ok(()),
        Some(at) => Err(StepError::new(format!(
            "cfgsync knows {node} at {at}, not at {address}"
        ))),
        None => Err(StepError::new(format!(
            "cfgsync does not know {node}; it knows {:?}",
            known.keys().collect::<Vec<_>>()
        ))),
    }
}
