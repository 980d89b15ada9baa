//! Aside: scenarios that cannot be run on this machine, because a program is missing.
//!
//! They are no failures and did not pass: they stay in every report, as skipped, with the reason. Which ones they are, the check found out.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
};

use gherkin::{Feature, Scenario, Step, StepType};
use trellis_domain::AppName;

use super::record::scenario_key;
use crate::{Privilege, Program, ScenarioKey, ScenarioPlan, SuiteApp};

/// By this tag cucumber knows a skipped scenario that does not fail the run.
const SKIP_ALLOWED: &str = "allow.skipped";

/// The programs that are not on the search path, by the application that needs them.
pub(crate) fn missing(apps: &[SuiteApp], search_path: Option<&OsStr>) -> Vec<(AppName, Program)> {
    let needs = apps.iter().flat_map(|app| {
        let needed = app.needs.iter();
        needed.map(|program| (app.application.name().clone(), program.clone()))
    });
    needs
        .filter(|(_, program)| !program.is_on(search_path))
        .collect()
}

/// What has to be allowed before nodes can have disks of their own, by their application.
pub(crate) fn privileges(apps: &[SuiteApp]) -> Vec<(AppName, Privilege)> {
    let with_disks = apps.iter().filter_map(|app| {
        let disks = app.disks.clone()?;
        Some((app.application.name().clone(), disks))
    });
    with_disks.collect()
}

/// How many scenarios of these plans lack which program.
pub(crate) fn lacking(plans: &HashMap<ScenarioKey, ScenarioPlan>) -> BTreeMap<Program, usize> {
    let mut counts = BTreeMap::new();
    for program in plans.values().flat_map(|plan| &plan.missing) {
        *counts.entry(program.clone()).or_default() += 1;
    }
    counts
}

/// Takes the scenarios that lack something out of their features, and puts them into features of their own.
///
/// There they have a single step, the reason, which nothing defines, so that cucumber skips them; a background of their feature would be run before that, so it is left out.
pub(crate) fn set_aside(
    features: Vec<Feature>,
    plans: &HashMap<ScenarioKey, ScenarioPlan>,
) -> Vec<Feature> {
    let mut result = Vec::new();
    for feature in features {
        let missing = |scenario: &Scenario| {
            let plan = plans.get(&scenario_key(&feature, scenario));
            plan.map_or(&[][..], |plan| &plan.missing)
        };
        let mut aside = feature.clone();
        retain(&mut aside, |scenario| !missing(scenario).is_empty());
        let mut kept = feature.clone();
        retain(&mut kept, |scenario| missing(scenario).is_empty());
        aside.background = None;
        aside
            .rules
            .iter_mut()
            .for_each(|rule| rule.background = None);
        for scenario in scenarios(&mut aside) {
            scenario.steps = vec![reason(scenario, missing(scenario))];
            scenario.tags.push(SKIP_ALLOWED.to_owned());
        }
        let parts = [kept, aside];
        result.extend(parts.into_iter().filter(|part| !is_empty(part)));
    }
    result
}

fn retain(feature: &mut Feature, wanted: impl Fn(&Scenario) -> bool) {
    feature.scenarios.retain(&wanted);
    for rule in &mut feature.rules {
        rule.scenarios.retain(&wanted);
    }
    feature.rules.retain(|rule| !rule.scenarios.is_empty());
}

fn scenarios(feature: &mut Feature) -> impl Iterator<Item = &mut Scenario> {
    let ruled = feature
        .rules
        .iter_mut()
        .flat_map(|rule| &mut rule.scenarios);
    feature.scenarios.iter_mut().chain(ruled)
}

fn is_empty(feature: &Feature) -> bool {
    feature.scenarios.is_empty() && feature.rules.is_empty()
}

/// Why a scenario is skipped, in place of its steps.
fn reason(scenario: &Scenario, missing: &[Program]) -> Step {
    let programs: Vec<String> = missing.iter().map(ToString::to_string).collect();
    Step {
        keyword: "Given ".to_owned(),
        ty: StepType::Given,
        value: format!(
            "what this machine does not have: {}",
            programs.join(" and ")
        ),
        docstring: None,
        table: None,
        span: scenario.span,
        position: scenario.position,
    }
}

#[cfg(test)]
mod tests {
    use gherkin::GherkinEnv;

    use super::*;

    const FEATURE: &str = "\
Feature: F
  Background:
    Given a background
  Scenario: here
    Given a step
  Scenario: there
    Given a step
  Rule: R
    Background:
      Given a background
    Scenario: there, too
      Given a step
";

    fn names(feature: &Feature) -> Vec<&str> {
        let ruled = feature.rules.iter().flat_map(|rule| &rule.scenarios);
        let scenarios = feature.scenarios.iter().chain(ruled);
        scenarios.map(|scenario| scenario.name.as_str()).collect()
    }

    fn plans(lines: &[usize]) -> HashMap<ScenarioKey, ScenarioPlan> {
        let plan = ScenarioPlan {
            missing: vec![Program::named("etcd", "apt-get install etcd-server")],
            ..ScenarioPlan::default()
        };
        let key = |line: &usize| ScenarioKey {
            feature: "f.feature".into(),
            line: *line,
        };
        lines.iter().map(|line| (key(line), plan.clone())).collect()
    }

    fn feature() -> Feature {
        let mut feature = Feature::parse(FEATURE, GherkinEnv::default()).unwrap();
        feature.path = Some("f.feature".into());
        feature
    }

    #[test]
    fn what_lacks_something_is_set_aside_with_the_reason_and_without_its_backgrounds() {
        let parts = set_aside(vec![feature()], &plans(&[6, 11]));
        let [kept, aside] = parts.as_slice() else {
            panic!("{parts:?}");
        };
        assert_eq!(names(kept), ["here"]);
        assert!(kept.background.is_some() && kept.rules.is_empty());
        assert_eq!(names(aside), ["there", "there, too"]);
        assert!(aside.background.is_none() && aside.rules[0].background.is_none());
        let step = &aside.rules[0].scenarios[0].steps[0];
        assert_eq!(
            step.value,
            "what this machine does not have: etcd (apt-get install etcd-server)"
        );
    }

    #[test]
    fn nothing_is_touched_where_nothing_lacks() {
        assert_eq!(set_aside(vec![feature()], &plans(&[])), [feature()]);
    }

    #[test]
    fn a_feature_of_which_everything_lacks_is_not_kept_as_an_empty_one() {
        let parts = set_aside(vec![feature()], &plans(&[4, 6, 11]));
        assert_eq!(parts.len(), 1);
        assert_eq!(lacking(&plans(&[4, 6, 11])).into_values().sum::<usize>(), 3);
    }
}
