//! Looks: what goes on is brought to what the store says, and what is due is done.

use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use super::{
    Node, NodeMode, Work,
    work::{Made, SideRun},
};
use crate::{
    rebuild::{
        Cutover, ExchangeLimits, Phase, Progress, Purpose, RebuildError, exchange, finish_exchange,
        lineup::{Lineup, lineup},
        records::{self, blocking},
        replay::{self, Replay},
    },
    types::GenerationState,
};

impl Node {
    /// Finishes exchanges that a killed node has left, and gives up what it had on the side.
    pub(super) async fn take_up(&self) -> Result<(), RebuildError> {
        let limits = self.limits();
        blocking(&self.store, move |store| {
            for view_type in store.snapshot()?.view_types()? {
                finish_exchange(store, &view_type, limits)?;
                let found = store.snapshot()?.generations(&view_type)?;
                let sides = found.into_iter().flat_map(|found| found.kept);
                for (number, kept) in sides {
                    if let GenerationState::Side { .. } = kept.state {
                        records::retire(store, &records::table(&view_type, number))?;
                    }
                }
            }
            Ok(())
        })
        .await
    }

    pub(super) fn limits(&self) -> ExchangeLimits {
        ExchangeLimits {
            entries_max: self.options.entries_max,
        }
    }

    /// Brings what goes on to what the store says.
    pub(super) async fn arrange(&self, work: &mut Work) -> Result<(), RebuildError> {
        let manifest = self.manifest.clone();
        let found = blocking(&self.store, move |store| lineup(store, &manifest)).await;
        let found = match found {
            Err(RebuildError::Storage(error)) if error.is_transient() => {
                tracing::warn!(%error, "storage fails; nothing is begun until it does not");
                return Ok(());
            }
            found => found?,
        };
        work.stale = false;
        work.retiring.clone_from(&found.retiring);
        let Lineup { served, beside, .. } = found;
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
            work.served = Some(self.serve(served));
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
    pub(super) async fn look(&self, work: &mut Work) -> Result<(), RebuildError> {
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
            self.conclude(work, side).await?;
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

    async fn retire_expired(&self, work: &mut Work) -> Result<(), RebuildError> {
        let now = SystemTime::now();
        let expired: Vec<_> = {
            let snapshot = self.store.snapshot()?;
            let mut expired = Vec::new();
            for view_type in snapshot.view_types()? {
                let found = snapshot.generations(&view_type)?;
                let kept = found.into_iter().flat_map(|found| found.kept);
                let old = kept
                    .filter(|(_, kept)| records::kept_for_long_enough(kept, &self.options, now));
                expired.extend(old.map(|(number, _)| records::table(&view_type, number)));
            }
            expired
        };
        for table in expired {
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

    /// Puts what was made on the side into what is served, which stands still for that.
    async fn conclude(&self, work: &mut Work, side: SideRun) -> Result<(), RebuildError> {
        let mut progress = side.progress();
        let table = side.table();
        let concluded = match side.finish().await {
            Ok(made) => {
                progress.phase = Phase::Exchanging;
                self.show_with(work, &progress);
                work.pause_served().await;
                self.exchange(made).await
            }
            Err(error) => Err(error),
        };
        let phase = match concluded {
            Ok(floor) => {
                (progress.done, progress.total) = (floor, floor);
                Phase::Done
            }
            Err(error) => {
                tracing::error!(generation = %table, %error, "nothing was exchanged");
                let given_up = table.clone();
                let retired = blocking(&self.store, move |store| records::retire(store, &given_up));
                // An exchange that was begun is gone on with when the node starts again.
                if let Err(error) = retired.await {
                    tracing::warn!(generation = %table, %error, "it stays until the node starts again");
                }
                Phase::Failed {
                    why: error.to_string(),
                }
            }
        };
        work.is_over(progress, phase);
        work.jobs.remove(&table);
        work.stale = true;
        Ok(())
    }

    pub(super) async fn exchange(&self, made: Made) -> Result<u64, RebuildError> {
        let view_type = made.projection.table.view_type.clone();
        let served = self.store.snapshot()?.served_table(&view_type)?;
        if served.as_ref() != Some(&made.served) {
            return Err(RebuildError::WrongState {
                table: made.served,
                state: GenerationState::Old { since: 0 },
                operation: "an exchange",
            });
        }
        let until = replay::floor(&self.store, &made.served)?;
        let source = self.sources.replay().await?;
        let replay = Replay {
            store: &self.store,
            projection: &made.projection,
            options: &self.replay_options,
            stop: &CancellationToken::new(),
            shown: Progress::new(made.projection.table.to_string(), Purpose::Keep),
        };
        replay::replay_to(replay, source, until, &mut replay::unseen).await?;
        let (from, limits) = (made.projection.table.generation, self.limits());
        blocking(&self.store, move |store| {
            exchange(store, &view_type, from, until, limits)
        })
        .await?;
        Ok(until)
    }
}

/// What may pass is said and left for the next look.
fn transient<T>(result: Result<T, RebuildError>) -> Result<Option<T>, RebuildError> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(RebuildError::Storage(error)) if error.is_transient() => {
            tracing::warn!(%error, "storage fails; it is tried again");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
