//! Chains: refuses steps about what the application of a scenario has not got - a chain, or its faucets.
//!
//! What a step speaks of is known by where it is defined.

use gherkin::Step;
use trellis_domain::AppName;

use super::{definitions::Definition, plan::Walk};

impl Walk<'_> {
    /// Refuses a step about a chain or a faucet where there is none.
    pub(super) fn needs_a_chain(&mut self, definition: &Definition, step: &Step) {
        let path = definition.location.path;
        if !path.contains("/chain/") {
            return;
        }
        let Some(app) = self.known_app() else {
            return;
        };
        if !self.facts.chains.contains(&app) {
            let chains = listed(&self.facts.chains, "keep a chain");
            let help = chains.map_or_else(
                || "no application of this suite keeps one".to_owned(),
                |known| format!("say `the application is ..` before it; {known}"),
            );
            let message =
                format!("the application {app} keeps no chain that this step could speak of");
            self.problem(step, message, Some(help));
        } else if path.ends_with("/faucet.rs") && !self.facts.faucets.contains(&app) {
            let help = listed(&self.facts.faucets, "have chains with faucets");
            let message = format!("the chain of {app} has no faucets that this step could ask");
            self.problem(step, message, help);
        }
    }

    /// The application of the scenario, if the suite has it.
    pub(super) fn known_app(&self) -> Option<AppName> {
        let mut apps = self.facts.apps.iter().map(|(name, _)| name);
        match &self.app {
            Some(wanted) => apps.find(|name| *name == wanted),
            None => apps.next(),
        }
        .cloned()
    }
}

pub(super) fn listed(apps: &[AppName], what: &str) -> Option<String> {
    let names: Vec<&str> = apps.iter().map(AppName::as_str).collect();
    (!names.is_empty()).then(|| format!("applications that {what}: {}", names.join(", ")))
}
