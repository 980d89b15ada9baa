//! The run: lets cucumber run scenarios that were checked, each with a folder of its own and cleaned up after.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use cucumber::{
    Runner, World as _,
    event::{Cucumber, ScenarioFinished},
    runner,
};
use futures::{FutureExt, StreamExt, future::LocalBoxFuture, stream};
use gherkin::{Feature, Rule, Scenario};
use trellis_report::{FailedStep, FailureReport, LogLine, RunFolder, first_errors};
use trellis_runtime::Cluster;

use super::{
    options::HarnessOptions,
    record::{Outcome, Record, scenario_key},
    screen::Screen,
    writers::Writers,
};
use crate::{
    ScenarioKey, StepError, Suite, TrellisWorld, check::full_name, lane::SERIAL, world::shown_nodes,
};

/// One try of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AttemptKey {
    pub(crate) scenario: ScenarioKey,
    /// From 1.
    pub(crate) attempt: usize,
}

/// What the hooks and the record of a run share.
pub(crate) struct Context {
    pub(crate) suite: Arc<Suite>,
    pub(crate) folder: RunFolder,
    /// Whether bundles of scenarios that passed are kept, too.
    pub(crate) keep: bool,
    /// The command that runs a scenario, without the scenario.
    pub(crate) command: String,
    begun: Mutex<HashMap<ScenarioKey, usize>>,
    evidence: Mutex<HashMap<AttemptKey, Evidence>>,
}

/// What is known of a failed attempt's cluster, taken before it was released.
#[derive(Default)]
struct Evidence {
    nodes: Option<String>,
    journal: Vec<String>,
    log_lines: Vec<LogLine>,
    bundle: PathBuf,
}

impl Context {
    pub(crate) fn new(suite: Arc<Suite>, folder: RunFolder, keep: bool, command: String) -> Self {
        Self {
            suite,
            folder,
            keep,
            command,
            begun: Mutex::default(),
            evidence: Mutex::default(),
        }
    }

    /// The report of a failed attempt, made of what its events said and what was kept of its cluster.
    pub(crate) fn report(
        &self,
        key: &AttemptKey,
        title: String,
        step: Option<FailedStep>,
        error: String,
    ) -> FailureReport {
        let mut evidence = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
        let evidence = evidence.remove(key).unwrap_or_else(|| Evidence {
            bundle: self.folder.path().to_owned(),
            ..Evidence::default()
        });
        FailureReport {
            title,
            attempt: key.attempt,
            step,
            error,
            nodes: evidence.nodes,
            journal: evidence.journal,
            log_lines: evidence.log_lines,
            bundle: evidence.bundle,
            again: self.again(&key.scenario),
        }
    }

    fn again(&self, scenario: &ScenarioKey) -> String {
        let place = format!("{}:{}", scenario.feature.display(), scenario.line);
        if place.contains(char::is_whitespace) {
            format!("{} '{place}'", self.command)
        } else {
            format!("{} {place}", self.command)
        }
    }

    /// Which try of the scenario begins now.
    fn next_attempt(&self, scenario: &ScenarioKey) -> usize {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = begun.entry(scenario.clone()).or_default();
        *attempt += 1;
        *attempt
    }

    fn attempt(&self, scenario: &ScenarioKey) -> usize {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.get(scenario).copied().unwrap_or(1)
    }

    /// Tells a new World which scenario it is for, and makes its folder.
    async fn begin(
        &self,
        feature: &Feature,
        rule: Option<&Rule>,
        scenario: &Scenario,
        world: &mut TrellisWorld,
    ) {
        let key = scenario_key(feature, scenario);
        let attempt = self.next_attempt(&key);
        let folder = self
            .folder
            .attempt(&key.feature, key.line, &scenario.name, attempt);
        let plan = self.suite.plans.get(&key).cloned().unwrap_or_default();
        world.begin(full_name(feature, scenario), folder.clone(), plan);
        if let Err(error) = tokio::fs::create_dir_all(&folder).await {
            panic!("cannot create {}: {error}", folder.display());
        }
        let rule_tags = rule.into_iter().flat_map(|rule| &rule.tags);
        let mut tags = scenario.tags.iter().chain(rule_tags).chain(&feature.tags);
        if let Err(error) = world.take_lane(tags.any(|tag| tag == SERIAL)).await {
            panic!("{error}");
        }
    }

    /// Keeps what is needed of a scenario, and releases everything that it owns. Fails the scenario when something is left.
    async fn end(
        &self,
        feature: &Feature,
        scenario: &Scenario,
        finished: &ScenarioFinished,
        world: &mut TrellisWorld,
    ) {
        let scenario = scenario_key(feature, scenario);
        let attempt = self.attempt(&scenario);
        // One that was set aside leaves nothing to look at.
        let passed = matches!(
            finished,
            ScenarioFinished::StepPassed | ScenarioFinished::StepSkipped
        );
        // A scenario that passes only now is as interesting as one that failed.
        let keep = self.keep || !passed || attempt > 1;
        if keep {
            collect(world).await;
        }
        self.note_missing(world);
        let mut evidence = gather(world);
        let released = world.release().await;
        if passed && !keep && released.is_ok() {
            remove(world.folder.clone(), self.folder.path().to_owned()).await;
            return;
        }
        let nodes = world.folder.join("nodes");
        let read = tokio::task::spawn_blocking(move || first_errors(&nodes));
        evidence.log_lines = read.await.unwrap_or_default();
        let key = AttemptKey { scenario, attempt };
        self.evidence
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, evidence);
        if let Err(error) = released {
            panic!("{error}");
        }
    }
}

