//! Tests of what is read together, and of what is shown of it.

use proptest::prelude::*;

use super::*;
use crate::{
    pipeline::ProjectionState, program::dag::DagProgram, quarantine::PoisonPolicy,
    stream::Interruption,
};

fn table(number: usize) -> ViewTable {
    ViewTable {
        view_type: format!("type-{number}").as_str().into(),
        generation: 1,
    }
}

fn projection(number: usize) -> Projection {
    let program =
        r#"{"language": "dag/v1", "key": {"event": "aggregate_id"}, "view": {"const": 1}}"#;
    let program = serde_json::from_str(program).expect("JSON");
    Projection {
        table: table(number),
        program: Arc::new(DagProgram::compile(&program, 1_000).expect("a program")),
        text: None,
        policy: PoisonPolicy::Skip,
        indexes: Vec::new(),
    }
}

fn at(floor: u64, stream_created: i128) -> Checkpoint {
    let facts = crate::stream::StreamFacts {
        stream: "EVENTS".into(),
        created: stream_created,
        first: 1,
        last: floor,
        published_at_floor: None,
        drops_what_was_read: false,
        unsafe_because: None,
    };
    let expected = crate::stream::Expected {
        filter_hash: String::new(),
        program_hash: String::new(),
        shard: None,
    };
    Checkpoint {
        floor,
        ..crate::stream::examine(&facts, None, &expected).expect("a checkpoint")
    }
}

fn tables(groups: &[Vec<Projection>]) -> Vec<Vec<ViewTable>> {
    let of = |group: &Vec<Projection>| group.iter().map(|one| one.table.clone()).collect();
    groups.iter().map(of).collect()
}

proptest! {
    #[test]
    fn each_projection_is_read_once_with_others_that_are_near_and_what_is_furthest_comes_first(
        floors in proptest::collection::vec(proptest::option::of(0..1_000_u64), 1..8),
        far in 0..400_u64,
    ) {
        let stored: BTreeMap<_, _> = floors
            .iter()
            .enumerate()
            .filter_map(|(number, floor)| Some((table(number), at((*floor)?, 1))))
            .collect();
        let groups = groups((0..floors.len()).map(projection).collect(), &stored, far);
        let floor = |table: &ViewTable| stored.get(table).map_or(0, |stored| stored.floor);
        let found = tables(&groups);
        let mut all: Vec<_> = found.concat();
        all.sort();
        prop_assert_eq!(all, (0..floors.len()).map(table).collect::<Vec<_>>());
        let spans: Vec<(u64, u64)> = found
            .iter()
            .map(|group| {
                let floors = group.iter().map(floor);
                (floors.clone().min().unwrap(), floors.max().unwrap())
            })
            .collect();
        for (lowest, highest) in &spans {
            prop_assert!(highest - lowest <= far);
        }
        for pair in spans.windows(2) {
            prop_assert!(pair[0].0 > pair[1].1, "{:?}", spans);
            prop_assert!(pair[0].1 - pair[1].1 > far, "{:?}", spans);
        }
    }
}

#[test]
fn what_was_made_of_another_stream_is_not_compared() {
    let stored = BTreeMap::from([
        (table(0), at(900, 1)),
        (table(1), at(500, 2)),
        (table(2), at(10, 2)),
    ]);
    let found = groups((0..3).map(projection).collect(), &stored, 100);
    assert_eq!(tables(&found), [vec![table(1), table(0)], vec![table(2)]]);
    let none_here = BTreeMap::from([(table(0), at(900, 1))]);
    let found = groups(vec![projection(0)], &none_here, 100);
    assert_eq!(tables(&found), [vec![table(0)]]);
}

fn shown(state: ShardState, number: usize, floor: u64, received: u64) -> ShardStatus {
    let projection = ProjectionState {
        floor,
        ..ProjectionState::default()
    };
    ShardStatus {
        state,
        projections: BTreeMap::from([(table(number), projection)]),
        received,
        pending: received,
        ..ShardStatus::default()
    }
}

#[tokio::test]
async fn parts_are_shown_as_one_until_the_last_of_them_has_ended() {
    let all = watch::Sender::new(ShardStatus {
        received: 7,
        ..ShardStatus::default()
    });
    let first = watch::Sender::new(shown(ShardState::Running, 0, 50, 5));
    let behind = watch::Sender::new(shown(ShardState::Starting, 1, 0, 0));
    let parts = vec![first.subscribe(), behind.subscribe()];
    let combining = tokio::spawn(combine(parts, all.clone()));
    let mut seen = all.subscribe();
    let mut wait = async |wanted: &dyn Fn(&ShardStatus) -> bool| {
        seen.wait_for(wanted).await.expect("it is shown").clone()
    };
    let status = wait(&|status| status.received == 12).await;
    assert_eq!(status.state, ShardState::Running);
    assert_eq!(status.pending, 5);
    behind.send_modify(|status| {
        *status = shown(ShardState::Running, 1, 30, 40);
        status.restarts.insert(Interruption::Gap, 2);
        status.storage_trouble = Some("it is full".to_owned());
    });
    let status = wait(&|status| status.received == 52).await;
    let floors: Vec<_> = status
        .projections
        .values()
        .map(|state| state.floor)
        .collect();
    assert_eq!(floors, [50, 30]);
    assert_eq!(status.restarts[&Interruption::Gap], 2);
    assert_eq!(status.storage_trouble.as_deref(), Some("it is full"));
    assert_eq!(status.pending, 5, "the first one says how far behind it is");
    // One of them has ended, and the other one still goes on.
    first.send_modify(|status| status.state = ShardState::Blocked);
    drop(first);
    wait(&|status| status.state == ShardState::Running && status.pending == 40).await;
    behind.send_modify(|status| {
        status.state = ShardState::Blocked;
        status.received += 1;
    });
    drop(behind);
    combining.await.expect("it ends");
    let status = seen.borrow().clone();
    assert_eq!((status.state, status.received), (ShardState::Blocked, 53));
}

fn run_of(parts: &[ShardStatus]) -> ServedRun {
    let part = |status: &ShardStatus| Part {
        stop: CancellationToken::new(),
        task: tokio::spawn(async {}),
        status: watch::channel(status.clone()).1,
    };
    ServedRun {
        tables: Vec::new(),
        parts: parts.iter().map(part).collect(),
        combining: None,
    }
}

#[tokio::test]
async fn what_was_far_behind_is_near_only_where_it_is_known_how_far_the_rest_is() {
    let first = shown(ShardState::Running, 0, 5_000, 0);
    let behind = |floor| shown(ShardState::Running, 1, floor, 0);
    let is_near = |first: &ShardStatus, behind| {
        let run = run_of(&[first.clone(), behind]);
        run.has_come_near(100)
    };
    assert!(!is_near(&first, behind(4_899)));
    assert!(is_near(&first, behind(4_900)));
    assert!(is_near(&first, behind(6_000)), "it has gone past it");
    let waiting = shown(ShardState::Starting, 1, 5_000, 0);
    assert!(!is_near(&first, waiting), "it does not run");
    assert!(!is_near(&ShardStatus::default(), behind(0)));
    let mut recreated = first;
    let of_another_stream = recreated.projections.values_mut().next().expect("one");
    of_another_stream.blocked = Some(BlockedReason::StreamRecreated);
    assert!(!is_near(&recreated, behind(9_000)));
}
