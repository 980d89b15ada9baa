//! Rules: how a projection folds, and what an event is called that it does not get past.

use prometheus_client::metrics::histogram::Histogram;

use super::{decode::Decoded, fold::FoldLimits};
use crate::{manifest::Projection, program::ProgramError, quarantine::PoisonPolicy};

/// The first event that a batch could not get past.
#[derive(Debug, Clone)]
pub(super) struct Halt {
    pub(super) sequence: u64,
    pub(super) reason: String,
    /// Whether it may be got past later: then it was not poison, under whatever policy.
    pub(super) may_pass: bool,
}

impl Halt {
    pub(super) fn until_it_passes(decoded: &Decoded, error: &ProgramError) -> Self {
        Self {
            sequence: decoded.delivery.sequence,
            reason: error.to_string(),
            may_pass: true,
        }
    }
}

/// How a projection folds.
#[derive(Clone, Copy)]
pub(super) struct Rules<'r> {
    pub(super) projection: &'r Projection,
    pub(super) gas: &'r Histogram,
    pub(super) view_bytes_max: usize,
    pub(super) batch: u64,
    pub(super) halts: bool,
    pub(super) parks: bool,
}

impl<'r> Rules<'r> {
    pub(super) fn of(
        projection: &'r Projection,
        limits: FoldLimits,
        gas: &'r Histogram,
        batch: u64,
    ) -> Self {
        Self {
            projection,
            gas,
            view_bytes_max: limits.view_bytes_max,
            batch,
            halts: projection.policy == PoisonPolicy::Halt,
            parks: projection.policy == PoisonPolicy::ParkKey,
        }
    }
}
