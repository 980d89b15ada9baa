//! What mends: for each reason that a projection does not go on for, every command that its status names is said as it stands there, and the projection goes on.

mod accounts;
mod node;

use accounts::{deposit, event, store, table};
use async_nats::jetstream::{Context, stream::RetentionPolicy};
use node::{
    Node,
    nats::{self, Nats, STREAM, servers},
    stop,
};
use projection::{
    settings::Durability,
    shards::{ShardLayout, Share},
    storage::Part,
    stream::BlockedReason,
    types::Checkpoint,
};

const EVENTS: u64 = 60;

/// What becomes of a checkpoint.
type Change = Box<dyn Fn(&mut Checkpoint)>;

async fn publish(context: &Context, payload: String) -> u64 {
    let sent = context
        .publish(nats::subject('x'), payload.into())
        .await
        .unwrap();
    sent.await.unwrap().sequence
}

/// A node whose views are made of all events, and that was stopped.
async fn made(nats: &Nats, context: &Context, policy: &str, last: u64) -> Node {
    while context
        .get_stream(&*STREAM)
        .await
        .unwrap()
        .cached_info()
        .state
        .last_sequence
        < last
    {
        publish(context, deposit("a", 1)).await;
    }
    let node = Node::new(&nats.url(), policy);
    let running = node.start();
    node.wait_for(|status| status["floor"] == last);
    assert_eq!(stop(running), 0);
    node
}

/// Writes a checkpoint that says something else.
fn change(node: &Node, change: impl FnOnce(&mut Checkpoint)) {
    let store = store(&node.store(), Durability::Commit);
    let stood = store.snapshot().unwrap().checkpoint(&table("account"));
    let stood = stood.unwrap().unwrap();
    let floor = stood.floor;
    let mut changed = stood;
    change(&mut changed);
    let part = Part::new(table("account"), Some(floor), changed);
    store.commit(&part.into()).unwrap();
}

/// That the node is blocked, and goes on with the next event after the command at `at` of those that its status names. Which event that is.
async fn is_mended(node: &Node, what: &str, at: usize, context: &Context) -> u64 {
    let status = node.status();
    let status = status.unwrap_or_else(|| panic!("{what}: {:?}", node.run(&["status"])));
    let blocked = status["blocked"].as_str();
    assert!(
        blocked.is_some_and(|why| why.contains(what)),
        "{what}: {status}"
    );
    let mend = status["mend"].as_str().unwrap();
    let mut named = mend
        .match_indices("projection ")
        .map(|(from, _)| &mend[from..]);
    let command = named.nth(at).unwrap_or_else(|| panic!("{what}: {mend}"));
    // As far as it is one: what comes behind is said about it.
    let ends = ["   ", " while ", ", ", ")"];
    let end = ends.iter().filter_map(|end| command.find(end)).min();
    let command = &command[..end.unwrap_or(command.len())];
    let words: Vec<_> = command.split(' ').skip(1).collect();
    let said = node.run(&words);
    assert!(said.status.success(), "{what}: {command}: {said:?}");
    let running = node.start();
    // What the store says now may be what the command has left there.
    let last = publish(context, deposit("a", 1)).await;
    node.wait_for(|status| status["blocked"].is_null() && status["floor"] == last);
    assert_eq!(stop(running), 0, "{what}: {command}");
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_that_a_status_names_mends_what_it_is_named_for() {
    let Some(program) = servers().into_iter().next() else {
        return;
    };
    let nats = Nats::start(&program);
    let context = nats.stream(RetentionPolicy::Limits).await;
    let mut last = EVENTS;
    let other_shards = ShardLayout::new(4, &[]).unwrap();
    let mark = Share {
        layout: other_shards,
        shard: 1.into(),
    }
    .mark();
    let changes: [(&str, usize, Change); 8] = [
        (
            "created anew",
            0,
            Box::new(|stood| stood.stream_created = 1),
        ),
        (
            "it has lost its end",
            0,
            Box::new(|stood| stood.floor = 10_000),
        ),
        ("grew again", 0, Box::new(|stood| stood.published = Some(1))),
        (
            "other subjects",
            0,
            Box::new(|stood| stood.filter_hash = "f".into()),
        ),
        (
            "another program",
            0,
            Box::new(|stood| stood.program_hash = "p".into()),
        ),
        (
            "another program",
            1,
            Box::new(|stood| stood.program_hash = "p".into()),
        ),
        (
            "the views are of",
            0,
            Box::new(move |stood| stood.shard.clone_from(&mark)),
        ),
        ("the store has form", 0, Box::new(|stood| stood.format = 99)),
    ];
    for (what, at, changing) in changes {
        let node = made(&nats, &context, "skip", last).await;
        change(&node, changing);
        last = is_mended(&node, what, at, &context).await;
        let verified = node.run(&["verify", "account"]);
        assert!(verified.status.success(), "{what}: {verified:?}");
    }

    // An event that cannot be applied, which only a node that runs comes upon: its exit code says that nothing goes on.
    let node = made(&nats, &context, "halt", last).await;
    let poison = publish(&context, event("a", "Deposited", "\"one\"")).await;
    assert_eq!(node.run(&["run"]).status.code(), Some(3));
    let reason = BlockedReason::Poison {
        sequence: poison,
        reason: String::new(),
    };
    let commands = reason.commands(&table("account"), None);
    let words: Vec<_> = commands[0].split(' ').skip(1).collect();
    assert!(node.run(&words).status.success(), "{commands:?}");
    let running = node.start();
    last = publish(&context, deposit("a", 1)).await;
    node.wait_for(|status| status["floor"] == last);
    assert_eq!(stop(running), 0);

    // History that goes while nobody reads.
    for at in [0, 1] {
        context.delete_stream(&*STREAM).await.unwrap();
        let context = nats.stream(RetentionPolicy::Limits).await;
        last = EVENTS;
        let node = made(&nats, &context, "skip", last).await;
        for _ in 0..20 {
            last = publish(&context, deposit("a", 1)).await;
        }
        let stream = context.get_stream(&*STREAM).await.unwrap();
        stream.purge().sequence(last - 5).await.unwrap();
        is_mended(&node, "events between are gone", at, &context).await;
    }
}
