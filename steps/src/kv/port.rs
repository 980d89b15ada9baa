//! The port: a replicated key-value application with a leader, as phrases see it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use thiserror::Error;
use trellis_domain::{NodeHandle, NodeName};
use trellis_observation::{ObservationHandle, Observer, WaitError};
use trellis_runtime::Cluster;

/// How a read is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// As of all writes acknowledged before it.
    Linearizable,
    /// From what the node has, which may be old.
    Local,
}

/// Why a node did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KvRefusal {
    /// Only the leader can.
    #[error("{text}")]
    NotLeader {
        /// Whom the node believes to be the leader.
        leader: Option<NodeName>,
        /// The node's own words.
        text: String,
    },
    /// Too few nodes can be reached to decide anything.
    #[error("{0}")]
    NoQuorum(String),
    /// The node could not be asked.
    #[error("{0}")]
    Unreachable(String),
    /// Anything else, in the node's own words.
    #[error("{0}")]
    Other(String),
}

/// What the key-value and leader phrases need of an application.
#[async_trait]
pub trait ReplicatedKv: Send + Sync + 'static {
    /// Starts observing the nodes of `cluster`; ends with it.
    fn observe(&self, cluster: &Cluster) -> Arc<dyn ReplicaWatch>;

    /// Asks `node` to write, and returns when the write is acknowledged.
    ///
    /// # Errors
    /// A refusal. Unless it is [`KvRefusal::NotLeader`], the write may have happened all the same.
    async fn put(&self, node: &NodeHandle, key: &str, value: &str) -> Result<(), KvRefusal>;

    /// Asks `node` for the value of `key`.
    ///
    /// # Errors
    /// A refusal.
    async fn get(
        &self,
        node: &NodeHandle,
        key: &str,
        read: Read,
    ) -> Result<Option<String>, KvRefusal>;

    /// Asks `leader` to replicate to `node` without giving it a vote.
    ///
    /// # Errors
    /// A refusal.
    async fn add_learner(&self, leader: &NodeHandle, node: &NodeHandle) -> Result<(), KvRefusal>;

    /// Asks `leader` to make exactly `voters` the nodes that have a vote.
    ///
    /// # Errors
    /// A refusal.
    async fn set_voters(&self, leader: &NodeHandle, voters: &[NodeHandle])
    -> Result<(), KvRefusal>;
}

/// One node as it was seen last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberView {
    /// Whether it answered when it was asked last.
    pub answers: bool,
    /// What it says it is: leader, follower, learner, candidate; or why it does not answer.
    pub role: String,
    /// Its term.
    pub term: u64,
    /// Whom it believes to be the leader.
    pub leader: Option<NodeName>,
    /// The index of the last log entry that it applied.
    pub applied: Option<u64>,
    /// The nodes that it believes to have a vote.
    pub voters: BTreeSet<NodeName>,
    /// A digest of its keys and values.
    pub digest: String,
    /// How many keys it has.
    pub keys: u64,
}

/// All running nodes as they were seen last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplicaView {
    /// The leader that a quorum of voters names in one term, if there is one.
    pub leader: Option<NodeName>,
    /// The highest term seen.
    pub term: u64,
    /// Every running node.
    pub members: BTreeMap<NodeName, MemberView>,
}

impl ReplicaView {
    /// Whether all running nodes answer and hold the same keys and values, as of the same log entry.
    pub fn is_replicated(&self) -> bool {
        let mut states = self
            .members
            .values()
            .map(|member| (&member.digest, member.applied));
        let Some(first) = states.next() else {
            return false;
        };
        self.members.values().all(|member| member.answers) && states.all(|state| state == first)
    }

    /// Whether every running node answers and follows the agreed leader in one term.
    pub fn all_follow_the_leader(&self) -> bool {
        self.leader.is_some()
            && self.members.values().all(|member| {
                member.answers && member.leader == self.leader && member.term == self.term
            })
    }
}

/// A line a node, for people.
impl fmt::Display for ReplicaView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.leader {
            Some(leader) => write!(f, "leader {leader} in term {}", self.term)?,
            None => write!(f, "no leader agreed on, highest term {}", self.term)?,
        }
        for (name, member) in &self.members {
            if !member.answers {
                write!(f, "\n  {name}: no answer ({})", member.role)?;
                continue;
            }
            let leader = member.leader.as_ref().map_or("nobody", NodeName::as_str);
            let applied = member
                .applied
                .map_or_else(|| "none".to_owned(), |index| index.to_string());
            write!(
                f,
                "\n  {name}: {} in term {}, follows {leader}, applied {applied}, {} keys ({:.8}), {} voters",
                member.role,
                member.term,
                member.keys,
                member.digest,
                member.voters.len()
            )?;
        }
        Ok(())
    }
}

