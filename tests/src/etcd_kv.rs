//! etcd behind the port of the key-value and leader phrases: what its nodes do together, and how a key is written and read.
//!
//! All of it goes through the JSON gateway of etcd, which leaves out what is zero and writes large numbers as text.
//! How a node is configured, started and identified is [`crate::etcd`]'s.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::Url;
use serde_json::{Value, json};
use trellis_bootstrap::in_one_line;
use trellis_domain::{NodeHandle, NodeName};
use trellis_observation::{
    DynError, ObservationConfig, ObservedSource, Observer, PollFailure, SourcePoll, poll_sources,
};
use trellis_runtime::Cluster;
use trellis_steps::kv::{
    KvRefusal, MemberView, Read, ReplicaObservation, ReplicaView, ReplicaWatch, ReplicatedKv,
};

/// How often the nodes are looked at when nobody asks for a look.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a node may take to tell its state.
const LOOK_WITHIN: Duration = Duration::from_secs(1);
/// How many nodes are asked at once.
const ASKED_AT_ONCE_MAX: usize = 16;
/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// etcd gives up on a write after 7 seconds and says so; its own answer should come first.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// What etcd says when too few of its members can be reached.
const WITHOUT_QUORUM: [&str; 4] = [
    "deadline exceeded",
    "timed out",
    "no leader",
    "leader changed",
];

/// A client that goes straight to the nodes, whatever proxy the environment names.
///
/// # Panics
/// Never: without TLS and proxies nothing could fail to build.
pub fn http_client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .connect_timeout(CONNECT_WITHIN)
        .build()
        .expect("a client without TLS and proxies has nothing that could fail to build")
}

/// Binds the port to etcd's JSON gateway.
pub struct EtcdPort {
    http: reqwest::Client,
}

impl EtcdPort {
    /// The port of nodes that are asked through `http`.
    pub fn new(http: reqwest::Client) -> Self {
        Self { http }
    }

    fn gateway(&self, node: &NodeHandle) -> Result<Gateway, KvRefusal> {
        Gateway::of(&self.http, node)
            .ok_or_else(|| KvRefusal::Other(format!("{node} has no HTTP endpoint")))
    }
}

#[async_trait]
impl ReplicatedKv for EtcdPort {
    fn observe(&self, cluster: &Cluster) -> Arc<dyn ReplicaWatch> {
        let http = self.http.clone();
        let config = ObservationConfig::default()
            .with_name("etcd")
            .with_interval(LOOK_EVERY);
        let gateway = move |node: &NodeHandle| Gateway::of(&http, node);
        let handle = cluster.observe(EtcdObserver, gateway, config);
        Arc::new(ReplicaObservation::new(handle, ReplicaView::clone))
    }

    async fn put(&self, node: &NodeHandle, key: &str, value: &str) -> Result<(), KvRefusal> {
        self.gateway(node)?.put(key, value).await
    }

    async fn get(
        &self,
        node: &NodeHandle,
        key: &str,
        read: Read,
    ) -> Result<Option<String>, KvRefusal> {
        self.gateway(node)?.get(key, read).await
    }

    async fn add_learner(&self, _: &NodeHandle, node: &NodeHandle) -> Result<(), KvRefusal> {
        let why = format!("etcd must be told of {node} before it starts, not after");
        Err(KvRefusal::Other(why))
    }

    async fn set_voters(&self, _: &NodeHandle, _: &[NodeHandle]) -> Result<(), KvRefusal> {
        let why = "etcd changes its members one by one, by their ids";
        Err(KvRefusal::Other(why.to_owned()))
    }
}

/// The JSON gateway of one node.
#[derive(Clone)]
pub(crate) struct Gateway {
    http: reqwest::Client,
    url: Url,
}

impl Gateway {
    fn of(http: &reqwest::Client, node: &NodeHandle) -> Option<Self> {
        Some(Self {
            http: http.clone(),
            url: node.endpoint("http")?.url().clone(),
        })
    }

    /// That of a node that is no scenario's; `None` if `url` is none.
    pub(crate) fn at(http: &reqwest::Client, url: &str) -> Option<Self> {
        Some(Self {
            http: http.clone(),
            url: url.parse().ok()?,
        })
    }

    /// Writes, and returns when the write is acknowledged.
    pub(crate) async fn put(&self, key: &str, value: &str) -> Result<(), KvRefusal> {
        let write = json!({"key": encoded(key), "value": encoded(value)});
        self.ask("v3/kv/put", write).await.map(drop)
    }

