//! Operations with a real server: what a node says about itself while NATS goes and comes, while storage hangs, and while somebody decides on quarantined events.

mod accounts;
mod node;

use std::{collections::BTreeMap, net::TcpListener, path::Path};

use accounts::{applied, deposit, event};
use async_nats::jetstream::{Context, stream::RetentionPolicy};
use node::{
    Node, Running, get,
    nats::{self, Nats, servers},
    says, stop, until, until_status,
};
use projection::settings::Durability;
use serde_json::Value;

fn store(folder: &Path) -> std::sync::Arc<projection::storage::ViewStore> {
    accounts::store(folder, Durability::Commit)
}

async fn publish(context: &Context, payload: String) -> u64 {
    let acknowledged = context
        .publish(nats::subject(0), payload.into())
        .await
        .unwrap();
    acknowledged.await.unwrap().sequence
}

/// A node over a new stream, as soon as it is ready.
async fn ready(nats: &Nats, policy: &str, more: &str) -> (Context, Node, Running, String) {
    let context = nats.stream(RetentionPolicy::Limits).await;
    let node = Node::served(&nats.url(), policy, more);
    let child = node.start();
    let url = node.url().await;
    until_status(&format!("{url}/ready"), 200).await;
    (context, node, child, url)
}

fn server() -> Option<Nats> {
    let program = servers().into_iter().next()?;
    Some(Nats::start(&program))
}

/// The sentence of the check `name`, where it is not right.
fn wrong<'v>(report: &'v Value, name: &str) -> Option<&'v str> {
    let checks = report["checks"].as_array()?;
    let check = checks.iter().find(|check| check["name"] == name)?;
    (check["ok"] == false).then(|| check["says"].as_str().unwrap())
}

