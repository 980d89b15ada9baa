//! Shards: phrases about who has which part of the stream, and whether a node is ready, and why not.

use cucumber::{given, then, when};

use super::{ProjectionView, views::await_view};
use crate::{
    NodeRef, StepError, StepResult, TrellisWorld, Within,
    effect::{Effect, StepEffects},
};

pub(crate) const EFFECTS: &[StepEffects] = &[
    StepEffects {
        expression: "others have the shards of {node} within {duration}",
        of: |step| Ok(vec![Effect::Mentions(step.get(0)?)]),
    },
    StepEffects {
        expression: "{node} is ready for events within {duration}",
        of: |step| Ok(vec![Effect::Mentions(step.get(0)?)]),
    },
    StepEffects {
        expression: "{node} is not ready within {duration} and says {string}",
        of: |step| Ok(vec![Effect::Mentions(step.get(0)?)]),
    },
    StepEffects {
        expression: "{node} is behind the stream within {duration}",
        of: |step| Ok(vec![Effect::Mentions(step.get(0)?)]),
    },
];

/// Waits until every running node answers, each shard has exactly one owner, whom all nodes know, and no node has two shards more than another. Later steps remember who had which.
#[given(expr = "the shards are shared out evenly within {duration}")]
#[when(expr = "the shards are shared out evenly within {duration}")]
#[then(expr = "the shards are shared out evenly within {duration}")]
async fn even(world: &mut TrellisWorld, within: Within) -> StepResult {
    let nodes = world.projection()?.nodes().len();
    let goal = format!("all shards to be shared out evenly between {nodes} nodes");
    let even = move |view: &ProjectionView| view.all_answer(nodes) && view.is_even();
    let view = await_view(world, &goal, *within, even).await?;
    world.projection()?.note_owners(&view);
    Ok(())
}

/// Waits until each shard that the node had when the shards were last shared out evenly has one owner, and that is another node. Fails at once when it had none.
#[given(expr = "others have the shards of {node} within {duration}")]
#[when(expr = "others have the shards of {node} within {duration}")]
#[then(expr = "others have the shards of {node} within {duration}")]
async fn moved(world: &mut TrellisWorld, node: NodeRef, within: Within) -> StepResult {
    let name = world.resolve(&node).await?;
    let shards = world.projection()?.noted_shards(&name);
    if shards.is_empty() {
        return Err(StepError::new(format!(
            "it is not known that {name} had a shard; say `the shards are shared out evenly within 20 seconds` while it runs"
        )));
    }
    let goal = format!("the shards {shards:?} of {name} to have other owners");
    let moved = move |view: &ProjectionView| {
        let owned = view.owned().unwrap_or_default();
        shards
            .iter()
            .all(|shard| owned.get(shard).is_some_and(|(owner, _)| **owner != name))
    };
    await_view(world, &goal, *within, moved).await?;
    Ok(())
}

/// Waits until the node says that it is ready.
#[given(expr = "{node} is ready for events within {duration}")]
#[when(expr = "{node} is ready for events within {duration}")]
#[then(expr = "{node} is ready for events within {duration}")]
async fn ready(world: &mut TrellisWorld, node: NodeRef, within: Within) -> StepResult {
    let name = world.resolve(&node).await?;
    let goal = format!("{name} to be ready");
    let ready = move |view: &ProjectionView| {
        let mut nodes = view.answering();
        nodes.any(|(of, node)| *of == name && node.not_ready.is_none())
    };
    await_view(world, &goal, *within, ready).await?;
    Ok(())
}

/// Waits until the node answers that it is not ready, and the reasons that it gives have this text in them.
#[given(expr = "{node} is not ready within {duration} and says {string}")]
#[when(expr = "{node} is not ready within {duration} and says {string}")]
#[then(expr = "{node} is not ready within {duration} and says {string}")]
async fn not_ready(
    world: &mut TrellisWorld,
    node: NodeRef,
    within: Within,
    reason: String,
) -> StepResult {
    let name = world.resolve(&node).await?;
    let goal = format!("{name} not to be ready, and to say {reason:?}");
    let says = move |view: &ProjectionView| {
        let mut nodes = view.answering();
        let says = |why: &String| why.contains(&reason);
        nodes.any(|(of, node)| *of == name && node.not_ready.as_ref().is_some_and(says))
    };
    await_view(world, &goal, *within, says).await?;
    Ok(())
}

/// Waits until a shard that the node has is behind the stream: events are there that are not in its views.
#[given(expr = "{node} is behind the stream within {duration}")]
#[when(expr = "{node} is behind the stream within {duration}")]
#[then(expr = "{node} is behind the stream within {duration}")]
async fn behind(world: &mut TrellisWorld, node: NodeRef, within: Within) -> StepResult {
    let name = world.resolve(&node).await?;
    let session = world.projection()?;
    let (_, last) = session.acknowledged();
    let goal = format!("{name} to be behind event {last}, which was acknowledged");
    let behind = move |view: &ProjectionView| {
        let node = view.answering().find(|(of, _)| **of == name);
        node.is_some_and(|(_, node)| {
            let mut shards = node.shards.values();
            shards.any(|shard| shard.served > 0 && shard.floor < last)
        })
    };
    await_view(world, &goal, *within, behind).await?;
    Ok(())
}
