//! Watching: waits on the observed chain, for what must come and for what must not.

use std::time::Duration;

use trellis_chain::{ChainView, NodeView};
use trellis_observation::WaitReason;

use super::session::gave_up;
use crate::{StepError, StepResult, TrellisWorld};

/// Waits on the observed chain, and shows progress meanwhile.
///
/// # Errors
/// The goal, the time, and the last view in words; or an interruption.
pub(super) async fn await_chain(
    world: &TrellisWorld,
    goal: &str,
    within: Duration,
    predicate: impl FnMut(&ChainView) -> bool,
) -> StepResult {
    let chain = world.chain()?;
    let wait = chain.wait_for(goal, within, predicate);
    let seen = || chain.last_seen();
    let waited = world.watched(goal, within, seen, wait).await?;
    waited.map_err(|error| gave_up(&error))?;
    Ok(())
}

/// The same, for what is said of all nodes: one that runs and cannot be asked at all fails it.
///
/// # Errors
/// As [`await_chain`], and a node that runs without an endpoint to ask.
pub(super) async fn await_all(
    world: &TrellisWorld,
    goal: &str,
    within: Duration,
    mut predicate: impl FnMut(&ChainView) -> bool,
) -> StepResult {
    world.chain()?.check_all_observed()?;
    await_chain(world, goal, within, |view| {
        all_answer(view) && predicate(view)
    })
    .await
}

/// Whether there are nodes, and all of them answered in this look.
pub(super) fn all_answer(view: &ChainView) -> bool {
    let mut observed = view.nodes.values().filter(|node| node.observed);
    observed.clone().next().is_some() && observed.all(NodeView::is_running)
}

/// Watches for `within` that `breach` never holds. Nothing is believed of looks that did not come about: after that time there is one more, in which all nodes must answer and `told` hold.
///
/// # Errors
/// A breach, or whatever kept it from being seen.
pub(super) async fn must_not_come(
    world: &TrellisWorld,
    what: &str,
    within: Duration,
    told: impl Fn(&ChainView) -> bool,
    mut breach: impl FnMut(&ChainView) -> bool,
) -> StepResult {
    let chain = world.chain()?;
    chain.check_all_observed()?;
    let wait = chain.wait_for(what, within, &mut breach);
    let seen = || chain.last_seen();
    let broken = match world.watched(what, within, seen, wait).await? {
        Ok(view) => Some(view),
        Err(error) if error.reason == WaitReason::Timeout => {
            let last = world.interruptible(chain.now()).await??;
            if !all_answer(&last) || !told(&last) {
                return Err(StepError::new(format!(
                    "{what} could not be seen, since not all nodes answered\n{}",
                    chain.last_seen()
                )));
            }
            breach(&last).then_some(last)
        }
        Err(error) => return Err(gave_up(&error)),
    };
    match broken {
        None => Ok(()),
        Some(view) => Err(StepError::new(format!(
            "{what} did not last\n{}",
            super::shown::shown(&view)
        ))),
    }
}
