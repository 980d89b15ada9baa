//! Exchanges of views that were made on the side: only where both stand at the same event, whatever the stream and the operators do meanwhile.

mod rebuilds;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use projection::{
    rebuild::{Command, ExchangeLimits, Phase, RebuildError, Sources, begin, exchange},
    storage::{Part, ViewStore},
    stream::{Delivery, EventSource, MemorySource, ReceiveLimits, StreamError, StreamFacts},
    types::{GenerationState, Scope, ViewTable},
};
use rebuilds::{
    Running, clean, dump, manifest, publish_through, served, settings, start, start_with, store,
    table,
};

/// A stream whose replays say nothing for a while, as a server does that has too much to do.
struct Silent {
    stream: MemorySource,
    /// How often they still have nothing.
    receives: Arc<AtomicU32>,
}

#[async_trait]
impl EventSource for Silent {
    async fn facts(&mut self, floor: u64) -> Result<StreamFacts, StreamError> {
        self.stream.facts(floor).await
    }

    async fn start(&mut self, from: u64) -> Result<(), StreamError> {
        self.stream.start(from).await
    }

    async fn receive(&mut self, limits: &ReceiveLimits) -> Result<Vec<Delivery>, StreamError> {
        let one_less = |left: u32| left.checked_sub(1);
        let silent = self
            .receives
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        if silent.is_err() {
            return self.stream.receive(limits).await;
        }
        tokio::time::sleep(limits.idle).await;
        Ok(Vec::new())
    }

    async fn pending(&mut self) -> Result<u64, StreamError> {
        self.stream.pending().await
    }

    async fn acknowledge(&mut self, through: u64) -> Result<(), StreamError> {
        self.stream.acknowledge(through).await
    }
}

struct SilentReplays {
    stream: MemorySource,
    receives: Arc<AtomicU32>,
}

#[async_trait]
impl Sources for SilentReplays {
    async fn served(&self) -> Result<Box<dyn EventSource>, StreamError> {
        Ok(Box::new(self.stream.clone()))
    }

    async fn replay(&self) -> Result<Box<dyn EventSource>, StreamError> {
        Ok(Box::new(Silent {
            stream: self.stream.clone(),
            receives: Arc::clone(&self.receives),
        }))
    }
}

fn tenant() -> Scope {
    Scope::Tenant {
        tenant: "t-1".into(),
    }
}

fn part() -> Command {
    Command::RebuildPart {
        projection: "account".to_owned(),
        scope: tenant(),
    }
}

/// How the making of a generation has ended, where it has.
fn ended(node: &Running, generation: &str) -> Option<Phase> {
    let progress = node.handle.progress();
    let all = progress.borrow();
    let mut all = all.iter();
    let one = all.find(|one| one.generation == generation && one.phase.is_over());
    one.map(|one| one.phase.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_silent_for_longer_than_usual_takes_nothing_out_of_the_views() {
    let folder = tempfile::tempdir().unwrap();
    let (store, stream) = (store(folder.path()), MemorySource::default());
    publish_through(&stream, 0, 600);
    let sources = SilentReplays {
        stream,
        // Two replays, the second of which is the one that the exchange waits for.
        receives: Arc::new(AtomicU32::new(42)),
    };
    let node = start_with(&store, manifest(1, 1), &settings(), Arc::new(sources));
    node.wait_for_floor(&store, 600).await;
    let begun = node.handle.ask(part()).await.unwrap();
    node.wait_for("the exchange", || {
        ended(&node, &begun.generation) == Some(Phase::Done)
    })
    .await;
    node.stop().await;
    assert_eq!(dump(&store, &table(1)), clean(1, 600).await);
}

/// A side of the served views that is said to be at `floor`, with nothing in it.
fn empty_side(store: &ViewStore, floor: u64) -> ViewTable {
    let manifest = manifest(1, 1);
    let state = GenerationState::Side { scope: tenant() };
    let side = begin(store, &manifest.projections()[0], state, 1).unwrap();
    let stood = store.snapshot().unwrap().checkpoint(&table(1)).unwrap();
    let mut checkpoint = stood.unwrap();
    checkpoint.floor = floor;
    let part = Part::new(side.clone(), None, checkpoint);
    store.commit(&part.into()).unwrap();
    side
}

#[tokio::test(flavor = "multi_thread")]
async fn views_are_not_exchanged_for_those_of_another_event() {
    let folder = tempfile::tempdir().unwrap();
    let (store, stream) = (store(folder.path()), MemorySource::default());
    publish_through(&stream, 0, 300);
    let node = start(&store, manifest(1, 1), &settings(), &stream);
    node.wait_for_floor(&store, 300).await;
    node.stop().await;
    let limits = ExchangeLimits { entries_max: 10 };
    for floor in [0, 299, 301] {
        let side = empty_side(&store, floor);
        let refused = exchange(&store, &"account".into(), side.generation, 300, limits);
        let why = refused.expect_err("they stand at different events");
        assert!(
            matches!(&why, RebuildError::Moved { table, found, .. } if *table == side && *found == floor),
            "{why:?}"
        );
        assert_eq!(dump(&store, &table(1)), clean(1, 300).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_in_place_gives_up_what_is_made_on_the_side() {
    let folder = tempfile::tempdir().unwrap();
    let (store, stream) = (store(folder.path()), MemorySource::default());
    publish_through(&stream, 0, 2_000);
    let mut settings = settings();
    settings.rebuild.rate_max = Some(1_000);
    let node = start(&store, manifest(1, 1), &settings, &stream);
    node.wait_for_floor(&store, 2_000).await;
    let begun = node.handle.ask(part()).await.unwrap();
    let has_begun = || {
        let progress = node.handle.progress();
        let all = progress.borrow();
        let mut all = all.iter();
        all.any(|one| one.generation == begun.generation && one.done > 0)
    };
    node.wait_for("the side to have begun", has_begun).await;
    let in_place = Command::RebuildInPlace {
        projection: "account".to_owned(),
    };
    node.handle.ask(in_place).await.unwrap();
    let over = ended(&node, &begun.generation);
    assert!(matches!(over, Some(Phase::Failed { .. })), "{over:?}");
    node.wait_for_floor(&store, 2_000).await;
    assert_eq!(served(&store), (table(1), 2_000));
    node.wait_for("the side to be cleared", || {
        let all = node.handle.generations().unwrap();
        all[0].1.kept.len() == 1
    })
    .await;
    node.stop().await;
    assert_eq!(dump(&store, &table(1)), clean(1, 2_000).await);
}
