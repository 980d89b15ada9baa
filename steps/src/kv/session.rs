//! The session: what a scenario wrote and whom it saw lead, while its cluster runs.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::watch, time::Duration};
use trellis_domain::{NodeHandle, NodeName};
use trellis_runtime::Cluster;

use super::{KvRefusal, ReplicaView, ReplicaWatch, ReplicatedKv, WaitFailure, writer::Writer};

/// How long one wait for a leader may take before the write is tried all the same.
const LEADER_WITHIN: Duration = Duration::from_secs(2);

/// The key-value side of a running cluster. Cheap to clone; clones share it.
#[derive(Clone)]
pub(crate) struct KvSession {
    pub(crate) port: Arc<dyn ReplicatedKv>,
    pub(crate) watch: Arc<dyn ReplicaWatch>,
    pub(crate) cluster: Cluster,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    acknowledged: BTreeMap<String, String>,
    keys_made: u64,
    former_leader: Option<NodeName>,
    last_refusal: Option<String>,
    writer: Option<Writer>,
}

impl KvSession {
    pub(crate) fn new(port: Arc<dyn ReplicatedKv>, cluster: Cluster) -> Self {
        let watch = port.observe(&cluster);
        Self {
            port,
            watch,
            cluster,
            state: Arc::default(),
        }
    }

    /// A key that this session did not use before.
    pub(crate) fn next_key(&self) -> String {
        let mut state = self.state();
        state.keys_made += 1;
        format!("key-{:05}", state.keys_made)
    }

    fn acknowledge(&self, key: &str, value: &str) {
        self.state()
            .acknowledged
            .insert(key.to_owned(), value.to_owned());
    }

    /// Every key that a node acknowledged, with the last value.
    pub(crate) fn acknowledged(&self) -> BTreeMap<String, String> {
        self.state().acknowledged.clone()
    }

    pub(crate) fn former_leader(&self) -> Option<NodeName> {
        self.state().former_leader.clone()
    }

    pub(crate) fn remember_leader(&self, leader: &NodeName) {
        self.state().former_leader = Some(leader.clone());
    }

    pub(crate) fn set_writer(&self, writer: Writer) -> Option<Writer> {
        self.state().writer.replace(writer)
    }

    /// How many writes the background writer had acknowledged; `None` when nobody writes.
    pub(crate) fn writer_progress(&self) -> Option<watch::Receiver<u64>> {
        self.state().writer.as_ref().map(Writer::progress)
    }

    /// Why the last refused write was refused.
    pub(crate) fn last_refusal(&self) -> Option<String> {
        self.state().last_refusal.clone()
    }

    pub(crate) fn take_writer(&self) -> Option<Writer> {
        self.state().writer.take()
    }

    /// Writes until a node acknowledges it; the same write twice is as good as once. Bounded by the caller.
    pub(crate) async fn put_until_acknowledged(&self, key: &str, value: &str) {
        while self.put(key, value).await.is_err() {
            self.await_leader().await;
        }
    }

    /// Makes `node` a voter beside those that there are, asking whoever leads until it is done. Bounded by the caller.
    pub(crate) async fn give_vote(&self, node: &NodeHandle) {
        while let Err(refusal) = self.ask_for_vote(node).await {
            self.state().last_refusal = Some(refusal.to_string());
            self.await_leader().await;
        }
    }

    async fn ask_for_vote(&self, node: &NodeHandle) -> Result<(), KvRefusal> {
        // A view from before an earlier change would take a voter away again.
        let view = self
            .leader_view()
            .await
            .map_err(|late| KvRefusal::NoQuorum(late.to_string()))?;
        let nobody = || KvRefusal::NoQuorum("no leader is agreed on".to_owned());
        let leader = view.leader.as_ref().ok_or_else(nobody)?;
        let known = view.members.get(leader).map(|leader| leader.voters.clone());
        let names = known
            .unwrap_or_default()
            .into_iter()
            .chain([node.name().clone()]);
        let handle = |name| {
            self.cluster
                .node(&name)
                .map_err(|e| KvRefusal::Other(e.to_string()))
        };
        let voters: Vec<NodeHandle> = names.map(handle).collect::<Result<_, _>>()?;
        let leader = handle(leader.clone())?;
        self.port.add_learner(&leader, node).await?;
        self.port.set_voters(&leader, &voters).await
    }

    /// Waits until a quorum agrees on a leader, seen after this call, but not for long: whether there is one in time is the caller's to judge.
    pub(crate) async fn await_leader(&self) {
        let _ = self.leader_view().await;
    }

    async fn leader_view(&self) -> Result<ReplicaView, WaitFailure> {
        let leader = Box::new(|view: &ReplicaView| view.leader.is_some());
        self.watch
            .wait_for("a leader that a quorum agrees on", LEADER_WITHIN, leader)
            .await
    }

    /// Writes through the node that leads now, or through any running node where nobody is seen to.
    pub(crate) async fn put(&self, key: &str, value: &str) -> Result<(), KvRefusal> {
        let result = match self.entrance() {
            Some(node) => self.put_through(node, key, value).await,
            None => Err(KvRefusal::Unreachable("no node is running".to_owned())),
        };
        match &result {
            Ok(()) => self.acknowledge(key, value),
            Err(refusal) => self.state().last_refusal = Some(refusal.to_string()),
        }
        result
    }

    async fn put_through(&self, node: NodeHandle, key: &str, value: &str) -> Result<(), KvRefusal> {
        let refusal = self.port.put(&node, key, value).await;
        // The node knows better than our last look who leads.
        let Err(KvRefusal::NotLeader {
            leader: Some(leader),
            ..
        }) = &refusal
        else {
            return refusal;
        };
        match self.cluster.node(leader) {
            Ok(leader) => self.port.put(&leader, key, value).await,
            Err(_) => refusal,
        }
    }

    fn entrance(&self) -> Option<NodeHandle> {
        let leader = self.watch.latest().and_then(|view| view.leader);
        let running = self.cluster.running();
        let leading = running
            .iter()
            .find(|node| Some(node.name()) == leader.as_ref());
        leading.or_else(|| running.first()).cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
