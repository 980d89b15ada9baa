//! Poison: what becomes of the events in quarantine, and of one that a projection halted before.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{AdminError, part_at, stored};
use crate::{
    manifest::Projection,
    pipeline::ShardOptions,
    program::{Meta, Outcome, ProgramError},
    quarantine::{Body, Fault, Record, RecordKey},
    storage::{Part, ViewStore},
    stream::{BlockedReason, Delivery, EventSource, ReceiveLimits},
    types::{Envelope, StoredView, ViewId, ViewKey},
};

/// How long the stream may take to show an event that it has.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);

/// How long somebody who only looks waits for it: there may be none, where a filter leaves out what comes.
const LOOKED_AT_FOR: Duration = Duration::from_secs(1);

/// What a retry came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retried {
    /// How many events are in the view now.
    pub applied: usize,
    /// The event that still cannot be applied, and why.
    pub stuck: Option<(u64, String)>,
}

/// The events in quarantine for a view, in order.
fn waiting(
    store: &ViewStore,
    projection: &Projection,
    key: &ViewKey,
) -> Result<Vec<(RecordKey, Record)>, AdminError> {
    let in_table = key.in_table();
    let mut records = store.snapshot()?.records(&projection.table)?;
    records.retain(|(record, _)| record.in_table == in_table);
    Ok(records)
}

fn key_of(projection: &Projection, tenant: &str, id: &ViewId) -> Result<ViewKey, AdminError> {
    let view_type = projection.table.view_type.clone();
    Ok(ViewKey::new(tenant.into(), view_type, id.clone())?)
}

/// The events of a view that quarantine knows without their bytes: a retry has to be given those from the stream.
///
/// # Errors
/// The store.
pub fn unkept(
    store: &ViewStore,
    projection: &Projection,
    tenant: &str,
    id: &ViewId,
) -> Result<Vec<u64>, AdminError> {
    let key = key_of(projection, tenant, id)?;
    let records = waiting(store, projection, &key)?;
    let unkept = records
        .into_iter()
        .filter(|(_, record)| record.body.is_none());
    Ok(unkept.map(|(key, _)| key.sequence).collect())
}

