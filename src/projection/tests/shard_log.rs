//! The log of a node of several shards: each line says of which shard it is, and each line about an event whose it is and what it belongs to elsewhere.

mod fleets;

use std::collections::BTreeSet;

use fleets::{Fleet, Place, nats::subject, until};
use projection::shards::ShardLayout;
use serde_json::Value;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn of_north(account: &str, number: u64, amount: &str) -> String {
    format!(
        r#"{{"tenant_id":"north","aggregate_id":"{account}","aggregate_type":"account","event_type":"Deposited","payload":{{"amount":{amount}}},"timestamp":"2026-01-01T00:00:00Z","correlation_id":"c-{number}","traceparent":"00-{TRACE}-00f067aa0ba902b7-01"}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_names_its_shard_and_those_about_events_tenant_correlation_and_trace() {
    let Some(place) = Place::new().await else {
        return;
    };
    let context = place.nats.context().await;
    let layout = ShardLayout::new(2, &[]).unwrap();
    let account_of = |shard: u32| {
        let mut all = (0..).map(|number| format!("a-{number}"));
        let found = all.find(|id| layout.of_view(&"north".into(), id) == Some(shard.into()));
        found.unwrap()
    };
    for shard in 0..2 {
        let account = account_of(shard);
        // One that cannot be applied, and one that waits behind it.
        for (number, amount) in [(shard, "\"much\""), (10 + shard, "1")] {
            let event = of_north(&account, number.into(), amount);
            let sent = context.publish(subject(number), event.into()).await;
            sent.unwrap().await.unwrap();
        }
    }
    let fleet = Fleet::of(2).with("log_format: json\nmulti_tenant: true\n");
    let node = place.start(&fleet, "a");
    place.owned_by(&fleet, &["a"]).await;
    node.run(&["rebuild", "account"]).ended(0);
    node.run(&["--shard", "1", "verify", "account"]).ended(0);
    let lines = || {
        let log = place.log(&fleet, "a");
        let lines = log.lines().map(serde_json::from_str::<Value>);
        lines.map_while(Result::ok).collect::<Vec<_>>()
    };
    let about = |message: &str, lines: &[Value]| {
        let of_it = |line: &&Value| {
            line["message"]
                .as_str()
                .unwrap_or_default()
                .starts_with(message)
        };
        lines.iter().filter(of_it).cloned().collect::<Vec<_>>()
    };
    until("all is in the log", async || {
        // By what is served and by the shadow, in each of two shards.
        let all = lines();
        let said = about("set aside", &all).len() >= 4 && about("parked", &all).len() >= 4;
        (said && about("is served now", &all).len() == 2).then_some(())
    })
    .await;
    node.leave();

    let all = lines();
    for (message, first) in [("set aside", 0), ("parked", 10)] {
        let mut shards = BTreeSet::new();
        for line in about(message, &all) {
            let shard: u32 = line["span"]["shard"].as_str().unwrap().parse().unwrap();
            assert_eq!(line["view_id"], account_of(shard), "{line}");
            assert_eq!(line["tenant_id"], "north", "{line}");
            assert_eq!(
                line["correlation_id"],
                format!("c-{}", first + shard),
                "{line}"
            );
            assert_eq!(line["trace_id"], TRACE, "{line}");
            shards.insert(shard);
        }
        assert_eq!(shards, BTreeSet::from([0, 1]), "{message}");
    }
    // What is about no event as well, on whichever thread it is said.
    let rooms = [
        "pipeline",
        "rebuild",
        "health",
        "http::quarantine",
        "stream",
    ];
    for line in &all {
        let target = line["target"].as_str().unwrap_or_default();
        if rooms
            .iter()
            .any(|room| target.starts_with(&format!("projection::{room}")))
        {
            assert!(line["span"]["shard"].is_string(), "{line}");
        }
    }
    let asked = about("asked for", &all);
    assert_eq!(asked.len(), 2, "{asked:?}");
    let asked = about("verification asked for", &all);
    assert_eq!(asked[0]["span"]["shard"], "1");
}
