//! Public: phrases that compare our nodes with those of a public chain.

use std::{sync::Arc, time::Duration};

use cucumber::{gherkin::Step, given, then, when};
use tokio::sync::watch;
use trellis_chain::{
    ChainSource,
    sync::{SyncCheck, Verdict},
};
use trellis_domain::{Credential, Endpoint, ExternalNode};

use crate::{
    StepError, StepResult, TrellisWorld, Within,
    effect::StepEffects,
    table::{rows_in, rows_of},
};

const PEERS: [&str; 3] = ["public_cryptarchia_endpoint", "username", "password"];
/// How long nodes may take to be synced unless a phrase says otherwise.
const SYNCED_WITHIN: Duration = Duration::from_mins(5);

pub(crate) const EFFECTS: &[StepEffects] = &[StepEffects {
    expression: "I have public cryptarchia endpoint peers:",
    of: |step| rows_in(step, PEERS).map(|_| Vec::new()),
}];

/// The nodes of a public chain that the scenario listed.
#[derive(Debug, Default)]
pub(crate) struct PublicPeers {
    nodes: Vec<ExternalNode>,
    stall_after: Option<Duration>,
}

impl PublicPeers {
    /// The nodes, as far as they are listed by now.
    pub(crate) fn nodes(&self) -> &[ExternalNode] {
        &self.nodes
    }
}

/// Lists nodes of the public chain, in a table with the columns `public_cryptarchia_endpoint`, `username` and `password`; no user and no password stand for an open endpoint. `env(NAME)` stands for a variable, and a password must be given so.
#[given(expr = "I have public cryptarchia endpoint peers:")]
#[when(expr = "I have public cryptarchia endpoint peers:")]
#[then(expr = "I have public cryptarchia endpoint peers:")]
fn public_peers(world: &mut TrellisWorld, step: &Step) -> StepResult {
    let rows = rows_of(step, PEERS).map_err(StepError::new)?;
    for row in rows {
        let number = world.public_peers.nodes.len() + 1;
        let peer = public_peer(world, number, &row)?;
        check_other_place(&world.public_peers.nodes, &peer)?;
        world.public_peers.nodes.push(peer);
    }
    Ok(())
}

/// Says how long a majority of the public peers may have no new block until they count as stalled, while the nodes are not synced and get none either; without it that is a minute.
#[given(expr = "public peers stall without a new block for {duration}")]
#[when(expr = "public peers stall without a new block for {duration}")]
#[then(expr = "public peers stall without a new block for {duration}")]
fn peers_stall(world: &mut TrellisWorld, after: Within) {
    world.public_peers.stall_after = Some(*after);
}

fn public_peer(
    world: &TrellisWorld,
    number: usize,
    [url, user, password]: &[String; 3],
) -> StepResult<ExternalNode> {
    let settings = &world.suite.settings;
    let credential = if user.is_empty() && password.is_empty() {
        None
    } else {
        Some(Credential::Basic {
            user: settings.cell(user)?.text().to_owned(),
            password: settings.cell(password)?.into_secret("password")?,
        })
    };
    let http = "http".parse().expect("http is an endpoint name");
    let endpoint = Endpoint::new(http, settings.cell(url)?.text())?;
    Ok(ExternalNode {
        name: format!("PUBLIC_{number}").parse()?,
        endpoints: [endpoint].into(),
        credential,
        listed_in: world.title.clone(),
    })
}

/// Refuses a peer that is listed already: it would count twice in the majority.
fn check_other_place(listed: &[ExternalNode], peer: &ExternalNode) -> StepResult {
    // Two nodes may be behind one gateway, at paths of their own.
    let place = |endpoint: &Endpoint| {
        let path = endpoint.url().path().trim_end_matches('/').to_owned();
        (endpoint.place().clone(), path)
    };
    let own: Vec<_> = peer.endpoints.iter().map(place).collect();
    let mut listed = listed.iter();
    let same = listed.find(|known| {
        known
            .endpoints
            .iter()
            .map(place)
            .any(|at| own.contains(&at))
    });
    let Some(known) = same else { return Ok(()) };
    let url = peer.endpoints.first().map(|own| own.url().as_str());
    Err(StepError::new(format!(
        "{} is {} over again: {} is listed twice, and would count as two peers",
        peer.name,
        known.name,
        url.unwrap_or_default()
    )))
}

/// Waits until all running nodes are on the chain that a majority of the listed public peers has, by ancestry, at most two blocks behind, in one look; 5 minutes at most. Fails at once when a node is on another network. Too few peers that can be reached are no success.
#[given(expr = "I wait for all nodes to be synced to the chain")]
#[when(expr = "I wait for all nodes to be synced to the chain")]
#[then(expr = "I wait for all nodes to be synced to the chain")]
async fn synced(world: &mut TrellisWorld) -> StepResult {
    await_synced(world, SYNCED_WITHIN).await
}

/// The same, within another time.
#[given(expr = "I wait for all nodes to be synced to the chain in {duration}")]
#[when(expr = "I wait for all nodes to be synced to the chain in {duration}")]
#[then(expr = "I wait for all nodes to be synced to the chain in {duration}")]
async fn synced_in(world: &mut TrellisWorld, within: Within) -> StepResult {
    await_synced(world, *within).await
}

async fn await_synced(world: &TrellisWorld, within: Duration) -> StepResult {
    let peers = &world.public_peers.nodes;
    if peers.is_empty() {
        return Err(StepError::new(
            "no public peers are known; say `I have public cryptarchia endpoint peers:`",
        ));
    }
    let chain = world.chain()?;
    let running = chain.cluster.running();
    let locals: Vec<Arc<dyn ChainSource>> = running
        .iter()
        .map(|node| chain.source_of(node))
        .collect::<StepResult<_>>()?;
    let app = world.suite.app(world.draft.app.as_ref())?;
    let port = app.chain.as_ref().expect("there is a chain session");
    let publics: Vec<Arc<dyn ChainSource>> = peers
        .iter()
        .map(|peer| port.public_source(peer))
        .collect::<StepResult<_>>()?;
    let (tell, told) = watch::channel(String::from("nothing was seen yet"));
    let mut check = SyncCheck::new(locals, publics, within);
    if let Some(after) = world.public_peers.stall_after {
        check.spec.stall_after = Some(after);
    }
    let check = check.run(|progress| {
        tell.send_replace(progress.to_string());
    });
    let goal = "all nodes to be synced to the public chain";
    let seen = || told.borrow().clone();
    let report = world.watched(goal, within, seen, check).await?;
    if report.verdict.verdict == Verdict::Synced {
        return Ok(());
    }
    let waited = if report.timed_out {
        format!("waited {within:?} for {goal}; last seen:\n")
    } else {
        String::new()
    };
    Err(StepError::new(format!("{waited}{}", report.verdict)))
}
