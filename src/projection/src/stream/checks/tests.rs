//! Tests of checks: what a checkpoint may be gone on from, and what blocks.

use super::*;
use crate::shards::{ShardLayout, Share};

fn facts() -> StreamFacts {
    StreamFacts {
        stream: "EVENTS".into(),
        created: 7,
        first: 1,
        last: 100,
        published_at_floor: Some(50),
        drops_what_was_read: false,
        unsafe_because: None,
    }
}

fn expected() -> Expected {
    Expected {
        filter_hash: "f".into(),
        program_hash: "p".into(),
        shard: mark(0),
    }
}

fn mark(shard: u32) -> Option<ShardMark> {
    let layout = ShardLayout::new(6, &[]).unwrap();
    let shard = shard.into();
    Share { layout, shard }.mark()
}

fn stored() -> Checkpoint {
    examine(&facts(), None, &expected())
        .unwrap()
        .advanced(40, 50)
}

#[track_caller]
fn blocked(change: impl FnOnce(&mut StreamFacts, &mut Checkpoint), reason: BlockedReason) {
    let (mut facts, mut checkpoint) = (facts(), stored());
    change(&mut facts, &mut checkpoint);
    assert_eq!(examine(&facts, Some(&checkpoint), &expected()), Err(reason));
}

#[test]
fn a_checkpoint_that_still_holds_is_gone_on_from() {
    assert_eq!(
        examine(&facts(), Some(&stored()), &expected()),
        Ok(stored())
    );
    let removed = StreamFacts {
        first: 41,
        published_at_floor: None,
        ..facts()
    };
    assert_eq!(
        examine(&removed, Some(&stored()), &expected()),
        Ok(stored())
    );
    let queue = StreamFacts {
        first: 90,
        drops_what_was_read: true,
        ..removed
    };
    assert_eq!(examine(&queue, Some(&stored()), &expected()), Ok(stored()));
    assert_eq!(examine(&facts(), None, &expected()).unwrap().floor, 0);
    let begun = StreamFacts {
        first: 90,
        drops_what_was_read: true,
        ..facts()
    };
    assert_eq!(examine(&begun, None, &expected()).unwrap().floor, 0);
}

#[test]
fn views_are_not_begun_in_silence_where_the_beginning_is_gone() {
    let trimmed = StreamFacts {
        first: 42,
        ..facts()
    };
    assert_eq!(
        examine(&trimmed, None, &expected()),
        Err(BlockedReason::HistoryGone {
            floor: 0,
            first: 42
        })
    );
}

#[test]
fn whatever_would_skip_or_mix_events_blocks() {
    blocked(|facts, _| facts.created = 8, BlockedReason::StreamRecreated);
    blocked(
        |facts, _| facts.last = 39,
        BlockedReason::FloorBeyondStream {
            floor: 40,
            last: 39,
        },
    );
    blocked(
        |facts, _| facts.published_at_floor = Some(51),
        BlockedReason::FloorMessageChanged { floor: 40 },
    );
    blocked(
        |facts, _| facts.first = 42,
        BlockedReason::HistoryGone {
            floor: 40,
            first: 42,
        },
    );
    blocked(
        |_, stored| stored.filter_hash = "g".into(),
        BlockedReason::FilterChanged,
    );
    blocked(
        |_, stored| stored.program_hash = "q".into(),
        BlockedReason::ProgramChanged,
    );
    blocked(
        |_, stored| stored.shard = mark(1),
        BlockedReason::ShardsChanged {
            found: mark(1),
            expected: mark(0),
        },
    );
    blocked(
        |_, stored| stored.shard = None,
        BlockedReason::ShardsChanged {
            found: None,
            expected: mark(0),
        },
    );
    blocked(
        |_, stored| stored.format = 9,
        BlockedReason::Format { found: 9 },
    );
}
