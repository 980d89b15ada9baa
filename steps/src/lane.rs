//! Lanes: scenarios run beside each other, but one that is tagged `@serial` runs alone.
//!
//! Cucumber itself starts serial scenarios one after the other, and yet beside whatever runs already; so it is seen to here.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// The tag of a scenario, rule or feature that wants to run alone.
pub(crate) const SERIAL: &str = "serial";

/// The lanes of one run.
#[derive(Debug, Clone, Default)]
pub struct Lanes(Arc<RwLock<()>>);

/// A place in a lane, until it is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) enum Lane {
    /// Beside others.
    Shared { _guard: OwnedRwLockReadGuard<()> },
    /// With nobody beside.
    Alone { _guard: OwnedRwLockWriteGuard<()> },
}

impl Lanes {
    /// Waits for a place. Who waits to run alone is not overtaken for ever: those that come after wait behind it.
    ///
    /// # Cancel safety
    /// Dropping it gives up the place in the queue.
    pub(crate) async fn enter(&self, alone: bool) -> Lane {
        let lock = Arc::clone(&self.0);
        if alone {
            Lane::Alone {
                _guard: lock.write_owned().await,
            }
        } else {
            Lane::Shared {
                _guard: lock.read_owned().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_serial_scenario_has_nobody_beside_it() {
        let lanes = Lanes::default();
        let first = lanes.enter(false).await;
        let second = lanes.enter(false).await;
        let mut alone = Box::pin(lanes.enter(true));
        assert!(alone.as_mut().now_or_never().is_none(), "others still run");
        drop(first);
        let mut late = Box::pin(lanes.enter(false));
        assert!(
            late.as_mut().now_or_never().is_none(),
            "a serial scenario waits before it"
        );
        drop(second);
        let alone = alone.await;
        assert!(
            late.as_mut().now_or_never().is_none(),
            "a serial scenario runs"
        );
        drop(alone);
        let _late = late.await;
    }
}
