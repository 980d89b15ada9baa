//! Keys: phrases about writes, reads and what must not be lost.

use std::time::Duration;

use cucumber::{given, then, when};
use futures::future::join_all;

use super::{
    KvRefusal, Read,
    verify::{verify_at_leader, verify_everywhere},
    writer::Writer,
};
use crate::{
    Count, NodeRef, StepError, StepResult, TrellisWorld, Within,
    effect::{Effect, StepEffects},
};

/// How long a phrase without a budget of its own may take to have its writes acknowledged; far longer than an election.
const WRITE_WITHIN: Duration = Duration::from_secs(30);
/// How long replicas may take to become equal after the last write.
const REPLICATE_WITHIN: Duration = Duration::from_secs(30);
/// How long a phrase without a budget of its own may take to read everything back.
const LINEARIZABLE_WITHIN: Duration = Duration::from_secs(15);

pub(crate) const EFFECTS: &[StepEffects] = &[
    StepEffects {
        expression: "key {string} reads {string} on {node}",
        of: |step| Ok(vec![Effect::Mentions(step.get(2)?)]),
    },
    StepEffects {
        expression: "I add {node} to the voters",
        of: |step| Ok(vec![Effect::Mentions(step.get(0)?)]),
    },
];

/// Writes so many keys that were not used before, one after the other, each until a node acknowledges it. All of them together have 30 seconds.
#[given(expr = "I write {count} key(s)")]
#[when(expr = "I write {count} key(s)")]
#[then(expr = "I write {count} key(s)")]
async fn write_keys(world: &mut TrellisWorld, count: Count) -> StepResult {
    let kv = world.kv()?.clone();
    let writes = async {
        for _ in 0..*count {
            let key = kv.next_key();
            let value = format!("value of {key}");
            kv.put_until_acknowledged(&key, &value).await;
        }
    };
    let goal = format!("{count} writes to be acknowledged");
    within_budget(world, &goal, WRITE_WITHIN, writes).await
}

/// Writes a value to a key, again and again until a node acknowledges it, at most 30 seconds.
#[given(expr = "I write {string} to key {string}")]
#[when(expr = "I write {string} to key {string}")]
#[then(expr = "I write {string} to key {string}")]
async fn write_key(world: &mut TrellisWorld, value: String, key: String) -> StepResult {
    let kv = world.kv()?.clone();
    let goal = format!("a write to key {key:?} to be acknowledged");
    within_budget(
        world,
        &goal,
        WRITE_WITHIN,
        kv.put_until_acknowledged(&key, &value),
    )
    .await
}

/// Reads a key from the node once, linearizably, and compares. A node that refuses such a read, as followers may, fails the step.
#[given(expr = "key {string} reads {string} on {node}")]
#[when(expr = "key {string} reads {string} on {node}")]
#[then(expr = "key {string} reads {string} on {node}")]
async fn key_reads(
    world: &mut TrellisWorld,
    key: String,
    expected: String,
    node: NodeRef,
) -> StepResult {
    let name = world.resolve(&node).await?;
    let kv = world.kv()?;
    let found = kv
        .port
        .get(&world.cluster()?.node(&name)?, &key, Read::Linearizable)
        .await?;
    if found.as_ref() == Some(&expected) {
        return Ok(());
    }
    Err(StepError::new(format!(
        "key {key:?} reads {found:?} on {name}, not {expected:?}"
    )))
}

/// Reads every acknowledged key from the leader, linearizably; waits until every running node holds the same keys and values as of the same log entry; then reads every acknowledged key from every running node and compares. The time is for reading at the leader and the wait together; fails when nothing was acknowledged so far.
#[given(expr = "every node has every acknowledged write within {duration}")]
#[when(expr = "every node has every acknowledged write within {duration}")]
#[then(expr = "every node has every acknowledged write within {duration}")]
async fn replicated(world: &mut TrellisWorld, within: Within) -> StepResult {
    verify_everywhere(world, *within).await
}

/// Stops the background writer, if there is one, then does what `every node has every acknowledged write within {duration}` does, with 30 seconds. Fails when nothing was acknowledged so far.
#[given(expr = "no acknowledged write is lost")]
#[when(expr = "no acknowledged write is lost")]
#[then(expr = "no acknowledged write is lost")]
async fn nothing_lost(world: &mut TrellisWorld) -> StepResult {
    if let Some(writer) = world.kv()?.take_writer() {
        writer.stop().await;
    }
    verify_everywhere(world, REPLICATE_WITHIN).await
}

/// Reads every acknowledged key from the leader, linearizably, and compares with the value acknowledged last. Follows a changing leader for at most 15 seconds.
#[given(expr = "a linearizable read of every acknowledged key gives its value")]
#[when(expr = "a linearizable read of every acknowledged key gives its value")]
#[then(expr = "a linearizable read of every acknowledged key gives its value")]
async fn linearizable(world: &mut TrellisWorld) -> StepResult {
    let acknowledged = world.kv()?.acknowledged();
    verify_at_leader(world, &acknowledged, LINEARIZABLE_WITHIN).await
}

/// Starts a background writer, which writes a new key after the other until a step stops it or the scenario ends. Refused writes do not fail anything; a second writer does.
#[given(expr = "I keep writing")]
#[when(expr = "I keep writing")]
#[then(expr = "I keep writing")]
async fn keep_writing(world: &mut TrellisWorld) -> StepResult {
    let kv = world.kv()?;
    if let Some(earlier) = kv.set_writer(Writer::start(kv)) {
        earlier.stop().await;
        return Err(StepError::new(
            "writes go on already; say `I stop writing` first",
        ));
    }
    Ok(())
}

