//! openraft-kv behind the port of the key-value and leader phrases.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use openraft_kv::{
    AgreedLeader, KvClient, KvError, NodeView, OpenRaftKv, OpenRaftObserver, RaftSnapshot,
    api::{Consistency, Member, NodeState},
};
use trellis_domain::{NodeHandle, NodeName};
use trellis_observation::ObservationConfig;
use trellis_runtime::Cluster;
use trellis_steps::kv::{
    KvRefusal, MemberView, Read, ReplicaObservation, ReplicaView, ReplicaWatch, ReplicatedKv,
};

/// How often the nodes are looked at when nobody asks for a look.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Binds the port to openraft-kv's client and observer.
pub struct OpenRaftPort {
    app: OpenRaftKv,
}

impl OpenRaftPort {
    /// The port of nodes that `app` speaks to.
    pub fn new(app: OpenRaftKv) -> Self {
        Self { app }
    }

    fn client(&self, node: &NodeHandle) -> Result<KvClient, KvRefusal> {
        self.app
            .client(node)
            .map_err(|error| KvRefusal::Other(error.to_string()))
    }

    async fn member(&self, node: &NodeHandle) -> Result<Member, KvRefusal> {
        self.app
            .member(node)
            .await
            .map_err(|error| KvRefusal::Other(error.to_string()))
    }
}

#[async_trait]
impl ReplicatedKv for OpenRaftPort {
    fn observe(&self, cluster: &Cluster) -> Arc<dyn ReplicaWatch> {
        let app = self.app.clone();
        let config = ObservationConfig::default()
            .with_name("raft")
            .with_interval(LOOK_EVERY);
        let client = move |node: &NodeHandle| app.client(node).ok();
        let handle = cluster.observe(OpenRaftObserver::default(), client, config);
        Arc::new(ReplicaObservation::new(handle, view))
    }

    async fn put(&self, node: &NodeHandle, key: &str, value: &str) -> Result<(), KvRefusal> {
        self.client(node)?
            .put(key, value)
            .await
            .map(drop)
            .map_err(refusal)
    }

    async fn get(
        &self,
        node: &NodeHandle,
        key: &str,
        read: Read,
    ) -> Result<Option<String>, KvRefusal> {
        let consistency = match read {
            Read::Linearizable => Consistency::Linearizable,
            Read::Local => Consistency::Local,
        };
        self.client(node)?
            .get(key, consistency)
            .await
            .map_err(refusal)
    }

    async fn add_learner(&self, leader: &NodeHandle, node: &NodeHandle) -> Result<(), KvRefusal> {
        let member = self.member(node).await?;
        self.client(leader)?
            .add_learner(&member)
            .await
            .map(drop)
            .map_err(refusal)
    }

    async fn set_voters(
        &self,
        leader: &NodeHandle,
        voters: &[NodeHandle],
    ) -> Result<(), KvRefusal> {
        let mut ids = BTreeSet::new();
        for voter in voters {
            ids.insert(self.member(voter).await?.id);
        }
        self.client(leader)?
            .change_membership(ids)
            .await
            .map(drop)
            .map_err(refusal)
    }
}

fn refusal(error: KvError) -> KvRefusal {
    let text = error.to_string();
    match error {
        KvError::NotLeader { leader, .. } => {
            let leader = leader.and_then(|leader| leader.name.parse().ok());
            KvRefusal::NotLeader { leader, text }
        }
        KvError::NoQuorum { .. } => KvRefusal::NoQuorum(text),
        KvError::Refused { .. } | KvError::TimedOut { .. } | KvError::Broken { .. } => {
            KvRefusal::Unreachable(text)
        }
        _ => KvRefusal::Other(text),
    }
}

fn view(snapshot: &RaftSnapshot) -> ReplicaView {
    let agreed = snapshot.agreed_leader();
    let members: BTreeMap<NodeName, MemberView> = snapshot
        .nodes()
        .filter_map(|node| Some((node.name.parse().ok()?, member_view(node))))
        .collect();
    ReplicaView {
        leader: agreed
            .as_ref()
            .and_then(|AgreedLeader { name, .. }| name.parse().ok()),
        term: snapshot.max_term(),
        members,
    }
}

fn member_view(node: &NodeView) -> MemberView {
    let Some(state) = node.current() else {
        let failure = node
            .failure
            .clone()
            .unwrap_or_else(|| "never answered".to_owned());
        return MemberView {
            role: failure,
            ..MemberView::default()
        };
    };
    let names = |members: &[Member]| members.iter().filter_map(|m| m.name.parse().ok()).collect();
    MemberView {
        answers: true,
        role: state.role.to_string(),
        term: state.term,
        leader: leader_name(state),
        applied: state.last_applied.map(|position| position.index),
        voters: names(&state.voters),
        digest: state.digest.clone(),
        keys: state.keys,
    }
}

fn leader_name(state: &NodeState) -> Option<NodeName> {
    state.member(state.leader?)?.name.parse().ok()
}
