//! Views: phrases about what must be in them - everything that was acknowledged, once, and nothing else.

use std::time::Duration;

use cucumber::{given, then, when};
use tokio::time::Instant;

use super::{EventKey, ProjectionSession, ProjectionView, events::stop_any};
use crate::{StepError, StepResult, TrellisWorld, Within};

/// How long a phrase without a budget of its own may take until everything is in the views.
const SHOWN_WITHIN: Duration = Duration::from_mins(1);
/// How long reading the stream again may take, of all shards together.
const VERIFIED_WITHIN: Duration = Duration::from_mins(2);
/// How long a phrase waits until every shard has an owner, before it asks the owners for something.
pub(super) const OWNED_WITHIN: Duration = Duration::from_secs(20);

/// Waits until what was acknowledged so far has come to every shard, then asks each running node for all views and compares: each must count every acknowledged event of its key once, in its order, with the right sum. While events are published, those that are under way may be there or not. Fails when nothing was acknowledged so far.
#[given(expr = "every node shows every acknowledged event within {duration}")]
#[when(expr = "every node shows every acknowledged event within {duration}")]
#[then(expr = "every node shows every acknowledged event within {duration}")]
async fn shown(world: &mut TrellisWorld, within: Within) -> StepResult {
    verify_everywhere(world, *within, None).await
}

/// The same for all keys but the one of the poison event.
#[given(expr = "every node shows every acknowledged event of all other keys within {duration}")]
#[when(expr = "every node shows every acknowledged event of all other keys within {duration}")]
#[then(expr = "every node shows every acknowledged event of all other keys within {duration}")]
async fn others_shown(world: &mut TrellisWorld, within: Within) -> StepResult {
    let key = world.projection()?.poisoned_key()?;
    verify_everywhere(world, *within, Some(key)).await
}

/// Stops publishing in the background, if somebody does, then does what `every node shows every acknowledged event within {duration}` does, with a minute.
#[given(expr = "no acknowledged event is lost or doubled")]
#[when(expr = "no acknowledged event is lost or doubled")]
#[then(expr = "no acknowledged event is lost or doubled")]
async fn nothing_lost(world: &mut TrellisWorld) -> StepResult {
    stop_any(world).await?;
    verify_everywhere(world, SHOWN_WITHIN, None).await
}

/// Reads the stream again from its beginning, for each shard with the settings of its owner, and compares: the views must be the same, byte for byte. A view with events in quarantine is excused. Events may be published meanwhile. At most two minutes.
#[given(expr = "the views are those of a clean replay")]
#[when(expr = "the views are those of a clean replay")]
#[then(expr = "the views are those of a clean replay")]
async fn replayed(world: &mut TrellisWorld) -> StepResult {
    let view = await_owned(world).await?;
    let session = world.projection()?;
    let deadline = Instant::now() + VERIFIED_WITHIN;
    for (shard, (owner, _)) in view.owned().unwrap_or_default() {
        let node = session.cluster.node(owner)?;
        let goal = format!("shard {shard} on {owner} to be compared with a clean replay");
        let left = deadline.saturating_duration_since(Instant::now());
        let work = tokio::time::timeout(left, session.deployment.verify(&node, shard));
        let done = world.watched(&goal, left, || session.last_seen(), work);
        let verdict = done
            .await?
            .map_err(|_| StepError::new(format!("waited {VERIFIED_WITHIN:?} for {goal}")))??;
        world
            .journal
            .note(format!("shard {shard} on {owner}: {}", verdict.text));
        if !verdict.right {
            return Err(StepError::new(format!(
                "shard {shard} on {owner} is not what the stream makes\n{}",
                verdict.text
            )));
        }
    }
    Ok(())
}

/// Waits until every shard has one owner, whom all nodes know.
pub(super) async fn await_owned(world: &TrellisWorld) -> StepResult<ProjectionView> {
    let nodes = world.projection()?.nodes().len();
    let goal = "every shard to have one owner";
    await_view(world, goal, OWNED_WITHIN, move |view| {
        view.all_answer(nodes) && view.owned().is_some()
    })
    .await
}

/// Waits on the observation of the nodes, and shows progress meanwhile.
pub(super) async fn await_view(
    world: &TrellisWorld,
    goal: &str,
    within: Duration,
    predicate: impl Fn(&ProjectionView) -> bool + Send + Sync + 'static,
) -> StepResult<ProjectionView> {
    let session = world.projection()?;
    let wait = session.watch.wait_for(goal, within, Box::new(predicate));
    let seen = || session.last_seen();
    world.watched(goal, within, seen, wait).await?
}

/// Checks every running node; `ignored` is the key whose view is not looked at.
async fn verify_everywhere(
    world: &TrellisWorld,
    within: Duration,
    ignored: Option<EventKey>,
) -> StepResult {
    let session = world.projection()?;
    let (events, _) = session.acknowledged();
    if events == 0 {
        return Err(StepError::new(
            "no event was acknowledged so far, so there is nothing to check",
        ));
    }
    let goal = format!("{events} acknowledged events to be in the views of every node");
    let seen = || session.last_seen();
    let work = verify(session, &goal, within, ignored.as_ref());
    world.watched(&goal, within, seen, work).await??;
    world.journal.note(format!(
        "{events} acknowledged events are in the views of every node"
    ));
    Ok(())
}

/// A node that does not answer, because a shard is just changing hands, is asked again until the deadline; one whose views are wrong is not.
async fn verify(
    session: &ProjectionSession,
    goal: &str,
    within: Duration,
    ignored: Option<&EventKey>,
) -> StepResult {
    let deadline = Instant::now() + within;
    let mut unread = None;
    loop {
        let (nodes, (_, last)) = (session.nodes(), session.acknowledged());
        let count = nodes.len();
        let there = move |view: &ProjectionView| view.all_answer(count) && view.has(last);
        let waited = session.wait_until(goal, deadline, there).await;
        waited.map_err(|error| unread.take().unwrap_or(error))?;
        match verify_all(session, &nodes, ignored).await? {
            None => return Ok(()),
            Some(refusal) => unread = Some(refusal),
        }
    }
}

/// Why a node could not be read, if one could not.
async fn verify_all(
    session: &ProjectionSession,
    nodes: &[trellis_domain::NodeHandle],
    ignored: Option<&EventKey>,
) -> StepResult<Option<StepError>> {
    for node in nodes {
        match session.fault_of(node, ignored).await {
            Ok(None) => {}
            Ok(Some(fault)) => {
                return Err(StepError::new(format!(
                    "as {node} answers, {fault}\n{}",
                    session.last_seen()
                )));
            }
            Err(refusal) => {
                let refusal = refusal.within(format!("{node} could not be asked for its views"));
                return Ok(Some(refusal));
            }
        }
    }
    Ok(None)
}
