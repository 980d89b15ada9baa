//! Replays: the events of the stream once more, into a generation of their own, up to a given one.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Progress, RebuildError, UpTo, progress::Meter, until::Given};
use crate::{
    manifest::{Projection, ProjectionManifest},
    pipeline::{Shard, ShardOptions, ShardState, ShardStatus},
    storage::{Part, ViewStore},
    stream::{BlockedReason, EventSource, beginning},
    types::{Checkpoint, ViewTable},
};

/// What a replay came to, which is where it had to come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// Where the checkpoint is.
    pub floor: u64,
    /// How many events were read.
    pub events: u64,
}

/// What is replayed, and by whose rules.
pub struct Replay<'r> {
    /// Where to.
    pub store: &'r Arc<ViewStore>,
    /// What of it.
    pub projection: &'r Projection,
    /// How.
    pub options: &'r ShardOptions,
    /// Until when.
    pub stop: &'r CancellationToken,
    /// How it is shown, before it has begun.
    pub shown: Progress,
}

/// Fills the table of the projection with the events up to `until`, from where its checkpoint is. The checkpoint is at `until` then, also where the last events before that are not in the stream any more.
///
/// # Errors
/// The checkpoint is beyond `until`, it does not go on, the stream does not lead there, or it was stopped.
pub async fn replay_to(
    replay: Replay<'_>,
    source: Box<dyn EventSource>,
    until: u64,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Replayed, RebuildError> {
    let Replay {
        store,
        projection,
        options,
        stop,
        mut shown,
    } = replay;
    let begun_at = floor(store, &projection.table)?;
    if begun_at > until {
        // What it is made for was made again from the beginning meanwhile.
        return Err(RebuildError::Moved {
            table: projection.table.clone(),
            expected: until,
            found: begun_at,
        });
    }
    if begun_at == until {
        return Ok(Replayed {
            floor: until,
            events: 0,
        });
    }
    let mut source = UpTo::new(source, until);
    let mut given = source.given();
    let manifest = ProjectionManifest::of(vec![projection.clone()]);
    let shard = Shard::new(manifest, Arc::clone(store), options.clone());
    let mut status = shard.status();
    let ending = stop.child_token();
    let table = &projection.table;
    let mut meter = Meter::new();
    let watching = async {
        loop {
            let (seen, now) = (
                *given.borrow_and_update(),
                status.borrow_and_update().clone(),
            );
            let at = now.projections.get(table).map_or(0, |state| state.floor);
            shown.done = at;
            shown.total = until;
            meter.note(now.received);
            meter.show(until.saturating_sub(at), &mut shown);
            progress(shown.clone());
            if is_there(seen, at) {
                break;
            }
            let changed = tokio::select! {
                changed = given.changed() => changed,
                changed = status.changed() => changed,
            };
            if changed.is_err() {
                break;
            }
        }
        ending.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = shard.run(&mut source, &ending) => {}
        () = watching => {}
    }
    let last = shard.status().borrow().clone();
    let given = *source.given().borrow();
    let floor = outcome(&last, given, store, table, until, stop)?;
    if floor < until {
        pass_over(store, projection, options, &mut source, until).await?;
    }
    Ok(Replayed {
        floor: until,
        events: last.received,
    })
}

fn is_there(given: Given, floor: u64) -> bool {
    given.complete && floor >= given.last
}

fn outcome(
    status: &ShardStatus,
    given: Given,
    store: &ViewStore,
    table: &ViewTable,
    until: u64,
    stop: &CancellationToken,
) -> Result<u64, RebuildError> {
    let blocked = status
        .projections
        .get(table)
        .and_then(|state| state.blocked.clone());
    if let Some(reason) = blocked {
        return Err(RebuildError::Blocked {
            table: table.clone(),
            reason,
        });
    }
    let floor = floor(store, table)?;
    if is_there(given, floor) {
        return Ok(floor);
    }
    if stop.is_cancelled() || status.state == ShardState::Stopped {
        return Err(RebuildError::Stopped);
    }
    Err(RebuildError::NotReached { until })
}

/// Moves the checkpoint to `until` over events that the stream does not have any more: what is at `until` elsewhere is at the same place only then.
async fn pass_over(
    store: &ViewStore,
    projection: &Projection,
    options: &ShardOptions,
    source: &mut dyn EventSource,
    until: u64,
) -> Result<(), RebuildError> {
    let table = &projection.table;
    let stored = store.snapshot()?.checkpoint(table)?;
    let floor = stored.as_ref().map(|stored| stored.floor);
    let facts = source.facts(floor.unwrap_or(0)).await?;
    if facts.last < until {
        return Err(RebuildError::NotReached { until });
    }
    let stands = options.examine(projection, &facts, stored.as_ref());
    let stands = stands.map_err(|reason| RebuildError::Blocked {
        table: table.clone(),
        reason,
    })?;
    let checkpoint = Checkpoint {
        floor: until,
        // There is no such message whose time could be compared.
        published: None,
        ..stands
    };
    Ok(store.commit(&Part::new(table.clone(), floor, checkpoint).into())?)
}

/// Where a table stands.
pub(super) fn floor(store: &ViewStore, table: &ViewTable) -> Result<u64, RebuildError> {
    let checkpoint = store.snapshot()?.checkpoint(table)?;
    Ok(checkpoint.map_or(0, |checkpoint| checkpoint.floor))
}

/// Makes sure that `projection` can begin at `from`, and lets it begin there where it has not begun.
///
/// # Errors
/// The stream begins later, or stream or store.
pub(super) async fn begin_at(
    store: &ViewStore,
    projection: &Projection,
    options: &ShardOptions,
    source: &mut dyn EventSource,
    from: u64,
) -> Result<(), RebuildError> {
    let table = &projection.table;
    if store.snapshot()?.checkpoint(table)?.is_some() {
        return Ok(());
    }
    let facts = source.facts(0).await?;
    let start = match options.examine(projection, &facts, None) {
        // Where it may begin is said by whoever asks for it.
        Err(BlockedReason::HistoryGone { .. }) => beginning(&facts, &options.expected(projection)),
        start => start.map_err(|reason| RebuildError::Blocked {
            table: table.clone(),
            reason,
        })?,
    };
    if facts.first > from {
        return Err(RebuildError::HistoryGone {
            table: table.clone(),
            from,
            first: facts.first,
        });
    }
    if from > 1 {
        let checkpoint = Checkpoint {
            floor: from - 1,
            ..start
        };
        store.commit(&Part::new(table.clone(), None, checkpoint).into())?;
    }
    Ok(())
}

/// Nobody watches.
pub(super) fn unseen(_: Progress) {}
