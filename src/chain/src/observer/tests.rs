//! Tests of the observer: over nodes in memory that grow, fork, fail, hang and lie.

use std::collections::{BTreeSet, HashMap};

use trellis_observation::{
    ObservationConfig, ObservationHandle, ObservationRuntime, StaticSources,
};

use super::*;
use crate::{
    graph::Place,
    id::TxId,
    inclusion::Inclusion,
    memory::{MemoryNode, Trouble, child_of, genesis},
    model::{Block, Mode, Transaction},
    view::Standpoint,
    wallet::Submitted,
};

/// Cycles happen when a test asks for them.
const NEVER: Duration = Duration::MAX;

struct Watched {
    _runtime: ObservationRuntime<ChainObserver>,
    handle: ObservationHandle<ChainObserver>,
    seen: trellis_observation::Cursor,
}

impl Watched {
    fn start(config: ChainObserverConfig, nodes: &[&Arc<MemoryNode>]) -> Self {
        let sources = nodes.iter().map(|node| {
            let source: Arc<dyn ChainSource> = Arc::clone(node) as _;
            ObservedSource::new(node.name(), source)
        });
        let budgets = ObservationConfig::default()
            .with_interval(NEVER)
            .with_poll_timeout(Duration::from_secs(10));
        let sources = StaticSources::new(sources);
        let runtime = ObservationRuntime::start(ChainObserver::new(config), sources, budgets);
        let handle = runtime.handle();
        let seen = handle.cursor();
        Self {
            _runtime: runtime,
            handle,
            seen,
        }
    }

    async fn look(&self) -> ChainView {
        self.handle
            .refresh()
            .await
            .expect("a cycle ends")
            .snapshot
            .clone()
    }

    /// What happened since the last time.
    fn events(&mut self) -> Vec<ChainEvent> {
        let backlog = self.handle.events_since(self.seen);
        let events = backlog
            .batches
            .iter()
            .flat_map(|batch| batch.events().iter().cloned())
            .collect();
        self.seen = self.handle.cursor();
        events
    }
}

fn nodes<const N: usize>(make: impl Fn(MemoryNode) -> MemoryNode) -> [Arc<MemoryNode>; N] {
    std::array::from_fn(|n| Arc::new(make(MemoryNode::new(format!("NODE_{}", n + 1), genesis(0)))))
}

fn from_genesis() -> ChainObserverConfig {
    ChainObserverConfig::default()
        .with_start(StartAt::Genesis)
        .with_final_depth(4)
}

fn blocks_seen(events: &[ChainEvent]) -> Vec<Place> {
    let seen = events.iter().filter_map(|event| match event {
        ChainEvent::BlockSeen { block, .. } => Some(*block),
        _ => None,
    });
    seen.collect()
}

fn reorgs(events: &[ChainEvent]) -> Vec<&Reorg> {
    let reorgs = events.iter().filter_map(|event| match event {
        ChainEvent::Reorg(reorg) => Some(reorg),
        _ => None,
    });
    reorgs.collect()
}

#[tokio::test(start_paused = true)]
async fn catching_up_from_genesis_sees_every_block_once_in_order_on_either_kind_of_chain() {
    for with_finality in [false, true] {
        let [one] = nodes(|n| if with_finality { n.with_finality(4) } else { n });
        one.grow(1_000, 1);
        let mut watched = Watched::start(from_genesis(), &[&one]);

        let view = watched.look().await;

        let heights: Vec<_> = blocks_seen(&watched.events())
            .iter()
            .map(|b| b.height)
            .collect();
        assert_eq!(heights, (0..=1_000).collect::<Vec<_>>());
        assert_eq!(view.node("NODE_1").unwrap().head.unwrap().height, 1_000);
        assert_eq!(view.common_final.unwrap().height, 996);
        assert!(view.catch_up.is_none() && view.converged(0));
    }
}

