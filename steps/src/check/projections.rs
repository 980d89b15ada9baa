//! Projections: refuses steps about events and views where the application of a scenario folds none, and a cluster of such nodes that have nothing to read from.
//!
//! What a step speaks of is known by where it is defined.

use gherkin::Step;

use super::{chains::listed, definitions::Definition, plan::Walk};

impl Walk<'_> {
    /// Refuses a step about events and views where nobody folds any.
    pub(super) fn needs_a_projection(&mut self, definition: &Definition, step: &Step) {
        let Some(app) = self.known_app() else {
            return;
        };
        let folds = self.facts.projections.contains(&app);
        if definition.location.path.contains("/projection/") {
            if folds {
                return;
            }
            let known = listed(&self.facts.projections, "fold events");
            let help = known.map_or_else(
                || "no application of this suite folds any".to_owned(),
                |known| format!("say `the application is ..` before it; {known}"),
            );
            let message =
                format!("the application {app} folds no events that this step could speak of");
            self.problem(step, message, Some(help));
        } else if folds && definition.expression == "a cluster of {count} node(s)" {
            let message = format!("the nodes of {app} would have no server to read from");
            let help = "begin with `a NATS server and 3 projection nodes`".to_owned();
            self.problem(step, message, Some(help));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        Privilege, Program,
        check::{
            Selection, SuiteCheck, SuiteFacts, check,
            tests::{Features, facts},
        },
    };

    /// What the check finds out about a scenario of these steps where the first application folds events, and nobody may mount.
    fn checked(steps: &str, missing_is_wrong: bool) -> SuiteCheck {
        let text = format!(
            "Feature: F\n  Scenario: S\n    {}\n",
            steps.replace('\n', "\n    ")
        );
        let privilege = Privilege {
            lacking: Program::named("a small disk", "run as root"),
            is_given: || false,
        };
        let facts = SuiteFacts {
            projections: vec!["kv".parse().unwrap()],
            disks: vec![("kv".parse().unwrap(), privilege)],
            missing_is_wrong,
            ..facts()
        };
        let features = Features::new(&[("a.feature", &text)]);
        check(&features.root(), &Selection::default(), &facts).unwrap()
    }

    fn problems(steps: &str) -> String {
        let checked = checked(steps, true);
        let shown = checked.problems.iter().map(|problem| problem.render(false));
        shown.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_phrase_about_events_is_refused_where_the_application_folds_none() {
        let elsewhere = "Given the application is \"frail\"\nWhen I publish 3 events";
        let text = problems(elsewhere);
        assert!(
            text.contains("frail folds no events that this step could speak of"),
            "{text}"
        );
        assert!(text.contains("applications that fold events: kv"), "{text}");
    }

    #[test]
    fn projection_nodes_without_a_server_are_refused_with_the_phrase_that_starts_both() {
        let text = problems("Given a cluster of 3 nodes");
        assert!(
            text.contains("the nodes of kv would have no server"),
            "{text}"
        );
        assert!(
            text.contains("a NATS server and 3 projection nodes"),
            "{text}"
        );
        let fine =
            "Given a NATS server and 3 projection nodes\nWhen I kill NATS\nAnd I stop NODE_3";
        assert_eq!(problems(fine), "");
        let unknown = problems("Given a NATS server and 1 projection node\nWhen I kill NODE_2");
        assert!(unknown.contains("known nodes: NATS, NODE_1"), "{unknown}");
    }

    #[test]
    fn a_disk_of_a_nodes_own_is_for_machines_that_let_us_mount() {
        let small = "Given NODE_1 has a disk of 24 MiB\nAnd a NATS server and 1 projection node";
        let text = problems(small);
        assert!(
            text.contains("a small disk is not on this machine"),
            "{text}"
        );
        let aside = checked(small, false);
        assert!(aside.problems.is_empty());
        let lacking = aside.plans.values().flat_map(|plan| &plan.missing);
        assert_eq!(lacking.count(), 1);
        let elsewhere =
            "Given NODE_7 has a disk of 24 MiB\nAnd a NATS server and 1 projection node";
        assert!(problems(elsewhere).contains("there is no node"));
        let usual = checked("Given a NATS server and 1 projection node", false);
        assert!(usual.plans.values().all(|plan| plan.missing.is_empty()));
    }
}
