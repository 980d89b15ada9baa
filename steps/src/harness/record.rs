//! The record: what became of each scenario, told from cucumber's events.
//!
//! It also decides which events are shown: a scenario that begins after the run was told to stop is none that failed.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use cucumber::event::{self, Cucumber, Hook, HookType, RetryableScenario, Source, StepError};
use gherkin::{Feature, Rule, Scenario, Step};
use trellis_report::{FailedStep, FailureReport};

use super::run::{AttemptKey, Context};
use crate::{Program, ScenarioKey, TrellisWorld, check::full_name};

type ScenarioEvent = event::Scenario<TrellisWorld>;

/// What became of the scenarios of a run.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// How many passed, those that are flaky included.
    pub(crate) passed: usize,
    /// How many were skipped by cucumber.
    pub(crate) skipped: usize,
    /// How many were set aside, because a program is missing.
    pub(crate) aside: usize,
    /// How many of them lack which program.
    pub(crate) lacking: BTreeMap<Program, usize>,
    /// The scenarios that failed, with the report of their last try.
    pub(crate) failed: Vec<FailureReport>,
    /// The scenarios that passed on a later try, with the report of their first one.
    pub(crate) flaky: Vec<FailureReport>,
    /// How many were stopped in the middle.
    pub(crate) interrupted: usize,
    /// How many never began.
    pub(crate) not_run: usize,
}

impl Outcome {
    /// Whether every scenario that was meant has passed: what was not run has shown nothing. What was set aside was not meant for this machine.
    pub(crate) fn is_green(&self) -> bool {
        self.failed.is_empty() && self.skipped + self.interrupted + self.not_run == 0
    }
}

/// Listens to a run's events as they happen.
pub(crate) struct Record {
    context: Arc<Context>,
    /// What the scenario under way has complained of so far.
    complaints: HashMap<AttemptKey, Complaint>,
    /// Scenarios that are to be tried again, with what went wrong each time.
    tried: HashMap<ScenarioKey, Vec<FailureReport>>,
    /// What began after the end of the run was ordered.
    late: HashSet<Late>,
    outcome: Outcome,
}

#[derive(Default)]
struct Complaint {
    step: Option<FailedStep>,
    errors: Vec<String>,
    skipped: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Late {
    Feature(Source<Feature>),
    Rule(Source<Rule>),
    Attempt(AttemptKey),
}

impl Record {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self {
            context,
            complaints: HashMap::new(),
            tried: HashMap::new(),
            late: HashSet::new(),
            outcome: Outcome::default(),
        }
    }

    /// Takes note of an event, and says whether it is to be shown.
    pub(crate) fn takes(&mut self, event: &Cucumber<TrellisWorld>) -> bool {
        let Cucumber::Feature(feature, event) = event else {
            return true;
        };
        match event {
            event::Feature::Started => self.begins(Late::Feature(feature.clone())),
            event::Feature::Finished => self.ends(&Late::Feature(feature.clone())),
            event::Feature::Scenario(scenario, event) => self.scenario(feature, scenario, event),
            event::Feature::Rule(rule, event) => match event {
                event::Rule::Started => self.begins(Late::Rule(rule.clone())),
                event::Rule::Finished => self.ends(&Late::Rule(rule.clone())),
                event::Rule::Scenario(scenario, event) => self.scenario(feature, scenario, event),
            },
        }
    }

    /// The outcome of a run that selected `total` scenarios, after its last event.
    pub(crate) fn finish(mut self, total: usize) -> Outcome {
        // To be tried again, but the run ended before that.
        for mut reports in self.tried.into_values() {
            match reports.pop() {
                Some(_) if self.context.suite.cancel.is_cancelled() => {
                    self.outcome.interrupted += 1;
                }
                Some(last) => self.outcome.failed.push(last),
                None => {}
            }
        }
        let outcome = &mut self.outcome;
        let run = outcome.passed
            + outcome.skipped
            + outcome.aside
            + outcome.failed.len()
            + outcome.interrupted;
        outcome.not_run = total.saturating_sub(run);
        self.outcome
    }

    fn begins(&mut self, what: Late) -> bool {
        let late = self.context.suite.cancel.is_cancelled();
        if late {
            self.late.insert(what);
        }
        !late
    }

