//! The shipped manifest folds facts into the views that people read, without a stream or a store.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use projection::{
    manifest::ProjectionManifest,
    program::{Meta, Outcome},
    types::{Envelope, TenantId},
};
use serde_json::{Map, Value, json};
use trellis_record::{Fact, Leaders, MANIFEST, Subject, View};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// All views that `facts` come to.
fn fold(view: View, facts: &[Fact]) -> BTreeMap<String, Value> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("manifest.yaml");
    std::fs::write(&file, MANIFEST).unwrap();
    let manifest = ProjectionManifest::load(&file, 100_000).unwrap();
    let projection = manifest.find(view.as_str()).unwrap();
    let tenant = TenantId::from("run");
    let mut views: BTreeMap<String, Value> = BTreeMap::new();
    for (sequence, fact) in (1..).zip(facts) {
        let event = Envelope {
            tenant_id: tenant.clone(),
            aggregate_id: fact.id.as_str().into(),
            aggregate_type: fact.subject.as_str().into(),
            event_type: fact.event.into(),
            payload: fact.payload(),
            timestamp: "".into(),
            event_id: None,
            aggregate_seq: None,
            correlation_id: None,
            traceparent: None,
            schema_version: None,
            extra: Map::new(),
        };
        let meta = Meta {
            stream_seq: sequence,
            tenant: &tenant,
            view_type: &projection.table.view_type,
            view_id: None,
        };
        for id in projection.program.keys(&event, &meta).unwrap() {
            let before = views.get(id.as_str());
            let meta = Meta {
                view_id: Some(&id),
                ..meta
            };
            let made = projection.program.project(before, &event, &meta);
            match made.unwrap() {
                Outcome::View(view) => drop(views.insert(id.to_string(), view)),
                Outcome::Delete => drop(views.remove(id.as_str())),
                Outcome::Unchanged => {}
            }
        }
    }
    views
}

fn node(seconds: u64, state: &str, incarnation: u32) -> Fact {
    let details = json!({
        "state": state, "is_up": state == "running", "incarnation": incarnation,
    });
    Fact::new(Subject::Node, "NODE_1", "NodeChanged", at(seconds), details)
}

fn of_chain(node: &str, seconds: u64, event: &'static str, details: Value) -> Fact {
    Fact::new(Subject::ChainNode, node, event, at(seconds), details)
}

#[test]
fn leaders_follow_each_other_with_how_long_they_led() {
    let mut leaders = Leaders::default();
    let mut facts = leaders.leads(at(10), 1, "NODE_1");
    facts.extend(leaders.nobody(at(15)));
    facts.extend(leaders.leads(at(17), 1, "NODE_1"));
    facts.extend(leaders.leads(at(20), 2, "NODE_3"));
    let views: Vec<Value> = fold(View::LeaderHistory, &facts).into_values().collect();
    let first = json!({
        "term": 1, "leader": "NODE_1", "after": null, "from_ms": 10_000, "since_ms": null,
        "to_ms": 20_000, "led_ms": 8_000, "times": 2, "why": "another leads",
    });
    assert_eq!(views[0], first);
    let second = json!({
        "term": 2, "leader": "NODE_3", "after": "NODE_1", "from_ms": 20_000, "since_ms": 20_000,
        "to_ms": null, "led_ms": 0, "times": 1,
    });
    assert_eq!(views[1], second);
    // Told twice after a gap, it still leads since then.
    facts.push(facts.last().unwrap().clone());
    let views: Vec<Value> = fold(View::LeaderHistory, &facts).into_values().collect();
    assert_eq!(views[1], second);
}