/// Stops the background writer after the write that is under way. Fails when nobody is writing, or not one write was acknowledged.
#[given(expr = "I stop writing")]
#[when(expr = "I stop writing")]
#[then(expr = "I stop writing")]
async fn stop_writing(world: &mut TrellisWorld) -> StepResult {
    let kv = world.kv()?;
    let writer = kv.take_writer().ok_or_else(not_writing)?;
    let written = writer.stop().await;
    world.journal.note(format!(
        "stopped writing: {} writes acknowledged, {} refused",
        written.acknowledged, written.refused
    ));
    if written.acknowledged == 0 {
        return Err(StepError::new(format!(
            "not one write was acknowledged; {} were refused",
            written.refused
        )));
    }
    Ok(())
}

/// Waits until the background writer has had so many more writes acknowledged, counted from the beginning of this step. Fails when nobody is writing.
#[given(expr = "{count} more write(s) is/are acknowledged within {duration}")]
#[when(expr = "{count} more write(s) is/are acknowledged within {duration}")]
#[then(expr = "{count} more write(s) is/are acknowledged within {duration}")]
async fn more_writes(world: &mut TrellisWorld, count: Count, within: Within) -> StepResult {
    let kv = world.kv()?;
    let mut progress = kv.writer_progress().ok_or_else(not_writing)?;
    let target = *progress.borrow() + *count as u64;
    let wait = async {
        // An error means that the writer ended, which is as good as a timeout here.
        if progress.wait_for(|done| *done >= target).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let goal = format!("{count} more writes to be acknowledged");
    within_budget(world, &goal, *within, wait).await
}

/// Asks every running node at once to write. Each must refuse within the time, for want of a quorum or because it does not lead; an acknowledged write, an unreachable node and a silent one fail the step.
#[given(expr = "writes are refused within {duration}")]
#[when(expr = "writes are refused within {duration}")]
#[then(expr = "writes are refused within {duration}")]
async fn refused(world: &mut TrellisWorld, within: Within) -> StepResult {
    let kv = world.kv()?;
    let asked = world
        .cluster()?
        .running()
        .into_iter()
        .map(|node| async move {
            let write = kv.next_key();
            let put = kv.port.put(&node, &write, "must not be acknowledged");
            let answer = tokio::time::timeout(*within, put).await;
            (node, answer)
        });
    for (node, answer) in world.interruptible(join_all(asked)).await? {
        match answer {
            Ok(Err(refusal @ (KvRefusal::NotLeader { .. } | KvRefusal::NoQuorum(_)))) => {
                world
                    .journal
                    .note(format!("{node} refused a write: {refusal}"));
            }
            Ok(Err(failure)) => {
                return Err(StepError::from(failure)
                    .within(format!("{node} did not refuse a write, it failed")));
            }
            Ok(Ok(())) => return Err(StepError::new(format!("{node} acknowledged a write"))),
            Err(_) => {
                return Err(StepError::new(format!(
                    "{node} neither acknowledged nor refused a write within {within}"
                )));
            }
        }
    }
    Ok(())
}

/// Writes one new key, again and again until a node acknowledges it.
#[given(expr = "writes are accepted within {duration}")]
#[when(expr = "writes are accepted within {duration}")]
#[then(expr = "writes are accepted within {duration}")]
async fn accepted(world: &mut TrellisWorld, within: Within) -> StepResult {
    let kv = world.kv()?.clone();
    let key = kv.next_key();
    let goal = "a write to be acknowledged";
    within_budget(
        world,
        goal,
        *within,
        kv.put_until_acknowledged(&key, "accepted"),
    )
    .await
}

/// Lets the leader replicate to the node, then makes it a voter beside the present ones. Asks whoever leads until it is done, at most 30 seconds.
#[given(expr = "I add {node} to the voters")]
#[when(expr = "I add {node} to the voters")]
#[then(expr = "I add {node} to the voters")]
async fn add_voter(world: &mut TrellisWorld, node: NodeRef) -> StepResult {
    let name = world.resolve(&node).await?;
    let kv = world.kv()?.clone();
    let node = world.cluster()?.node(&name)?;
    let goal = format!("{name} to be given a vote");
    within_budget(world, &goal, WRITE_WITHIN, kv.give_vote(&node)).await
}

fn not_writing() -> StepError {
    StepError::new("nobody is writing; say `I keep writing` first")
}

/// Runs `work` with a deadline; a timeout shows the last view.
pub(super) async fn within_budget(
    world: &TrellisWorld,
    goal: &str,
    within: Duration,
    work: impl Future<Output = ()>,
) -> StepResult {
    let kv = world.kv()?;
    let seen = || {
        let refusal = kv
            .last_refusal()
            .map(|text| format!("; the last refusal: {text}"))
            .unwrap_or_default();
        format!("{}{refusal}", kv.watch.latest().unwrap_or_default())
    };
    let wait = tokio::time::timeout(within, work);
    match world.watched(goal, within, seen, wait).await? {
        Ok(()) => Ok(()),
        Err(_) => Err(StepError::new(format!(
            "waited {within:?} for {goal}; last seen: {}",
            seen()
        ))),
    }
}
