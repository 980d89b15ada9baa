//! The session: what a scenario published to its projection nodes, and what it noted of them, while they run.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use trellis_domain::{NodeHandle, NodeName};
use trellis_runtime::Cluster;

use super::{
    EventKey, Poison, ProjectionDeployment, ProjectionView, ProjectionWatch, SERVER, Tally,
    ledger::{Bounds, Keys, Ledger},
    load::Load,
};
use crate::{StepError, StepResult};

/// How long one query may wait for an event. The observation said that it is there.
const QUERY_WITHIN: Duration = Duration::from_secs(5);

/// The projection side of a running cluster. Cheap to clone; clones share it.
#[derive(Clone)]
pub(crate) struct ProjectionSession {
    pub(super) deployment: Arc<dyn ProjectionDeployment>,
    pub(super) watch: Arc<dyn ProjectionWatch>,
    pub(super) cluster: Cluster,
    /// Held while an event is published, so that the events of a key come in their order whoever publishes.
    publishing: Arc<tokio::sync::Mutex<()>>,
    state: Arc<Mutex<State>>,
}

struct State {
    ledger: Ledger,
    load: Option<Load>,
    poison: Option<Poisoned>,
    /// Who had how many of which shards when a step last looked.
    owners: BTreeMap<u32, NodeName>,
    /// Which generation each shard served before it was made again.
    rebuilt: BTreeMap<u32, u32>,
    last_refusal: Option<String>,
}

/// A poison event that was published.
#[derive(Debug, Clone)]
pub(super) struct Poisoned {
    pub(super) sequence: u64,
    /// The key of whose view it would have been.
    pub(super) key: Option<EventKey>,
    /// How many events of that key were published since.
    pub(super) behind: usize,
}

