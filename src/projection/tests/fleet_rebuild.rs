//! Rebuilds of several shards: an operator says it once, to any node, and is told what became of each shard, whichever node has it meanwhile.

mod fleets;

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use fleets::{Fleet, Place, Said, until};

const SHARDS: u32 = 4;
const EVENTS: u64 = 400;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_once_is_done_in_every_shard_and_ends_with_one_exit_code() {
    let Some(place) = Place::new().await else {
        return;
    };
    place.publish(&place.nats.context().await, 1, EVENTS).await;
    let fleet = Fleet::of(SHARDS);
    let (a, b) = (place.start(&fleet, "a"), place.start(&fleet, "b"));
    place.owned_by(&fleet, &["a", "b"]).await;
    a.has(EVENTS).await;
    assert_eq!(a.served(SHARDS).await, [1; 4]);

    let rebuilt = a.run(&["rebuild", "account"]).ended(0);
    assert_eq!(rebuilt.of_shards().len(), 4, "{rebuilt:?}");
    let shown = rebuilt.err();
    for shard in 0..SHARDS {
        // The progress of each, while it goes on.
        let line = format!("shard {shard}: account@2 [");
        assert!(shown.contains(&line), "{line} is not in {shown}");
    }
    assert_eq!(b.served(SHARDS).await, [2; 4]);
    let ids: Vec<_> = a.generations(SHARDS).await;
    let ids: Vec<_> = ids.iter().map(|one| &one["kept"]["2"]["rebuild"]).collect();
    assert!(ids[0].is_string(), "{ids:?}");
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");

    // The same of another node, of all shards or of one.
    let status = b.run(&["status"]).ended(0).out();
    let lines = status.lines();
    let states = lines.filter(|line| line.starts_with("account@2 of shard "));
    assert_eq!(states.count(), 4, "{status}");
    let verified = b.run(&["verify", "account"]).ended(0).of_shards();
    assert_eq!(verified.len(), 4);
    assert!(
        verified.values().all(|line| line.ends_with(": right")),
        "{verified:?}"
    );
    let one = b
        .run(&["--shard", "2", "verify", "account", "--json"])
        .ended(0);
    let one: serde_json::Value = serde_json::from_str(&one.out()).unwrap();
    assert_eq!(one["shards"][0]["verified"]["different"], 0, "{one}");

    // And from where only the address of a node is known.
    let elsewhere = a.run_elsewhere(&["verify", "account"]).ended(0);
    assert_eq!(elsewhere.of_shards(), verified);
    let none = a.run_elsewhere(&["--shard", "4", "verify", "account"]);
    assert!(none.ended(1).err().contains("there are 4 shards, from 0"));

    let refused = b.run(&["retire", "account@2"]).ended(1);
    assert!(
        refused.out().contains("nothing was retired, in no shard"),
        "{refused:?}"
    );
    b.run(&["rollback", "account"]).ended(0);
    assert_eq!(a.served(SHARDS).await, [1; 4]);
    let none = b.run(&["rollback", "account"]).ended(1);
    assert_eq!(
        none.out()
            .matches("failed: nothing that was served before")
            .count(),
        4
    );
    b.run(&["retire", "account"]).ended(0);
    for generations in a.generations(SHARDS).await {
        let kept = generations["kept"].as_object().unwrap();
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["1"]);
    }
    // One view is of one shard, and only that has it made again.
    let part = b.run(&["rebuild", "account", "--view", "a-7"]).ended(0);
    assert_eq!(part.of_shards().len(), 1, "{part:?}");
    assert!(part.out().contains(", done"), "{part:?}");
    b.run(&["rebuild", "account", "--in-place"]).ended(0);
    a.has(EVENTS).await;
    b.leave();
    a.leave();
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_are_flipped_by_command_when_all_are_ready_and_none_before() {
    let Some(place) = Place::new().await else {
        return;
    };
    place.publish(&place.nats.context().await, 1, EVENTS).await;
    let fleet = Fleet::of(SHARDS).with("rebuild_cutover: command\n");
    let (a, b) = (place.start(&fleet, "a"), place.start(&fleet, "b"));
    place.owned_by(&fleet, &["a", "b"]).await;
    a.has(EVENTS).await;

    let made = a.run(&["rebuild", "account"]).ended(0).of_shards();
    assert!(
        made.values().all(|line| line.ends_with("caught up")),
        "{made:?}"
    );
    assert_eq!(a.served(SHARDS).await, [1; 4]);
    a.run(&["--shard", "1", "retire", "account@2"]).ended(0);
    let refused = b.run(&["cutover", "account"]).ended(1);
    assert!(
        refused.err().contains("4 of 4 shards failed"),
        "{refused:?}"
    );
    assert_eq!(a.served(SHARDS).await, [1; 4], "all or none");

    // What it says to do is what mends it.
    let mends = refused.mends();
    assert_eq!(mends.len(), 1, "{refused:?}");
    assert!(
        mends.contains("projection --shard 1 rebuild account"),
        "{mends:?}"
    );
    // Asked of all, those that are made go on, and what is missing is made as a part of the same.
    a.run(&["rebuild", "account"]).ended(0);
    a.run(&["--shard", "3", "cutover", "account"]).ended(0);
    let flipped = b.run(&["cutover", "account"]).ended(0).of_shards();
    assert_eq!(flipped[&3.into()], "account@2 is served already");
    assert_eq!(a.served(SHARDS).await, [2; 4]);
    // A way back from a part of it goes on where it ended.
    b.run(&["--shard", "0", "rollback", "account"]).ended(0);
    b.run(&["rollback", "account"]).ended(0);
    assert_eq!(a.served(SHARDS).await, [1; 4]);
    b.leave();
    a.leave();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_goes_on_with_the_new_owners_when_the_node_that_was_asked_is_killed() {
    let Some(place) = Place::new().await else {
        return;
    };
    place.publish(&place.nats.context().await, 1, EVENTS).await;
    // Slow enough to be killed in the middle of.
    let fleet = Fleet::of(SHARDS)
        .with("rebuild_rate_max: 100\nrebuild_events_max: 50\nrebuild_lag_max: 10\n");
    let (a, b) = (place.start(&fleet, "a"), place.start(&fleet, "b"));
    place.owned_by(&fleet, &["a", "b"]).await;
    a.has(EVENTS).await;
    let mut command = a.command(&["rebuild", "account"]);
    let mut asked = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(asked.stderr.take().unwrap()).lines();
    let mut told = String::new();
    let mut going = std::collections::BTreeSet::new();
    while going.len() < 4 {
        let line = lines.next().expect("it goes on").unwrap();
        if line.contains("account@2 [#") {
            going.extend(line.split(':').next().map(str::to_owned));
        }
        told = format!("{told}{line}\n");
    }
    let before = a.generations(SHARDS).await;
    assert!(before.iter().any(|one| one["served"] == 1), "{before:?}");
    a.kill();
    for line in lines {
        told = format!("{told}{}\n", line.unwrap());
    }
    let ended = Said(asked.wait_with_output().unwrap()).ended(0);
    assert_eq!(ended.of_shards().len(), 4, "{ended:?}");
    assert!(
        told.contains("is with a node that has nothing of it, which is asked for the same"),
        "{told}"
    );
    place.owned_by(&fleet, &["b"]).await;
    let after = b.generations(SHARDS).await;
    let id = |one: &serde_json::Value| {
        let served = one["served"].to_string();
        one["kept"][served]["rebuild"].clone()
    };
    assert!(
        after
            .iter()
            .all(|one| id(one).is_string() && id(one) == id(&after[0])),
        "{after:?}"
    );
    b.has(EVENTS).await;
    b.leave();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_nobody_answers_for_is_told_with_what_to_do_and_the_others_are_done() {
    let Some(place) = Place::new().await else {
        return;
    };
    place.publish(&place.nats.context().await, 1, EVENTS).await;
    let fleet = Fleet::of(SHARDS).with("lease_ttl: 6s\n");
    let (a, b) = (place.start(&fleet, "a"), place.start(&fleet, "b"));
    let owners = place.owned_by(&fleet, &["a", "b"]).await;
    a.has(EVENTS).await;
    let of_b: Vec<_> = owners
        .iter()
        .filter(|(_, owner)| owner.member.node == "b")
        .map(|(shard, _)| *shard)
        .collect();
    b.kill();
    let said = a
        .run(&["rebuild", "account", "--patience", "100ms"])
        .ended(1);
    assert!(said.err().contains("2 of 4 shards failed"), "{said:?}");
    for (shard, line) in said.of_shards() {
        let failed = of_b.contains(&shard);
        assert_eq!(line.starts_with("failed: "), failed, "{shard}: {line}");
        assert_eq!(line.ends_with("served"), !failed, "{shard}: {line}");
    }
    assert!(said.out().contains("which does not answer"), "{said:?}");
    // Word by word what it says, when the lease has run out.
    let mends = said.mends();
    assert_eq!(mends.len(), 2, "{said:?}");
    for mend in mends {
        let (_, command) = mend.split_once("; then projection ").unwrap();
        a.run(&command.split(' ').collect::<Vec<_>>()).ended(0);
    }
    let served = until("all are rebuilt", async || {
        let all = a.generations(SHARDS).await;
        all.iter().all(|one| one["served"] == 2).then_some(all)
    });
    served.await;
    a.leave();
}
