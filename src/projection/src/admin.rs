//! Administration: what mends a projection that does not go on. Each is one transaction on a store that no node runs on.

mod poison;

use thiserror::Error;

pub use poison::{Retried, drop_halted, drop_record, retry, stands, unkept};

use crate::{
    manifest::Projection,
    pipeline::ShardOptions,
    storage::{Part, StorageError, ViewStore},
    stream::{BlockedReason, EventSource, StreamError, beginning},
    types::{Checkpoint, KeyError},
};

/// Why something was not done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The store.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The stream.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// There is no such projection.
    #[error("{what}")]
    NoProjection {
        /// What is wrong with its name.
        what: String,
    },
    /// The name of a view cannot be one.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Nothing is stored yet.
    #[error("there is no checkpoint of {projection}; nothing is to be mended")]
    NoCheckpoint {
        /// Which projection.
        projection: String,
    },
    /// Nothing is set aside there.
    #[error("nothing is in quarantine for {what}")]
    NotInQuarantine {
        /// What was asked for.
        what: String,
    },
    /// The event is not the one that the projection stands before.
    #[error(
        "{projection} stands before event {next}, and not before {sequence}: nothing was dropped"
    )]
    NotNext {
        /// Which projection.
        projection: String,
        /// Where it stands.
        next: String,
        /// What was asked for.
        sequence: u64,
    },
    /// Nothing is dropped that can be applied.
    #[error(
        "event {sequence} does not hold {projection} up, which applies it or sets it aside: nothing was dropped"
    )]
    NotPoison {
        /// Which projection.
        projection: String,
        /// Which event.
        sequence: u64,
    },
    /// The checkpoint does not mean anything any more.
    #[error("{reason}; that is mended by: {mend}")]
    Blocked {
        /// Why not.
        reason: BlockedReason,
        /// What mends that.
        mend: String,
    },
    /// There is no gap.
    #[error("no history is gone: the checkpoint is at {floor} and the stream begins at {first}")]
    NoGap {
        /// The checkpoint.
        floor: u64,
        /// The beginning.
        first: u64,
    },
}

fn stored(store: &ViewStore, projection: &Projection) -> Result<Checkpoint, AdminError> {
    let checkpoint = store.snapshot()?.checkpoint(&projection.table)?;
    checkpoint.ok_or_else(|| AdminError::NoCheckpoint {
        projection: projection.table.to_string(),
    })
}

/// Begins a part that leaves the checkpoint where it is, or as `changed` has it.
fn part_at(projection: &Projection, floor: u64, changed: Checkpoint) -> Part {
    Part::new(projection.table.clone(), Some(floor), changed)
}

/// Goes on with another program over the views of the old one.
///
/// # Errors
/// There are no views yet, or the store.
pub fn accept_program(store: &ViewStore, projection: &Projection) -> Result<(), AdminError> {
    let checkpoint = stored(store, projection)?;
    let program_hash = projection.program.hash().to_owned();
    let changed = Checkpoint {
        program_hash,
        ..checkpoint.clone()
    };
    Ok(store.commit(&part_at(projection, checkpoint.floor, changed).into())?)
}

/// Goes on after a gap in history: the events in it will never be in the views.
///
/// # Errors
/// There is no gap, or store or stream.
pub async fn accept_gap(
    store: &ViewStore,
    projection: &Projection,
    options: &ShardOptions,
    source: &mut dyn EventSource,
) -> Result<(u64, u64), AdminError> {
    let stored = store.snapshot()?.checkpoint(&projection.table)?;
    let floor = stored.as_ref().map_or(0, |stored| stored.floor);
    let facts = source.facts(floor).await?;
    let first = facts.first;
    let expected = stored.as_ref().map(|stored| stored.floor);
    let checkpoint = stored.unwrap_or_else(|| beginning(&facts, &options.expected(projection)));
    if facts.created != checkpoint.stream_created {
        let reason = BlockedReason::StreamRecreated;
        return Err(AdminError::Blocked {
            mend: reason.mend(&projection.table),
            reason,
        });
    }
    if first <= floor + 1 {
        return Err(AdminError::NoGap { floor, first });
    }
    let changed = Checkpoint {
        floor: first - 1,
        published: None,
        ..checkpoint
    };
    let part = Part::new(projection.table.clone(), expected, changed);
    store.commit(&part.into())?;
    Ok((floor + 1, first - 1))
}