/// Folds what is in quarantine for a view, in order, as far as that goes. `bodies` has the bytes of those that are [`unkept`].
///
/// # Errors
/// There is nothing, or the store.
pub fn retry(
    store: &ViewStore,
    projection: &Projection,
    options: &ShardOptions,
    tenant: &str,
    id: &ViewId,
    bodies: &BTreeMap<u64, Bytes>,
) -> Result<Retried, AdminError> {
    let key = key_of(projection, tenant, id)?;
    let checkpoint = stored(store, projection)?;
    let records = waiting(store, projection, &key)?;
    if records.is_empty() {
        return Err(AdminError::NotInQuarantine {
            what: key.to_string(),
        });
    }
    let mut view = store.snapshot()?.view(&projection.table, &key)?;

    let mut part = part_at(projection, checkpoint.floor, checkpoint.clone());
    let mut retried = Retried {
        applied: 0,
        stuck: None,
    };
    for (record_key, record) in records {
        let body = match (&record.body, bodies.get(&record_key.sequence)) {
            (Some(body), _) => Some(body.bytes()),
            (None, body) => body.map(|body| body.to_vec()),
        };
        let applied = applied(
            projection,
            options,
            &key,
            view.as_ref(),
            record_key.sequence,
            body.as_deref(),
        );
        match applied {
            Ok(changed) => {
                view = changed;
                part.remove_record(&record_key);
                retried.applied += 1;
            }
            Err((fault, reason)) => {
                let attempts = record.attempts + 1;
                part.put_record(
                    &record_key,
                    &Record {
                        attempts,
                        fault: fault.unwrap_or(record.fault),
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

/// What is wrong with an event, and the same in words. Without a fault it is not the event.
type Stuck = (Option<Fault>, String);

/// The view after a recorded event.
fn applied(
    projection: &Projection,
    options: &ShardOptions,
    key: &ViewKey,
    view: Option<&StoredView>,
    sequence: u64,
    body: Option<&[u8]>,
) -> Result<Option<StoredView>, Stuck> {
    let stuck = |error: ProgramError| (error.fault(), error.to_string());
    let body = body.ok_or_else(|| {
        let reason = "quarantine does not keep an event of this size, and the stream does not have it any more";
        (None, reason.to_owned())
    })?;
    let event = Envelope::decode(body).map_err(|error| (Some(Fault::Decode), error.to_string()))?;
    let meta = Meta {
        stream_seq: sequence,
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
    match outcome.map_err(stuck)? {
        Outcome::Unchanged => Ok(view.cloned()),
        Outcome::Delete => Ok(None),
        Outcome::View(new) => {
            options.admit(&new).map_err(stuck)?;
            Ok(Some(StoredView {
                view: new,
                last_seq: sequence.max(view.map_or(0, |view| view.last_seq)),
                applied: view.map_or(0, |view| view.applied) + 1,
                program: projection.program.hash().to_owned(),
            }))
        }
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

/// The event behind `floor`, from a delivery that is started for it.
async fn next_behind(
    source: &mut dyn EventSource,
    floor: u64,
    within: Duration,
) -> Result<Option<Delivery>, AdminError> {
    source.start(floor + 1).await?;
    let one = ReceiveLimits {
        events_max: 1,
        bytes_max: usize::MAX,
        within,
        idle: within,
    };
    Ok(source.receive(&one).await?.into_iter().next())
}

/// How a projection stands at its checkpoint, where that still holds: how many keys are parked, and why it does not go on. An event that holds it up is looked for in `next`, where that is given.
///
/// # Errors
/// The store or the stream.
pub async fn stands(
    store: &ViewStore,
    projection: &Projection,
    options: &ShardOptions,
    next: Option<&mut dyn EventSource>,
) -> Result<(usize, Option<BlockedReason>), AdminError> {
    let Some(checkpoint) = store.snapshot()?.checkpoint(&projection.table)? else {
        return Ok((0, None));
    };
    let delivery = match next {
        Some(source) => next_behind(source, checkpoint.floor, LOOKED_AT_FOR).await?,
        None => None,
    };
    let standing = options.standing(projection, &checkpoint, store, delivery)?;
    Ok((standing.parked_keys, standing.blocked))
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
    let not_next = |next: Option<u64>| AdminError::NotNext {
        projection: projection.table.to_string(),
        next: next.map_or_else(
            || "that is not there yet".to_owned(),
            |next| next.to_string(),
        ),
        sequence,
    };
    // What comes later is not poison before anybody has seen it.
    if sequence > facts.last {
        return Err(not_next(None));
    }
    // Whoever names a later event would lose those before it.
    let delivery = match next_behind(source, floor, SHOWN_WITHIN).await? {
        Some(delivery) if delivery.sequence == sequence => delivery,
        other => return Err(not_next(other.map(|other| other.sequence))),
    };
    let standing = options.standing(projection, &checkpoint, store, Some(delivery.clone()))?;
    let reason = match standing.blocked {
        Some(BlockedReason::Poison { reason, .. }) => reason,
        Some(reason) => {
            let mend = reason.mend(&projection.table);
            return Err(AdminError::Blocked { reason, mend });
        }
        None => {
            return Err(AdminError::NotPoison {
                projection: projection.table.to_string(),
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
    part.put_record(&key, &dropped_record(projection, &delivery, &reason));
    store.commit(&part.into())?;
    Ok(())
}

fn dropped_record(projection: &Projection, delivery: &Delivery, reason: &str) -> Record {
    Record {
        fault: Fault::Dropped,
        reason: format!("dropped by an operator: {reason}"),
        subject: delivery.subject.to_string(),
        published: delivery.published,
        tenant: None,
        view: None,
        program: projection.program.hash().to_owned(),
        attempts: 1,
        body: Body::keep(&delivery.payload),
    }
}
