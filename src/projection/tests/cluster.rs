//! Nodes that share a stream, as processes on a real server: killed, paused, joined by others and sent away under load.
//!
//! Each test ends with the same question: are the views of all shards together, byte by byte, those of one node that reads the stream from its beginning?

mod members;

use std::time::Instant;

use members::{
    BATCH, Load, Place, TTL, WITHIN, accounts::store, nats, to_any_subject, wait_for_log,
    wait_for_owner,
};
use projection::{settings::Durability, shards::ShardId};
use rustix::process::Signal;

#[tokio::test(flavor = "multi_thread")]
async fn shards_of_nodes_that_are_killed_joined_and_sent_away_under_load_lose_and_double_nothing() {
    let Some(place) = Place::new(6).await else {
        return;
    };
    let load = Load::start(place.nats.context().await, to_any_subject);
    let (a, b, c) = (place.start("a"), place.start("b"), place.start("c"));
    place.owned_evenly_by(&["a", "b", "c"]).await;
    load.goes_on(200).await;

    let killed = Instant::now();
    b.kill();
    let owners = place.owned_evenly_by(&["a", "c"]).await;
    println!("killed: moved after {:?}", killed.elapsed());
    assert!(
        killed.elapsed() > TTL / 3,
        "a lease is good until it has run out"
    );
    let moved = owners.values().filter(|owner| owner.epoch > 1).count();
    assert!(moved >= 2, "{owners:?}");

    load.goes_on(200).await;
    let joined = Instant::now();
    let d = place.start("d");
    place.owned_evenly_by(&["a", "c", "d"]).await;
    println!("joined: shared after {:?}", joined.elapsed());

    load.goes_on(200).await;
    let left = Instant::now();
    a.leave();
    place.owned_evenly_by(&["c", "d"]).await;
    println!("left: moved after {:?}", left.elapsed());

    let last = load.end().await;
    let owners = place.all_at(last, &["c", "d"]).await;
    c.leave();
    d.leave();
    assert!(place.owners().await.is_empty(), "all were let go");
    place.assert_whole(&owners, last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_slept_past_its_lease_commits_nothing_when_it_wakes_up() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    let shard = ShardId::default();
    let load = Load::start(place.nats.context().await, to_any_subject);
    let a = place.start("a");
    place.owned_evenly_by(&["a"]).await;
    let b = place.start("b");
    load.goes_on(200).await;
    for (owner, name, other) in [(&a, "a", "b"), (&b, "b", "a")] {
        load.goes_on(100).await;
        owner.signal(Signal::STOP);
        let owners = wait_for_owner(&place, other).await;
        let asleep = place.floor(name, shard);
        assert!(asleep > 0);
        let epoch = owners[&shard].epoch;
        load.goes_on(200).await;
        owner.signal(Signal::CONT);
        wait_for_log(&place, name, "lost: the lease was not renewed in time").await;
        load.goes_on(200).await;
        // A commit that was past its last check when the node fell asleep is finished, in a store that nobody else writes. Nothing comes behind it.
        let awake = place.floor(name, shard);
        assert!(
            awake <= asleep + BATCH,
            "{name} wrote {asleep} to {awake} without a lease"
        );
        load.goes_on(200).await;
        assert_eq!(place.floor(name, shard), awake, "{name} goes on");
        assert_eq!(wait_for_owner(&place, other).await[&shard].epoch, epoch);
    }
    let last = load.end().await;
    let owners = place.all_at_of(last, "a").await;
    b.leave();
    a.leave();
    place.assert_whole(&owners, last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_on_one_folder_never_write_side_by_side() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    let shard = ShardId::default();
    let storage = place.folder_of("a");
    let load = Load::start(place.nats.context().await, to_any_subject);
    let a = place.start_on("a", &storage);
    place.owned_evenly_by(&["a"]).await;
    let b = place.start_on("b", &storage);
    load.goes_on(200).await;
    a.signal(Signal::STOP);
    wait_for_owner(&place, "b").await;
    let asleep = place.floor("a", shard);
    // The lease is b's, and the folder still a's.
    wait_for_log(&place, "b", "is owned by a running node").await;
    assert_eq!(place.floor("a", shard), asleep);
    a.signal(Signal::CONT);
    load.goes_on(200).await;
    let last = load.end().await;
    let begun = Instant::now();
    while place.floor("a", shard) < last {
        assert!(begun.elapsed() < WITHIN, "{}", place.logs(&["a", "b"]));
    }
    let mut owners = wait_for_owner(&place, "b").await;
    a.leave();
    b.leave();
    // Both have the folder that is called after a.
    for owner in owners.values_mut() {
        "a".clone_into(&mut owner.member.node);
    }
    place.assert_whole(&owners, last).await;
    assert_eq!(
        store(&storage, Durability::Commit).epoch().unwrap(),
        owners[&shard].epoch
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_under_several_nodes_loses_and_doubles_nothing() {
    let Some(mut place) = Place::new(4).await else {
        return;
    };
    if !place.nats.can_be_restarted() {
        return;
    }
    let (a, b) = (place.start("a"), place.start("b"));
    place.owned_evenly_by(&["a", "b"]).await;
    let mut last = 0;
    for _ in 0..3 {
        let load = Load::start(place.nats.context().await, to_any_subject);
        load.goes_on(100).await;
        place.nats.kill_and_restart();
        last = load.end().await.max(last);
    }
    let load = Load::start(place.nats.context().await, to_any_subject);
    load.goes_on(10).await;
    last = load.end().await.max(last);
    let owners = place.all_at(last, &["a", "b"]).await;
    a.leave();
    b.leave();
    place.assert_whole(&owners, last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_subject_lets_the_server_leave_out_what_is_of_other_shards() {
    let Some(mut place) = Place::new(3).await else {
        return;
    };
    place.subjects = format!("'{}'", nats::subject("{shard}.>"));
    // All events of one account have the same token, as the publisher must see to.
    let load = Load::start(place.nats.context().await, |number| {
        nats::subject(format!("{}.x", shard_of(number)))
    });
    let (a, b) = (place.start("a"), place.start("b"));
    place.owned_evenly_by(&["a", "b"]).await;
    load.goes_on(100).await;
    let last = load.end().await;
    // Each shard ends at the last event of its own.
    let last_of = |shard: u32| {
        (1..=last)
            .rev()
            .find(|sequence| shard_of(sequence - 1) == u64::from(shard))
    };
    let begun = Instant::now();
    let owners = loop {
        let owners = place.owned_evenly_by(&["a", "b"]).await;
        let ended = owners.iter().all(|(shard, owner)| {
            Some(place.floor(&owner.member.node, *shard)) == last_of(shard.number())
        });
        if ended {
            break owners;
        }
        assert!(begun.elapsed() < WITHIN, "{}", place.logs(&["a", "b"]));
    };
    a.leave();
    b.leave();
    place.assert_whole(&owners, last).await;
}

/// The shard of the event `number`, counted from 0.
fn shard_of(number: u64) -> u64 {
    number % 101 % 3
}