impl Context {
    /// Has the run folder say what the scenario's attached cluster lacked, also when the scenario passed.
    fn note_missing(&self, world: &TrellisWorld) {
        let missing = world.cluster.as_ref().map(Cluster::missing);
        let missing = missing.unwrap_or_default();
        if missing.is_empty() {
            return;
        }
        if let Err(error) = self.folder.note_missing(&world.title, missing) {
            tracing::warn!(%error, "the report does not say which nodes were missing");
        }
    }
}

/// Copies the logs and configurations of the nodes below the scenario's folder.
async fn collect(world: &TrellisWorld) {
    let Some(cluster) = world.cluster.clone() else {
        return;
    };
    let target = world.folder.join("nodes");
    let copy = tokio::spawn(async move { cluster.collect(&target).await });
    if let Err(error) = copy.await {
        tracing::warn!(%error, "logs were not kept");
    }
}

fn gather(world: &TrellisWorld) -> Evidence {
    let nodes = world.cluster.as_ref().map(shown_nodes);
    let journal = world
        .journal
        .entries()
        .iter()
        .map(ToString::to_string)
        .collect();
    Evidence {
        nodes,
        journal,
        log_lines: Vec::new(),
        bundle: world.folder.clone(),
    }
}

/// Removes the folder of a scenario that passed, and those above it that are empty then.
async fn remove(folder: PathBuf, root: PathBuf) {
    let work = tokio::task::spawn_blocking(move || {
        if let Err(error) = std::fs::remove_dir_all(&folder) {
            tracing::warn!(%error, folder = %folder.display(), "a folder was not removed");
        }
        let above = folder
            .ancestors()
            .skip(1)
            .take_while(|above| *above != root);
        // The first one that is not empty ends it.
        above.map(std::fs::remove_dir).find(Result::is_err);
    });
    if let Err(error) = work.await {
        tracing::warn!(%error, "a folder was not removed");
    }
}

/// Runs `features`, which have `total` scenarios, and prints and saves everything but the last lines.
///
/// # Errors
/// A part of the harness that panicked, in words. What the scenarios owned is released by then, or dies with the process.
pub(crate) async fn run(
    context: &Arc<Context>,
    features: Vec<Feature>,
    total: usize,
    options: &HarnessOptions,
    screen: &Screen,
) -> Result<Outcome, StepError> {
    let mut writers = Writers::new(options, screen.clone());
    let mut events = events(context, features, options);
    let listen = async {
        let mut record = Record::new(Arc::clone(context));
        while let Some(event) = events.next().await {
            if let Ok(event) = &event {
                if !record.takes(event) {
                    continue;
                }
                if matches!(**event, Cucumber::Finished) {
                    // Between the results and the summary.
                    let outcome = record.finish(total);
                    print_failures(&outcome, screen);
                    writers.handle(Ok(event.clone())).await;
                    return Some(outcome);
                }
            }
            writers.handle(event).await;
        }
        None
    };
    // Cucumber takes the panic hook away for the time of the run, so a panic of ours would be silent.
    let listened = std::panic::AssertUnwindSafe(listen).catch_unwind().await;
    if let Err(error) = writers.save(context.folder.path()) {
        screen.aside(format_args!("the reports were not saved: {error}"));
    }
    match listened {
        Ok(Some(outcome)) => Ok(outcome),
        Ok(None) => Err(StepError::new("cucumber ended without an end")),
        Err(panic) => {
            let text = super::record::panic_text(&panic.into());
            Err(StepError::new(format!("the harness itself failed: {text}")))
        }
    }
}

fn events(
    context: &Arc<Context>,
    features: Vec<Feature>,
    options: &HarnessOptions,
) -> <runner::Basic<TrellisWorld> as Runner<TrellisWorld>>::EventStream {
    let cli = runner::basic::Cli {
        concurrency: Some(options.concurrency()),
        fail_fast: options.fail_fast,
        retry: options.retry,
        retry_after: options.retry_after,
        retry_tag_filter: options.retry_tag_filter.clone(),
    };
    runner::Basic::<TrellisWorld>::default()
        .steps(TrellisWorld::collection())
        .before(before(Arc::clone(context)))
        .after(after(Arc::clone(context)))
        .run(stream::iter(features.into_iter().map(Ok)), cli)
}

fn before(
    context: Arc<Context>,
) -> impl for<'a> Fn(
    &'a Feature,
    Option<&'a Rule>,
    &'a Scenario,
    &'a mut TrellisWorld,
) -> LocalBoxFuture<'a, ()> {
    move |feature, rule, scenario, world| {
        let context = Arc::clone(&context);
        async move { context.begin(feature, rule, scenario, world).await }.boxed_local()
    }
}

fn after(
    context: Arc<Context>,
) -> impl for<'a> Fn(
    &'a Feature,
    Option<&'a Rule>,
    &'a Scenario,
    &'a ScenarioFinished,
    Option<&'a mut TrellisWorld>,
) -> LocalBoxFuture<'a, ()> {
    move |feature, _, scenario, finished, world| {
        let context = Arc::clone(&context);
        async move {
            // There is none when the run was stopped before the scenario began.
            if let Some(world) = world {
                context.end(feature, scenario, finished, world).await;
            }
        }
        .boxed_local()
    }
}

fn print_failures(outcome: &Outcome, screen: &Screen) {
    for report in &outcome.failed {
        screen.line(format_args!("\n{report}"));
    }
    if !outcome.failed.is_empty() {
        screen.line("");
    }
}
