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
