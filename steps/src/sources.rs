//! Sources: phrases about nodes that are not ours - where they are, what may be done to them, and whose a node is.

use std::{fmt, str::FromStr};

use cucumber::{Parameter, gherkin::Step, given, then, when};
use trellis_domain::{
    Capability, NodeName, NodeState, Ownership, ReadinessPolicy, UnknownIdentity,
};

use crate::{
    Count, NodeRef, StepError, StepResult, TrellisWorld, Within,
    effect::{Effect, StepArguments, StepEffects},
    external::{external_nodes, external_rows},
    world::shown_nodes,
};

pub(crate) const EFFECTS: &[StepEffects] = &[
    StepEffects {
        expression: "external nodes:",
        of: |step| Ok(vec![Effect::Borrows(external_rows(step)?)]),
    },
    StepEffects {
        expression: "the attached cluster {string}",
        of: |step| Ok(vec![Effect::Attaches(step.get(0)?)]),
    },
    StepEffects {
        expression: "the nodes are ready",
        of: |_| Ok(vec![Effect::Gathers]),
    },
    StepEffects {
        expression: "{node} is adopted",
        of: |step| Ok(vec![Effect::Adopts(named(&step.get(0)?)?)]),
    },
    StepEffects {
        expression: "{node} may be {touched} although it is borrowed",
        of: |step| {
            let Touched(capability) = step.get(1)?;
            Ok(vec![Effect::OptsIn(named(&step.get(0)?)?, capability)])
        },
    },
    StepEffects {
        expression: "{node} is borrowed",
        of: |step| Ok(vec![Effect::Mentions(step.get(0)?)]),
    },
    StepEffects {
        expression: "{node} is owned",
        of: |step| Ok(vec![Effect::Mentions(step.get(0)?)]),
    },
    StepEffects {
        expression: "{node} is unreachable",
        of: |step| Ok(vec![Effect::Mentions(step.get(0)?)]),
    },
    StepEffects {
        expression: "{node} and {node} are one node",
        of: |step| {
            Ok(vec![
                Effect::Mentions(step.get(0)?),
                Effect::Mentions(step.get(1)?),
            ])
        },
    },
    StepEffects {
        expression: "{node} is missing from the attached cluster",
        // It is not there, so it cannot be known.
        of: |step| named(&step.get(0)?).map(|_| Vec::new()),
    },
];

/// What may be done to a borrowed node: `stopped and started`, `paused and resumed`, `reconfigured`, `saved and restored`, `asked for its log`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Parameter)]
#[param(
    name = "touched",
    regex = "stopped and started|paused and resumed|reconfigured|saved and restored|asked for its log"
)]
pub(crate) struct Touched(Capability);

impl FromStr for Touched {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(match text {
            "stopped and started" => Capability::Lifecycle,
            "paused and resumed" => Capability::Pause,
            "reconfigured" => Capability::ConfigPatch,
            "saved and restored" => Capability::Snapshot,
            "asked for its log" => Capability::Logs,
            other => return Err(format!("{other:?} is nothing that may be done to a node")),
        }))
    }
}

impl fmt::Display for Touched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a node that is meant before there is a cluster.
fn named(node: &NodeRef) -> Result<NodeName, String> {
    match node {
        NodeRef::Named(name) => Ok(name.clone()),
        role => Err(format!(
            "{role} is not known before the cluster runs; name the node"
        )),
    }
}

/// Lists nodes that run already, in a table with the columns `node` and `url`; where wanted `endpoint` (it is `http` otherwise; a node with several endpoints has a row for each), and `user` and `password`, or `token`. `env(NAME)` in a cell stands for a variable; a password or token must be given so, since a feature never holds one. A row with nothing but the name is a node of `trellis.toml`. The nodes are borrowed: they are queried and submitted to, and a step that would stop or change one is refused before anything starts. Must come before the cluster.
#[given(expr = "external nodes:")]
#[when(expr = "external nodes:")]
#[then(expr = "external nodes:")]
fn external(world: &mut TrellisWorld, step: &Step) -> StepResult {
    let arguments = StepArguments {
        table: step.table.as_ref().map(|table| table.rows.clone()),
        ..StepArguments::default()
    };
    let rows = external_rows(&arguments).map_err(StepError::new)?;
    let listed_in = format!("{}, line {}", world.title, step.position.line);
    let nodes = external_nodes(&rows, &world.suite.settings, &listed_in).map_err(StepError::new)?;
    world.draft()?.external.extend(nodes);
    Ok(())
}

