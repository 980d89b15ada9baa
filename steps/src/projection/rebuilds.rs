//! Rebuilds: phrases about views that are made again beside those that are served.

use cucumber::{given, then, when};

use super::{
    ProjectionView,
    views::{await_owned, await_view},
};
use crate::{StepError, StepResult, TrellisWorld, Within};

/// Has the owner of each shard make all views again, as a new generation beside the one that is served; does not wait for it.
#[given(expr = "I rebuild the views")]
#[when(expr = "I rebuild the views")]
#[then(expr = "I rebuild the views")]
async fn rebuild(world: &mut TrellisWorld) -> StepResult {
    let view = await_owned(world).await?;
    let session = world.projection()?;
    let owned = view.owned().unwrap_or_default();
    for (shard, (owner, _)) in &owned {
        let owner = session.cluster.node(owner)?;
        let asked = session.deployment.rebuild(&owner, *shard);
        world.interruptible(asked).await??;
    }
    let served = owned.iter().map(|(shard, (_, seen))| (*shard, seen.served));
    session.note_rebuilt(served.collect());
    Ok(())
}

/// Has the owner of each shard serve the new generation of views, now.
#[given(expr = "I cut over to the rebuilt views")]
#[when(expr = "I cut over to the rebuilt views")]
#[then(expr = "I cut over to the rebuilt views")]
async fn cut_over(world: &mut TrellisWorld) -> StepResult {
    let view = await_owned(world).await?;
    let session = world.projection()?;
    for (shard, (owner, _)) in view.owned().unwrap_or_default() {
        let owner = session.cluster.node(owner)?;
        let asked = session.deployment.cut_over(&owner, shard);
        world.interruptible(asked).await??;
    }
    Ok(())
}

/// Waits until the new generation of each shard has come to where the stream is. Until somebody says so, or by itself, it is not served.
#[given(expr = "the rebuilt views have caught up within {duration}")]
#[when(expr = "the rebuilt views have caught up within {duration}")]
#[then(expr = "the rebuilt views have caught up within {duration}")]
async fn caught_up(world: &mut TrellisWorld, within: Within) -> StepResult {
    let before = before(world)?;
    let goal = "a new generation of each shard to have caught up, and not to be served yet";
    let caught_up = move |view: &ProjectionView| {
        before.iter().all(|(shard, served)| {
            let owner = view.owner(*shard).map(|(_, seen)| seen);
            owner.is_some_and(|seen| seen.served == *served && seen.has_caught_up)
        })
    };
    await_view(world, goal, *within, caught_up).await?;
    Ok(())
}

/// Waits until each shard serves a later generation of its views than it did when they were asked to be made again.
#[given(expr = "the rebuilt views are served within {duration}")]
#[when(expr = "the rebuilt views are served within {duration}")]
#[then(expr = "the rebuilt views are served within {duration}")]
async fn served(world: &mut TrellisWorld, within: Within) -> StepResult {
    let before = before(world)?;
    let goal = "each shard to serve a new generation of its views";
    let later = move |view: &ProjectionView| {
        before.iter().all(|(shard, served)| {
            let owner = view.owner(*shard).map(|(_, seen)| seen);
            owner.is_some_and(|seen| seen.served > *served)
        })
    };
    await_view(world, goal, *within, later).await?;
    Ok(())
}

fn before(world: &TrellisWorld) -> StepResult<std::collections::BTreeMap<u32, u32>> {
    let before = world.projection()?.rebuilt();
    if before.is_empty() {
        return Err(StepError::new(
            "nothing is being rebuilt; say `I rebuild the views` first",
        ));
    }
    Ok(before)
}
