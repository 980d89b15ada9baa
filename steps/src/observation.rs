//! Observation: phrases about who leads, who follows, and who has a vote.
//!
//! They wait on the observation of the nodes; the goal of each wait is the end of the sentence "waited 10s for".

use cucumber::{given, then, when};
use trellis_domain::NodeName;

use crate::{
    Count, NodeRef, StepError, StepResult, TrellisWorld, Within,
    effect::{Effect, StepEffects},
    kv::ReplicaView,
};

pub(crate) const EFFECTS: &[StepEffects] = &[
    StepEffects {
        expression: "{node} follows the leader within {duration}",
        of: |step| Ok(vec![Effect::Mentions(step.get(0)?)]),
    },
    StepEffects {
        expression: "{node} has caught up within {duration}",
        of: |step| Ok(vec![Effect::Mentions(step.get(0)?)]),
    },
];

/// Waits until every running node answers the observer in one look that begins after this step does.
#[given(expr = "every node answers within {duration}")]
#[when(expr = "every node answers within {duration}")]
#[then(expr = "every node answers within {duration}")]
async fn all_answer(world: &mut TrellisWorld, within: Within) -> StepResult {
    let goal = "every running node to answer";
    let nodes = world.cluster()?.running().len();
    world
        .await_replicas(goal, *within, move |view| {
            view.members.len() == nodes && view.members.values().all(|member| member.answers)
        })
        .await?;
    Ok(())
}

/// Waits until every running node answers, and all of them follow one leader in one term, which a quorum of the voters agrees on.
#[given(expr = "the nodes agree on a leader within {duration}")]
#[when(expr = "the nodes agree on a leader within {duration}")]
#[then(expr = "the nodes agree on a leader within {duration}")]
async fn agree(world: &mut TrellisWorld, within: Within) -> StepResult {
    let nodes = world.cluster()?.running().len();
    let goal = format!("all {nodes} running nodes to follow one leader");
    let agreed =
        move |view: &ReplicaView| view.members.len() == nodes && view.all_follow_the_leader();
    world.await_replicas(&goal, *within, agreed).await?;
    Ok(())
}

/// Waits until a quorum of the voters agrees on a leader that is not the former one. Fails at once when no step spoke of the leader before.
#[given(expr = "another leader is agreed on within {duration}")]
#[when(expr = "another leader is agreed on within {duration}")]
#[then(expr = "another leader is agreed on within {duration}")]
async fn another_leader(world: &mut TrellisWorld, within: Within) -> StepResult {
    let former = world.resolve(&NodeRef::FormerLeader).await?;
    let goal = format!("a quorum to agree on another leader than {former}");
    let other =
        move |view: &ReplicaView| view.leader.as_ref().is_some_and(|leader| *leader != former);
    world.await_replicas(&goal, *within, other).await?;
    Ok(())
}

/// Waits until a look finds no leader that a quorum of the voters agrees on. One such look is enough; it does not have to stay so.
#[given(expr = "no leader is agreed on within {duration}")]
#[when(expr = "no leader is agreed on within {duration}")]
#[then(expr = "no leader is agreed on within {duration}")]
async fn no_leader(world: &mut TrellisWorld, within: Within) -> StepResult {
    let goal = "the nodes to have no leader that a quorum agrees on";
    world
        .await_replicas(goal, *within, |view| view.leader.is_none())
        .await?;
    Ok(())
}

/// Waits until the node follows the leader that a quorum agrees on, in the highest term seen, and is not that leader itself.
#[given(expr = "{node} follows the leader within {duration}")]
#[when(expr = "{node} follows the leader within {duration}")]
#[then(expr = "{node} follows the leader within {duration}")]
async fn follows(world: &mut TrellisWorld, node: NodeRef, within: Within) -> StepResult {
    let name = world.resolve(&node).await?;
    let goal = format!("{name} to follow a leader that a quorum agrees on, and not to be it");
    let follows = move |view: &ReplicaView| {
        let leader = view.leader.as_ref().filter(|leader| **leader != name);
        view.members.get(&name).is_some_and(|member| {
            leader.is_some() && member.leader.as_ref() == leader && member.term == view.term
        })
    };
    world.await_replicas(&goal, *within, follows).await?;
    Ok(())
}

/// Waits until the node answers with the same keys and values as the leader that a quorum agrees on, as of the same log entry. The leader has always caught up.
#[given(expr = "{node} has caught up within {duration}")]
#[when(expr = "{node} has caught up within {duration}")]
#[then(expr = "{node} has caught up within {duration}")]
async fn caught_up(world: &mut TrellisWorld, node: NodeRef, within: Within) -> StepResult {
    let name = world.resolve(&node).await?;
    let goal = format!("{name} to hold what the leader holds");
    let caught_up = move |view: &ReplicaView| same_as_leader(view, &name);
    world.await_replicas(&goal, *within, caught_up).await?;
    Ok(())
}

fn same_as_leader(view: &ReplicaView, name: &NodeName) -> bool {
    let leader = view
        .leader
        .as_ref()
        .and_then(|leader| view.members.get(leader));
    let member = view.members.get(name).filter(|member| member.answers);
    match (leader, member) {
        (Some(leader), Some(member)) => {
            (&member.digest, member.applied) == (&leader.digest, leader.applied)
        }
        _ => false,
    }
}

/// Waits until the running nodes all know the same set of voters, and it has so many members. A voter that is down counts; a running node that does not answer keeps the step waiting.
#[given(expr = "{count} node(s) has/have a vote within {duration}")]
#[when(expr = "{count} node(s) has/have a vote within {duration}")]
#[then(expr = "{count} node(s) has/have a vote within {duration}")]
async fn voters(world: &mut TrellisWorld, count: Count, within: Within) -> StepResult {
    if *count == 0 {
        return Err(StepError::new("a cluster has at least one voter"));
    }
    let goal = format!("every running node to know the same {count} voters");
    let known = move |view: &ReplicaView| {
        let mut sets = view.members.values().map(|member| &member.voters);
        let first = sets.next();
        first.is_some_and(|first| first.len() == *count && sets.all(|set| set == first))
    };
    world.await_replicas(&goal, *within, known).await?;
    Ok(())
}