async fn until_floor(url: &str, floor: u64) -> Value {
    until(&format!("the floor is {floor}"), async || {
        let (_, body) = get(&format!("{url}/status")).await;
        let report: Value = serde_json::from_str(&body).unwrap();
        (report["projections"][0]["floor"] == floor).then_some(report)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_not_ready_while_nats_is_away_and_ready_again_when_it_is_back() {
    let Some(mut nats) = server().filter(Nats::can_be_restarted) else {
        return;
    };
    let (context, node, child, url) = ready(&nats, "halt", "").await;
    let last = publish(&context, deposit("a", 1)).await;
    until_floor(&url, last).await;
    let healthcheck = ["healthcheck", "--url", &url];
    assert_eq!(node.run(&healthcheck).status.code(), Some(0));

    nats.kill();
    let report = until_status(&format!("{url}/ready"), 503).await;
    let says_of_nats = wrong(&report, "nats").expect("that is why");
    assert!(says_of_nats.contains(&nats.url()), "{says_of_nats}");
    // It works, so nobody may start it again for that.
    assert_eq!(get(&format!("{url}/health")).await.0, 200);
    assert_eq!(node.run(&healthcheck).status.code(), Some(0));
    let not_ready = node.run(&["healthcheck", "--ready", "--url", &url]);
    assert_eq!(not_ready.status.code(), Some(1));
    says(&not_ready, "mend: start NATS with JetStream");

    nats.restart();
    until_status(&format!("{url}/ready"), 200).await;
    let last = publish(&nats.context().await, deposit("a", 1)).await;
    until_floor(&url, last).await;
    assert_eq!(stop(child), 0);
    assert_eq!(applied(&store(&node.store())), [1, 2]);
    let nobody = node.run(&healthcheck);
    assert_eq!(nobody.status.code(), Some(1));
    says(&nobody, "no node answers at");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_there_before_nats_waits_for_it_and_says_so() {
    let Some(mut nats) = server().filter(Nats::can_be_restarted) else {
        return;
    };
    nats.stream(RetentionPolicy::Limits).await;
    nats.kill();
    let node = Node::served(&nats.url(), "halt", "");
    let child = node.start();
    let url = node.url().await;
    until("the log says it", async || {
        node.log().contains("NATS cannot be reached").then_some(())
    })
    .await;
    assert_eq!(get(&format!("{url}/ready")).await.0, 503);
    assert_eq!(get(&format!("{url}/health")).await.0, 200);
    let of_folder = node.run(&["status"]);
    says(&of_folder, "NATS cannot be reached at nats://127.0.0.1");
    nats.restart();
    until_status(&format!("{url}/ready"), 200).await;
    assert_eq!(stop(child), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_wait_while_a_write_hangs_are_a_stall_until_it_goes_on() {
    let Some(nats) = server() else { return };
    let (context, node, child, url) = ready(&nats, "halt", "stall_after: 1s\n").await;
    let first = publish(&context, deposit("a", 1)).await;
    until_floor(&url, first).await;

    // Another process that writes to the same environment: the node's commit waits for it.
    let writer = node::Writer::begin(&node.store());
    let last = publish(&context, deposit("a", 1)).await;
    let report = until("it stalls", async || {
        let (_, body) = get(&format!("{url}/ready")).await;
        let report: Value = serde_json::from_str(&body).unwrap();
        wrong(&report, "stall").is_some().then_some(report)
    })
    .await;
    let waits = wrong(&report, "stall").unwrap();
    assert!(waits.contains("1 events wait"), "{waits}");
    assert!(waits.contains("to be folded and committed"), "{waits}");
    let (_, metrics) = get(&format!("{url}/metrics")).await;
    assert!((value(&metrics, "projection_stalled") - 1.0).abs() < 1e-9);
    let lag = |unit: &str| {
        value(
            &metrics,
            &format!("projection_lag_{unit}{{projection=\"account@1\"}}"),
        )
    };
    assert!((lag("events") - 1.0).abs() < 1e-9, "{metrics}");
    // As old as the last event in the views, which was there before anything stood still.
    assert!(lag("seconds") >= 1.0, "{metrics}");
    until("the log says it", async || {
        node.log().contains("stalled").then_some(())
    })
    .await;

    writer.end();
    until_floor(&url, last).await;
    until_status(&format!("{url}/ready"), 200).await;
    assert!(node.log().contains("it goes on after a stall"));
    assert_eq!(stop(child), 0);
}

/// The value of the sample that begins with `name`, which is followed by its labels where it has any.
#[track_caller]
fn value(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(' '))
    });
    let line = line.unwrap_or_else(|| panic!("{name} is not in {metrics}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_move_with_what_happens_and_are_those_of_the_reference() {
    let Some(nats) = server() else { return };
    let (context, _node, child, url) = ready(&nats, "park-key", "").await;
    let mut last = 0;
    for number in 0..50 {
        last = publish(&context, deposit(&format!("a-{}", number % 5), 1)).await;
    }
    for amount in ["null", "1", "1"] {
        last = publish(&context, event("bad", "Deposited", amount)).await;
    }
    until_floor(&url, last).await;
    let metrics = until("quarantine is counted", async || {
        let (_, metrics) = get(&format!("{url}/metrics")).await;
        let events = "projection_quarantine_events{projection=\"account@1\"} 3";
        metrics.contains(events).then_some(metrics)
    })
    .await;
    let of_account = |name: &str| {
        value(
            &metrics,
            &format!("projection_{name}{{projection=\"account@1\"}}"),
        )
    };
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} is not {b} in {metrics}");
    near(value(&metrics, "projection_events_received_total"), 53.0);
    near(of_account("events_folded_total"), 53.0);
    near(of_account("gas_count"), 51.0);
    near(of_account("floor"), 53.0);
    near(of_account("lag_events"), 0.0);
    near(of_account("lag_seconds"), 0.0);
    near(of_account("parked_keys"), 1.0);
    near(value(&metrics, "projection_ready"), 1.0);
    near(
        value(
            &metrics,
            "projection_set_aside_total{projection=\"account@1\",fault=\"contract\"}",
        ),
        1.0,
    );
    near(
        value(
            &metrics,
            "projection_set_aside_total{projection=\"account@1\",fault=\"waiting\"}",
        ),
        2.0,
    );
    assert!(
        of_account("gas_sum") > of_account("gas_count"),
        "each event costs more than 1"
    );
    assert!(of_account("quarantine_oldest_seconds") > 0.0);
    for at_least_one in [
        "commit_seconds_count",
        "latency_seconds_count{projection=\"account@1\"}",
        "commit_bytes_sum",
        "store_used_bytes",
    ] {
        assert!(
            value(&metrics, &format!("projection_{at_least_one}")) > 0.0,
            "{at_least_one}"
        );
    }
    assert!(metrics.ends_with("# EOF\n"));

    let shown: BTreeMap<String, String> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect();
    let mut listed = in_reference();
    // Only while one goes on.
    listed
        .remove("projection_rebuild_progress_ratio")
        .expect("it is listed");
    assert_eq!(shown, listed, "the reference lists what is shown");
    assert_eq!(stop(child), 0);
}

/// Names and kinds of the table in the book. Counters are there as they are queried.
fn in_reference() -> BTreeMap<String, String> {
    let text = include_str!("../../../docs/src/reference/projection-metrics.md");
    let rows = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `projection_"));
    let row = |row: &str| {
        let (name, rest) = row.split_once('`').unwrap();
        let kind = rest.split('|').nth(1).unwrap().trim();
        let name = if kind == "counter" {
            name.strip_suffix("_total").expect("a counter ends so")
        } else {
            name
        };
        (format!("projection_{name}"), kind.to_owned())
    };
    rows.map(row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_view_is_mended_on_a_node_that_runs_and_goes_on_taking_events() {
    let Some(nats) = server() else { return };
    let (context, node, child, url) = ready(&nats, "park-key", "log_format: json\n").await;
    let traced = event("a", "Deposited", "null").replacen(
        '{',
        r#"{"correlation_id":"c-7","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","#,
        1,
    );
    publish(&context, deposit("a", 1)).await;
    publish(&context, traced).await;
    // Too large to be kept: the retry reads it from the stream.
    let last = publish(&context, accounts::large(&deposit("a", 2))).await;
    until_floor(&url, last).await;
    let lines: Vec<Value> = node
        .log()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let line = lines
        .iter()
        .find(|line| line["fault"] == "contract")
        .expect("it is said");
    assert_eq!(line["sequence"], 2);
    assert_eq!(line["correlation_id"], "c-7");
    assert_eq!(line["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert!(line["tenant_id"].is_string());

    // Without an address: the store is owned, so its owner is asked.
    says(
        &node.run(&["quarantine", "ls", "account"]),
        "contract a at arithmetic",
    );
    says(
        &node.run(&["quarantine", "show", "account", "2", "--url", &url]),
        "\"attempts\": 1",
    );
    let stuck = node.run(&["quarantine", "retry", "account", "a"]);
    assert_eq!(stuck.status.code(), Some(1));
    says(&stuck, "event 2 still cannot be applied");
    says(
        &node.run(&["quarantine", "drop", "account", "2"]),
        "will never be in the views",
    );
    says(
        &node.run(&["quarantine", "retry", "account", "a", "--url", &url]),
        "1 event is in the view now",
    );
    let twice = node.run(&["quarantine", "drop", "account", "2"]);
    says(&twice, "nothing is in quarantine for event 2");
    let last = publish(&context, deposit("a", 3)).await;
    let report = until_floor(&url, last).await;
    assert_eq!(report["projections"][0]["parked_keys"], 0);
    assert_eq!(stop(child), 0);
    assert_eq!(applied(&store(&node.store())), [1, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_that_halted_says_so_and_goes_on_when_the_event_is_dropped_from_outside() {
    let Some(nats) = server() else { return };
    let (context, node, child, url) = ready(&nats, "halt", "").await;
    publish(&context, deposit("a", 1)).await;
    publish(&context, event("a", "Deposited", "null")).await;
    let last = publish(&context, deposit("a", 2)).await;
    let report = until("it is blocked", async || {
        let (status, body) = get(&format!("{url}/ready")).await;
        let report: Value = serde_json::from_str(&body).unwrap();
        (status == 503 && wrong(&report, "projection account@1").is_some()).then_some(report)
    })
    .await;
    assert!(
        wrong(&report, "projection account@1")
            .unwrap()
            .contains("event 2 cannot be applied")
    );
    says(
        &node.run(&["status", "--url", &url]),
        "mend: mend the program and start again, or projection quarantine drop account@1 2",
    );
    // The store does not know that it halted, and says the same.
    says(&node.run(&["status"]), "event 2 cannot be applied");
    says(
        &node.run(&["quarantine", "drop", "account@1", "3"]),
        "stands before event 2",
    );
    says(
        &node.run(&["quarantine", "drop", "account@1", "2"]),
        "will never be in the views",
    );
    until_floor(&url, last).await;
    until_status(&format!("{url}/ready"), 200).await;
    assert_eq!(stop(child), 0);
    assert_eq!(applied(&store(&node.store())), [1, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_info_and_page_say_the_same_of_a_node_that_runs_and_of_its_folder() {
    let Some(nats) = server() else { return };
    let (context, node, child, url) = ready(&nats, "skip", "ready_lag_max: 1000\n").await;
    publish(&context, event("<b>&", "Deposited", "null")).await;
    let last = publish(&context, deposit("a", 2)).await;
    until_floor(&url, last).await;
    let of_node = until("quarantine is counted", async || {
        let output = node.run(&["status", "--json", "--url", &url]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let state = &report["projections"][0];
        (state["quarantined"] == 1 && report["stream_last"] == last).then_some(report)
    })
    .await;
    let of_folder = node.status().unwrap();
    for name in [
        "projection",
        "floor",
        "stream_last",
        "behind",
        "quarantined",
        "blocked",
    ] {
        assert_eq!(of_node["projections"][0][name], of_folder[name], "{name}");
    }
    assert_eq!(of_node["ready"], true);
    says(&node.run(&["status", "--url", &url]), "running since");
    says(&node.run(&["status"]), "QUARANTINE");

    let (_, info) = get(&format!("{url}/info")).await;
    let info: Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["stream"], *nats::STREAM);
    assert_eq!(info["projections"][0]["generation"], 1);
    assert!(
        info["projections"][0]["program_hash"]
            .as_str()
            .unwrap()
            .len()
            > 8
    );
    let (_, page) = get(&url).await;
    assert!(page.contains("account@1"), "{page}");
    assert!(
        !page.contains("{{"),
        "nothing of the frame is left open: {page}"
    );
    let (status, nothing) = get(&format!("{url}/nothing")).await;
    assert_eq!(status, 404);
    assert_eq!(
        serde_json::from_str::<Value>(&nothing).unwrap()["code"],
        "not_found"
    );
    assert_eq!(stop(child), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_stops_the_start_with_what_to_do() {
    let Some(nats) = server() else { return };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let node = Node::served(&nats.url(), "halt", "");
    let address = taken.local_addr().unwrap().to_string();
    let output = node
        .command(&["run"])
        .env("PROJECTION_HTTP_LISTEN", &address)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    says(&output, "set http_listen to another port, or to none");
}