    pub(crate) async fn get(&self, key: &str, read: Read) -> Result<Option<String>, KvRefusal> {
        let question = json!({"key": encoded(key), "serializable": read == Read::Local});
        let answer = self.ask("v3/kv/range", question).await?;
        // An empty value is left out, a key that is not there has no entry at all.
        let Some(entry) = answer.pointer("/kvs/0") else {
            return Ok(None);
        };
        decoded(text(entry, "/value")).map(Some)
    }

    async fn ask(&self, path: &str, question: Value) -> Result<Value, KvRefusal> {
        let url = self.url.join(path);
        let url = url.map_err(|error| KvRefusal::Other(in_one_line(&error)))?;
        let question = self.http.post(url).timeout(ANSWER_WITHIN).json(&question);
        let unreachable = |error| KvRefusal::Unreachable(in_one_line(&error));
        let answer = question.send().await.map_err(unreachable)?;
        let is_done = answer.status().is_success();
        let answer: Value = answer.json().await.map_err(unreachable)?;
        if is_done {
            return Ok(answer);
        }
        let why = text(&answer, "/message").to_owned();
        if WITHOUT_QUORUM.iter().any(|known| why.contains(known)) {
            return Err(KvRefusal::NoQuorum(why));
        }
        Err(KvRefusal::Other(why))
    }

    /// What the node says of itself and of its cluster, asked for at the same time.
    async fn state(self) -> Result<MemberState, KvRefusal> {
        // From the first key to the last one.
        let every_key =
            json!({"key": "AA==", "range_end": "AA==", "count_only": true, "serializable": true});
        let (status, members, hash, keys) = futures::try_join!(
            self.ask("v3/maintenance/status", json!({})),
            self.ask("v3/cluster/member/list", json!({})),
            self.ask("v3/maintenance/hash", json!({})),
            self.ask("v3/kv/range", every_key),
        )?;
        let members = members.pointer("/members").and_then(Value::as_array);
        let voters = members
            .into_iter()
            .flatten()
            .filter(|m| m["isLearner"] != true);
        let id_and_name = |member| (number(member, "/ID"), text(member, "/name").to_owned());
        Ok(MemberState {
            cluster: number(&status, "/header/cluster_id"),
            id: number(&status, "/header/member_id"),
            leader: number(&status, "/leader"),
            term: number(&status, "/raftTerm"),
            applied: number(&status, "/raftAppliedIndex"),
            is_learner: status["isLearner"] == true,
            voters: voters.map(id_and_name).collect(),
            digest: format!(
                "{:08x}@{}",
                number(&hash, "/hash"),
                number(&hash, "/header/revision")
            ),
            keys: number(&keys, "/count"),
        })
    }
}

/// What a node said in one look. Ids are etcd's; 0 is nobody's.
#[derive(Debug)]
struct MemberState {
    cluster: u64,
    id: u64,
    leader: u64,
    term: u64,
    applied: u64,
    is_learner: bool,
    voters: BTreeMap<u64, String>,
    digest: String,
    keys: u64,
}

/// Looks at all nodes through their gateways; a source's name is the node's name.
struct EtcdObserver;

#[async_trait]
impl Observer for EtcdObserver {
    type Source = Gateway;
    type State = ReplicaView;
    type Snapshot = ReplicaView;
    type Event = ();

    async fn init(&self, _: &[ObservedSource<Gateway>]) -> Result<ReplicaView, DynError> {
        Ok(ReplicaView::default())
    }

    async fn poll(
        &self,
        sources: &[ObservedSource<Gateway>],
        view: &mut ReplicaView,
    ) -> Result<Vec<()>, PollFailure<()>> {
        let looks = poll_sources(sources, ASKED_AT_ONCE_MAX, LOOK_WITHIN, Gateway::state).await;
        *view = side_by_side(&looks);
        Ok(Vec::new())
    }

    fn snapshot(&self, view: &ReplicaView) -> ReplicaView {
        view.clone()
    }
}

