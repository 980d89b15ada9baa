//! Looks: what goes on is brought to what the store says, and what is due is done.

use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use super::{Node, NodeMode, Work, left::Left, served::ServedRun, work::SideRun};
use crate::{
    pipeline::ShardState,
    rebuild::{
        Cutover, ExchangeLimits, Phase, RebuildError,
        lineup::{Lineup, lineup},
        records::{self, blocking},
    },
    types::{GenerationState, ViewTable},
};

impl Node {
    pub(super) fn limits(&self) -> ExchangeLimits {
        ExchangeLimits {
            entries_max: self.options.entries_max,
        }
    }

    /// Brings what goes on to what the store says.
    pub(super) async fn arrange(&self, work: &mut Work) -> Result<(), RebuildError> {
        let taken_up = transient(self.take_up(work).await)?;
        let manifest = self.manifest.clone();
        let found = blocking(&self.store, move |store| lineup(store, &manifest)).await;
        let found = match found {
            Err(RebuildError::Storage(error)) if error.is_transient() => {
                tracing::warn!(%error, "storage fails; nothing is begun until it does not");
                return Ok(());
            }
            found => found?,
        };
        // Until everything is taken up, it is tried again at each look.
        work.stale = taken_up.is_none();
        work.retiring.clone_from(&found.retiring);
        let Lineup {
            served,
            beside,
            exchanging,
            ..
        } = found;
        // First what ends, because a generation has one writer.
        let mut leaving = Vec::new();
        work.beside.retain_mut(|run| {
            let stays = beside
                .iter()
                .find(|beside| beside.projection.table == run.table());
            match stays {
                Some(beside) => run.is_now(beside),
                None => leaving.push(run.take()),
            }
            stays.is_some()
        });
        for run in leaving.into_iter().flatten() {
            run.stop().await;
        }
        let tables: Vec<_> = served.iter().map(|served| served.table.clone()).collect();
        if work
            .served
            .as_ref()
            .is_some_and(|run| run.tables() != tables)
        {
            work.pause_served().await;
        }
        if self.mode == NodeMode::Serving && work.served.is_none() {
            if served.is_empty() && !exchanging.is_empty() {
                let why = "an exchange of views is not finished".to_owned();
                let waiting = ShardState::Waiting { why };
                self.status.send_modify(|status| status.state = waiting);
            } else {
                work.served = Some(self.serve(served));
            }
        }
        for beside in beside {
            let table = &beside.projection.table;
            let asked_for = self.mode == NodeMode::Serving || work.jobs.contains(table);
            let known = work.beside.iter().any(|run| run.table() == *table);
            let holds_a_part = matches!(beside.state, GenerationState::Side { .. });
            if asked_for && !known && !holds_a_part {
                work.beside.push(self.make(beside));
            }
        }
        Ok(())
    }

    /// Looks at what goes on, and does what is due.
    pub(super) async fn look(
        &self,
        work: &mut Work,
        stop: &CancellationToken,
    ) -> Result<(), RebuildError> {
        if work.served.as_ref().is_some_and(ServedRun::has_panicked) {
            return Err(RebuildError::Panicked {
                what: "what folds the served views",
            });
        }
        let lag_max = self.options.lag_max;
        if work
            .served
            .as_ref()
            .is_some_and(|run| run.has_come_near(lag_max))
        {
            work.pause_served().await;
        }
        for at in 0..work.beside.len() {
            let served = self.status.borrow().clone();
            let due = work.beside[at].look(&served, &self.options);
            if due && self.options.cutover == Cutover::Automatic {
                self.serve_instead(work, at).await?;
            }
        }
        self.retire_expired(work).await?;
        if let Some(table) = work.retiring.first().cloned() {
            let entries_max = self.options.entries_max;
            let clearing = table.clone();
            let left = blocking(&self.store, move |store| {
                records::retire_some(store, &clearing, entries_max)
            });
            if !transient(left.await)?.unwrap_or(true) {
                work.retiring.retain(|retiring| *retiring != table);
            }
        }
        if let Some(run) = &work.served {
            for table in run.tables() {
                transient(records::settle_in_place(&self.store, &table).map_err(Into::into))?;
            }
        }
        while let Some(at) = work.sides.iter().position(SideRun::is_finished) {
            let side = work.sides.swap_remove(at);
            self.conclude(work, side, stop).await;
        }
        Ok(())
    }

    /// Serves the generation that has caught up.
    async fn serve_instead(&self, work: &mut Work, at: usize) -> Result<(), RebuildError> {
        let table = work.beside[at].table();
        let lag_max = self.options.lag_max;
        let to = table.clone();
        let flipped = blocking(&self.store, move |store| {
            records::cut_over(store, &to, lag_max, SystemTime::now())
        })
        .await;
        match flipped {
            Ok(()) => {
                tracing::info!(generation = %table, "is served now");
                work.is_over(work.beside[at].progress(), Phase::Served);
                work.jobs.remove(&table);
                work.stale = true;
                Ok(())
            }
            // What is served has moved on since it was looked at; the next look sees that.
            Err(RebuildError::Behind { .. }) => Ok(()),
            Err(error) => transient::<()>(Err(error)).map(drop),
        }
    }

    /// The generations that are not served any more and have been kept for long enough.
    fn expired(&self, left: &mut Left) -> Result<Vec<ViewTable>, RebuildError> {
        let now = SystemTime::now();
        let snapshot = self.store.snapshot()?;
        let mut expired = Vec::new();
        for view_type in snapshot.view_types()? {
            let Some(found) = snapshot.generations(&view_type)? else {
                continue;
            };
            left.note(records::table(&view_type, found.served));
            for (number, kept) in &found.kept {
                let table = records::table(&view_type, *number);
                if records::kept_for_long_enough(kept, &self.options, now)
                    && left.is_longer_ago(&table, self.options.keep_old)
                {
                    expired.push(table);
                }
            }
        }
        Ok(expired)
    }

    async fn retire_expired(&self, work: &mut Work) -> Result<(), RebuildError> {
        let expired = self.expired(&mut work.left);
        for table in transient(expired)?.unwrap_or_default() {
            work.stop_beside(&table).await;
            let retired = blocking(&self.store, move |store| records::retire(store, &table));
            match retired.await {
                // It goes when that is done.
                Ok(()) | Err(RebuildError::Exchanging { .. }) => {}
                Err(error) => drop(transient(Err::<(), _>(error))?),
            }
            work.stale = true;
        }
        Ok(())
    }
}

/// What may pass is said and left for the next look.
pub(super) fn transient<T>(result: Result<T, RebuildError>) -> Result<Option<T>, RebuildError> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(RebuildError::Storage(error)) if error.is_transient() => {
            tracing::warn!(%error, "storage fails; it is tried again");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
