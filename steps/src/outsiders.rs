//! Outsiders: nodes that somebody else runs - phrases that show that they never notice a run. The port to them is in `port`.
//!
//! Only for features about the harness itself. What runs them is bound at the composition root; nothing of it is in a ledger or carries a label of ours, so that no cleanup could find it.

mod port;

use std::{collections::BTreeMap, path::Path};

use cucumber::{given, then, when};
use trellis_domain::{Credential, ExternalNode, NodeName, Secret};

pub use port::{Lie, OutsideCluster, OutsideFaucet, Outsiders};

use crate::{
    Count, NodeRef, StepError, StepResult, TrellisWorld,
    effect::{Effect, StepEffects},
};

/// The variable that a wanted token is in, for harness runs.
const TOKEN: &str = "THEIRS_TOKEN";

pub(crate) const EFFECTS: &[StepEffects] = &[
    StepEffects {
        expression: "{count} node(s) that somebody else runs",
        of: |step| Ok(vec![Effect::Outside(step.get(0)?)]),
    },
    StepEffects {
        expression: "{count} node(s) that somebody else runs, which want a token",
        of: |step| Ok(vec![Effect::Outside(step.get(0)?)]),
    },
    StepEffects {
        expression: "the nodes that somebody else runs are external nodes of this scenario",
        of: |_| Ok(vec![Effect::BorrowsOutside(None)]),
    },
    StepEffects {
        expression: "the nodes that somebody else runs are attached through {string}",
        of: |step| Ok(vec![Effect::BorrowsOutside(Some(step.get(0)?))]),
    },
    StepEffects {
        expression: "somebody else has {node} say that it is {int} blocks higher than it is",
        of: |step| Ok(vec![Effect::MentionsAny(step.get(0)?)]),
    },
    StepEffects {
        expression: "somebody else has {node} forge its headers",
        of: |step| Ok(vec![Effect::MentionsAny(step.get(0)?)]),
    },
];

/// What a scenario knows of nodes that somebody else runs.
#[derive(Default)]
pub(crate) struct OutsideClusters {
    clusters: Vec<Box<dyn OutsideCluster>>,
    nodes: usize,
    token: Option<Secret>,
    faucet: Option<OutsideFaucet>,
}

impl OutsideClusters {
    /// The names of the next `count` nodes.
    pub(crate) fn names(present: usize, count: usize) -> impl Iterator<Item = NodeName> {
        let numbers = present + 1..=present + count;
        numbers.map(|n| {
            let name = format!("THEIRS_{n}");
            name.parse().expect("THEIRS_n is a node name")
        })
    }

    fn all(&self) -> StepResult<&[Box<dyn OutsideCluster>]> {
        if self.clusters.is_empty() {
            return Err(StepError::new(
                "nobody else runs nodes so far; say `3 nodes that somebody else runs`",
            ));
        }
        Ok(&self.clusters)
    }

    /// Variables for harness runs: `THEIRS_1_URL` and so on, `THEIRS_1_PEER` where they have addresses for peers, `THEIRS_1_USER` and `THEIRS_1_PASSWORD` where they want them, `THEIRS_TOKEN`, and those of a faucet.
    pub(crate) fn variables(&self) -> BTreeMap<String, Secret> {
        let nodes = self.clusters.iter().flat_map(|cluster| cluster.nodes());
        let urls = nodes.filter_map(|node| {
            let url = node.endpoints.first()?.url().as_str().trim_end_matches('/');
            Some((format!("{}_URL", node.name), Secret::from(url.to_owned())))
        });
        let peers = self.clusters.iter().flat_map(|cluster| {
            let nodes = cluster.nodes().into_iter();
            nodes.filter_map(|node| {
                let address = cluster.peer_address(&node.name)?;
                Some((format!("{}_PEER", node.name), Secret::from(address)))
            })
        });
        let nodes = self.clusters.iter().flat_map(|cluster| cluster.nodes());
        let passwords = nodes.filter_map(|node| match node.credential? {
            Credential::Basic { user, password } => Some([
                (format!("{}_USER", node.name), Secret::from(user)),
                (format!("{}_PASSWORD", node.name), password),
            ]),
            Credential::Bearer(_) => None,
        });
        let token = self.token.clone().map(|token| (TOKEN.to_owned(), token));
        let faucet = self.faucet.iter().flat_map(|faucet| {
            let text = |text: &String| Secret::from(text.clone());
            [
                ("THEIRS_FAUCET_URL", text(&faucet.url)),
                ("THEIRS_OPEN_FAUCET_URL", text(&faucet.open_url)),
                ("THEIRS_FAUCET_USER", text(&faucet.user)),
                ("THEIRS_FAUCET_PASSWORD", faucet.password.clone()),
            ]
        });
        let faucet = faucet.map(|(name, value)| (name.to_owned(), value));
        let all = urls.chain(peers).chain(passwords.flatten()).chain(token);
        all.chain(faucet).collect()
    }