/// A wait that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct WaitFailure(pub String);

/// What a wait is for.
pub type ReplicaPredicate = Box<dyn Fn(&ReplicaView) -> bool + Send + Sync>;

/// The observation of an application's replicas, whatever its observer is.
#[async_trait]
pub trait ReplicaWatch: Send + Sync + 'static {
    /// The last view; `None` before the first.
    fn latest(&self) -> Option<ReplicaView>;

    /// Waits until what is true *from now on* satisfies `predicate`: views of what was before the call do not count.
    ///
    /// # Errors
    /// The goal, the time, and the last view in words.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    async fn wait_for(
        &self,
        goal: &str,
        within: Duration,
        predicate: ReplicaPredicate,
    ) -> Result<ReplicaView, WaitFailure>;
}

/// A [`ReplicaWatch`] made of an observation and a function from its snapshots to views.
pub struct ReplicaObservation<O: Observer> {
    handle: ObservationHandle<O>,
    view: fn(&O::Snapshot) -> ReplicaView,
}

impl<O: Observer> ReplicaObservation<O> {
    /// Joins the two.
    pub fn new(handle: ObservationHandle<O>, view: fn(&O::Snapshot) -> ReplicaView) -> Self {
        Self { handle, view }
    }
}

#[async_trait]
impl<O: Observer> ReplicaWatch for ReplicaObservation<O> {
    fn latest(&self) -> Option<ReplicaView> {
        self.handle
            .latest()
            .map(|observed| (self.view)(&observed.snapshot))
    }

    async fn wait_for(
        &self,
        goal: &str,
        within: Duration,
        predicate: ReplicaPredicate,
    ) -> Result<ReplicaView, WaitFailure> {
        let since = self.handle.mark();
        let holds = |snapshot: &O::Snapshot| predicate(&(self.view)(snapshot));
        let wait = std::pin::pin!(self.handle.wait_fresh(goal, since, within, holds));
        // The first look is at once instead of at the next tick; whether it fails, the wait says.
        let look = std::pin::pin!(self.handle.refresh_within(within));
        let result = match futures::future::select(wait, look).await {
            futures::future::Either::Left((result, _)) => result,
            futures::future::Either::Right((_, wait)) => wait.await,
        };
        match result {
            Ok(observed) => Ok((self.view)(&observed.snapshot)),
            Err(error) => Err(WaitFailure(describe(&error, self.view))),
        }
    }
}

fn describe<S>(error: &WaitError<S>, view: fn(&S) -> ReplicaView) -> String {
    error.describe_with(|snapshot| view(snapshot).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(leader: &str, term: u64, digest: &str) -> MemberView {
        MemberView {
            answers: true,
            role: "follower".into(),
            term,
            leader: Some(leader.parse().unwrap()),
            applied: Some(7),
            digest: digest.into(),
            ..MemberView::default()
        }
    }

    fn view(members: &[(&str, MemberView)]) -> ReplicaView {
        ReplicaView {
            leader: Some("A".parse().unwrap()),
            term: 2,
            members: members
                .iter()
                .map(|(n, m)| (n.parse().unwrap(), m.clone()))
                .collect(),
        }
    }

    #[test]
    fn replicas_agree_only_when_all_of_them_do() {
        assert!(!ReplicaView::default().is_replicated());
        let same = view(&[("A", member("A", 2, "x")), ("B", member("A", 2, "x"))]);
        assert!(same.is_replicated() && same.all_follow_the_leader());
        let other = view(&[("A", member("A", 2, "x")), ("B", member("A", 2, "y"))]);
        assert!(!other.is_replicated());
        let behind = MemberView {
            applied: Some(6),
            ..member("A", 2, "x")
        };
        assert!(!view(&[("A", member("A", 2, "x")), ("B", behind)]).is_replicated());
        let silent = MemberView {
            answers: false,
            ..member("A", 2, "x")
        };
        assert!(!view(&[("A", member("A", 2, "x")), ("B", silent)]).is_replicated());
    }

    #[test]
    fn a_node_in_an_old_term_does_not_follow() {
        let stale = view(&[("A", member("A", 2, "x")), ("B", member("A", 1, "x"))]);
        assert!(!stale.all_follow_the_leader());
    }
}