/// Takes the nodes of a cluster that runs already instead of starting any: one that `trellis.toml` names, or `provider:cluster` such as `static:nodes.yaml`. They are borrowed, as external nodes are, and looked for when `the nodes are ready` is reached. Must come before that; nodes of ours cannot be beside them, external ones can.
#[given(expr = "the attached cluster {string}")]
#[when(expr = "the attached cluster {string}")]
#[then(expr = "the attached cluster {string}")]
fn attached(world: &mut TrellisWorld, cluster: String) -> StepResult {
    let (attach, credential) = world.suite.attach_spec(&cluster)?;
    world.draft()?.attach_to(attach, credential)
}

/// Brings up a cluster of nodes that are not ours, external or attached, and waits until all of them are ready, or so many as another phrase said. Fails when a cluster to attach to has no nodes, or too few ever to be enough; with the names of those that are missing. Such a cluster takes no nodes of ours.
#[given(expr = "the nodes are ready")]
#[when(expr = "the nodes are ready")]
#[then(expr = "the nodes are ready")]
async fn gather(world: &mut TrellisWorld) -> StepResult {
    world.boot([]).await
}

/// Lets the cluster count as ready when so many of the nodes that we start are, and so many of all; nodes of others cannot make up for ours. Must come before the cluster.
#[given(expr = "at least {count} managed node(s) and {count} node(s) in all must be ready")]
#[when(expr = "at least {count} managed node(s) and {count} node(s) in all must be ready")]
#[then(expr = "at least {count} managed node(s) and {count} node(s) in all must be ready")]
fn source_aware(world: &mut TrellisWorld, managed: Count, total: Count) -> StepResult {
    world.draft()?.readiness = Some(ReadinessPolicy::SourceAware {
        managed: *managed,
        total: *total,
    });
    Ok(())
}

/// Waits until every node is ready that was not stopped or paused on purpose, whatever was enough for the cluster; nodes that a cluster of others lacks are waited for in vain. A borrowed node that was unreachable counts as running again.
#[given(expr = "all nodes are ready within {duration}")]
#[when(expr = "all nodes are ready within {duration}")]
#[then(expr = "all nodes are ready within {duration}")]
async fn all_ready(world: &mut TrellisWorld, within: Within) -> StepResult {
    await_ready(world, ReadinessPolicy::AllReady, within).await
}

/// Waits until so many nodes are ready, whatever was enough for the cluster.
#[given(expr = "at least {count} node(s) is/are ready within {duration}")]
#[when(expr = "at least {count} node(s) is/are ready within {duration}")]
#[then(expr = "at least {count} node(s) is/are ready within {duration}")]
async fn some_ready(world: &mut TrellisWorld, count: Count, within: Within) -> StepResult {
    await_ready(world, ReadinessPolicy::Quorum(*count), within).await
}

async fn await_ready(world: &TrellisWorld, policy: ReadinessPolicy, within: Within) -> StepResult {
    let ready = world.cluster()?.await_ready(policy, *within);
    Ok(world.interruptible(ready).await??)
}

/// Says that a node is ours although another source lists it as one of somebody else; without this such a clash fails the cluster. Any of its names will do. Must come before the cluster.
#[given(expr = "{node} is adopted")]
#[when(expr = "{node} is adopted")]
#[then(expr = "{node} is adopted")]
fn adopt(world: &mut TrellisWorld, node: NodeRef) -> StepResult {
    let name = named(&node).map_err(StepError::new)?;
    world.draft()?.adopted.insert(name);
    Ok(())
}

/// Allows something to be done to one borrowed node: `stopped and started`, `paused and resumed`, `reconfigured`, `saved and restored` or `asked for its log`. The provider that found the node must be able to do it; nobody can do anything to an external node. Each use is noted in the journal. Must come before the cluster.
#[given(expr = "{node} may be {touched} although it is borrowed")]
#[when(expr = "{node} may be {touched} although it is borrowed")]
#[then(expr = "{node} may be {touched} although it is borrowed")]
fn opt_in(world: &mut TrellisWorld, node: NodeRef, touched: Touched) -> StepResult {
    let name = named(&node).map_err(StepError::new)?;
    let Touched(capability) = touched;
    world.draft()?.opt_ins.allow(name, capability);
    Ok(())
}

