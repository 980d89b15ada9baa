//! Events: phrases that publish, now or in the background. What was acknowledged is remembered.

use std::time::Duration;

use cucumber::{given, then, when};

use super::{ledger::Keys, load::Load};
use crate::{Count, StepError, StepResult, TrellisWorld, Within};

/// How long a phrase without a budget of its own may take to have its events acknowledged; far longer than a server needs to come back.
const PUBLISH_WITHIN: Duration = Duration::from_secs(30);

/// Publishes so many events of three tenants and their keys in turn, one after the other, each until the server acknowledges it. All of them together have 30 seconds.
#[given(expr = "I publish {count} event(s)")]
#[when(expr = "I publish {count} event(s)")]
#[then(expr = "I publish {count} event(s)")]
async fn publish(world: &mut TrellisWorld, count: Count) -> StepResult {
    let session = world.projection()?.clone();
    let work = async {
        for _ in 0..*count {
            session.publish_next(Keys::Same).await?;
        }
        Ok(())
    };
    within_budget(
        world,
        &format!("{count} events to be acknowledged"),
        PUBLISH_WITHIN,
        work,
    )
    .await?
}

/// Publishes events in the background, one after the other, until a step stops it or the scenario ends. One that is not acknowledged is published again, under an id by which the server knows it.
#[given(expr = "I keep publishing events")]
#[when(expr = "I keep publishing events")]
#[then(expr = "I keep publishing events")]
async fn keep_publishing(world: &mut TrellisWorld) -> StepResult {
    begin(world, Keys::Same).await
}

/// Publishes events in the background, each of a key that there was not before, so that the nodes have ever more to store.
#[given(expr = "I keep publishing events of new keys")]
#[when(expr = "I keep publishing events of new keys")]
#[then(expr = "I keep publishing events of new keys")]
async fn keep_publishing_new(world: &mut TrellisWorld) -> StepResult {
    begin(world, Keys::New).await
}

/// Stops publishing in the background when the event that is under way is acknowledged, at most 30 seconds. Fails when nobody publishes, or not one event was acknowledged.
#[given(expr = "I stop publishing events")]
#[when(expr = "I stop publishing events")]
#[then(expr = "I stop publishing events")]
async fn stop_publishing(world: &mut TrellisWorld) -> StepResult {
    let load = world.projection()?.take_load().ok_or_else(nobody)?;
    let events = stop(world, load).await?;
    if events == 0 {
        return Err(StepError::new(format!(
            "not one event was acknowledged\n{}",
            world.projection()?.last_seen()
        )));
    }
    Ok(())
}

/// Waits until so many more events of the background load are acknowledged, counted from the beginning of this step. Fails when nobody publishes.
#[given(expr = "{count} more event(s) is/are acknowledged within {duration}")]
#[when(expr = "{count} more event(s) is/are acknowledged within {duration}")]
#[then(expr = "{count} more event(s) is/are acknowledged within {duration}")]
async fn more_events(world: &mut TrellisWorld, count: Count, within: Within) -> StepResult {
    let mut progress = world.projection()?.load_progress().ok_or_else(nobody)?;
    let target = *progress.borrow() + *count as u64;
    let wait = async {
        // An error means that the load ended, which is as good as a timeout here.
        if progress.wait_for(|done| *done >= target).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    within_budget(
        world,
        &format!("{count} more events to be acknowledged"),
        *within,
        wait,
    )
    .await
}

/// Stops the load of the scenario, if there is one.
pub(super) async fn stop_any(world: &TrellisWorld) -> StepResult {
    if let Some(load) = world.projection()?.take_load() {
        stop(world, load).await?;
    }
    Ok(())
}

async fn begin(world: &TrellisWorld, keys: Keys) -> StepResult {
    let session = world.projection()?;
    if let Some(earlier) = session.set_load(Load::start(session, keys)) {
        stop(world, earlier).await?;
        return Err(StepError::new(
            "events are published already; say `I stop publishing events` first",
        ));
    }
    Ok(())
}

async fn stop(world: &TrellisWorld, load: Load) -> StepResult<u64> {
    let goal = "the last event to be acknowledged";
    let events = within_budget(world, goal, PUBLISH_WITHIN, load.stop()).await?;
    world
        .journal
        .note(format!("stopped publishing: {events} events acknowledged"));
    Ok(events)
}

fn nobody() -> StepError {
    StepError::new("nobody publishes; say `I keep publishing events` first")
}

/// Runs `work` with a deadline; a timeout shows what was seen last.
pub(super) async fn within_budget<T>(
    world: &TrellisWorld,
    goal: &str,
    within: Duration,
    work: impl Future<Output = T>,
) -> StepResult<T> {
    let session = world.projection()?;
    let seen = || session.last_seen();
    let wait = tokio::time::timeout(within, work);
    let done = world.watched(goal, within, seen, wait).await?;
    done.map_err(|_| {
        StepError::new(format!(
            "waited {within:?} for {goal}; last seen: {}",
            seen()
        ))
    })
}
