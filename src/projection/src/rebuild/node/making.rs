//! Making: what fills a generation, or a part of one, from a delivery of its own.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    manifest::{Projection, ProjectionManifest},
    pipeline::{Shard, ShardOptions, ShardState, ShardStatus},
    rebuild::{
        Pace, Paced, Progress, RebuildError, Sources,
        replay::{Replay, begin_at, floor, replay_to},
    },
    storage::ViewStore,
    types::ViewTable,
};

/// How long to wait before a server is asked again that did not answer.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What fills a generation.
pub(super) struct Making {
    pub(super) store: Arc<ViewStore>,
    pub(super) projection: Projection,
    pub(super) from: u64,
    pub(super) options: ShardOptions,
    pub(super) sources: Arc<dyn Sources>,
    pub(super) pace: Pace,
}

impl Making {
    /// Fills it until it is told to stop.
    pub(super) async fn run(
        self,
        status: watch::Sender<ShardStatus>,
        stop: CancellationToken,
    ) -> Result<(), RebuildError> {
        let manifest = ProjectionManifest::of(vec![self.projection.clone()]);
        while !stop.is_cancelled() {
            let why = match self.begin().await {
                Ok(source) => {
                    let mut source = Paced::new(source, self.pace.clone());
                    let shard = Shard::new(manifest, self.store, self.options);
                    let shard = shard.reporting_to(status);
                    shard.run(&mut source, &stop).await;
                    return Ok(());
                }
                Err(RebuildError::Stream(error)) => error.to_string(),
                Err(RebuildError::Storage(error)) if error.is_transient() => error.to_string(),
                Err(error) => return Err(error),
            };
            status.send_modify(|status| status.state = ShardState::Waiting { why });
            let _ = timeout(ASK_AGAIN, stop.cancelled()).await;
        }
        Ok(())
    }

    async fn begin(&self) -> Result<Box<dyn crate::stream::EventSource>, RebuildError> {
        let mut source = self.sources.replay().await?;
        begin_at(
            &self.store,
            &self.projection,
            &self.options,
            &mut *source,
            self.from,
        )
        .await?;
        Ok(source)
    }

    /// Fills it up to where `served` is, again and again until that is near.
    pub(super) async fn follow(
        self,
        served: ViewTable,
        lag_max: u64,
        progress: watch::Sender<Progress>,
        stop: CancellationToken,
    ) -> Result<(), RebuildError> {
        loop {
            let until = floor(&self.store, &served)?;
            let source = self.begin().await?;
            let source = Box::new(Paced::new(source, self.pace.clone()));
            let shown = progress.borrow().clone();
            let mut show = |shown: Progress| drop(progress.send_replace(shown));
            let replay = Replay {
                store: &self.store,
                projection: &self.projection,
                options: &self.options,
                stop: &stop,
                shown,
            };
            replay_to(replay, source, until, &mut show).await?;
            if floor(&self.store, &served)?.saturating_sub(until) <= lag_max {
                return Ok(());
            }
        }
    }
}