impl ProjectionSession {
    pub(crate) fn new(deployment: Arc<dyn ProjectionDeployment>, cluster: Cluster) -> Self {
        let watch = deployment.observe(&cluster);
        let state = State {
            ledger: Ledger::new(deployment.tenants()),
            load: None,
            poison: None,
            owners: BTreeMap::new(),
            rebuilt: BTreeMap::new(),
            last_refusal: None,
        };
        Self {
            deployment,
            watch,
            cluster,
            publishing: Arc::default(),
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The node that is the server.
    pub(super) fn server(&self) -> StepResult<NodeHandle> {
        let name: NodeName = SERVER.parse()?;
        Ok(self.cluster.node(&name)?)
    }

    /// The projection nodes that run.
    pub(super) fn nodes(&self) -> Vec<NodeHandle> {
        let mut nodes = self.cluster.running();
        nodes.retain(|node| node.name().as_str() != SERVER);
        nodes
    }

    /// Publishes the next event of `keys`, again and again until it is acknowledged. Bounded by the caller.
    pub(super) async fn publish_next(&self, keys: Keys) -> StepResult {
        let turn = self.publishing.lock().await;
        let key = self.state().ledger.next_key(keys);
        self.publish_of(key, keys, &turn).await
    }

    /// Publishes an event of the poisoned key, which has to wait behind the poison event.
    pub(super) async fn publish_behind(&self) -> StepResult {
        let turn = self.publishing.lock().await;
        let key = self.poisoned_key()?;
        self.publish_of(key, Keys::Same, &turn).await
    }

    async fn publish_of(
        &self,
        key: EventKey,
        keys: Keys,
        _turn: &tokio::sync::MutexGuard<'_, ()>,
    ) -> StepResult {
        let server = self.server()?;
        let event = self.state().ledger.issue(key, keys);
        loop {
            match self.deployment.publish(&server, &event).await {
                Ok(sequence) => {
                    let mut state = self.state();
                    state.ledger.acknowledge(&event, sequence);
                    if let Some(poison) = &mut state.poison
                        && poison.key.as_ref() == Some(&event.key)
                    {
                        poison.behind += 1;
                    }
                    return Ok(());
                }
                Err(refusal) => self.state().last_refusal = Some(refusal.to_string()),
            }
        }
    }

    /// Publishes a poison event, and remembers it as the one that later steps speak of.
    pub(super) async fn publish_poison(&self, of_key: bool) -> StepResult {
        let _turn = self.publishing.lock().await;
        let server = self.server()?;
        let key = of_key.then(|| self.state().ledger.next_key(Keys::Same));
        let poison = key.clone().map_or(Poison::NoJson, Poison::Misfit);
        let published = self.deployment.publish_poison(&server, "poison", &poison);
        let sequence = published.await?;
        let mut state = self.state();
        state.ledger.passed(sequence);
        state.poison = Some(Poisoned {
            sequence,
            key,
            behind: 0,
        });
        Ok(())
    }

    /// The poison event that was published.
    pub(super) fn poisoned(&self) -> StepResult<Poisoned> {
        self.state().poison.clone().ok_or_else(|| {
            StepError::new(
                "no poison event was published; say `I publish an event that breaks the contract` first",
            )
        })
    }

    /// The key of the poison event.
    pub(super) fn poisoned_key(&self) -> StepResult<EventKey> {
        self.poisoned()?
            .key
            .ok_or_else(|| StepError::new("the poison event is no event of any key"))
    }

    /// Begins to publish in the background.
    pub(super) fn set_load(&self, load: Load) -> Option<Load> {
        self.state().load.replace(load)
    }

    pub(super) fn take_load(&self) -> Option<Load> {
        self.state().load.take()
    }

    /// How many events the background load had acknowledged; `None` when nobody publishes.
    pub(super) fn load_progress(&self) -> Option<watch::Receiver<u64>> {
        self.state().load.as_ref().map(Load::progress)
    }

    /// How many events were acknowledged that belong into views, and the sequence of the last one.
    pub(super) fn acknowledged(&self) -> (u64, u64) {
        let state = self.state();
        (state.ledger.count(), state.ledger.last())
    }

    /// Remembers who has which shard.
    pub(super) fn note_owners(&self, view: &ProjectionView) {
        let owned = view.owned().unwrap_or_default().into_iter();
        let owners = owned.map(|(shard, (owner, _))| (shard, owner.clone()));
        self.state().owners = owners.collect();
    }

    /// The shards that `node` had when a step last looked.
    pub(super) fn noted_shards(&self, node: &NodeName) -> Vec<u32> {
        let state = self.state();
        let had = state.owners.iter().filter(|(_, owner)| *owner == node);
        had.map(|(shard, _)| *shard).collect()
    }

    pub(super) fn note_rebuilt(&self, served: BTreeMap<u32, u32>) {
        self.state().rebuilt = served;
    }

    /// Which generation each shard served before it was made again.
    pub(super) fn rebuilt(&self) -> BTreeMap<u32, u32> {
        self.state().rebuilt.clone()
    }

    /// What was seen last, in words.
    pub(super) fn last_seen(&self) -> String {
        let (events, last) = self.acknowledged();
        let view = self.watch.latest().unwrap_or_default();
        let refusal = self.state().last_refusal.clone();
        let refusal = refusal.map_or_else(String::new, |text| {
            format!("\n  the last event that was not acknowledged at once: {text}")
        });
        format!("{events} events acknowledged, the last one as {last}; {view}{refusal}")
    }

    /// Asks `node` for all views and holds them against what was acknowledged before.
    ///
    /// # Errors
    /// The node does not answer: it may do so later.
    pub(super) async fn fault_of(
        &self,
        node: &NodeHandle,
        ignored: Option<&EventKey>,
    ) -> StepResult<Option<String>> {
        let (least, last) = {
            let state = self.state();
            (state.ledger.acknowledged().clone(), state.ledger.last())
        };
        let views = self.deployment.views(node, last, QUERY_WITHIN).await?;
        let most: BTreeMap<EventKey, Tally> = self.state().ledger.issued().clone();
        Ok(Bounds { least, most }.fault(&views, ignored))
    }

    /// Waits for a view until `deadline`.
    pub(super) async fn wait_until(
        &self,
        goal: &str,
        deadline: Instant,
        predicate: impl Fn(&ProjectionView) -> bool + Send + Sync + 'static,
    ) -> StepResult<ProjectionView> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.watch.wait_for(goal, left, Box::new(predicate)).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
