//! Administration: what mends a projection that does not go on. Each is one transaction on a store that no node runs on.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    manifest::Projection,
    pipeline::ShardOptions,
    program::{Meta, Outcome, ProgramError},
    quarantine::{Fault, Record, RecordKey},
    storage::{Part, StorageError, ViewStore},
    stream::{BlockedReason, Delivery, EventSource, ReceiveLimits, StreamError},
    types::{Checkpoint, Envelope, KeyError, StoredView, ViewId, ViewKey},
};

/// How long the stream may take to show an event that it has.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);

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

/// What a retry came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retried {
    /// How many events are in the view now.
    pub applied: usize,
    /// The event that still cannot be applied, and why.
    pub stuck: Option<(u64, String)>,
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

/// Removes all views of a projection, so that the node makes them again from the beginning of the stream.
///
/// # Errors
/// The store.
pub fn rebuild_in_place(store: &ViewStore, projection: &Projection) -> Result<(), AdminError> {
    Ok(store.clear(&projection.table)?)
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
    source: &mut dyn EventSource,
) -> Result<(u64, u64), AdminError> {
    let checkpoint = stored(store, projection)?;
    let floor = checkpoint.floor;
    let facts = source.facts(floor).await?;
    let first = facts.first;
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
    store.commit(&part_at(projection, floor, changed).into())?;
    Ok((floor + 1, first - 1))
}

/// Folds what is in quarantine for a view, in order, as far as that goes.
///
/// # Errors
/// There is nothing, or the store.
pub fn retry(
    store: &ViewStore,
    projection: &Projection,
    tenant: &str,
    id: &ViewId,
) -> Result<Retried, AdminError> {
    let key = ViewKey::new(
        tenant.into(),
        projection.table.view_type.clone(),
        id.clone(),
    )?;
    let checkpoint = stored(store, projection)?;
    let snapshot = store.snapshot()?;
    let all = snapshot.records(&projection.table)?;
    let of_key = all
        .into_iter()
        .filter(|(record, _)| record.in_table == key.in_table());
    let records: Vec<_> = of_key.collect();
    if records.is_empty() {
        return Err(AdminError::NotInQuarantine {
            what: key.to_string(),
        });
    }
    let mut view = snapshot.view(&projection.table, &key)?;
    drop(snapshot);

    let mut part = part_at(projection, checkpoint.floor, checkpoint.clone());
    let mut retried = Retried {
        applied: 0,
        stuck: None,
    };
    for (record_key, record) in records {
        match applied(projection, &key, view.as_ref(), &record_key, &record) {
            Ok(changed) => {
                view = changed;
                part.remove_record(&record_key);
                retried.applied += 1;
            }
            Err(reason) => {
                let attempts = record.attempts + 1;
                part.put_record(
                    &record_key,
                    &Record {
                        attempts,
                        reason: reason.clone(),
                        ..record
                    },
                );
                retried.stuck = Some((record_key.sequence, reason));
                break;
            }
        }
    }
    part.put(&key, view.map(|view| view.encode()));
    store.commit(&part.into())?;
    Ok(retried)
}

/// The view after a recorded event.
fn applied(
    projection: &Projection,
    key: &ViewKey,
    view: Option<&StoredView>,
    record_key: &RecordKey,
    record: &Record,
) -> Result<Option<StoredView>, String> {
    let body = record
        .body
        .as_ref()
        .ok_or("the event is too large to be kept; rebuild instead")?;
    let event = Envelope::decode(&body.bytes()).map_err(|error| error.to_string())?;
    let meta = Meta {
        stream_seq: record_key.sequence,
        tenant: key.tenant(),
        view_type: key.view_type(),
        view_id: Some(key.id()),
    };
    let event = Envelope {
        tenant_id: key.tenant().clone(),
        ..event
    };
    let outcome = projection
        .program
        .project(view.map(|view| &view.view), &event, &meta);
    match outcome.map_err(|error: ProgramError| error.to_string())? {
        Outcome::Unchanged => Ok(view.cloned()),
        Outcome::Delete => Ok(None),
        Outcome::View(new) => Ok(Some(StoredView {
            view: new,
            last_seq: record_key
                .sequence
                .max(view.map_or(0, |view| view.last_seq)),
            applied: view.map_or(0, |view| view.applied) + 1,
            program: projection.program.hash().to_owned(),
        })),
    }
}

/// Drops the records of an event: it will never be in the views. Later events of its view still wait, until they are retried.
///
/// # Errors
/// There is none, or the store.
pub fn drop_record(
    store: &ViewStore,
    projection: &Projection,
    sequence: u64,
) -> Result<usize, AdminError> {
    let checkpoint = stored(store, projection)?;
    let records = store.snapshot()?.records(&projection.table)?;
    let mut part = part_at(projection, checkpoint.floor, checkpoint.clone());
    let mut dropped = 0;
    for (key, _) in records.iter().filter(|(key, _)| key.sequence == sequence) {
        part.remove_record(key);
        dropped += 1;
    }
    if dropped == 0 {
        return Err(AdminError::NotInQuarantine {
            what: format!("event {sequence}"),
        });
    }
    store.commit(&part.into())?;
    Ok(dropped)
}

/// Goes on behind the event that a projection halted before. A record of it stays.
///
/// # Errors
/// The projection does not stand before that event, or store or stream.
pub async fn drop_halted(
    store: &ViewStore,
    projection: &Projection,
    options: &ShardOptions,
    source: &mut dyn EventSource,
    sequence: u64,
) -> Result<(), AdminError> {
    let found = store.snapshot()?.checkpoint(&projection.table)?;
    let floor = found.as_ref().map_or(0, |checkpoint| checkpoint.floor);
    let facts = source.facts(floor).await?;
    let checkpoint = options
        .examine(projection, &facts, found.as_ref())
        .map_err(|reason| {
            let mend = reason.mend(&projection.table);
            AdminError::Blocked { reason, mend }
        })?;
    source.start(floor + 1).await?;
    let one = ReceiveLimits {
        events_max: 1,
        bytes_max: usize::MAX,
        within: SHOWN_WITHIN,
        idle: SHOWN_WITHIN,
    };
    // Whoever names a later event would lose those before it.
    let delivery = match source.receive(&one).await?.into_iter().next() {
        Some(delivery) if delivery.sequence == sequence => delivery,
        other => {
            let next = other.map_or_else(
                || "that is not there yet".to_owned(),
                |other| other.sequence.to_string(),
            );
            return Err(AdminError::NotNext {
                projection: projection.table.to_string(),
                next,
                sequence,
            });
        }
    };
    let advanced = checkpoint.advanced(sequence, delivery.published);
    let mut part = Part::new(
        projection.table.clone(),
        found.map(|checkpoint| checkpoint.floor),
        advanced,
    );
    let key = RecordKey {
        sequence,
        in_table: String::new(),
    };
    part.put_record(&key, &dropped_record(projection, &delivery));
    store.commit(&part.into())?;
    Ok(())
}

fn dropped_record(projection: &Projection, delivery: &Delivery) -> Record {
    Record {
        fault: Fault::Dropped,
        reason: "dropped by an operator".to_owned(),
        subject: delivery.subject.to_string(),
        published: delivery.published,
        tenant: None,
        view: None,
        program: projection.program.hash().to_owned(),
        attempts: 1,
        body: crate::quarantine::Body::keep(&delivery.payload),
    }
}
