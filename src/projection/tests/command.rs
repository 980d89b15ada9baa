//! The command with a real server: a node that is killed under load, looked into while it runs, and mended by what its status says.

mod accounts;
mod node;

use std::path::Path;

use accounts::{applied, deposit, event};
use async_nats::jetstream::{Context, stream::RetentionPolicy};
use node::{
    Node,
    nats::{self, Nats, STREAM, servers},
    says, stop,
};
use projection::settings::Durability;

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

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_under_load_again_and_again_ends_with_each_event_once() {
    let Some(program) = servers().into_iter().next() else {
        return;
    };
    let nats = Nats::start(&program);
    let context = nats.stream(RetentionPolicy::Limits).await;
    let node = Node::new(&nats.url(), "halt");
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut last = 0;
    for _ in 0..12 {
        let mut child = node.start();
        for _ in 0..rng.usize(20..80) {
            last = publish(&context, deposit(&format!("a-{}", rng.u32(0..9)), 1)).await;
        }
        child.kill();
    }
    let child = node.start();
    node.wait_for(|status| status["floor"] == last);
    let second = node.run(&["run"]);
    assert!(!second.status.success());
    says(&second, "is owned by a running node; stop it first");
    assert_eq!(stop(child), 0);
    assert_eq!(
        applied(&store(&node.store())),
        (1..=last).collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_status_names_as_mending_a_blocked_projection_does_mend_it() {
    let Some(program) = servers().into_iter().next() else {
        return;
    };
    let nats = Nats::start(&program);
    let context = nats.stream(RetentionPolicy::Limits).await;
    let node = Node::new(&nats.url(), "halt");
    says(&node.run(&["check"]), "are right: account@1");
    publish(&context, deposit("a", 1)).await;
    publish(&context, event("a", "Deposited", "\"one\"")).await;
    publish(&context, deposit("a", 1)).await;
    assert_eq!(node.run(&["run"]).status.code(), Some(3), "nothing goes on");
    says(
        &node.run(&["quarantine", "drop", "account", "3"]),
        "stands before event 2, and not before 3",
    );
    says(
        &node.run(&["quarantine", "drop", "account", "2"]),
        "will never be in the views",
    );

    let child = node.start();
    node.wait_for(|status| status["floor"] == 3);
    assert_eq!(stop(child), 0);
    says(
        &node.run(&["quarantine", "list", "account"]),
        "dropped - dropped by an operator",
    );
    says(
        &node.run(&["quarantine", "show", "account", "2"]),
        "dropped by an operator",
    );

    // History goes: the status says so and how to go on.
    for _ in 0..4 {
        publish(&context, deposit("a", 1)).await;
    }
    let stream = context.get_stream(&*STREAM).await.unwrap();
    stream.purge().sequence(6).await.unwrap();
    assert_eq!(node.run(&["run"]).status.code(), Some(3));
    let output = node.run(&["status"]);
    says(&output, "events between are gone");
    says(&output, "mend: projection accept-gap account@1");
    says(
        &node.run(&["accept-gap", "account@1"]),
        "events 4 to 5 will never be in the views",
    );
    let child = node.start();
    node.wait_for(|status| status["floor"] == 7);
    assert_eq!(stop(child), 0);
    assert_eq!(applied(&store(&node.store())), [1, 3, 6, 7]);

    // The stream is made anew, and so are the views.
    context.delete_stream(&*STREAM).await.unwrap();
    let context = nats.stream(RetentionPolicy::Limits).await;
    publish(&context, deposit("b", 1)).await;
    assert_eq!(node.run(&["run"]).status.code(), Some(3));
    says(&node.run(&["status"]), "mend: projection rebuild account");
    assert!(node.run(&["rebuild", "account"]).status.success());
    publish(&context, deposit("b", 1)).await;
    let child = node.start();
    node.wait_for(|status| status["floor"] == 2 && status["projection"] == "account@2");
    assert_eq!(stop(child), 0);
    assert!(node.run(&["verify", "account"]).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_view_takes_its_events_in_order_when_the_first_was_dropped_and_the_rest_is_retried()
 {
    let Some(program) = servers().into_iter().next() else {
        return;
    };
    let nats = Nats::start(&program);
    let context = nats.stream(RetentionPolicy::Limits).await;
    let node = Node::new(&nats.url(), "park-key");
    for amount in ["1", "null", "2", "3"] {
        let event = event("a", "Deposited", amount);
        // One of those that wait is too large to be kept: the retry reads it from the stream.
        let is_large = amount == "2";
        let event = if is_large {
            accounts::large(&event)
        } else {
            event
        };
        publish(&context, event).await;
    }
    let child = node.start();
    let status = node.wait_for(|status| status["floor"] == 4);
    assert_eq!(status["quarantined"], 3);
    assert_eq!(stop(child), 0);
    says(
        &node.run(&["quarantine", "retry", "account", "a"]),
        "event 2 still cannot be applied",
    );
    says(
        &node.run(&["quarantine", "drop", "account", "2"]),
        "will never be in the views",
    );
    says(
        &node.run(&["quarantine", "retry", "account", "a"]),
        "2 events are in the view now",
    );
    publish(&context, event("a", "Deposited", "4")).await;
    let child = node.start();
    let status = node.wait_for(|status| status["floor"] == 5);
    assert_eq!(status["quarantined"], 0);
    assert_eq!(stop(child), 0);
    assert_eq!(applied(&store(&node.store())), [1, 3, 4, 5]);
}
