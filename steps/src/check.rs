//! The check before boot: everything about a suite that can be known wrong from its text, found with no process started.
//!
//! It reads features, looks up their steps, and walks through the effects of each scenario in thought (see `effect`).
//! Not here: what only a running cluster can tell; preflight checks the same operations again with the nodes that there are (`trellis-bootstrap`).

mod chains;
mod definitions;
mod load;
mod plan;
mod problem;
mod projections;
mod selection;
mod sources;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vocabulary;

use std::{collections::HashMap, path::Path, sync::Arc};

use gherkin::Feature;
use trellis_domain::{AppName, CapabilitySet};
use trellis_settings::Settings;

pub(crate) use load::full_name;
pub use problem::Problem;
pub use selection::{Selection, SelectionError};

use load::{all_scenarios, load};
use plan::{Lookup, Place, plan};
use problem::Problems;

use crate::{Privilege, Program, ScenarioKey, ScenarioPlan};

/// What the check must know of the suite that the features are to be run with.
#[derive(Debug, Clone)]
pub struct SuiteFacts {
    /// The applications and what they support; the first is the default.
    pub apps: Vec<(AppName, CapabilitySet)>,
    /// Those of them that keep a chain between their nodes.
    pub chains: Vec<AppName>,
    /// Those of them whose chains have faucets that can be asked.
    pub faucets: Vec<AppName>,
    /// Those of them whose nodes fold events into views.
    pub projections: Vec<AppName>,
    /// What the backend can do.
    pub backend: CapabilitySet,
    /// What can attach to running clusters, and what each can do to nodes there that are opted in.
    pub attach: Vec<(&'static str, CapabilitySet)>,
    /// Where clusters and nodes are looked up that features name.
    pub settings: Arc<Settings>,
    /// How many nodes may run at one time.
    pub budget: usize,
    /// The programs that this machine does not have, by the application that needs them.
    pub missing: Vec<(AppName, Program)>,
    /// What a machine has to allow before nodes of an application can have disks of their own.
    pub disks: Vec<(AppName, Privilege)>,
    /// Whether a scenario that would run one of them is wrong, or may be skipped.
    pub missing_is_wrong: bool,
}

/// What the check found out.
#[derive(Debug, Default)]
pub struct SuiteCheck {
    /// The features that can be read, with the scenarios that are meant, outlines expanded.
    pub features: Vec<Feature>,
    /// What each scenario will do.
    pub plans: HashMap<ScenarioKey, ScenarioPlan>,
    /// What is wrong, by file and line.
    pub problems: Vec<Problem>,
    /// How many steps the scenarios have, backgrounds not counted.
    pub steps: usize,
}

impl SuiteCheck {
    /// How many scenarios are meant.
    pub fn scenarios(&self) -> usize {
        self.plans.len()
    }

    /// What the scenarios are called in full, in the order of the features.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let named =
            |feature| all_scenarios(feature).map(move |scenario| full_name(feature, scenario));
        self.features.iter().flat_map(named)
    }
}

/// Checks the scenarios below `root` that are meant.
///
/// # Errors
/// Features that cannot be looked for. What is wrong inside of a feature is a [`Problem`].
pub fn check(
    root: &Path,
    selection: &Selection,
    facts: &SuiteFacts,
) -> Result<SuiteCheck, SelectionError> {
    let mut problems = Problems::default();
    let mut lookup = Lookup::default();
    let mut result = SuiteCheck::default();
    for file in selection.files(root)? {
        let Some(loaded) = load(&file, selection, &mut problems) else {
            continue;
        };
        let feature = &loaded.feature;
        let plain = feature.scenarios.iter().map(|scenario| (None, scenario));
        let ruled = feature.rules.iter().flat_map(|rule| {
            rule.scenarios
                .iter()
                .map(move |scenario| (Some(rule), scenario))
        });
        for (rule, scenario) in plain.chain(ruled) {
            let place = Place {
                loaded: &loaded,
                rule,
                scenario,
            };
            let plan = plan(&place, facts, &mut lookup, &mut problems);
            let key = ScenarioKey {
                feature: file.name.clone(),
                line: scenario.position.line,
            };
            result.plans.insert(key, plan);
            result.steps += scenario.steps.len();
        }
        result.features.push(loaded.feature);
    }
    result.problems = problems.into_sorted();
    Ok(result)
}