    fn ends(&mut self, what: &Late) -> bool {
        !self.late.remove(what)
    }

    fn scenario(
        &mut self,
        feature: &Feature,
        scenario: &Scenario,
        event: &RetryableScenario<TrellisWorld>,
    ) -> bool {
        let attempt = event.retries.map_or(1, |retries| retries.current + 1);
        let key = AttemptKey {
            scenario: scenario_key(feature, scenario),
            attempt,
        };
        match &event.event {
            ScenarioEvent::Started => return self.begins(Late::Attempt(key)),
            ScenarioEvent::Finished if self.late.contains(&Late::Attempt(key.clone())) => {
                self.complaints.remove(&key);
                return self.ends(&Late::Attempt(key));
            }
            ScenarioEvent::Finished => {
                let again = event.retries.is_some_and(|retries| retries.left > 0);
                self.settle(key, full_name(feature, scenario), again);
                return true;
            }
            ScenarioEvent::Step(step, event) | ScenarioEvent::Background(step, event) => {
                self.step(&key, step, event);
            }
            ScenarioEvent::Hook(hook, Hook::Failed(_, info)) => {
                let when = match hook {
                    HookType::Before => "before its first step",
                    HookType::After => "while it was cleaned up",
                };
                let error = format!("{when}: {}", panic_text(info));
                self.complaints
                    .entry(key.clone())
                    .or_default()
                    .errors
                    .push(error);
            }
            ScenarioEvent::Hook(..) | ScenarioEvent::Log(_) => {}
        }
        !self.late.contains(&Late::Attempt(key))
    }

    fn step(&mut self, key: &AttemptKey, step: &Step, event: &event::Step<TrellisWorld>) {
        match event {
            event::Step::Failed(_, _, _, error) => {
                let complaint = self.complaints.entry(key.clone()).or_default();
                let place = format!("{}:{}", key.scenario.feature.display(), step.position.line);
                let text = format!("{} {}", step.keyword.trim(), step.value);
                complaint.step = Some(FailedStep { text, place });
                complaint.errors.push(match error {
                    StepError::Panic(info) => panic_text(info),
                    other => other.to_string(),
                });
            }
            event::Step::Skipped => self.complaints.entry(key.clone()).or_default().skipped = true,
            event::Step::Started | event::Step::Passed(..) => {}
        }
    }

    /// An attempt has ended.
    fn settle(&mut self, key: AttemptKey, title: String, again: bool) {
        let complaint = self.complaints.remove(&key).unwrap_or_default();
        if complaint.errors.is_empty() {
            let tries = self.tried.remove(&key.scenario).unwrap_or_default();
            self.outcome.flaky.extend(tries.into_iter().next());
            let plan = self.context.suite.plans.get(&key.scenario);
            let missing = plan.map_or(&[][..], |plan| &plan.missing);
            if complaint.skipped && !missing.is_empty() {
                self.outcome.aside += 1;
                for program in missing {
                    *self.outcome.lacking.entry(program.clone()).or_default() += 1;
                }
            } else if complaint.skipped {
                self.outcome.skipped += 1;
            } else {
                self.outcome.passed += 1;
            }
            return;
        }
        let report = self
            .context
            .report(&key, title, complaint.step, complaint.errors.join("\n"));
        if let Err(error) = report.write() {
            tracing::warn!(%error, folder = %report.bundle.display(), "the failure report was not kept");
        }
        let tries = self.tried.entry(key.scenario.clone()).or_default();
        if again {
            return tries.push(report);
        }
        self.tried.remove(&key.scenario);
        if self.context.suite.cancel.is_cancelled() {
            self.outcome.interrupted += 1;
        } else {
            self.outcome.failed.push(report);
        }
    }
}

/// Where a scenario stands.
pub(crate) fn scenario_key(feature: &Feature, scenario: &Scenario) -> ScenarioKey {
    ScenarioKey {
        feature: feature.path.clone().unwrap_or_default(),
        line: scenario.position.line,
    }
}

/// What a panic said; cucumber reports a step's error as one.
pub(crate) fn panic_text(info: &event::Info) -> String {
    let text = info.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| info.downcast_ref::<&'static str>().copied());
    text.unwrap_or("a panic that did not say why").to_owned()
}

#[cfg(test)]
mod tests;
