//! The port: an application whose nodes fold events of a stream into views, as phrases see it.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use trellis_bootstrap::Application;
use trellis_domain::{NodeHandle, NodeName};
use trellis_observation::{ObservationHandle, Observer, WaitError};
use trellis_runtime::Cluster;

use super::ProjectionView;
use crate::{StepError, StepResult};

/// An application that folds events, before it is known what a scenario wants of it.
pub trait ProjectionApp: Send + Sync + 'static {
    /// The application as a scenario wants it.
    fn deploy(&self, wish: &ProjectionWish) -> Arc<dyn ProjectionDeployment>;
}

/// What a scenario wants of the nodes beside that they are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectionWish {
    /// How many nodes share the stream; one has it to itself.
    pub nodes: usize,
    /// The nodes that have a disk of their own, and how many MiB that holds.
    pub disks: BTreeMap<NodeName, usize>,
}

/// The events of one key make one view.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey {
    /// Whose it is.
    pub tenant: String,
    /// Which of theirs.
    pub id: String,
}

/// An event as it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// By which the server knows it when it is published again.
    pub id: String,
    /// Its key.
    pub key: EventKey,
    /// Which event of its key it is, from 1.
    pub number: u64,
    /// What it adds to the sum of its view.
    pub amount: u64,
    /// How many bytes its view has to hold for it.
    pub bytes: usize,
}

/// An event that can never be in a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Poison {
    /// It is no event at all.
    NoJson,
    /// It is one of this key, and what it says cannot be added to anything.
    Misfit(EventKey),
}

/// What a view says of the events that are in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many there are.
    pub count: u64,
    /// The sum of their amounts.
    pub sum: u64,
    /// How many of them did not come in the order in which they were published.
    pub disordered: u64,
}

/// What became of events that waited behind a poison event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retried {
    /// How many are in the view now.
    pub applied: usize,
    /// Why it did not go on, if it did not.
    pub stuck: Option<String>,
}

/// What a comparison with a clean replay came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether every byte is the same.
    pub right: bool,
    /// In words, with what differs.
    pub text: String,
}

/// An application together with the nodes that a scenario wants.
#[async_trait]
pub trait ProjectionDeployment: Send + Sync + 'static {
    /// What runs the nodes, and the server under the name [`super::SERVER`].
    fn application(&self) -> Arc<dyn Application>;

    /// Starts observing the nodes of `cluster`; ends with it.
    fn observe(&self, cluster: &Cluster) -> Arc<dyn ProjectionWatch>;

    /// Whose events there can be.
    fn tenants(&self) -> Vec<String>;

    /// Makes what events are published to.
    ///
    /// # Errors
    /// A server that does not make it.
    async fn open_stream(&self, server: &NodeHandle) -> StepResult;

    /// Publishes an event, and returns the sequence that it was acknowledged with. Again is as good as once.
    ///
    /// # Errors
    /// No acknowledgement, in words. The event may be there all the same.
    async fn publish(&self, server: &NodeHandle, event: &Event) -> StepResult<u64>;

    /// Publishes something that can never be in a view.
    ///
    /// # Errors
    /// As for [`ProjectionDeployment::publish`].
    async fn publish_poison(
        &self,
        server: &NodeHandle,
        id: &str,
        poison: &Poison,
    ) -> StepResult<u64>;

    /// Asks `node` for all views, wherever they are, once the event `min_seq` is in them.
    ///
    /// # Errors
    /// Whatever keeps it from answering in time.
    async fn views(
        &self,
        node: &NodeHandle,
        min_seq: u64,
        within: Duration,
    ) -> StepResult<BTreeMap<EventKey, Tally>>;

    /// Has `owner` fold the events again that wait in quarantine, of one view of a shard.
    ///
    /// # Errors
    /// A refusal.
    async fn retry(&self, owner: &NodeHandle, shard: u32, key: &EventKey) -> StepResult<Retried>;

    /// Has `owner` go on without an event of a shard, for ever.
    ///
    /// # Errors
    /// A refusal.
    async fn drop_event(&self, owner: &NodeHandle, shard: u32, sequence: u64) -> StepResult;

    /// Has `owner` make all views of a shard again, beside those that are served.
    ///
    /// # Errors
    /// A refusal.
    async fn rebuild(&self, owner: &NodeHandle, shard: u32) -> StepResult;

    /// Has `owner` serve the views that were made again, now.
    ///
    /// # Errors
    /// A refusal.
    async fn cut_over(&self, owner: &NodeHandle, shard: u32) -> StepResult;

    /// Reads the stream again and compares the views of a shard with what it makes, byte for byte.
    ///
    /// # Errors
    /// Whatever keeps them from being compared.
    async fn verify(&self, owner: &NodeHandle, shard: u32) -> StepResult<Verdict>;

    /// Takes all room on the disk of its own that `node` has, and says how many bytes that was.
    ///
    /// # Errors
    /// A node without such a disk.
    fn fill_disk(&self, node: &NodeName) -> StepResult<u64>;

    /// Gives that room back.
    ///
    /// # Errors
    /// A node without such a disk, or one that was not filled.
    fn make_room(&self, node: &NodeName) -> StepResult;
}

/// What a wait is for.
pub type ProjectionPredicate = Box<dyn Fn(&ProjectionView) -> bool + Send + Sync>;

/// The observation of projection nodes, whatever its observer is.
#[async_trait]
pub trait ProjectionWatch: Send + Sync + 'static {
    /// The last view; `None` before the first.
    fn latest(&self) -> Option<ProjectionView>;

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
        predicate: ProjectionPredicate,
    ) -> StepResult<ProjectionView>;
}

/// A [`ProjectionWatch`] made of an observation and a function from its snapshots to views.
pub struct ProjectionObservation<O: Observer, V> {
    handle: ObservationHandle<O>,
    view: V,
}

impl<O, V> ProjectionObservation<O, V>
where
    O: Observer,
    V: Fn(&O::Snapshot) -> ProjectionView + Send + Sync + 'static,
{
    /// Joins the two.
    pub fn new(handle: ObservationHandle<O>, view: V) -> Self {
        Self { handle, view }
    }
}

#[async_trait]
impl<O, V> ProjectionWatch for ProjectionObservation<O, V>
where
    O: Observer,
    V: Fn(&O::Snapshot) -> ProjectionView + Send + Sync + 'static,
{
    fn latest(&self) -> Option<ProjectionView> {
        let seen = self.handle.latest()?;
        Some((self.view)(&seen.snapshot))
    }

    async fn wait_for(
        &self,
        goal: &str,
        within: Duration,
        predicate: ProjectionPredicate,
    ) -> StepResult<ProjectionView> {
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
            Ok(seen) => Ok((self.view)(&seen.snapshot)),
            Err(error) => Err(gave_up(&error, &self.view)),
        }
    }
}

fn gave_up<S>(error: &WaitError<S>, view: impl Fn(&S) -> ProjectionView) -> StepError {
    StepError::new(error.describe_with(|snapshot| view(snapshot).to_string()))
}

impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.id)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} events with a sum of {}", self.count, self.sum)?;
        if self.disordered > 0 {
            write!(f, ", {} of them out of order", self.disordered)?;
        }
        Ok(())
    }
}
