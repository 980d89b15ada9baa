//! The session: the chain of a running cluster - how it is watched, and what the scenario noted of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use trellis_chain::{
    ChainEvent, ChainObserver, ChainSource, ChainView, Place, Reorg, wake_on_blocks,
};
use trellis_domain::{NodeHandle, NodeName};
use trellis_observation::{Backlog, Cursor, ObservationConfig, ObservationHandle, WaitError};
use trellis_runtime::{Cluster, NodeSources};

use super::{
    ChainDeployment, ChainWallets, SponsorWish,
    book::{Owners, WalletBook},
    peers::PeersObserver,
    shown::{shown, shown_reorg},
};
use crate::{StepError, StepResult};

/// How often the nodes are looked at when nobody asks for a look and no stream tells of blocks.
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// How long a look may take.
const LOOK_WITHIN: Duration = Duration::from_secs(6);

/// How a node is asked, found once for all who watch it.
type ChainSources = NodeSources<Arc<dyn ChainSource>, MakeSource>;
type MakeSource = Box<dyn Fn(&NodeHandle) -> Option<Arc<dyn ChainSource>> + Send + Sync>;

/// The chain side of a running cluster. Cheap to clone; clones share it.
#[derive(Clone)]
pub(crate) struct ChainSession {
    pub(crate) deployment: Arc<dyn ChainDeployment>,
    pub(crate) cluster: Cluster,
    pub(crate) watch: ObservationHandle<ChainObserver>,
    pub(crate) wallets: Option<Arc<dyn ChainWallets>>,
    /// What the account had in the beginning that pays fees, if there is one.
    pub(super) sponsor: Option<SponsorWish>,
    /// Held while coins are chosen, so that no two transactions choose the same.
    pub(super) building: Arc<tokio::sync::Mutex<()>>,
    sources: Arc<ChainSources>,
    /// Where the events of the chain begin.
    begun: Cursor,
    peers: Arc<OnceLock<ObservationHandle<PeersObserver>>>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    recorded_heights: BTreeMap<String, u64>,
    recorded_blocks: BTreeMap<String, Place>,
    book: WalletBook,
    owners: Owners,
}

