//! Exchanging: how a part that was made on the side comes to be served.
//!
//! What is served stands still meanwhile. An exchange that was begun is finished before anything else is written there: by this node as soon as its storage lets it, or by the next one.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    Node, Work,
    work::{Made, SideRun},
};
use crate::{
    rebuild::{
        Phase, Progress, Purpose, RebuildError, exchange, finish_exchange,
        records::{self, blocking},
        replay::{self, Replay},
    },
    types::{GenerationState, ViewTable},
};

/// How long what is served stands still, at the most, for the few events that a part is behind it.
const LAST_REPLAY_WITHIN: Duration = Duration::from_secs(30);

impl Node {
    /// Finishes exchanges that were begun, and gives up what nobody makes on the side any more.
    pub(super) async fn take_up(&self, work: &mut Work) -> Result<(), RebuildError> {
        let (limits, making) = (self.limits(), work.on_the_side());
        let taken_up = blocking(&self.store, move |store| {
            let mut finished = Vec::new();
            for view_type in store.snapshot()?.view_types()? {
                finished.extend(finish_exchange(store, &view_type, limits)?);
                let found = store.snapshot()?.generations(&view_type)?;
                let kept = found.into_iter().flat_map(|found| found.kept);
                for (number, kept) in kept {
                    let side = records::table(&view_type, number);
                    if matches!(kept.state, GenerationState::Side { .. }) && !making.contains(&side)
                    {
                        records::retire(store, &side)?;
                    }
                }
            }
            Ok::<_, RebuildError>(finished)
        });
        let finished = taken_up.await?;
        for progress in std::mem::take(&mut work.unfinished) {
            let is_finished = |table: &ViewTable| table.to_string() == progress.generation;
            let phase = match progress.phase.clone() {
                _ if finished.iter().any(is_finished) => Phase::Done,
                Phase::Waiting { why } => Phase::Failed { why },
                phase => phase,
            };
            work.is_over(progress, phase);
        }
        Ok(())
    }

    /// Puts what was made on the side into what is served, which stands still for that.
    pub(super) async fn conclude(&self, work: &mut Work, side: SideRun, stop: &CancellationToken) {
        let mut progress = side.progress();
        let table = side.table();
        let concluded = match side.finish().await {
            Ok(made) => {
                progress.phase = Phase::Exchanging;
                self.show_with(work, &progress);
                work.pause_served().await;
                self.exchange(made, stop).await
            }
            Err(error) => Err(error),
        };
        work.jobs.remove(&table);
        // What is left of it is taken up when everything is arranged anew.
        work.stale = true;
        match concluded {
            Ok(floor) => {
                (progress.done, progress.total) = (floor, floor);
                work.is_over(progress, Phase::Done);
            }
            Err(error) => {
                tracing::error!(generation = %table, %error, "not everything was exchanged");
                let why = error.to_string();
                if may_pass(&error) {
                    progress.phase = Phase::Waiting { why };
                    work.unfinished.push(progress);
                } else {
                    work.is_over(progress, Phase::Failed { why });
                }
            }
        }
    }

    async fn exchange(&self, made: Made, stop: &CancellationToken) -> Result<u64, RebuildError> {
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
        let ending = stop.child_token();
        let replay = Replay {
            store: &self.store,
            projection: &made.projection,
            options: &self.replay_options,
            stop: &ending,
            shown: Progress::new(made.projection.table.to_string(), Purpose::Keep),
        };
        let too_late = async {
            sleep(LAST_REPLAY_WITHIN).await;
            ending.cancel();
            std::future::pending::<()>().await;
        };
        let mut unseen = replay::unseen;
        let replayed = tokio::select! {
            replayed = replay::replay_to(replay, source, until, &mut unseen) => replayed,
            () = too_late => unreachable!("it only tells the replay to end"),
        };
        match replayed {
            Err(RebuildError::Stopped) if !stop.is_cancelled() => {
                let within = LAST_REPLAY_WITHIN;
                return Err(RebuildError::Late { until, within });
            }
            replayed => replayed?,
        };
        let (from, limits) = (made.projection.table.generation, self.limits());
        blocking(&self.store, move |store| {
            exchange(store, &view_type, from, until, limits)
        })
        .await?;
        Ok(until)
    }
}

/// Whether the exchange may be finished by trying again what has failed.
fn may_pass(error: &RebuildError) -> bool {
    match error {
        RebuildError::Storage(error) => error.is_transient(),
        RebuildError::Unfinished { source, .. } => source.is_transient(),
        _ => false,
    }
}