/// Refuses a cluster in which some nodes say something of their network (its name, genesis, protocol, API or kind of authentication) and others do not; without this, what is unknown is shown and goes on. Must come before the cluster.
#[given(expr = "every node must say which network it is on")]
#[when(expr = "every node must say which network it is on")]
#[then(expr = "every node must say which network it is on")]
fn refuse_unknown(world: &mut TrellisWorld) -> StepResult {
    world.draft()?.unknown_identity = UnknownIdentity::Refuse;
    Ok(())
}

/// Fails unless the node is somebody else's, so that it is only queried and submitted to.
#[given(expr = "{node} is borrowed")]
#[when(expr = "{node} is borrowed")]
#[then(expr = "{node} is borrowed")]
async fn is_borrowed(world: &mut TrellisWorld, node: NodeRef) -> StepResult {
    expect_ownership(world, &node, Ownership::Borrowed).await
}

/// Fails unless the node is ours: we started it, and remove it in the end.
#[given(expr = "{node} is owned")]
#[when(expr = "{node} is owned")]
#[then(expr = "{node} is owned")]
async fn is_owned(world: &mut TrellisWorld, node: NodeRef) -> StepResult {
    expect_ownership(world, &node, Ownership::Owned).await
}

async fn expect_ownership(world: &TrellisWorld, node: &NodeRef, expected: Ownership) -> StepResult {
    let name = world.resolve(node).await?;
    let node = world.cluster()?.node(&name)?;
    if node.ownership == expected {
        return Ok(());
    }
    Err(StepError::new(format!(
        "{node} is {}, not {expected}; it is {}",
        node.ownership,
        node.shown_origins()
    )))
}

/// Fails unless the node is somebody else's and did not answer when the cluster came up, nor since.
#[given(expr = "{node} is unreachable")]
#[when(expr = "{node} is unreachable")]
#[then(expr = "{node} is unreachable")]
async fn is_unreachable(world: &mut TrellisWorld, node: NodeRef) -> StepResult {
    let name = world.resolve(&node).await?;
    let state = world.cluster()?.node(&name)?.state.clone();
    if state == NodeState::Unreachable {
        return Ok(());
    }
    Err(StepError::new(format!(
        "{name} is {state}, not unreachable"
    )))
}

/// Fails unless an entry of the scenario's journal has this text in it; what was done to a borrowed node with leave is there.
#[given(expr = "the journal says {string}")]
#[when(expr = "the journal says {string}")]
#[then(expr = "the journal says {string}")]
fn journal_says(world: &mut TrellisWorld, text: String) -> StepResult {
    let entries = world.journal.entries();
    if entries.iter().any(|entry| entry.text.contains(&text)) {
        return Ok(());
    }
    let entries: Vec<String> = entries.into_iter().map(|entry| entry.text).collect();
    Err(StepError::new(format!(
        "the journal does not say {text:?}; it says:\n{}",
        entries.join("\n")
    )))
}

/// Fails unless both names mean one node, which two sources list.
#[given(expr = "{node} and {node} are one node")]
#[when(expr = "{node} and {node} are one node")]
#[then(expr = "{node} and {node} are one node")]
async fn one_node(world: &mut TrellisWorld, left: NodeRef, right: NodeRef) -> StepResult {
    let (left, right) = (world.resolve(&left).await?, world.resolve(&right).await?);
    if left == right {
        return Ok(());
    }
    let cluster = world.cluster()?;
    Err(StepError::new(format!(
        "{left} and {right} are two nodes\n{}",
        shown_nodes(cluster)
    )))
}

/// Fails unless the attached cluster should have a node of this name and did not when the cluster came up.
#[given(expr = "{node} is missing from the attached cluster")]
#[when(expr = "{node} is missing from the attached cluster")]
#[then(expr = "{node} is missing from the attached cluster")]
fn is_missing(world: &mut TrellisWorld, node: NodeRef) -> StepResult {
    let name = named(&node).map_err(StepError::new)?;
    let cluster = world.cluster()?;
    if cluster.missing().iter().any(|missing| missing.name == name) {
        return Ok(());
    }
    Err(StepError::new(format!(
        "{name} is not missing\n{}",
        shown_nodes(cluster)
    )))
}
