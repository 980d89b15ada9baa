//! Noting: what is said in the log about events that are not applied, with what finds them elsewhere: tenant, correlation and trace.

use super::decode::Decoded;
use crate::{
    metrics::Metrics,
    quarantine::{Fault, Record, RecordKey},
    shards::ShardId,
    stream::BlockedReason,
    types::{Text, ViewId, ViewTable},
};

/// One bad publisher must not drown the log: of a batch, this many are said and the rest counted.
const LINES_MAX: usize = 20;

/// Says that a projection does not go on, and what mends that.
pub(super) fn blocked(table: &ViewTable, reason: &BlockedReason, shard: Option<ShardId>) {
    let mend = reason.mend_in(table, shard);
    tracing::error!(projection = %table, %reason, %mend, "blocked");
}

/// Says which events of `batch` were set aside.
pub(super) fn set_aside<'r>(
    table: &ViewTable,
    batch: &[Decoded],
    records: impl Iterator<Item = (&'r RecordKey, &'r Record)>,
    metrics: &Metrics,
) {
    let mut more = 0_usize;
    for (position, (key, record)) in records.enumerate() {
        metrics.set_aside(table, record.fault);
        if position < LINES_MAX {
            one(table, batch, key, record);
        } else {
            more += 1;
        }
    }
    if more > 0 {
        tracing::warn!(projection = %table, more, "more events of the batch were set aside");
    }
}

fn one(table: &ViewTable, batch: &[Decoded], key: &RecordKey, record: &Record) {
    let sequence = key.sequence;
    let told = Told::of(batch, sequence);
    let tenant = record.tenant.as_deref().unwrap_or_default();
    let view = record.view.as_ref().map_or("", ViewId::as_str);
    let (subject, reason) = (&record.subject, &record.reason);
    if record.fault == Fault::Waiting {
        tracing::info!(
            projection = %table, sequence, tenant_id = tenant, view_id = view, %subject,
            correlation_id = told.correlation, trace_id = told.trace,
            "parked: the event waits behind another one of its view"
        );
    } else {
        tracing::warn!(
            projection = %table, sequence, tenant_id = tenant, view_id = view, %subject,
            correlation_id = told.correlation, trace_id = told.trace,
            fault = record.fault.name(), %reason,
            "set aside: the event is in quarantine"
        );
    }
}

/// Says before which event the projection halts.
pub(super) fn halted(table: &ViewTable, batch: &[Decoded], sequence: u64, reason: &str) {
    let told = Told::of(batch, sequence);
    tracing::error!(
        projection = %table, sequence, tenant_id = told.tenant,
        correlation_id = told.correlation, trace_id = told.trace, reason,
        "halted: the event cannot be applied"
    );
}

/// What an event says about where it belongs.
#[derive(Default)]
struct Told<'b> {
    tenant: &'b str,
    correlation: &'b str,
    trace: &'b str,
}

impl<'b> Told<'b> {
    /// Of the event `sequence`; batches are in order.
    fn of(batch: &'b [Decoded], sequence: u64) -> Self {
        let found = batch.binary_search_by_key(&sequence, |decoded| decoded.delivery.sequence);
        let event = found.ok().and_then(|at| batch[at].event.as_ref().ok());
        event.map_or_else(Self::default, |event| Self {
            tenant: event.tenant_id.as_str(),
            correlation: event.correlation_id.as_ref().map_or("", Text::as_str),
            trace: event.trace_id().unwrap_or_default(),
        })
    }
}