impl ChainSession {
    pub(crate) fn new(
        deployment: Arc<dyn ChainDeployment>,
        cluster: Cluster,
        book: WalletBook,
        sponsor: Option<SponsorWish>,
    ) -> Self {
        let snapshot = cluster.inventory().snapshot();
        let mut networks = snapshot.nodes().map(|node| node.network.network.clone());
        let network = networks.find_map(|network| network).unwrap_or_default();
        let observer = ChainObserver::new(deployment.observer(&network).with_mempools());
        let config = observation("chain");
        let sources = Arc::new(sources(&cluster, &deployment));
        let watch = cluster.observe(observer, client(&sources), config);
        let begun = watch.cursor();
        // A new block is looked at when it is there, and not only at the next tick.
        let streams = NodeSources::new(cluster.inventory().clone(), client(&sources));
        let streams = wake_on_blocks(watch.clone(), streams);
        cluster.tasks().spawn("streams of blocks", streams);
        let wallets = deployment.wallets(&network);
        let state = State {
            book,
            ..State::default()
        };
        Self {
            deployment,
            cluster,
            watch,
            wallets,
            sponsor,
            building: Arc::default(),
            sources,
            begun,
            peers: Arc::default(),
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// What can be asked of the node called `name`.
    pub(crate) fn source(&self, name: &NodeName) -> StepResult<Arc<dyn ChainSource>> {
        self.source_of(&self.cluster.node(name)?)
    }

    /// What can be asked of `node`: the same for all who ask, so that what it found out of the node is known.
    pub(super) fn source_of(&self, node: &NodeHandle) -> StepResult<Arc<dyn ChainSource>> {
        match self.sources.client(node) {
            Some(source) => Ok(source),
            None => self.deployment.source(node),
        }
    }

    /// Whom nodes are connected with, observed from the first call on.
    pub(super) fn peers(&self) -> &ObservationHandle<PeersObserver> {
        self.peers.get_or_init(|| {
            let client = client(&self.sources);
            self.cluster
                .observe(PeersObserver, client, observation("peers"))
        })
    }

    /// What was seen last, in words.
    pub(crate) fn last_seen(&self) -> String {
        self.watch.latest().map_or_else(
            || "nothing was seen of the chain yet".to_owned(),
            |seen| shown(&seen.snapshot),
        )
    }

    /// Waits until what is true *from now on* satisfies `predicate`.
    ///
    /// # Errors
    /// Why it was given up; [`gave_up`] has the words for it.
    pub(super) async fn wait_for(
        &self,
        goal: &str,
        within: Duration,
        predicate: impl FnMut(&ChainView) -> bool,
    ) -> Result<ChainView, WaitError<ChainView>> {
        let since = self.watch.mark();
        let wait = std::pin::pin!(self.watch.wait_fresh(goal, since, within, predicate));
        // The first look is at once instead of at the next tick; whether it fails, the wait says.
        let look = std::pin::pin!(self.watch.refresh_within(within));
        let result = match futures::future::select(wait, look).await {
            futures::future::Either::Left((result, _)) => result,
            futures::future::Either::Right((_, wait)) => wait.await,
        };
        result.map(|seen| seen.snapshot.clone())
    }

    /// Fails for a node that runs and of which nothing can be observed, so that nobody takes the others for all.
    pub(super) fn check_all_observed(&self) -> StepResult {
        for node in self.cluster.running() {
            let source = self.source_of(&node).map(drop);
            source.map_err(|error| error.within(format!("{} cannot be asked", node.name())))?;
        }
        Ok(())
    }

    /// What is true now: the view of a look that begins after this call.
    ///
    /// # Errors
    /// No look that was finished in time.
    pub(crate) async fn now(&self) -> StepResult<ChainView> {
        let seen = self.watch.refresh().await;
        seen.map(|seen| seen.snapshot.clone())
            .map_err(|error| gave_up(&error))
    }

    /// The first reorg for which `predicate` holds, once there is one; `None` when the observation ends before.
    pub(super) async fn reorg(&self, predicate: impl Fn(&Reorg) -> bool) -> Option<Reorg> {
        let mut events = self.watch.subscribe_from(self.begun);
        while let Some(backlog) = events.next().await {
            if let Some(reorg) = reorgs(&backlog).find(|reorg| predicate(reorg)) {
                return Some(reorg.clone());
            }
        }
        None
    }

    /// The deepest reorg so far, in words.
    pub(super) fn reorgs_seen(&self) -> String {
        let backlog = self.watch.events_since(self.begun);
        match reorgs(&backlog).max_by_key(|reorg| reorg.depth()) {
            Some(deepest) => format!("the deepest so far: {}", shown_reorg(deepest)),
            None => "no reorg was seen".to_owned(),
        }
    }

    pub(super) fn record_height(&self, label: String, height: u64) {
        self.state().recorded_heights.insert(label, height);
    }

    /// The height that was recorded as `label`.
    ///
    /// # Errors
    /// An unknown label, with the known ones.
    pub(super) fn recorded_height(&self, label: &str) -> StepResult<u64> {
        recorded(&self.state().recorded_heights, "height", label)
    }

    pub(super) fn record_block(&self, label: String, block: Place) {
        self.state().recorded_blocks.insert(label, block);
    }

    /// The block that was recorded as `label`.
    ///
    /// # Errors
    /// An unknown label, with the known ones.
    pub(super) fn recorded_block(&self, label: &str) -> StepResult<Place> {
        recorded(&self.state().recorded_blocks, "block", label)
    }

    /// Works on the wallets and transactions of the scenario.
    pub(crate) fn with_book<T>(&self, work: impl FnOnce(&mut WalletBook) -> T) -> T {
        work(&mut self.state().book)
    }

    /// Works on what is known of who a wallet is on the chain.
    pub(super) fn with_owners<T>(&self, work: impl FnOnce(&mut Owners) -> T) -> T {
        work(&mut self.state().owners)
    }

    /// Whether fees are paid by an account that is there for that.
    pub(super) fn is_sponsored(&self) -> bool {
        self.sponsor.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn recorded<T: Copy>(known: &BTreeMap<String, T>, what: &str, label: &str) -> StepResult<T> {
    known.get(label).copied().ok_or_else(|| {
        let known: Vec<&str> = known.keys().map(String::as_str).collect();
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        StepError::new(format!(
            "no {what} was recorded as {label:?}; recorded: {known}"
        ))
    })
}

fn reorgs(backlog: &Backlog<ChainEvent>) -> impl Iterator<Item = &Reorg> {
    backlog.events().filter_map(|event| match event {
        ChainEvent::Reorg(reorg) => Some(reorg),
        _ => None,
    })
}

fn observation(name: &str) -> ObservationConfig {
    ObservationConfig::default()
        .with_name(name)
        .with_interval(LOOK_EVERY)
        .with_poll_timeout(LOOK_WITHIN)
}

fn sources(cluster: &Cluster, deployment: &Arc<dyn ChainDeployment>) -> ChainSources {
    let deployment = Arc::clone(deployment);
    let source: MakeSource = Box::new(move |node| deployment.source(node).ok());
    NodeSources::new(cluster.inventory().clone(), source)
}

fn client(
    sources: &Arc<ChainSources>,
) -> impl Fn(&NodeHandle) -> Option<Arc<dyn ChainSource>> + Send + Sync + 'static {
    let sources = Arc::clone(sources);
    move |node| sources.client(node)
}

/// A wait that was given up, with the last view in words.
pub(super) fn gave_up(error: &WaitError<ChainView>) -> StepError {
    StepError::new(error.describe_with(shown))
}
