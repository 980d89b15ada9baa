//! Poison: phrases about an event that can never be in a view, and those that wait behind it.

use cucumber::{given, then, when};

use super::{
    ProjectionView,
    events::within_budget,
    session::Poisoned,
    views::{await_owned, await_view},
};
use crate::{Count, StepError, StepResult, TrellisWorld, Within};

/// Publishes something that is no event at all. Later steps call it the poison event.
#[given(expr = "I publish an event that is no JSON")]
#[when(expr = "I publish an event that is no JSON")]
#[then(expr = "I publish an event that is no JSON")]
async fn no_json(world: &mut TrellisWorld) -> StepResult {
    world.projection()?.publish_poison(false).await
}

/// Publishes an event of some key whose payload the program of the nodes cannot fold. Later steps call it the poison event, and its key the poisoned key.
#[given(expr = "I publish an event that breaks the contract")]
#[when(expr = "I publish an event that breaks the contract")]
#[then(expr = "I publish an event that breaks the contract")]
async fn misfit(world: &mut TrellisWorld) -> StepResult {
    world.projection()?.publish_poison(true).await
}

/// Publishes so many good events of the poisoned key.
#[given(expr = "I publish {count} event(s) of the poisoned key")]
#[when(expr = "I publish {count} event(s) of the poisoned key")]
#[then(expr = "I publish {count} event(s) of the poisoned key")]
async fn publish_behind(world: &mut TrellisWorld, count: Count) -> StepResult {
    let session = world.projection()?.clone();
    let work = async {
        for _ in 0..*count {
            session.publish_behind().await?;
        }
        Ok(())
    };
    let within = std::time::Duration::from_secs(30);
    within_budget(
        world,
        &format!("{count} events to be acknowledged"),
        within,
        work,
    )
    .await?
}

/// Waits until exactly one shard has the poison event in quarantine, and says that something is wrong with the event itself.
#[given(expr = "the poison event is in quarantine within {duration}")]
#[when(expr = "the poison event is in quarantine within {duration}")]
#[then(expr = "the poison event is in quarantine within {duration}")]
async fn quarantined(world: &mut TrellisWorld, within: Within) -> StepResult {
    let Poisoned { sequence, key, .. } = world.projection()?.poisoned()?;
    let goal = format!("one shard to have event {sequence} in quarantine");
    let there = move |view: &ProjectionView| {
        let mut found = view
            .quarantined()
            .filter(|(_, aside)| aside.sequence == sequence);
        let of_it = found
            .next()
            .is_some_and(|(_, aside)| !aside.waits && (key.is_none() || aside.key == key));
        of_it && found.next().is_none()
    };
    await_view(world, &goal, *within, there).await?;
    Ok(())
}

/// Waits until the events of the poisoned key that were published after the poison event are in quarantine because they wait for it, all of them, in the order of the stream.
#[given(expr = "the later events of the poisoned key wait behind it within {duration}")]
#[when(expr = "the later events of the poisoned key wait behind it within {duration}")]
#[then(expr = "the later events of the poisoned key wait behind it within {duration}")]
async fn waiting(world: &mut TrellisWorld, within: Within) -> StepResult {
    let poisoned = world.projection()?.poisoned()?;
    let behind = poisoned.behind;
    if behind == 0 {
        return Err(StepError::new(
            "no event of the poisoned key was published after the poison event",
        ));
    }
    let goal = format!("{behind} events to wait behind event {}", poisoned.sequence);
    let wait = move |view: &ProjectionView| {
        let of_key = view
            .quarantined()
            .filter(|(_, aside)| aside.key == poisoned.key);
        let of_key: Vec<_> = of_key.map(|(_, aside)| aside).collect();
        let Some((first, later)) = of_key.split_first() else {
            return false;
        };
        first.sequence == poisoned.sequence
            && later.len() == behind
            && later.iter().all(|aside| aside.waits)
            && of_key.is_sorted_by_key(|aside| aside.sequence)
    };
    await_view(world, &goal, *within, wait).await?;
    Ok(())
}

/// Has the owner of the shard go on without the poison event, for ever.
#[given(expr = "I drop the poison event")]
#[when(expr = "I drop the poison event")]
#[then(expr = "I drop the poison event")]
async fn drop_event(world: &mut TrellisWorld) -> StepResult {
    let poisoned = world.projection()?.poisoned()?;
    let (shard, owner) = shard_of(world, &poisoned).await?;
    let session = world.projection()?;
    let dropped = session
        .deployment
        .drop_event(&owner, shard, poisoned.sequence);
    world.interruptible(dropped).await?
}

/// Has the owner of the shard fold the events of the poisoned key again that are in quarantine. Fails unless all of them are in the view then.
#[given(expr = "I retry the poisoned key")]
#[when(expr = "I retry the poisoned key")]
#[then(expr = "I retry the poisoned key")]
async fn retry(world: &mut TrellisWorld) -> StepResult {
    let retried = retried(world).await?;
    match retried.stuck {
        None => Ok(()),
        Some(why) => Err(StepError::new(format!(
            "{} events are in the view, and then it does not go on: {why}",
            retried.applied
        ))),
    }
}

/// The same, but it must not get past the poison event: none of the events may be in the view then.
#[given(expr = "retrying the poisoned key does not get past the poison event")]
#[when(expr = "retrying the poisoned key does not get past the poison event")]
#[then(expr = "retrying the poisoned key does not get past the poison event")]
async fn retry_in_vain(world: &mut TrellisWorld) -> StepResult {
    let retried = retried(world).await?;
    if retried.applied == 0 && retried.stuck.is_some() {
        return Ok(());
    }
    Err(StepError::new(format!(
        "{} events are in the view, and the poison event was not in their way",
        retried.applied
    )))
}

/// Waits until no shard has anything in quarantine.
#[given(expr = "nothing is in quarantine within {duration}")]
#[when(expr = "nothing is in quarantine within {duration}")]
#[then(expr = "nothing is in quarantine within {duration}")]
async fn nothing(world: &mut TrellisWorld, within: Within) -> StepResult {
    let goal = "no event to be in quarantine";
    let nothing =
        |view: &ProjectionView| view.owned().is_some() && view.quarantined().next().is_none();
    await_view(world, goal, *within, nothing).await?;
    Ok(())
}

async fn retried(world: &TrellisWorld) -> StepResult<super::Retried> {
    let poisoned = world.projection()?.poisoned()?;
    let (shard, owner) = shard_of(world, &poisoned).await?;
    let session = world.projection()?;
    let key = session.poisoned_key()?;
    let retried = session.deployment.retry(&owner, shard, &key);
    world.interruptible(retried).await?
}

/// The shard that has something of the poison event in quarantine, and its owner.
async fn shard_of(
    world: &TrellisWorld,
    poisoned: &Poisoned,
) -> StepResult<(u32, trellis_domain::NodeHandle)> {
    let view = await_owned(world).await?;
    let found = view.quarantined().find(|(_, aside)| {
        aside.sequence == poisoned.sequence || (aside.key.is_some() && aside.key == poisoned.key)
    });
    let (shard, _) = found.ok_or_else(|| {
        let sequence = poisoned.sequence;
        StepError::new(format!("event {sequence} is not in quarantine: {view}"))
    })?;
    let (owner, _) = view.owner(shard).expect("every shard was waited for");
    Ok((shard, world.cluster()?.node(owner)?))
}