#[tokio::test(start_paused = true)]
async fn starting_at_the_final_block_counts_heights_from_the_tip() {
    for with_finality in [false, true] {
        let [one] = nodes(|n| if with_finality { n.with_finality(4) } else { n });
        one.grow(50, 1);
        let config = from_genesis().with_start(StartAt::Lib);
        let mut watched = Watched::start(config, &[&one]);

        let view = watched.look().await;
        let heights: Vec<_> = blocks_seen(&watched.events())
            .iter()
            .map(|b| b.height)
            .collect();
        assert_eq!(heights, (46..=50).collect::<Vec<_>>());
        assert_eq!(view.common_final.unwrap().height, 46);

        one.grow(2, 1);
        let _ = watched.look().await;
        assert_eq!(blocks_seen(&watched.events()).len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn starting_at_a_height_takes_nothing_below_it() {
    let [one] = nodes(|n| n);
    one.grow(50, 1);
    let mut watched = Watched::start(from_genesis().with_start(StartAt::Height(20)), &[&one]);

    let _ = watched.look().await;

    let heights: Vec<_> = blocks_seen(&watched.events())
        .iter()
        .map(|b| b.height)
        .collect();
    assert_eq!(heights, (20..=50).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_reorg_tells_depth_common_ancestor_and_the_blocks_of_both_sides() {
    let [one, two] = nodes(|n| n);
    let fork = one.grow(3, 1);
    two.follow(&one);
    let mut watched = Watched::start(from_genesis(), &[&one, &two]);
    let _ = watched.look().await;
    let lost = one.grow(2, 1);
    let won = two.grow(3, 2);
    let apart = watched.look().await;
    assert!(
        !apart.converged(10),
        "two branches are not one chain, however close"
    );
    assert_eq!(apart.graph.branches().len(), 2);
    let _ = watched.events();

    one.follow(&two);
    let joined = watched.look().await;

    let events = watched.events();
    let reorgs = reorgs(&events);
    assert_eq!(reorgs.len(), 1);
    let reorg = reorgs[0];
    assert_eq!((&*reorg.node, reorg.depth()), ("NODE_1", 2));
    assert_eq!((reorg.from.id, reorg.to.id), (lost, won));
    assert_eq!(
        reorg.common_ancestor,
        Place {
            height: 3,
            id: fork
        }
    );
    assert_eq!((reorg.blocks_out.len(), reorg.blocks_in.len()), (2, 3));
    assert!(joined.converged(0));
}

#[tokio::test(start_paused = true)]
async fn what_is_far_below_what_all_running_nodes_have_final_is_forgotten() {
    let [one, two] = nodes(|n| n.with_finality(4));
    let mut config = from_genesis();
    config.keep_below_final = 10;
    let watched = Watched::start(config, &[&one, &two]);
    one.grow(100, 1);
    two.follow(&one);
    let full = watched.look().await;
    assert_eq!(
        (full.common_final.unwrap().height, full.graph.floor()),
        (96, 86)
    );
    two.trouble(Trouble::Refuses);
    one.grow(100, 1);

    let view = watched.look().await;

    assert_eq!(view.graph.len(), 15, "a dead node holds nothing back");
    assert_eq!(view.common_final.unwrap().height, 196);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_behind_holds_back_no_more_than_the_window() {
    let [one, two, three] = nodes(|n| n);
    let mut config = from_genesis();
    config.window_blocks_max = 50;
    let watched = Watched::start(config, &[&two, &one, &three]);
    one.grow(500, 1);
    three.follow(&one);
    let _ = watched.look().await;
    one.grow(10, 1);
    three.follow(&one);

    let view = watched.look().await;

    assert_eq!(view.graph.floor(), 460);
    assert_eq!(view.graph.len(), 51);
    assert_eq!(
        view.node("NODE_2").unwrap().height(),
        Some(0),
        "it is known where it is"
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_joins_late_shares_the_chain_once_it_has_come_up() {
    let [one, two] = nodes(|n| n.with_finality(4));
    one.grow(60, 1);
    let config = from_genesis().with_start(StartAt::Lib);
    let watched = Watched::start(config, &[&one, &two]);
    let early = watched.look().await;
    assert!(!early.converged(100), "below the graph nothing is known");
    assert_eq!(early.shared_final(), None);

    two.follow(&one);
    let late = watched.look().await;

    assert!(late.converged(0));
    assert_eq!(late.shared_final().unwrap().height, 56);
}

#[tokio::test(start_paused = true)]
async fn modes_are_told_when_they_change() {
    let [one] = nodes(|n| n);
    one.set_mode(Mode::Bootstrapping);
    let mut watched = Watched::start(from_genesis(), &[&one]);
    let _ = watched.look().await;
    one.set_mode(Mode::Online);
    let _ = watched.look().await;
    let _ = watched.look().await;

    let modes: Vec<_> = watched
        .events()
        .into_iter()
        .filter_map(|event| match event {
            ChainEvent::ModeChanged { from, to, .. } => Some((from, to)),
            _ => None,
        })
        .collect();

    let first = (None, Mode::Bootstrapping);
    assert_eq!(modes, [first, (Some(Mode::Bootstrapping), Mode::Online)]);
}

#[tokio::test(start_paused = true)]
async fn a_long_catch_up_goes_on_in_the_next_cycles_and_tells_how_far_it_is() {
    let [one] = nodes(|n| n);
    one.grow(300, 1);
    let mut config = from_genesis();
    config.batch_blocks = 10;
    config.requests_max = 2;
    config.fetch_within = Duration::from_millis(250);
    one.trouble(Trouble::Slow(Duration::from_millis(100)));
    let watched = Watched::start(config, &[&one]);
    let mut heights = Vec::new();
    loop {
        let view = watched.look().await;
        let Some(progress) = view.catch_up else { break };
        heights.push(progress.height.unwrap_or_default());
        assert!(heights.len() < 1_000, "it gets on");
    }

    assert!(heights.windows(2).all(|pair| pair[0] <= pair[1]));
    heights.dedup();
    assert!(heights.len() > 5, "it is told on the way: {heights:?}");
}

mod catching_up;
mod hostile;
mod starving;
mod told;
mod trouble;
