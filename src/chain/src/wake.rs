//! Wake: looks as soon as a node tells of a new block, instead of at the next tick.
//!
//! Streams only say when to look. What counts is what a cycle finds, so that a stream that breaks,
//! doubles or lies costs time and nothing else.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{
    FutureExt, StreamExt,
    stream::{self, BoxStream, SelectAll},
};
use tokio::time::{MissedTickBehavior, interval, timeout};
use trellis_observation::{ObservationHandle, ObservedSource, SourceProvider};

use crate::{observer::ChainObserver, source::ChainSource};

/// How often nodes without a stream are asked for one: new ones, and those whose stream broke.
const OPEN_EVERY: Duration = Duration::from_secs(1);
/// How long listing nodes, or opening a stream, may take.
const OPEN_WITHIN: Duration = Duration::from_secs(2);

type Source = Arc<dyn ChainSource>;

/// What a stream says: a new block (`true`), or that it ended.
type News = (String, bool);

/// Listens to the streams of all nodes that have them, and makes `handle` look at each new block.
/// Never returns: whoever runs it also ends it, by dropping it.
///
/// # Cancel safety
/// Dropping it loses nothing: the observation goes on by its own ticks.
pub async fn wake_on_blocks(
    handle: ObservationHandle<ChainObserver>,
    provider: impl SourceProvider<Source>,
) {
    let mut streams: SelectAll<BoxStream<'static, News>> = SelectAll::new();
    let mut listening: BTreeMap<String, Source> = BTreeMap::new();
    let mut ticks = interval(OPEN_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => open(&provider, &mut listening, &mut streams).await,
            Some((name, is_block)) = streams.next() => {
                let mut blocks = is_block;
                if !is_block {
                    listening.remove(&name);
                }
                // Many nodes tell of one block: one look is enough for all that was told by now.
                while let Some(Some((name, is_block))) = streams.next().now_or_never() {
                    blocks |= is_block;
                    if !is_block {
                        listening.remove(&name);
                    }
                }
                if blocks {
                    // A cycle that fails shows in the handle.
                    let _ = handle.refresh().await;
                }
            }
        }
    }
}

async fn open(
    provider: &impl SourceProvider<Source>,
    listening: &mut BTreeMap<String, Source>,
    streams: &mut SelectAll<BoxStream<'static, News>>,
) {
    let Ok(Ok(sources)) = timeout(OPEN_WITHIN, provider.sources()).await else {
        return;
    };
    let new = |listed: &ObservedSource<Source>| {
        let known = listening.get(&listed.name);
        !known.is_some_and(|known| Arc::ptr_eq(known, &listed.source))
    };
    let asked = sources.into_iter().filter(new).map(|listed| async move {
        let stream = timeout(OPEN_WITHIN, listed.source.stream()).await;
        (listed, stream)
    });
    for (listed, stream) in futures::future::join_all(asked.collect::<Vec<_>>()).await {
        let ObservedSource { name, source } = listed;
        match stream {
            Ok(Ok(Some(blocks))) => {
                let (told, ended) = (name.clone(), name.clone());
                let news = blocks.map(move |block| (told.clone(), block.is_ok()));
                let end = stream::once(async move { (ended, false) });
                streams.push(news.chain(end).boxed());
            }
            // A wire without streams: not asked again.
            Ok(Ok(None)) => {}
            Ok(Err(_)) | Err(_) => continue,
        }
        listening.insert(name, source);
    }
}

#[cfg(test)]
mod tests {
    use trellis_observation::{ObservationConfig, ObservationRuntime, StaticSources};

    use super::*;
    use crate::{
        memory::{MemoryNode, genesis},
        observer::{ChainObserverConfig, StartAt},
    };

    #[tokio::test(start_paused = true)]
    async fn a_new_block_is_seen_at_once_however_rarely_nodes_are_looked_at() {
        let node = Arc::new(MemoryNode::new("NODE_1", genesis(0)));
        let source: Source = Arc::clone(&node) as _;
        let sources = StaticSources::new([ObservedSource::new("NODE_1", source)]);
        let observer =
            ChainObserver::new(ChainObserverConfig::default().with_start(StartAt::Genesis));
        let rarely = ObservationConfig::default().with_interval(Duration::MAX);
        let runtime = ObservationRuntime::start(observer, sources.clone(), rarely);
        let handle = runtime.handle();
        let waker = tokio::spawn(wake_on_blocks(handle.clone(), sources));
        tokio::time::sleep(Duration::from_secs(1)).await;

        for height in 1..5 {
            node.grow(1, 1);
            let at_height =
                |view: &crate::ChainView| view.best_head().is_some_and(|h| h.height == height);
            handle
                .wait_until(Duration::from_millis(50), at_height)
                .await
                .unwrap();
        }
        waker.abort();
    }
}
