//! What the record makes of events as cucumber sends them.

use std::sync::{Arc, atomic::AtomicU64};

use async_trait::async_trait;
use cucumber::event::Retries;
use gherkin::GherkinEnv;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use trellis_bootstrap::{ClusterRequest, Deployer, NodeControl, ProviderError, RunLedger, Silent};
use trellis_domain::CapabilitySet;
use trellis_report::RunFolder;
use trellis_settings::{Environment, Settings};

use super::*;
use crate::{ScenarioPlan, Suite};

struct Nowhere;

#[async_trait]
impl Deployer for Nowhere {
    fn name(&self) -> &'static str {
        "nowhere"
    }

    fn capabilities(&self) -> CapabilitySet {
        CapabilitySet::NONE
    }

    async fn open(&self, _: ClusterRequest) -> Result<Arc<dyn NodeControl>, ProviderError> {
        unreachable!("no scenario of these tests has a cluster")
    }
}

/// A record of a run of one feature with one scenario.
struct Run {
    record: Record,
    cancel: CancellationToken,
    feature: Source<Feature>,
    scenario: Source<Scenario>,
    _root: TempDir,
}

impl Run {
    fn new() -> Self {
        Self::lacking(Vec::new())
    }

    /// A run whose scenario lacks these programs.
    fn lacking(missing: Vec<Program>) -> Self {
        let key = ScenarioKey {
            feature: "a b.feature".into(),
            line: 2,
        };
        let plan = ScenarioPlan {
            missing,
            ..ScenarioPlan::default()
        };
        let root = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(&root.path().join("out")).unwrap();
        let ledger = RunLedger::open(root.path(), folder.id().parse().unwrap()).unwrap();
        let cancel = CancellationToken::new();
        let suite = Suite {
            apps: Vec::new(),
            deployer: Arc::new(Nowhere),
            attach: Vec::new(),
            outsiders: None,
            ledger: Arc::new(ledger),
            folder: folder.path().to_owned(),
            budget: 1,
            places: Arc::new(Semaphore::new(1)),
            lanes: crate::lane::Lanes::default(),
            cancel: cancel.clone(),
            progress: Arc::new(Silent),
            plans: HashMap::from([(key, plan)]),
            settings: Arc::new(Settings::of_environment(Environment::of_process())),
            trellis_command: None,
            cfgsync_commands: None,
            clusters: AtomicU64::new(0),
        };
        let context = Context::new(Arc::new(suite), folder, false, "run".into());
        let text = "Feature: F\n  Scenario: S\n    Given a step\n";
        let mut feature = Feature::parse(text, GherkinEnv::default()).unwrap();
        feature.path = Some("a b.feature".into());
        let scenario = Source::new(feature.scenarios[0].clone());
        let record = Record::new(Arc::new(context));
        Self {
            record,
            cancel,
            feature: Source::new(feature),
            scenario,
            _root: root,
        }
    }

    fn send(&mut self, event: ScenarioEvent, retries: Option<Retries>) -> bool {
        let event = event.with_retries(retries);
        let none: Option<Source<Rule>> = None;
        self.record.takes(&Cucumber::scenario(
            self.feature.clone(),
            none,
            self.scenario.clone(),
            event,
        ))
    }

    /// Sends an attempt that fails with `error`, or passes; says whether its end is shown.
    fn attempt(&mut self, error: Option<&str>, retries: Option<Retries>) -> bool {
        self.send(ScenarioEvent::Started, retries);
        if let Some(error) = error {
            let step = self.scenario.steps[0].clone();
            let error = StepError::Panic(Arc::new(error.to_owned()));
            let event = ScenarioEvent::step_failed(Source::new(step), None, None, None, error);
            self.send(event, retries);
        }
        self.send(ScenarioEvent::Finished, retries)
    }
}

const fn tries(current: usize, left: usize) -> Retries {
    Retries { current, left }
}

#[test]
fn a_failure_is_reported_with_its_step_and_a_command_that_runs_it_again() {
    let mut run = Run::new();
    assert!(run.attempt(Some("no leader"), None));
    let outcome = run.record.finish(1);
    let [report] = &outcome.failed[..] else {
        panic!("{outcome:?}")
    };
    assert_eq!(report.title, "a b.feature:2: S");
    assert_eq!(report.step.as_ref().unwrap().text, "Given a step");
    assert_eq!(report.step.as_ref().unwrap().place, "a b.feature:3");
    assert_eq!(report.error, "no leader");
    assert_eq!(report.again, "run 'a b.feature:2'");
    assert_eq!((outcome.passed, outcome.not_run), (0, 0));
}

