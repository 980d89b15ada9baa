//! Recording: how what an observer tells becomes facts.
//!
//! An application writes one for its observer. It says what happened, in the words of `fact`; when it is published, and what becomes of it where the server is away, is the sink's.

use std::time::SystemTime;

use trellis_observation::Observer;

use crate::Fact;

/// What one cycle of an observation found.
#[derive(Debug)]
pub struct Delta<'a, E> {
    /// When it was found.
    pub at: SystemTime,
    /// The cycle.
    pub cycle: u64,
    /// What was found, oldest first.
    pub events: &'a [E],
}

/// Makes facts of what an observer tells.
///
/// It is told every delta once and in order, and may remember what it needs in order to say only what is new.
pub trait Recording: Send + 'static {
    /// The observer that it understands.
    type Observer: Observer;

    /// The facts of one delta. The same deltas must always make the same facts: that is how one that is published twice is known.
    fn record(&mut self, delta: &Delta<'_, <Self::Observer as Observer>::Event>) -> Vec<Fact>;

    /// Brings itself in line with what is true `at` a time, after deltas were lost, and says what became different meanwhile. Deltas that the snapshot shows already may follow.
    fn after_gap(
        &mut self,
        at: SystemTime,
        snapshot: &<Self::Observer as Observer>::Snapshot,
    ) -> Vec<Fact>;
}