/// What all nodes said in one look, in their own names.
fn side_by_side(looks: &[SourcePoll<MemberState>]) -> ReplicaView {
    let states = || looks.iter().filter_map(|look| look.result.as_ref().ok());
    let names: BTreeMap<u64, NodeName> = looks
        .iter()
        .filter_map(|look| Some((look.result.as_ref().ok()?.id, look.name.parse().ok()?)))
        .collect();
    let leader = states()
        .filter(|state| leads(state, states()))
        .max_by_key(|state| state.term);
    let members = looks.iter().filter_map(|look| {
        let member = match &look.result {
            Ok(state) => member_view(state, &names),
            Err(failure) => MemberView {
                role: in_one_line(failure),
                ..MemberView::default()
            },
        };
        Some((look.name.parse().ok()?, member))
    });
    ReplicaView {
        leader: leader.and_then(|leader| names.get(&leader.id).cloned()),
        term: states().map(|state| state.term).max().unwrap_or_default(),
        members: members.collect(),
    }
}

/// Whether `leader` says that it leads, and a majority of its voters says so in the same term.
fn leads<'a>(leader: &MemberState, states: impl Iterator<Item = &'a MemberState>) -> bool {
    let followers: BTreeSet<u64> = states
        .filter(|state| state.cluster == leader.cluster && state.term == leader.term)
        .filter(|state| state.leader == leader.id && leader.voters.contains_key(&state.id))
        .map(|state| state.id)
        .collect();
    leader.leader == leader.id && 2 * followers.len() > leader.voters.len()
}

fn member_view(state: &MemberState, names: &BTreeMap<u64, NodeName>) -> MemberView {
    let role = match state {
        _ if state.leader == state.id => "leader",
        _ if state.is_learner => "learner",
        _ if state.leader == 0 => "candidate",
        _ => "follower",
    };
    // A voter that does not answer is called what etcd calls it.
    let name = |(id, name): (&u64, &String)| names.get(id).cloned().or_else(|| name.parse().ok());
    MemberView {
        answers: true,
        role: role.to_owned(),
        term: state.term,
        leader: names.get(&state.leader).cloned(),
        applied: Some(state.applied),
        voters: state.voters.iter().filter_map(name).collect(),
        digest: state.digest.clone(),
        keys: state.keys,
    }
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn number(value: &Value, path: &str) -> u64 {
    let small = value.pointer(path).and_then(Value::as_u64);
    small
        .or_else(|| text(value, path).parse().ok())
        .unwrap_or_default()
}

fn encoded(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

fn decoded(text: &str) -> Result<String, KvRefusal> {
    let broken = |why: String| KvRefusal::Other(format!("the value is no text: {why}"));
    let bytes = BASE64_STANDARD
        .decode(text)
        .map_err(|error| broken(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| broken(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Member `id` of three, who believes `leader` to lead in `term`.
    fn state(id: u64, leader: u64, term: u64) -> MemberState {
        MemberState {
            cluster: 7,
            id,
            leader,
            term,
            applied: 1,
            is_learner: false,
            voters: (1..=3).map(|id| (id, format!("N{id}"))).collect(),
            digest: String::new(),
            keys: 0,
        }
    }

    #[test]
    fn a_leader_is_agreed_on_by_a_majority_in_its_own_term_and_cluster() {
        let agreed = |others: &[MemberState]| {
            let leader = state(1, 1, 2);
            leads(&leader, [&leader].into_iter().chain(others))
        };
        assert!(agreed(&[state(2, 1, 2)]));
        assert!(!agreed(&[]), "a lone opinion");
        assert!(!agreed(&[state(2, 1, 1), state(3, 3, 2)]), "an old term");
        let stranger = MemberState {
            cluster: 8,
            ..state(2, 1, 2)
        };
        assert!(!agreed(&[stranger]), "another cluster");
        assert!(!agreed(&[state(9, 1, 2)]), "no voter");
        assert!(!leads(
            &state(2, 1, 2),
            [&state(1, 1, 2), &state(2, 1, 2)].into_iter()
        ));
    }

    #[test]
    fn numbers_are_text_or_numbers_or_left_out() {
        let value = json!({"large": "14387780914492396733", "small": 7});
        assert_eq!(number(&value, "/large"), 14_387_780_914_492_396_733);
        assert_eq!(number(&value, "/small"), 7);
        assert_eq!(number(&value, "/zero"), 0);
    }

    #[test]
    fn a_value_that_is_no_text_is_said_to_be_none() {
        assert_eq!(decoded(&encoded("gr\u{fc}n")).unwrap(), "gr\u{fc}n");
        let refused = decoded(&BASE64_STANDARD.encode([0xff])).unwrap_err();
        assert!(refused.to_string().contains("no text"), "{refused}");
    }
}
