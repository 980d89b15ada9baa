//! Sync check: looks again and again until the verdict is final or the time is up, and tells how it
//! goes in between.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::time::{Instant, timeout, timeout_at};
use trellis_observation::{
    ObservationConfig, ObservationHandle, ObservationRuntime, ObservedSource, StaticSources,
};

use super::{
    SyncSpec,
    history::{SyncHistory, SyncProgress},
    judge::judge,
    verdict::SyncVerdict,
};
use crate::{
    observer::{ChainObserver, ChainObserverConfig},
    source::{ChainSource, HeaderCheck},
    view::ChainView,
};

/// How long a peer may take to have its header checked.
const CHECK_WITHIN: Duration = Duration::from_secs(2);

/// What came of it.
#[derive(Clone, Debug)]
pub struct SyncReport {
    /// The last verdict.
    pub verdict: SyncVerdict,
    /// The last progress.
    pub progress: SyncProgress,
    /// Whether the time was up.
    pub timed_out: bool,
}

/// A check with an observation of its own: what `trellis sync-check` does.
pub struct SyncCheck {
    /// The nodes that shall follow.
    pub local: Vec<Arc<dyn ChainSource>>,
    /// The public peers.
    pub public: Vec<Arc<dyn ChainSource>>,
    /// How many blocks a node may be behind, and the rest; its names are those of the sources.
    pub spec: SyncSpec,
    /// The budgets of the observer. Headers are enough.
    pub observer: ChainObserverConfig,
    /// How often to look.
    pub interval: Duration,
    /// How long to wait.
    pub within: Duration,
}

impl SyncCheck {
    /// A check of these nodes against these peers, with the defaults of [`SyncSpec::new`].
    pub fn new(
        local: Vec<Arc<dyn ChainSource>>,
        public: Vec<Arc<dyn ChainSource>>,
        within: Duration,
    ) -> Self {
        let names = |sources: &[Arc<dyn ChainSource>]| {
            let names = sources.iter().map(|source| source.name().to_owned());
            names.collect::<Vec<_>>()
        };
        let spec = SyncSpec::new(names(&local), names(&public));
        Self {
            local,
            public,
            spec,
            observer: ChainObserverConfig::default().headers_only(),
            interval: Duration::from_secs(1),
            within,
        }
    }

    /// Looks until the verdict is final or the time is up. Each look is told to `tell`.
    ///
    /// # Cancel safety
    /// Dropping it ends the observation.
    pub async fn run(self, tell: impl FnMut(&SyncProgress)) -> SyncReport {
        let sources = self.local.iter().chain(&self.public);
        let sources = sources.map(|s| ObservedSource::new(s.name(), Arc::clone(s)));
        let sources = StaticSources::new(sources);
        let poll_within = self.observer.answer_within + self.observer.fetch_within;
        let config = ObservationConfig::default()
            .with_name("sync-check")
            .with_interval(self.interval)
            .with_poll_timeout(poll_within + Duration::from_secs(1));
        let observer = ChainObserver::new(self.observer);
        let runtime = ObservationRuntime::start(observer, sources, config);
        let report = watch(
            &runtime.handle(),
            &self.public,
            &self.spec,
            self.within,
            tell,
        )
        .await;
        runtime.shutdown().await;
        report
    }
}

/// Watches an observation that runs anyway, until the verdict is final or the time is up. `public`
/// are the peers whose headers are checked by calculation, where their wire allows it.
///
/// # Cancel safety
/// Dropping it loses nothing but what it has seen.
pub async fn watch(
    handle: &ObservationHandle<ChainObserver>,
    public: &[Arc<dyn ChainSource>],
    spec: &SyncSpec,
    within: Duration,
    mut tell: impl FnMut(&SyncProgress),
) -> SyncReport {
    let deadline = Instant::now() + within;
    let mut history = SyncHistory::new();
    let mut snapshots = handle.snapshots();
    // What was seen before this call counts for nothing: nodes may have moved since.
    let _ = timeout_at(deadline, handle.refresh()).await;
    let mut last = None;
    loop {
        let observed = handle.latest();
        if let Some(observed) = &observed {
            history.observe(&observed.snapshot, Instant::now());
            check_headers(&observed.snapshot, public, &mut history).await;
            let now = Instant::now();
            let verdict = judge(&observed.snapshot, spec, &history, now);
            let progress = history.progress(verdict.clone(), now);
            tell(&progress);
            last = Some((verdict, progress));
        }
        let is_final = last.as_ref().is_some_and(|(verdict, _)| verdict.is_final());
        let next = async {
            if is_final {
                None
            } else {
                snapshots.changed().await
            }
        };
        let next = timeout_at(deadline, next).await;
        if let Ok(Some(_)) = next {
            continue;
        }
        let (verdict, progress) = last.unwrap_or_else(|| nothing_seen(spec, &history));
        return SyncReport {
            verdict,
            progress,
            timed_out: next.is_err(),
        };
    }
}

fn nothing_seen(spec: &SyncSpec, history: &SyncHistory) -> (SyncVerdict, SyncProgress) {
    let now = Instant::now();
    let verdict = judge(&ChainView::empty(), spec, history, now);
    let progress = history.progress(verdict.clone(), now);
    (verdict, progress)
}

/// Has every peer's newest header checked, where the wire allows it.
async fn check_headers(
    view: &ChainView,
    public: &[Arc<dyn ChainSource>],
    history: &mut SyncHistory,
) {
    let checks = public.iter().filter_map(|source| {
        let head = view.node(source.name())?.head?;
        let header = view.graph.entry(&head.id)?.header.clone();
        Some(async move {
            let check = timeout(CHECK_WITHIN, source.check_header(&header)).await;
            (source.name(), check)
        })
    });
    for (name, check) in join_all(checks.collect::<Vec<_>>()).await {
        if let Ok(Ok(HeaderCheck::Forged { why })) = check {
            history.lied(name, why);
        }
    }
}
