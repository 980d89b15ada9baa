//! Verify: whether every acknowledged write is where it must be.
//!
//! Nodes that are equal need not be complete: after a restart all of them can be without the last entries for a moment, until a leader has found out that these are committed.
//! So the leader is asked first, with linearizable reads, and only then are the others compared with it.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, stream};
use tokio::time::Instant;
use trellis_domain::NodeHandle;

use super::{KvRefusal, KvSession, Read, ReplicaView};
use crate::{StepError, StepResult, TrellisWorld};

/// How many reads are under way at one time.
const READS_MAX: usize = 16;
/// How many lost keys an error names.
const LOST_SHOWN: usize = 5;

/// Why a node does not show what it should.
enum Missing {
    /// It would not say; it may be that it does not lead any more.
    Unread(KvRefusal),
    /// It said something else.
    Lost(StepError),
}

/// Checks that the leader, and then every running node, has every acknowledged write with its last value.
pub(super) async fn verify_everywhere(world: &TrellisWorld, within: Duration) -> StepResult {
    let deadline = Instant::now() + within;
    // What is acknowledged from here on may not be everywhere yet.
    let acknowledged = world.kv()?.acknowledged();
    verify_at_leader(world, &acknowledged, within).await?;
    let nodes = world.cluster()?.running().len();
    let goal = format!("all {nodes} running nodes to hold the same keys");
    let same = move |view: &ReplicaView| view.members.len() == nodes && view.is_replicated();
    let left = deadline.saturating_duration_since(Instant::now());
    world.await_replicas(&goal, left, same).await?;
    let kv = world.kv()?;
    for node in world.cluster()?.running() {
        match verify(kv, &node, Read::Local, &acknowledged).await {
            Ok(()) => {}
            Err(Missing::Lost(error)) => return Err(error),
            Err(Missing::Unread(refusal)) => {
                return Err(StepError::from(refusal).within(format!("{node} could not be read")));
            }
        }
    }
    let count = acknowledged.len();
    world
        .journal
        .note(format!("{count} acknowledged writes are on every node"));
    Ok(())
}

/// Checks by linearizable reads that the leader has each of the `acknowledged` writes with its last value.
///
/// A leader that refuses, because it does not lead any more, is followed by the next one, until the deadline.
pub(super) async fn verify_at_leader(
    world: &TrellisWorld,
    acknowledged: &BTreeMap<String, String>,
    within: Duration,
) -> StepResult {
    let kv = world.kv()?;
    if acknowledged.is_empty() {
        return Err(StepError::new(
            "no write was acknowledged so far, so there is nothing to check",
        ));
    }
    let deadline = Instant::now() + within;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let leader = world.agreed_leader(left).await?;
        let leader = world.cluster()?.node(&leader)?;
        let reads = verify(kv, &leader, Read::Linearizable, acknowledged);
        match world.interruptible(reads).await? {
            Ok(()) => return Ok(()),
            Err(Missing::Lost(error)) => return Err(error),
            Err(Missing::Unread(refusal)) if Instant::now() >= deadline => {
                return Err(StepError::from(refusal).within(format!(
                    "waited {within:?} for a leader to read everything from; {leader} was the last one"
                )));
            }
            Err(Missing::Unread(_)) => kv.await_leader().await,
        }
    }
}

/// Reads every key on one node and compares.
async fn verify(
    kv: &KvSession,
    node: &NodeHandle,
    read: Read,
    expected: &BTreeMap<String, String>,
) -> Result<(), Missing> {
    let mut reads = stream::iter(expected)
        .map(|(key, value)| async move { (key, value, kv.port.get(node, key, read).await) })
        .buffer_unordered(READS_MAX);
    let mut lost = Vec::new();
    while let Some((key, value, found)) = reads.next().await {
        let found = found.map_err(Missing::Unread)?;
        if found.as_ref() != Some(value) {
            lost.push(format!("{key} reads {found:?}, not {value:?}"));
        }
    }
    if lost.is_empty() {
        return Ok(());
    }
    lost.sort();
    let count = lost.len();
    lost.truncate(LOST_SHOWN);
    Err(Missing::Lost(StepError::new(format!(
        "{count} of {} acknowledged writes are not on {node}:\n  {}",
        expected.len(),
        lost.join("\n  ")
    ))))
}
