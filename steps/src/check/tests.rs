//! One test a kind of problem: what QA reads, to the letter.

use std::{fs, path::PathBuf};

use cucumber::Parameter as _;
use tempfile::TempDir;
use trellis_domain::Capability;
use trellis_settings::Environment;

use super::{
    definitions::{Definitions, all_effects, compile},
    *,
};
use crate::{NodeRef, TrellisWorld};

/// A folder of features.
pub(super) struct Features(TempDir);

impl Features {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join("features").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    pub(super) fn root(&self) -> PathBuf {
        self.0.path().join("features")
    }

    fn check(&self, selection: &Selection) -> SuiteCheck {
        check(&self.root(), selection, &facts()).unwrap()
    }

    fn select(&self, selection: Selection) -> Vec<String> {
        self.check(&selection).names().collect()
    }
}

pub(super) fn facts() -> SuiteFacts {
    let all: CapabilitySet = Capability::ALL.into_iter().collect();
    SuiteFacts {
        apps: vec![
            ("kv".parse().unwrap(), all),
            ("frail".parse().unwrap(), all.without(Capability::Pause)),
            ("absent".parse().unwrap(), all),
        ],
        chains: vec!["frail".parse().unwrap()],
        faucets: Vec::new(),
        projections: Vec::new(),
        backend: all.without(Capability::NetworkFault),
        attach: vec![
            ("static", CapabilitySet::NONE),
            ("signals", CapabilitySet::NONE.with(Capability::Pause)),
        ],
        settings: Arc::new(Settings::of_environment(Environment::new(|_| None))),
        budget: 5,
        disks: Vec::new(),
        missing: vec![(
            "absent".parse().unwrap(),
            Program::named("absentd", "apt-get install absent"),
        )],
        missing_is_wrong: true,
    }
}

/// What is wrong with a scenario of these steps, as it is shown.
fn problems(steps: &str) -> String {
    let steps = steps.trim().replace('\n', "\n    ");
    problems_of(&format!("Feature: F\n\n  Scenario: S\n    {steps}\n"))
}