#[test]
fn a_scenario_that_passes_on_a_later_try_is_flaky_and_not_failed() {
    let mut run = Run::new();
    run.attempt(Some("first"), Some(tries(0, 2)));
    run.attempt(Some("second"), Some(tries(1, 1)));
    run.attempt(None, Some(tries(2, 0)));
    let outcome = run.record.finish(1);
    assert_eq!(
        (outcome.passed, outcome.failed.len(), outcome.not_run),
        (1, 0, 0)
    );
    assert_eq!(outcome.flaky.len(), 1);
    assert_eq!(outcome.flaky[0].error, "first");
}

#[test]
fn a_scenario_that_fails_every_try_is_one_failure() {
    let mut run = Run::new();
    run.attempt(Some("first"), Some(tries(0, 1)));
    run.attempt(Some("second"), Some(tries(1, 0)));
    let outcome = run.record.finish(1);
    assert_eq!((outcome.failed.len(), outcome.flaky.len()), (1, 0));
    assert_eq!(
        (outcome.failed[0].attempt, outcome.failed[0].error.as_str()),
        (2, "second")
    );
}

#[test]
fn a_scenario_whose_next_try_never_comes_has_failed() {
    let mut run = Run::new();
    run.attempt(Some("first"), Some(tries(0, 1)));
    assert_eq!(run.record.finish(1).failed.len(), 1);
}

#[test]
fn what_could_not_be_released_fails_a_scenario_that_passed() {
    let mut run = Run::new();
    run.send(ScenarioEvent::Started, None);
    let why: event::Info = Arc::new("a node is still there".to_owned());
    run.send(ScenarioEvent::hook_failed(HookType::After, None, why), None);
    run.send(ScenarioEvent::Finished, None);
    let outcome = run.record.finish(1);
    assert_eq!(
        outcome.failed[0].error,
        "while it was cleaned up: a node is still there"
    );
}

#[test]
fn after_ctrl_c_what_ran_is_interrupted_and_what_did_not_is_neither_shown_nor_failed() {
    let mut run = Run::new();
    run.send(ScenarioEvent::Started, None);
    run.cancel.cancel();
    assert!(
        run.send(ScenarioEvent::Finished, None),
        "what began is shown to its end"
    );
    let mut late = Run::new();
    late.cancel.cancel();
    assert!(!late.attempt(Some("interrupted"), None));
    let outcome = late.record.finish(3);
    assert_eq!(
        (outcome.failed.len(), outcome.interrupted, outcome.not_run),
        (0, 0, 3)
    );
    let mut stopped = Run::new();
    stopped.send(ScenarioEvent::Started, None);
    stopped.cancel.cancel();
    let error = StepError::Panic(Arc::new("interrupted".to_owned()));
    let step = Source::new(stopped.scenario.steps[0].clone());
    assert!(stopped.send(
        ScenarioEvent::step_failed(step, None, None, None, error),
        None
    ));
    stopped.send(ScenarioEvent::Finished, None);
    let outcome = stopped.record.finish(3);
    assert_eq!(
        (outcome.failed.len(), outcome.interrupted, outcome.not_run),
        (0, 1, 2)
    );
}

#[test]
fn a_skip_is_green_only_where_a_program_is_missing() {
    for (missing, green) in [
        (Vec::new(), false),
        (vec![Program::named("etcd", "")], true),
    ] {
        let mut run = Run::lacking(missing.clone());
        run.send(ScenarioEvent::Started, None);
        let step = Source::new(run.scenario.steps[0].clone());
        run.send(ScenarioEvent::Step(step, event::Step::Skipped), None);
        run.send(ScenarioEvent::Finished, None);
        let outcome = run.record.finish(1);
        assert_eq!(outcome.is_green(), green, "{outcome:?}");
        assert_eq!(outcome.skipped + outcome.aside, 1);
        assert!(outcome.lacking.into_keys().eq(missing));
    }
}

#[test]
fn a_feature_that_begins_after_ctrl_c_is_not_announced() {
    let mut run = Run::new();
    let feature = run.feature.clone();
    run.cancel.cancel();
    assert!(
        !run.record
            .takes(&Cucumber::feature_started(feature.clone()))
    );
    assert!(!run.record.takes(&Cucumber::feature_finished(feature)));
    assert!(run.record.takes(&Cucumber::Finished));
}
