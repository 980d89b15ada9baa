//! Sync check: looks again and again until the verdict is final or the time is up, and tells how it
//! goes in between.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::time::{Instant, timeout, timeout_at};
use trellis_observation::{
    ObservationConfig, ObservationHandle, ObservationRuntime, ObservedSource, StaticSources,
};

use super::{
    SyncSpec,
    history::{SyncHistory, SyncProgress},
    judge::judge,
    own_chains::OwnChains,
    verdict::{NoTarget, SyncVerdict, Verdict},
};
use crate::{
    id::BlockId,
    observer::{ChainObserver, ChainObserverConfig},
    source::{ChainSource, HeaderCheck},
    view::ChainView,
};

/// How long a node may take to say what is below its tip, or a peer to have its header checked.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

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
        let (local, public) = (&self.local, &self.public);
        let report = watch(
            &runtime.handle(),
            local,
            public,
            &self.spec,
            self.within,
            tell,
        )
        .await;
        runtime.shutdown().await;
        report
    }
}

/// Watches an observation that runs anyway, until the verdict is final or the time is up. The
/// sources are asked for what is below their tips, and the headers of `public` are checked by
/// calculation, where their wire allows it.
///
/// # Cancel safety
/// Dropping it loses nothing but what it has seen.
pub async fn watch(
    handle: &ObservationHandle<ChainObserver>,
    local: &[Arc<dyn ChainSource>],
    public: &[Arc<dyn ChainSource>],
    spec: &SyncSpec,
    within: Duration,
    mut tell: impl FnMut(&SyncProgress),
) -> SyncReport {
    let began = Instant::now();
    let deadline = began + within;
    let mut watch = Watch {
        local,
        public,
        spec,
        deadline,
        chains: OwnChains::new(),
        history: SyncHistory::new(),
        checked: BTreeMap::new(),
    };
    let mut snapshots = handle.snapshots();
    // The first look is at once instead of at the next tick; whether it fails, the next ones say.
    let _ = timeout_at(deadline, handle.refresh()).await;
    let mut last = None;
    loop {
        // What was seen before this call counts for nothing: nodes may have moved since.
        let observed = handle
            .latest()
            .filter(|observed| observed.began_at >= began);
        if let Some(observed) = &observed {
            let progress = watch.look(&observed.snapshot).await;
            tell(&progress);
            last = Some(progress);
        }
        let is_final = last
            .as_ref()
            .is_some_and(|progress| progress.verdict.is_final());
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
        let progress = last.unwrap_or_else(|| watch.judged(&ChainView::empty()));
        return SyncReport {
            verdict: progress.verdict.clone(),
            progress,
            timed_out: next.is_err(),
        };
    }
}

/// What a check remembers from one look to the next.
struct Watch<'a> {
    local: &'a [Arc<dyn ChainSource>],
    public: &'a [Arc<dyn ChainSource>],
    spec: &'a SyncSpec,
    deadline: Instant,
    chains: OwnChains,
    history: SyncHistory,
    /// The tip of each peer whose header was checked by calculation.
    checked: BTreeMap<Arc<str>, BlockId>,
}

impl Watch<'_> {
    async fn look(&mut self, view: &ChainView) -> SyncProgress {
        self.history.observe(view, Instant::now());
        let (local, public) = (self.local, self.public);
        let all = local.iter().chain(public);
        self.chains.gather(view, all, self.left()).await;
        self.check_headers(view).await;
        let mut progress = self.judged(view);
        // Chains that have nothing in common so far are compared further down.
        while is_gathering(&progress) && self.chains.deepen(public.iter(), self.left()).await {
            progress = self.judged(view);
        }
        progress
    }

    fn judged(&self, view: &ChainView) -> SyncProgress {
        let now = Instant::now();
        let verdict = judge(view, &self.chains, self.spec, &self.history, now);
        self.history.progress(verdict, now)
    }

    /// How long nodes may take to answer now.
    fn left(&self) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        left.min(ANSWER_WITHIN)
    }

    /// Has every peer's newest header checked, where the wire allows it.
    async fn check_headers(&mut self, view: &ChainView) {
        let within = self.left();
        let checks = self.public.iter().filter_map(|source| {
            let tip = self.chains.of(view.node(source.name())?)?.tip().clone();
            if self.checked.get(source.name()) == Some(&tip.id) {
                return None;
            }
            Some(async move {
                let check = timeout(within, source.check_header(&tip)).await;
                (source, tip.id, check)
            })
        });
        for (source, tip, check) in join_all(checks.collect::<Vec<_>>()).await {
            let Ok(Ok(check)) = check else {
                continue;
            };
            self.checked.insert(source.name().into(), tip);
            if let HeaderCheck::Forged { why } = check {
                self.history.lied(source.name(), why);
            }
        }
    }
}

fn is_gathering(progress: &SyncProgress) -> bool {
    progress.verdict.verdict == Verdict::NoTarget(NoTarget::Gathering)
}