fn problems_of(feature: &str) -> String {
    let features = Features::new(&[("a.feature", feature)]);
    let checked = features.check(&Selection::default());
    let shown: Vec<String> = checked
        .problems
        .iter()
        .map(|problem| problem.render(false))
        .collect();
    let shown = shown.join("\n");
    shown
        .lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_configuration_is_for_a_node_that_comes_later() {
    let late =
        problems("Given a cluster of 2 nodes\nAnd NODE_2 has user config override \"a\" as \"1\"");
    assert!(
        late.contains("NODE_2 is in the cluster already, with its configuration"),
        "{late}"
    );
    let never =
        problems("Given NODE_7 has user config override \"a\" as \"1\"\nAnd a cluster of 2 nodes");
    assert!(
        never.contains(r#"there is no node "NODE_7"; known nodes: NODE_1, NODE_2"#),
        "{never}"
    );
    let in_time =
        problems("Given NODE_2 has user config override \"a\" as \"1\"\nAnd a cluster of 2 nodes");
    assert_eq!(in_time, "");
}

#[test]
fn a_sound_scenario_has_no_problems_and_a_plan() {
    let text = "Feature: F\n  Background:\n    Given a cluster of 3 nodes\n\n  Scenario: S\n    When I stop NODE_2\n    And I start NODE_4\n    And I stop the leader\n    Then NODE_4 is running\n";
    let features = Features::new(&[("a.feature", text)]);
    let checked = features.check(&Selection::default());
    assert_eq!(checked.problems.len(), 0, "{:?}", checked.problems);
    let plan = checked.plans.values().next().unwrap();
    assert_eq!((plan.nodes_max, checked.steps), (4, 4));
    let operations: Vec<&str> = plan.operations.iter().map(|o| o.step.as_str()).collect();
    assert_eq!(
        operations,
        [
            "features/a.feature:6: I stop NODE_2",
            "features/a.feature:7: I start NODE_4"
        ]
    );
}

#[test]
fn an_undefined_step_names_its_neighbours() {
    insta::assert_snapshot!(problems("Given a cluster of 3 knots"), @r#"
     × undefined step: no step is "a cluster of 3 knots"
      ╭─[features/a.feature:4:5]
    3 │   Scenario: S
    4 │     Given a cluster of 3 knots
      ·     ─────────────┬────────────
      ·                  ╰── in this step
      ╰────
     help: did you mean:
             a cluster of {count} node(s)
    "#);
}

#[test]
fn an_unknown_node_lists_the_known_ones() {
    insta::assert_snapshot!(problems("Given a cluster of 2 nodes\nWhen I kill node \"NODE_4\""), @r#"
     × there is no node "NODE_4"; known nodes: NODE_1, NODE_2
      ╭─[features/a.feature:5:5]
    4 │     Given a cluster of 2 nodes
    5 │     When I kill node "NODE_4"
      ·     ────────────┬────────────
      ·                 ╰── in this step
      ╰────
    "#);
}

#[test]
fn the_node_is_found_behind_quoted_texts() {
    let text = problems("Given a cluster of 1 node\nThen key \"a\" reads 'b' on NODE_7");
    assert!(
        text.contains("there is no node \"NODE_7\"; known nodes: NODE_1"),
        "{text}"
    );
}

#[cucumber::given("two meanings")]
fn one_meaning(_: &mut TrellisWorld) {}

#[cucumber::given(regex = "^two (?:meanings|words)$")]
fn another_meaning(_: &mut TrellisWorld) {}

#[test]
fn an_ambiguous_step_lists_all_that_it_could_be() {
    let text = problems("Given two meanings");
    assert!(
        text.contains("ambiguous step: 2 steps are \"two meanings\""),
        "{text}"
    );
    assert!(
        text.contains("two meanings  (steps/src/check/tests.rs:"),
        "{text}"
    );
    assert!(
        text.contains("two meanings/words  (steps/src/check/tests.rs:"),
        "{text}"
    );
}

#[test]
fn an_undefined_step_hides_what_nodes_there_are() {
    let text = problems("Given a flock of 3 sheep in a field\nWhen I kill NODE_4");
    assert!(
        text.contains("undefined step") && !text.contains("there is no node"),
        "{text}"
    );
}

#[test]
fn a_lifecycle_step_on_a_borrowed_node_is_refused_in_the_words_of_the_run() {
    let steps =
        "Given external nodes:\n  | node | url |\n  | PUB | http://10.0.0.9:1 |\nWhen I stop PUB";
    insta::assert_snapshot!(problems(steps), @r"
     × refused to stop PUB: it is borrowed (external (features/a.feature:3: S, line 4)), and borrowed nodes are only queried and submitted to; it would need an opt-in for lifecycle that names PUB in the feature
      ╭─[features/a.feature:7:5]
    6 │       | PUB | http://10.0.0.9:1 |
    7 │     When I stop PUB
      ·     ───────┬───────
      ·            ╰── in this step
      ╰────
    ");
}

#[test]
fn what_application_and_backend_cannot_do_is_refused() {
    let text = problems(
        "Given the application is \"frail\"\nAnd a cluster of 1 node\nWhen I pause NODE_1\nAnd I pause the leader\nAnd I stop NODE_1",
    );
    assert!(
        text.contains("cannot pause NODE_1: it would need the capability pause"),
        "{text}"
    );
    assert!(
        text.contains("cannot pause the leader: it would need the capability pause"),
        "{text}"
    );
    assert!(!text.contains("cannot stop"), "{text}");
}

#[test]
fn an_unknown_application_lists_the_known_ones() {
    let text = problems("Given the application is \"kw\"");
    assert!(text.contains("there is no application \"kw\""), "{text}");
    assert!(text.contains("known applications: kv, frail"), "{text}");
}

#[test]
fn a_malformed_table_says_what_it_should_be() {
    insta::assert_snapshot!(problems("Given external nodes:\n  | name |\n  | A    |"), @r#"
     × malformed step: the step needs a table with the columns node, url and, where wanted, endpoint, user, password, token; this one has name
      ╭─[features/a.feature:4:5]
    3 │   Scenario: S
    4 │     Given external nodes:
      ·     ──────────┬──────────
      ·               ╰── in this step
    5 │       | name |
      ╰────
     help: the step is "external nodes:"
    "#);
}

#[test]
fn a_malformed_parameter_is_found() {
    let text = problems("Given a cluster of 0 nodes\nAnd a cluster of 1 node\nWhen I stop \"a b\"");
    assert!(
        text.contains("malformed step: a cluster has at least one node"),
        "{text}"
    );
    assert!(
        text.contains("malformed step: node name \"a b\" has ' ' in it"),
        "{text}"
    );
}

#[test]
fn no_more_nodes_start_than_capacity_and_budget_allow() {
    let text = problems(
        "Given I have a cluster with capacity of 1 nodes\nWhen I start NODE_1\nAnd I start NODE_1\nAnd I start NODE_2",
    );
    assert!(
        text.contains(
            "cannot start NODE_2: the cluster has a capacity of 1 nodes and 1 are in it already"
        ),
        "{text}"
    );
    let text = problems("Given a cluster of 6 nodes");
    assert!(
        text.contains("the scenario has 6 nodes, and at most 5 may run at one time"),
        "{text}"
    );
}

#[test]
fn two_nodes_cannot_have_one_name() {
    let text = problems(
        "Given external nodes:\n  | node | url |\n  | A | http://10.0.0.9:1 |\n  | A | http://10.0.0.9:2 |",
    );
    assert!(
        text.contains("A is listed twice with an endpoint http; node names are unique"),
        "{text}"
    );
    let text = problems(
        "Given external nodes:\n  | node | url |\n  | NODE_2 | http://10.0.0.9:1 |\n  And a cluster of 3 nodes",
    );
    assert!(
        text.contains("two nodes of the scenario are called NODE_2"),
        "{text}"
    );
}

#[test]
fn a_phrase_about_chains_is_refused_where_the_application_keeps_none() {
    let text = problems("Given a cluster of 1 node\n  Then all nodes agree on LIB in 5 seconds");
    assert!(
        text.contains("the application kv keeps no chain that this step could speak of"),
        "{text}"
    );
    let fine = problems(
        "Given the application is \"frail\"\n  And a cluster of 1 node\n  Then all nodes agree on LIB in 5 seconds",
    );
    assert!(!fine.contains("keeps no chain"), "{fine}");
}

#[test]
fn a_phrase_about_faucets_is_refused_where_the_chain_has_none() {
    let text = problems(
        "Given the application is \"frail\"\n  And I have a faucet with URL \"http://127.0.0.1:1\"",
    );
    assert!(text.contains("the chain of frail has no faucets"), "{text}");
}

#[test]
fn what_is_not_gherkin_is_shown_where_it_begins() {
    insta::assert_snapshot!(problems_of("Feature: F\n  Scenario: S\n    Given a cluster of 1 node\n    Wenn es regnet\n"), @r"
     × the feature is not Gherkin: Unknown keyword: 'Wenn'.
      ╭─[features/a.feature:4:5]
    3 │     Given a cluster of 1 node
    4 │     Wenn es regnet
      ·     ───────┬──────
      ·            ╰── not understood
      ╰────
    ");
}

#[test]
fn a_table_of_uneven_rows_is_not_gherkin() {
    let text = problems("Given external nodes:\n  | node | url |\n  | A |");
    assert!(
        text.contains("not Gherkin") && text.contains("a.feature:"),
        "{text}"
    );
}

#[test]
fn an_outline_repeats_no_problem() {
    let outline = "Feature: F\n  Scenario Outline: S\n    Given a cluster of <n> nodes\n    When I stop NODE_9\n\n    Examples:\n      | n |\n      | 1 |\n      | 1 |\n";
    let text = problems_of(outline);
    assert_eq!(text.matches("NODE_9\";").count(), 1, "{text}");
}

#[test]
fn what_would_pass_without_doing_anything_is_a_problem() {
    let text = problems_of(
        "Feature: F\n  Scenario: Empty\n  Scenario Outline: No rows\n    Given a cluster of <n> nodes\n    Examples:\n      | n |\n",
    );
    assert!(text.contains("the scenario has no steps"), "{text}");
    assert!(text.contains("the outline has no example rows"), "{text}");
    let text = problems_of(
        "Feature: F\n  Scenario Outline: S\n    Given a cluster of <m> nodes\n    Examples:\n      | n |\n      | 1 |\n",
    );
    assert!(
        text.contains("<m> is not a column of the examples"),
        "{text}"
    );
}

#[test]
fn features_are_selected_by_place_name_and_tag() {
    let a = "Feature: A\n  @smoke\n  Scenario: one\n    Given a cluster of 1 node\n\n  Scenario Outline: two\n    Given a cluster of <n> nodes\n\n    Examples:\n      | n |\n      | 1 |\n      | 2 |\n";
    let b = "Feature: B\n  Rule: R\n    @smoke @slow\n    Scenario: three\n      Given a cluster of 1 node\n";
    let features = Features::new(&[("x/a.feature", a), ("b.feature", b)]);
    let one = "features/x/a.feature:3: one";
    let (two, other_two) = (
        "features/x/a.feature:11: two",
        "features/x/a.feature:12: two",
    );
    let three = "features/b.feature:4: three";
    let inputs = |inputs: &[&str]| {
        let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
        features.select(Selection {
            inputs,
            ..Selection::default()
        })
    };
    assert_eq!(inputs(&[]), [three, one, two, other_two]);
    assert_eq!(inputs(&["features/x"]), [one, two, other_two]);
    assert_eq!(inputs(&["features/*.feature"]), [three]);
    assert_eq!(inputs(&["x/a.feature:4"]), [one]);
    assert_eq!(inputs(&["features/x/a.feature:7"]), [two, other_two]);
    assert_eq!(inputs(&["features/x/a.feature:12"]), [other_two]);
    assert_eq!(
        inputs(&["features/x/a.feature:12", "features/x/a.feature:2"]),
        [one, other_two]
    );
    assert_eq!(inputs(&["features/x/a.feature:1"]), [one, two, other_two]);
    let tags = |tags: &str| {
        features.select(Selection {
            tags: Some(tags.parse().unwrap()),
            ..Selection::default()
        })
    };
    assert_eq!(tags("@smoke and not @slow"), [one]);
    let filter = |filter: &str, exact| {
        features.select(Selection {
            filters: vec![filter.into()],
            exact,
            ..Selection::default()
        })
    };
    assert_eq!(filter("two", false), [two, other_two]);
    assert_eq!(filter(two, true), [two]);
    assert!(filter("tw", true).is_empty());
    let missing = Selection {
        inputs: vec!["nowhere.feature".into()],
        ..Selection::default()
    };
    let error = check(&features.root(), &missing, &facts())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("there is no feature file or folder nowhere.feature"),
        "{error}"
    );
}

#[test]
fn every_listed_effect_belongs_to_a_step() {
    for effects in all_effects() {
        let regex = compile(effects.expression).expect(effects.expression);
        let found = Definitions::ours()
            .all()
            .any(|step| step.regex.as_str() == regex.as_str());
        assert!(found, "no step has the expression {:?}", effects.expression);
    }
}

#[test]
fn every_step_that_names_a_node_says_what_it_does_to_it() {
    for step in Definitions::ours()
        .all()
        .filter(|step| step.regex.as_str().contains(NodeRef::REGEX))
    {
        assert!(
            step.effects.is_some(),
            "{:?} is in no table of effects",
            step.expression
        );
    }
}

#[test]
fn expressions_are_told_from_their_regular_expressions() {
    let expressions: Vec<&str> = Definitions::ours()
        .all()
        .map(|step| step.expression.as_str())
        .collect();
    for expected in [
        "nodes must be ready within {duration}",
        "{count} node(s) is/are running",
    ] {
        assert!(expressions.contains(&expected), "{expressions:#?}");
    }
    assert!(
        expressions.iter().all(|text| !text.contains("(?:")),
        "{expressions:#?}"
    );
}

#[test]
fn no_step_means_two_things() {
    let of_these_tests = |path: &str| path.ends_with("check/tests.rs");
    for step in Definitions::ours()
        .all()
        .filter(|step| !of_these_tests(step.location.path))
    {
        let text = step
            .expression
            .replace("(s)", "s")
            .replace("{duration}", "5 seconds");
        let text = text
            .replace("{count}", "3")
            .replace("{int}", "3")
            .replace("{node}", "NODE_1")
            .replace("{touched}", "reconfigured")
            .replace("{amount}", "3 or more");
        let text = text
            .replace("{string}", "\"x\"")
            .replace("is/are", "is")
            .replace("has/have", "has");
        let line = gherkin::Step::builder()
            .keyword("Given ".into())
            .ty(gherkin::StepType::Given)
            .value(text.clone())
            .build();
        let found = Definitions::ours().find(&line);
        assert!(
            matches!(found, definitions::Found::One(..)),
            "{text:?} is not one step"
        );
    }
}

#[test]
fn a_scenario_that_would_run_a_missing_program_is_wrong_or_says_what_it_lacks() {
    let feature = "Feature: F\n  Scenario: S\n    Given the application is \"absent\"\n    And a cluster of 1 node\n";
    let shown = problems_of(feature);
    assert!(shown.contains("absentd is not on this machine"), "{shown}");
    assert!(shown.contains("apt-get install absent"), "{shown}");

    let features = Features::new(&[("a.feature", feature)]);
    let facts = SuiteFacts {
        missing_is_wrong: false,
        ..facts()
    };
    let checked = check(&features.root(), &Selection::default(), &facts).unwrap();
    assert!(checked.problems.is_empty(), "{:?}", checked.problems);
    let missing: Vec<_> = checked
        .plans
        .values()
        .flat_map(|plan| &plan.missing)
        .collect();
    assert_eq!(
        missing,
        [&Program::named("absentd", "apt-get install absent")]
    );
}

#[test]
fn a_scenario_that_starts_no_node_needs_no_program() {
    let steps = "Given the application is \"absent\"\nAnd external nodes:\n  | node | url               |\n  | A    | http://10.0.0.9:1 |";
    assert_eq!(problems(steps), "");
}