#[test]
fn a_node_counts_from_when_it_was_first_ready_and_its_outages_are_listed() {
    let facts = [
        node(0, "starting", 1),
        node(5, "running", 1),
        node(15, "exited (killed by signal 9 (SIGKILL))", 1),
        node(18, "starting", 2),
        node(20, "running", 2),
        node(30, "running", 3),
        node(31, "stopped", 3),
    ];
    let views = fold(View::NodeUptime, &facts);
    let outage = json!({
        "from_ms": 15_000, "to_ms": 20_000, "how": "exited (killed by signal 9 (SIGKILL))",
    });
    assert_eq!(
        views["NODE_1"],
        json!({
            "state": "stopped", "is_up": false, "at_ms": 31_000, "first_up_ms": 5_000,
            "up_ms": 21_000, "down_ms": 5_000, "downs": 2, "incarnation": 3, "restarts": 2,
            "down_since_ms": 31_000, "down_how": "stopped", "outages": [outage],
        })
    );
    let never_ready = fold(View::NodeUptime, &facts[..1]);
    assert_eq!(never_ready["NODE_1"]["down_ms"], 0);
    assert_eq!(never_ready["NODE_1"]["first_up_ms"], Value::Null);
}

#[test]
fn heads_tell_where_nodes_are_and_what_they_went_through() {
    let facts = [
        of_chain("A", 1, "HeadMoved", json!({"height": 4, "block": "aa"})),
        of_chain("A", 2, "Lost", json!({"why": "refused"})),
        of_chain("A", 3, "Found", json!({})),
        of_chain("A", 4, "HeadMoved", json!({"height": 6, "block": "bb"})),
        of_chain("A", 4, "Reorganised", json!({"depth": 3})),
        of_chain("A", 5, "Reorganised", json!({"depth": 1})),
        of_chain("A", 6, "Finalised", json!({"height": 2, "block": "cc"})),
        of_chain("A", 7, "ModeChanged", json!({"mode": "online"})),
        of_chain(
            "A",
            8,
            "LagChanged",
            json!({"lag": 1, "height": 6, "best": 7}),
        ),
    ];
    let views = fold(View::Heads, &facts);
    assert_eq!(
        views["A"],
        json!({
            "height": 6, "block": "bb", "head_at_ms": 4_000, "at_ms": 7_000, "moves": 2,
            "reorgs": 2, "deepest_reorg": 3, "final_height": 2, "mode": "online",
            "answers": true, "why": null, "silences": 1, "contradictions": 0,
        })
    );
}

#[test]
fn lag_has_its_worst_and_how_long_there_was_any() {
    let lag = |seconds, lag: u64| {
        let details = json!({"lag": lag, "height": 10, "best": 10 + lag});
        of_chain("A", seconds, "LagChanged", details)
    };
    let facts = [lag(0, 0), lag(10, 2), lag(12, 5), lag(15, 0), lag(20, 1)];
    let views = fold(View::SyncLag, &facts);
    assert_eq!(
        views["A"],
        json!({
            "lag": 1, "height": 10, "best": 11, "at_ms": 20_000, "first_ms": 0, "worst": 5,
            "worst_at_ms": 12_000, "behind_ms": 5_000, "behind_since_ms": 20_000,
        })
    );
}

#[test]
fn a_record_knows_what_it_lacks_and_when_it_was_alive() {
    let of_record =
        |seconds, event, details| Fact::new(Subject::Record, "run", event, at(seconds), details);
    let gap = json!({"observation": "raft", "dropped": 12});
    let facts = [
        of_record(1, "RecordBegan", json!({"cluster": "demo", "app": "kv"})),
        of_record(5, "RecordAlive", json!({})),
        of_record(6, "RecordGap", gap),
        of_record(9, "RecordEnded", json!({})),
    ];
    let views = fold(View::Record, &facts);
    assert_eq!(
        views["run"],
        json!({
            "cluster": "demo", "app": "kv", "begun_ms": 1_000, "seen_ms": 9_000,
            "ended_ms": 9_000, "dropped": 12,
            "gaps": [{"observation": "raft", "dropped": 12, "at_ms": 6_000}],
        })
    );
}

#[test]
fn every_view_is_in_the_manifest_and_every_projection_is_a_view() {
    let document: Value = MANIFEST
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- view_type: "))
        .collect();
    let views: Vec<&str> = View::ALL.iter().map(|view| view.as_str()).collect();
    assert_eq!(document, json!(views));
}