    /// Kills the node of this name, if there is one; says whether there is.
    pub(crate) async fn kill(&self, node: &NodeName) -> StepResult<bool> {
        for cluster in &self.clusters {
            if cluster.kill(node).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Has a node that somebody else runs lie.
async fn lie(world: &mut TrellisWorld, node: &NodeName, lie: Lie) -> StepResult {
    for cluster in world.outsiders.all()? {
        if world.interruptible(cluster.lie(node, lie)).await?? {
            return Ok(());
        }
    }
    Err(StepError::new(format!("nobody else runs {node}")))
}

/// Starts a cluster of the scenario's application in a way that the harness does not know of, each node as if on a host of its own. The nodes are called `THEIRS_1`, `THEIRS_2` and so on, also over several clusters; harness runs find their addresses in the variables `THEIRS_1_URL` and so on. They are not part of the scenario by that, and end after it.
#[given(expr = "{count} node(s) that somebody else runs")]
#[when(expr = "{count} node(s) that somebody else runs")]
#[then(expr = "{count} node(s) that somebody else runs")]
async fn somebody_else(world: &mut TrellisWorld, count: Count) -> StepResult {
    start(world, *count, None).await
}

/// The same with nodes that answer nobody without a token, which harness runs find in the variable `THEIRS_TOKEN`. It is a new one each time.
#[given(expr = "{count} node(s) that somebody else runs, which want a token")]
#[when(expr = "{count} node(s) that somebody else runs, which want a token")]
#[then(expr = "{count} node(s) that somebody else runs, which want a token")]
async fn somebody_else_with_token(world: &mut TrellisWorld, count: Count) -> StepResult {
    let number = world.suite.next_number();
    let token = format!("token-{}-{number}", std::process::id());
    start(world, *count, Some(Secret::from(token))).await
}

async fn start(world: &mut TrellisWorld, count: usize, token: Option<Secret>) -> StepResult {
    let app = world.suite.app(world.draft.app.as_ref())?;
    let port = app.outsiders.as_ref().or(world.suite.outsiders.as_ref());
    let Some(port) = port.cloned() else {
        return Err(StepError::new(
            "the composition root has nobody else who runs nodes",
        ));
    };
    let names: Vec<NodeName> = OutsideClusters::names(world.outsiders.nodes, count).collect();
    let started = port.start(&names, token.clone());
    let cluster = world.interruptible(started).await??;
    world.outsiders.nodes += count;
    world.outsiders.clusters.push(cluster);
    world.outsiders.token = token.or(world.outsiders.token.take());
    Ok(())
}

/// Lists the nodes that somebody else runs so far as external nodes. Must come before the cluster.
#[given(expr = "the nodes that somebody else runs are external nodes of this scenario")]
#[when(expr = "the nodes that somebody else runs are external nodes of this scenario")]
#[then(expr = "the nodes that somebody else runs are external nodes of this scenario")]
fn list_outsiders(world: &mut TrellisWorld) -> StepResult {
    let clusters = world.outsiders.all()?.iter();
    let nodes: Vec<ExternalNode> = clusters.flat_map(|cluster| cluster.nodes()).collect();
    world.draft()?.external.extend(nodes);
    Ok(())
}

/// Attaches the scenario to the cluster that somebody else runs, through an attach provider such as `static`. Must come before the cluster.
#[given(expr = "the nodes that somebody else runs are attached through {string}")]
#[when(expr = "the nodes that somebody else runs are attached through {string}")]
#[then(expr = "the nodes that somebody else runs are attached through {string}")]
fn attach_outsiders(world: &mut TrellisWorld, provider: String) -> StepResult {
    let [cluster] = world.outsiders.all()? else {
        return Err(StepError::new(
            "somebody else runs several clusters, and a scenario attaches to one",
        ));
    };
    let attach = cluster.attach(&provider)?;
    let credential = world.outsiders.token.clone().map(Credential::Bearer);
    world.draft()?.attach_to(attach, credential)
}

/// Starts a faucet of the network that somebody else runs. Harness runs find in `THEIRS_FAUCET_URL` where it is, in `THEIRS_FAUCET_USER` and `THEIRS_FAUCET_PASSWORD` for whom, and in `THEIRS_OPEN_FAUCET_URL` where it asks nobody who they are.
#[given(expr = "a faucet that somebody else runs")]
#[when(expr = "a faucet that somebody else runs")]
#[then(expr = "a faucet that somebody else runs")]
async fn faucet(world: &mut TrellisWorld) -> StepResult {
    let clusters = world.outsiders.all()?;
    let cluster = clusters.last().expect("there is one");
    let faucet = world.interruptible(cluster.faucet()).await??;
    world.outsiders.faucet = Some(faucet);
    Ok(())
}

/// Has the first half of the nodes that somebody else runs and the second half refuse each other as peers, so that the two go on without each other.
#[given(expr = "the nodes that somebody else runs are split in two")]
#[when(expr = "the nodes that somebody else runs are split in two")]
#[then(expr = "the nodes that somebody else runs are split in two")]
async fn split_outsiders(world: &mut TrellisWorld) -> StepResult {
    for cluster in world.outsiders.all()? {
        world.interruptible(cluster.split()).await??;
    }
    Ok(())
}

/// Has the nodes that somebody else runs make no more blocks, once they have more than a few; they keep those, and answer.
#[given(expr = "the nodes that somebody else runs make no more blocks")]
#[when(expr = "the nodes that somebody else runs make no more blocks")]
#[then(expr = "the nodes that somebody else runs make no more blocks")]
async fn halt_outsiders(world: &mut TrellisWorld) -> StepResult {
    for cluster in world.outsiders.all()? {
        world.interruptible(cluster.halt()).await??;
    }
    Ok(())
}

/// Has the nodes that somebody else runs serve few blocks at a time to their peers, and each time late, once they have more than a few.
#[given(expr = "the nodes that somebody else runs serve blocks slowly")]
#[when(expr = "the nodes that somebody else runs serve blocks slowly")]
#[then(expr = "the nodes that somebody else runs serve blocks slowly")]
async fn slow_outsiders(world: &mut TrellisWorld) -> StepResult {
    for cluster in world.outsiders.all()? {
        world.interruptible(cluster.slow_down()).await??;
    }
    Ok(())
}

/// Has a node that somebody else runs say that it has so many blocks more than it has. Its variable names, from now on, a place where it lies.
#[given(expr = "somebody else has {node} say that it is {int} blocks higher than it is")]
#[when(expr = "somebody else has {node} say that it is {int} blocks higher than it is")]
#[then(expr = "somebody else has {node} say that it is {int} blocks higher than it is")]
async fn boasts(world: &mut TrellisWorld, node: NodeRef, blocks: u64) -> StepResult {
    lie(world, &named(&node)?, Lie::HigherBy(blocks)).await
}

/// Has a node that somebody else runs serve headers that are not those which their ids are the hashes of. Only for chains where a header can be checked against its id. Its variable names, from now on, a place where it lies.
#[given(expr = "somebody else has {node} forge its headers")]
#[when(expr = "somebody else has {node} forge its headers")]
#[then(expr = "somebody else has {node} forge its headers")]
async fn forges(world: &mut TrellisWorld, node: NodeRef) -> StepResult {
    lie(world, &named(&node)?, Lie::ForgedHeaders).await
}

fn named(node: &NodeRef) -> StepResult<NodeName> {
    match node {
        NodeRef::Named(name) => Ok(name.clone()),
        other => Err(StepError::new(format!(
            "{other} is none that somebody else runs"
        ))),
    }
}

/// Fails unless each node that somebody else runs has the process that it began with and the data that was written then, and still serves a connection that was opened then. Nodes that somebody else killed do not count.
#[given(expr = "the nodes that somebody else runs never noticed")]
#[when(expr = "the nodes that somebody else runs never noticed")]
#[then(expr = "the nodes that somebody else runs never noticed")]
async fn never_noticed(world: &mut TrellisWorld) -> StepResult {
    for cluster in world.outsiders.all()? {
        let check = cluster.check_unnoticed();
        world.interruptible(check).await??;
    }
    Ok(())
}

/// Fails if a file that the harness run left, or what it printed, has the token in it that somebody else's nodes want; also if there is nothing to look at.
#[given(expr = "nothing that the harness left has the token in it")]
#[when(expr = "nothing that the harness left has the token in it")]
#[then(expr = "nothing that the harness left has the token in it")]
fn no_token_left(world: &mut TrellisWorld) -> StepResult {
    let Some(token) = &world.outsiders.token else {
        return Err(StepError::new(
            "no node wants a token, so none can be looked for",
        ));
    };
    let written = world.self_test.written()?;
    if written.len() < 2 {
        return Err(StepError::new("the harness left nothing to look at"));
    }
    let holds = |text: &[u8]| {
        let token = token.expose().as_bytes();
        text.windows(token.len()).any(|part| part == token)
    };
    let found = written.iter().filter(|(_, text)| holds(text));
    let found: Vec<&str> = found.map(|(what, _)| what.as_str()).collect();
    if found.is_empty() {
        return Ok(());
    }
    Err(StepError::new(format!(
        "the token is in {}",
        found.join(", ")
    )))
}

/// Every file below `folder` with what is in it.
pub(crate) fn files_below(
    folder: &Path,
    found: &mut Vec<(String, Vec<u8>)>,
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            files_below(&path, found)?;
        } else {
            found.push((path.display().to_string(), std::fs::read(&path)?));
        }
    }
    Ok(())
}
