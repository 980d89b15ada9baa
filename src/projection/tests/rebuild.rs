//! Rebuilds of a node in memory, under load: what is served is always one generation whole, and ends as a clean replay would have it.

mod rebuilds;

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use projection::{
    rebuild::{Command, Cutover, Phase, RebuildError, Sources},
    settings::Settings,
    storage::{Part, ViewStore},
    stream::{Delivery, EventSource, MemorySource, ReceiveLimits, StreamError, StreamFacts},
    types::{GenerationState, Scope, TenantId, ViewKey},
};
use rebuilds::{
    Running, clean, cutover, dump, generations, manifest, of_tenant, publish_through, rebuild_from,
    retire, rollback, served, settings, start, start_with, store, table,
};
use tokio_util::sync::CancellationToken;

/// Publishes more events as long as it lives.
struct Load {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<u64>,
}

impl Load {
    fn on(source: &MemorySource, mut published: u64) -> Self {
        let (stop, source) = (CancellationToken::new(), source.clone());
        let stopping = stop.clone();
        let task = tokio::spawn(async move {
            while !stopping.is_cancelled() {
                publish_through(&source, published, published + 7);
                published += 7;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            published
        });
        Self { stop, task }
    }

    /// How many events there are.
    async fn end(self) -> u64 {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

/// A node whose accounts are at the event `through`, by the first program.
async fn served_through(
    through: u64,
    folder: &Path,
    settings: &Settings,
) -> (Arc<ViewStore>, MemorySource, Running) {
    let (store, source) = (store(folder), MemorySource::default());
    publish_through(&source, 0, through);
    let node = start(&store, manifest(1, 1), settings, &source);
    node.wait_for_floor(&store, through).await;
    (store, source, node)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_program_is_rebuilt_under_load_and_served_when_it_has_caught_up() {
    let folder = tempfile::tempdir().unwrap();
    let (store, source, node) = served_through(3_000, folder.path(), &settings()).await;
    node.stop().await;
    assert_eq!(served(&store).0, table(1));

    let load = Load::on(&source, 3_000);
    let node = start(&store, manifest(2, 1), &settings(), &source);
    node.wait_for("the cutover", || served(&store).0 == table(2))
        .await;
    let last = load.end().await;
    node.wait_for_floor(&store, last).await;
    assert_eq!(dump(&store, &table(2)), clean(2, last).await);
    // The one before goes on, so that it can be gone back to.
    let behind = || {
        let stood = store.snapshot().unwrap().checkpoint(&table(1)).unwrap();
        stood.map_or(0, |stood| stood.floor)
    };
    node.wait_for("the old generation to go on", || behind() == last)
        .await;
    assert_eq!(dump(&store, &table(1)), clean(1, last).await);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_serves_what_went_on_beside_and_is_not_undone_by_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (store, source, node) = served_through(500, folder.path(), &settings()).await;
    node.stop().await;
    let node = start(&store, manifest(2, 1), &settings(), &source);
    node.wait_for("the cutover", || served(&store).0 == table(2))
        .await;
    publish_through(&source, 500, 900);
    node.wait_for_floor(&store, 900).await;
    let back = node.ask(rollback()).await.unwrap();
    assert_eq!(back.generation, "account@1");
    node.wait_for("the old generation", || served(&store) == (table(1), 900))
        .await;
    assert_eq!(dump(&store, &table(1)), clean(1, 900).await);
    let nowhere = node.ask(rollback()).await;
    assert!(
        matches!(nowhere, Err(RebuildError::NoWayBack { .. })),
        "{nowhere:?}"
    );
    node.stop().await;

    // The manifest still asks for what was gone back from.
    let node = start(&store, manifest(2, 1), &settings(), &source);
    publish_through(&source, 900, 1_000);
    node.wait_for_floor(&store, 1_000).await;
    let caught_up = |node: &Running| {
        let progress = node.handle.progress();
        let all = progress.borrow();
        all.iter().any(|one| {
            one.generation == "account@2" && one.phase == Phase::CaughtUp && one.done == 1_000
        })
    };
    node.wait_for("the rejected one to go on", || caught_up(&node))
        .await;
    assert_eq!(served(&store).0, table(1));
    node.ask(cutover("account@2")).await.unwrap();
    node.wait_for("both to be at the end", || {
        served(&store) == (table(2), 1_000)
    })
    .await;
    assert_eq!(dump(&store, &table(2)), clean(2, 1_000).await);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_generation_is_cleared_when_it_was_kept_for_long_enough() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.rebuild.keep_old = Duration::ZERO;
    let (store, _, node) = served_through(500, folder.path(), &settings).await;
    assert!(node.ask(rebuild_from(1)).await.unwrap().goes_on);
    node.wait_for("one generation alone", || {
        generations(&store).kept.keys().eq(&[2])
    })
    .await;
    assert_eq!(dump(&store, &table(1)), []);
    assert_eq!(dump(&store, &table(2)), clean(1, 500).await);
    let refused = node.ask(retire(2)).await;
    assert!(
        matches!(refused, Err(RebuildError::WrongState { .. })),
        "{refused:?}"
    );
    // Nothing of this was what the manifest asks for, so it asks for nothing now.
    assert_eq!(generations(&store).next(), 3);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cutover_by_command_waits_for_the_command_and_refuses_what_is_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.rebuild.cutover = Cutover::Command;
    let (store, source, node) = served_through(2_000, folder.path(), &settings).await;
    node.stop().await;
    settings.rebuild.rate_max = Some(400);
    let node = start(&store, manifest(2, 3), &settings, &source);
    let is_begun = || {
        let kept = generations(&store).kept;
        kept.get(&3)
            .is_some_and(|kept| kept.state == GenerationState::Shadow)
    };
    node.wait_for("the shadow", is_begun).await;
    let refused = node.ask(cutover("account")).await;
    assert!(
        matches!(refused, Err(RebuildError::Behind { .. })),
        "{refused:?}"
    );
    node.stop().await;

    // What was made so far is gone on with.
    settings.rebuild.rate_max = None;
    let node = start(&store, manifest(2, 3), &settings, &source);
    let is_near = || {
        node.handle
            .progress()
            .borrow()
            .iter()
            .any(|one| one.phase == Phase::CaughtUp && one.done == 2_000)
    };
    node.wait_for("the shadow to catch up", is_near).await;
    assert_eq!(served(&store).0, table(1));
    node.ask(cutover("account")).await.unwrap();
    assert_eq!(served(&store), (table(3), 2_000));
    assert_eq!(dump(&store, &table(3)), clean(2, 2_000).await);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_while_it_is_made_is_not_begun_again_before_somebody_asks_for_it() {
    // By another program, and by the same one under a higher number.
    for wanted in [(2, 1), (1, 4)] {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings();
        settings.rebuild.cutover = Cutover::Command;
        let (store, source, node) = served_through(500, folder.path(), &settings).await;
        node.stop().await;

        let wanted = || manifest(wanted.0, wanted.1);
        let node = start(&store, wanted(), &settings, &source);
        let shadow = || {
            let kept = generations(&store).kept;
            let mut shadows = kept
                .iter()
                .filter(|(_, kept)| kept.state == GenerationState::Shadow);
            shadows.next().map(|(number, _)| *number)
        };
        node.wait_for("the shadow", || shadow().is_some()).await;
        let first = shadow().unwrap();
        // Before this is answered, it is worked out what there is to do now.
        node.ask(retire(first)).await.unwrap();
        assert_eq!(shadow(), None);
        node.wait_for("it to be cleared", || generations(&store).kept.len() == 1)
            .await;
        node.stop().await;

        let node = start(&store, wanted(), &settings, &source);
        publish_through(&source, 500, 600);
        node.wait_for_floor(&store, 600).await;
        assert_eq!(shadow(), None, "it is begun by a restart");
        let begun = node.ask(rebuild_from(1)).await.unwrap();
        assert_eq!(begun.generation, format!("account@{first}"));
        assert_eq!(shadow(), Some(first));
        node.stop().await;
    }
}

/// A stream that has lost its first events since they were read.
struct Forgetful(MemorySource);

#[async_trait]
impl EventSource for Forgetful {
    async fn facts(&mut self, floor: u64) -> Result<StreamFacts, StreamError> {
        let facts = self.0.facts(floor).await?;
        Ok(StreamFacts {
            first: 101,
            ..facts
        })
    }

    async fn start(&mut self, from: u64) -> Result<(), StreamError> {
        self.0.start(from.max(101)).await
    }

    async fn receive(&mut self, limits: &ReceiveLimits) -> Result<Vec<Delivery>, StreamError> {
        self.0.receive(limits).await
    }

    async fn pending(&mut self) -> Result<u64, StreamError> {
        self.0.pending().await
    }

    async fn acknowledge(&mut self, through: u64) -> Result<(), StreamError> {
        self.0.acknowledge(through).await
    }
}

struct ForgetfulSources(MemorySource);

#[async_trait]
impl Sources for ForgetfulSources {
    async fn served(&self) -> Result<Box<dyn EventSource>, StreamError> {
        Ok(Box::new(Forgetful(self.0.clone())))
    }

    async fn replay(&self) -> Result<Box<dyn EventSource>, StreamError> {
        Ok(Box::new(Forgetful(self.0.clone())))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_has_lost_its_beginning_is_not_rebuilt_from_unless_somebody_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (store, source, node) = served_through(500, folder.path(), &settings()).await;
    node.stop().await;
    let node = start_with(
        &store,
        manifest(2, 1),
        &settings(),
        Arc::new(ForgetfulSources(source)),
    );
    let failed = || {
        let progress = node.handle.progress();
        let all = progress.borrow();
        all.iter()
            .any(|one| matches!(&one.phase, Phase::Failed { why } if why.contains("--from 101")))
    };
    node.wait_for("the refusal", failed).await;
    assert_eq!(served(&store).0, table(1));
    let begun = node.ask(rebuild_from(101)).await.unwrap();
    assert_eq!(begun.generation, "account@3");
    node.wait_for("the cutover", || served(&store) == (table(3), 500))
        .await;
    let views = dump(&store, &table(3));
    assert!(!views.is_empty() && views != clean(2, 500).await);
    node.stop().await;
}

/// Replaces the bytes of a view, and adds one that no event made.
fn spoil(store: &ViewStore, tenant: &str, id: &str) {
    let (table, floor) = served(store);
    let stood = store
        .snapshot()
        .unwrap()
        .checkpoint(&table)
        .unwrap()
        .unwrap();
    let mut part = Part::new(table.clone(), Some(floor), stood);
    for id in [id, "nobody"] {
        let key = ViewKey::new(tenant.into(), table.view_type.clone(), id.into()).unwrap();
        part.put(
            &key,
            Some(br#"{"v":{"balance":-1},"s":1,"n":1,"p":"?"}"#.to_vec()),
        );
    }
    store.commit(&part.into()).unwrap();
}

async fn rebuilt_part(
    store: &Arc<ViewStore>,
    source: &MemorySource,
    published: u64,
    entries_max: usize,
    scope: Scope,
) -> (u64, Vec<(String, String)>) {
    let mut settings = settings();
    settings.rebuild.entries_max = entries_max;
    let load = Load::on(source, published);
    let node = start(store, manifest(1, 1), &settings, source);
    let rebuild = Command::RebuildPart {
        projection: "account".to_owned(),
        scope,
    };
    let begun = node.ask(rebuild).await.unwrap();
    let is_done = || {
        node.handle
            .progress()
            .borrow()
            .iter()
            .any(|one| one.generation == begun.generation && one.phase == Phase::Done)
    };
    node.wait_for("the exchange", is_done).await;
    let last = load.end().await;
    node.wait_for_floor(store, last).await;
    let only_one = || generations(store).kept.len() == 1;
    node.wait_for("the side to be cleared", only_one).await;
    node.stop().await;
    (last, dump(store, &table(1)))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenant_is_rebuilt_under_load_and_the_others_are_not_touched() {
    // In one transaction, and in pieces by the journal.
    for entries_max in [1_000, 3] {
        let folder = tempfile::tempdir().unwrap();
        let (store, source, node) = served_through(1_500, folder.path(), &settings()).await;
        node.stop().await;
        for tenant in ["t-1", "t-2"] {
            spoil(&store, tenant, "a-3");
        }
        let tenant = TenantId::from("t-1");
        let scope = Scope::Tenant {
            tenant: tenant.clone(),
        };
        let (last, views) = rebuilt_part(&store, &source, 1_500, entries_max, scope).await;
        let clean = clean(1, last).await;
        assert_eq!(of_tenant(&views, &tenant), of_tenant(&clean, &tenant));
        assert_eq!(
            of_tenant(&views, &"t-0".into()),
            of_tenant(&clean, &"t-0".into())
        );
        let other = of_tenant(&views, &"t-2".into());
        assert!(
            other.iter().any(|(key, _)| key == "t-2:nobody"),
            "the other tenant was touched"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_view_is_rebuilt_under_load_and_its_neighbours_are_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let (store, source, node) = served_through(1_500, folder.path(), &settings()).await;
    node.stop().await;
    spoil(&store, "t-1", "a-3");
    let scope = Scope::View {
        tenant: "t-1".into(),
        id: "a-3".into(),
    };
    let (last, views) = rebuilt_part(&store, &source, 1_500, 10, scope).await;
    let mut clean = clean(1, last).await;
    // The other one that was spoilt is still there.
    clean.push((
        "t-1:nobody".to_owned(),
        r#"{"v":{"balance":-1},"s":1,"n":1,"p":"?"}"#.to_owned(),
    ));
    clean.sort_unstable();
    assert_eq!(views, clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_in_place_shows_that_it_goes_on_until_the_views_are_what_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _, node) = served_through(2_000, folder.path(), &settings()).await;
    let rebuilding = || store.snapshot().unwrap().rebuilding(&table(1)).unwrap();
    assert_eq!(rebuilding(), None);
    let in_place = Command::RebuildInPlace {
        projection: "account".to_owned(),
    };
    let answer = node.ask(in_place).await.unwrap();
    assert_eq!(answer.generation, "account@1");
    node.wait_for_floor(&store, 2_000).await;
    let settled = || generations(&store).kept[&1].rebuilding.is_none();
    node.wait_for("the flag to go", settled).await;
    assert_eq!(dump(&store, &table(1)), clean(1, 2_000).await);
    node.stop().await;

    let manifest = manifest(1, 1);
    projection::rebuild::rebuild_in_place(&store, &manifest.projections()[0]).unwrap();
    assert_eq!(rebuilding(), Some(2_000));
    assert_eq!(dump(&store, &table(1)), []);
}
