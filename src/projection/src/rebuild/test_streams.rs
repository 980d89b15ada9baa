//! Short streams, for tests of the sources that lie over them.

use std::time::Duration;

use crate::stream::{MemorySource, ReceiveLimits};

/// A stream of so many events that say nothing.
pub(super) fn stream(events: u64) -> MemorySource {
    let source = MemorySource::default();
    for _ in 0..events {
        source.publish("ev", "{}");
    }
    source
}

/// At most so many at once.
pub(super) fn limits(events_max: usize) -> ReceiveLimits {
    ReceiveLimits {
        events_max,
        bytes_max: usize::MAX,
        within: Duration::from_secs(1),
        idle: Duration::from_millis(100),
    }
}
