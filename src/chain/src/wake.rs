//! Wake: looks as soon as a node tells of a new block, instead of at the next tick.
//!
//! Streams only say when to look. What counts is what a cycle finds, so that a stream that breaks,
//! doubles or lies costs time and nothing else.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{
    FutureExt, StreamExt,
    stream::{self, AbortHandle, BoxStream, SelectAll, abortable},
};
use tokio::time::{MissedTickBehavior, interval, timeout};
use trellis_observation::{ObservationHandle, ObservedSource, SourceProvider};

use crate::{observer::ChainObserver, source::ChainSource};

/// How often nodes without a stream are asked for one: new ones, and those whose stream broke.
const OPEN_EVERY: Duration = Duration::from_secs(1);
/// How long listing nodes, or opening a stream, may take.
const OPEN_WITHIN: Duration = Duration::from_secs(2);

type Source = Arc<dyn ChainSource>;

/// What a stream says: a new block, or that it ended.
enum News {
    Block,
    Ended(String),
}

/// The node whose stream is listened to, until the handle ends that.
struct Listening {
    source: Source,
    _stream: Hangup,
}

/// Ends a stream when it is dropped: a wait that nobody listens to holds a connection, and on some nodes one of a few threads.
struct Hangup(AbortHandle);

impl Drop for Hangup {
    fn drop(&mut self) {
        self.0.abort();
    }
}

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
    let mut listening: BTreeMap<String, Listening> = BTreeMap::new();
    let mut ticks = interval(OPEN_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => open(&provider, &mut listening, &mut streams).await,
            Some(first) = streams.next() => {
                let mut blocks = false;
                let mut news = Some(first);
                // Many nodes tell of one block: one look is enough for all that was told by now.
                while let Some(told) = news {
                    match told {
                        News::Block => blocks = true,
                        News::Ended(name) => drop(listening.remove(&name)),
                    }
                    news = streams.next().now_or_never().flatten();
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
    listening: &mut BTreeMap<String, Listening>,
    streams: &mut SelectAll<BoxStream<'static, News>>,
) {
    let Ok(Ok(sources)) = timeout(OPEN_WITHIN, provider.sources()).await else {
        return;
    };
    listening.retain(|name, known| {
        let mut listed = sources.iter().filter(|listed| listed.name == *name);
        listed.any(|listed| Arc::ptr_eq(&known.source, &listed.source))
    });
    let new = |listed: &ObservedSource<Source>| !listening.contains_key(&listed.name);
    let asked = sources.into_iter().filter(new).map(|listed| async move {
        let stream = timeout(OPEN_WITHIN, listed.source.stream()).await;
        (listed, stream)
    });
    for (listed, opened) in futures::future::join_all(asked.collect::<Vec<_>>()).await {
        let ObservedSource { name, source } = listed;
        let blocks = match opened {
            Ok(Ok(Some(blocks))) => blocks,
            // A wire without streams: not asked again.
            Ok(Ok(None)) => stream::pending().boxed(),
            Ok(Err(_)) | Err(_) => continue,
        };
        let ended = name.clone();
        let news = blocks
            .take_while(|block| std::future::ready(block.is_ok()))
            .map(|_| News::Block);
        // One that was hung up was no longer wanted, and another may be listened to by now.
        let end = stream::once(async move { News::Ended(ended) });
        let (news, hangup) = abortable(news.chain(end));
        streams.push(news.boxed());
        let listened = Listening {
            source,
            _stream: Hangup(hangup),
        };
        listening.insert(name, listened);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use trellis_observation::{DynError, ObservationConfig, ObservationRuntime, StaticSources};

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

    /// Lists whatever was put into it last.
    struct Listed(Arc<Mutex<Vec<ObservedSource<Source>>>>);

    #[async_trait]
    impl SourceProvider<Source> for Listed {
        async fn sources(&self) -> Result<Vec<ObservedSource<Source>>, DynError> {
            Ok(self.0.lock().unwrap().clone())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_stream_of_a_node_is_held_and_none_of_one_that_is_no_longer_listed() {
        let nodes = [0, 1].map(|_| Arc::new(MemoryNode::new("NODE_1", genesis(0))));
        let sources = nodes.each_ref().map(|node| {
            let source: Source = Arc::clone(node) as _;
            ObservedSource::new("NODE_1", source)
        });
        let listed = Arc::new(Mutex::new(vec![sources[0].clone()]));
        let observer = ChainObserver::new(ChainObserverConfig::default());
        let config = ObservationConfig::default();
        let runtime =
            ObservationRuntime::start(observer, StaticSources::new(sources.clone()), config);
        let waker = wake_on_blocks(runtime.handle(), Listed(Arc::clone(&listed)));
        let waker = tokio::spawn(waker);
        let listeners = || nodes.each_ref().map(|node| node.listeners());
        let some_ticks = OPEN_EVERY * 5;

        tokio::time::sleep(some_ticks).await;
        assert_eq!(listeners(), [1, 0]);

        // Another process, at the same name.
        *listed.lock().unwrap() = vec![sources[1].clone()];
        tokio::time::sleep(some_ticks).await;
        assert_eq!(listeners(), [0, 1]);

        listed.lock().unwrap().clear();
        tokio::time::sleep(some_ticks).await;
        assert_eq!(listeners(), [0, 0]);
        waker.abort();
    }
}
