//! Plans: walks through a scenario's steps in thought, and finds what it would need and what would be refused.

use std::collections::{BTreeSet, HashMap};

use gherkin::{Feature, Rule, Scenario, Step, StepType};
use trellis_bootstrap::PlannedOperation;
use trellis_domain::{
    AppName, CapabilitySet, NodeName, Operation, Refusal, SourcesError, UnknownNode,
};

use super::{
    SuiteFacts,
    definitions::{Definition, Definitions, Found, step_arguments},
    load::{LoadedFeature, full_name},
    problem::{Problem, Problems},
    sources::Borrowed,
};
use crate::{NodeRef, Program, ScenarioPlan, cluster::in_cluster_already, effect::Effect};

/// The steps that were looked up before, by keyword and text.
#[derive(Default)]
pub(crate) struct Lookup(HashMap<StepType, HashMap<String, Found>>);

impl Lookup {
    fn find(&mut self, step: &Step) -> Found {
        let known = self.0.entry(step.ty).or_default();
        if let Some(found) = known.get(&step.value) {
            return found.clone();
        }
        let found = Definitions::ours().find(step);
        known.insert(step.value.clone(), found.clone());
        found
    }
}

/// One scenario and where it stands.
pub(crate) struct Place<'a> {
    pub(crate) loaded: &'a LoadedFeature,
    pub(crate) rule: Option<&'a Rule>,
    pub(crate) scenario: &'a Scenario,
}

impl Place<'_> {
    fn feature(&self) -> &Feature {
        &self.loaded.feature
    }

    /// Its steps, those of the backgrounds first.
    fn steps(&self) -> impl Iterator<Item = &Step> {
        let rule = self.rule.and_then(|rule| rule.background.as_ref());
        let backgrounds = self.feature().background.iter().chain(rule);
        backgrounds
            .flat_map(|background| &background.steps)
            .chain(&self.scenario.steps)
    }
}

/// What is known of a scenario's cluster while its steps are walked through.
pub(super) struct Walk<'a> {
    pub(super) place: &'a Place<'a>,
    pub(super) facts: &'a SuiteFacts,
    problems: &'a mut Problems,
    pub(super) app: Option<AppName>,
    pub(super) managed: BTreeSet<NodeName>,
    pub(super) borrowed: Borrowed,
    capacity: Option<usize>,
    /// Nodes that were given a configuration before they were known, with the step that did.
    configured: Vec<(NodeName, Step)>,
    /// Nodes have disks of their own.
    mounts_disks: bool,
    /// A step was not understood, so nodes may exist that are not known of.
    pub(super) uncertain: bool,
    plan: ScenarioPlan,
}

/// Finds everything that is wrong with a scenario, and what it will do.
pub(crate) fn plan(
    place: &Place<'_>,
    facts: &SuiteFacts,
    lookup: &mut Lookup,
    problems: &mut Problems,
) -> ScenarioPlan {
    let mut walk = Walk {
        place,
        facts,
        problems,
        app: None,
        managed: BTreeSet::new(),
        borrowed: Borrowed::default(),
        capacity: None,
        configured: Vec::new(),
        mounts_disks: false,
        uncertain: false,
        plan: ScenarioPlan::default(),
    };
    let mut steps = 0;
    for step in place.steps() {
        walk.step(step, lookup);
        steps += 1;
    }
    walk.finish(steps)
}

impl Walk<'_> {
    fn step(&mut self, step: &Step, lookup: &mut Lookup) {
        let (definition, values) = match lookup.find(step) {
            Found::One(definition, values) => (definition, values),
            Found::Undefined(nearest) => return self.undefined(step, &nearest),
            Found::Ambiguous(matching) => return self.ambiguous(step, &matching),
        };
        self.needs_a_chain(definition, step);
        self.needs_a_projection(definition, step);
        let Some(effects) = definition.effects else {
            return;
        };
        match (effects.of)(&step_arguments(step, &values)) {
            Ok(effects) => effects
                .into_iter()
                .for_each(|effect| self.effect(effect, step)),
            Err(message) => {
                self.uncertain = true;
                let help = format!("the step is {:?}", effects.expression);
                self.problem(step, format!("malformed step: {message}"), Some(help));
            }
        }
    }

    fn undefined(&mut self, step: &Step, nearest: &[String]) {
        self.uncertain = true;
        let help = (!nearest.is_empty()).then(|| {
            let lines: Vec<String> = nearest.iter().map(|phrase| format!("  {phrase}")).collect();
            format!("did you mean:\n{}", lines.join("\n"))
        });
        self.problem(
            step,
            format!("undefined step: no step is {:?}", step.value),
            help,
        );
    }

    fn ambiguous(&mut self, step: &Step, matching: &[&Definition]) {
        self.uncertain = true;
        let mut lines: Vec<String> = matching
            .iter()
            .map(|found| {
                let place = found.location;
                format!("  {}  ({}:{})", found.expression, place.path, place.line)
            })
            .collect();
        lines.sort();
        let help = format!("it could be any of:\n{}", lines.join("\n"));
        let message = format!(
            "ambiguous step: {} steps are {:?}",
            matching.len(),
            step.value
        );
        self.problem(step, message, Some(help));
    }

    fn effect(&mut self, effect: Effect, step: &Step) {
        match effect {
            Effect::Uses(app) => {
                if !self.facts.apps.iter().any(|(known, _)| *known == app) {
                    let known: Vec<&str> = self
                        .facts
                        .apps
                        .iter()
                        .map(|(name, _)| name.as_str())
                        .collect();
                    let message = format!("there is no application {:?}", app.as_str());
                    let help = format!("known applications: {}", known.join(", "));
                    self.problem(step, message, Some(help));
                }
                self.app = Some(app);
            }
            Effect::Founds(names) => {
                self.begin(step);
                for name in names {
                    self.declare(name, step);
                }
            }
            Effect::Capacity(capacity) => self.capacity = Some(capacity),
            Effect::Borrows(rows) => self.borrow(&rows, step),
            Effect::Attaches(cluster) => self.attach(&cluster, step),
            Effect::Outside(count) => self.borrowed.outside += count,
            Effect::BorrowsOutside(provider) => self.borrow_outside(provider.as_deref(), step),
            Effect::Gathers => self.gather(step),
            Effect::Adopts(name) => self.adopt(name, step),
            Effect::OptsIn(name, capability) => self.opt_in(name, capability, step),
            Effect::Starts(name) => {
                if !self.knows(&name) {
                    self.begin(step);
                    self.declare(name, step);
                }
            }
            Effect::StartsAll(names) => {
                for name in names {
                    self.effect(Effect::Starts(name), step);
                }
            }
            Effect::Configures(name) => {
                if self.knows(&name) {
                    self.problem(step, in_cluster_already(&name), None);
                } else {
                    self.configured.push((name, step.clone()));
                }
            }
            Effect::MountsDisks => self.mounts_disks = true,
            Effect::Mentions(node) => self.mention(&node, step),
            Effect::MentionsAny(node) => {
                if !self.is_outside(&node) {
                    self.mention(&node, step);
                }
            }
            Effect::Does(operation, node) => self.operate(operation, &node, step),
            Effect::DoesToAll(operation) => {
                self.touch_all(operation, step);
                if let Some(message) = self.incapable(operation, "the managed nodes") {
                    self.problem(step, message, None);
                }
                let managed: Vec<NodeName> = self.managed.iter().cloned().collect();
                for node in managed {
                    self.plan_operation(node, operation, step);
                }
            }
        }
    }

    /// Takes a managed node in.
    fn declare(&mut self, name: NodeName, step: &Step) {
        if self.knows(&name) {
            return self.problem(step, SourcesError::DuplicateName(name).to_string(), None);
        }
        let present = self.managed.len();
        if let Some(capacity) = self.capacity.filter(|capacity| present >= *capacity) {
            let message = format!(
                "cannot start {name}: the cluster has a capacity of {capacity} nodes and {present} are in it already"
            );
            self.problem(step, message, None);
        }
        self.managed.insert(name);
    }

    pub(super) fn mention(&mut self, node: &NodeRef, step: &Step) {
        let NodeRef::Named(name) = node else { return };
        if self.uncertain || self.borrowed.is_attached() || self.knows(name) {
            return;
        }
        let known = self.managed.iter().chain(self.borrowed.names());
        let known = known.cloned().collect();
        let unknown = UnknownNode {
            name: name.as_str().to_owned(),
            known,
        };
        self.problem(step, unknown.to_string(), None);
    }

    fn operate(&mut self, operation: Operation, node: &NodeRef, step: &Step) {
        self.mention(node, step);
        let NodeRef::Named(name) = node else {
            let refused = self.refused_for_all(operation, node);
            if let Some(message) = refused.or_else(|| self.incapable(operation, &node.to_string()))
            {
                self.problem(step, message, None);
            }
            return;
        };
        if let Some(refusal) = self.refusal(operation, name) {
            self.problem(step, refusal.to_string(), None);
        }
        self.plan_operation(name.clone(), operation, step);
    }

    /// Why `operation` on a known node would be refused, in the words of the refusal at run time.
    fn refusal(&self, operation: Operation, name: &NodeName) -> Option<Refusal> {
        let (node, needs) = (name.clone(), operation.capability());
        if self.is_borrowed(name) {
            return self.refusal_of_borrowed(operation, name);
        }
        let has = self.capabilities()?;
        (!has.contains(needs)).then_some(Refusal::Incapable {
            node,
            operation,
            needs,
            has,
        })
    }

    /// Why `operation` cannot be done to managed nodes that the step calls `whom`.
    fn incapable(&self, operation: Operation, whom: &str) -> Option<String> {
        let (needs, has) = (operation.capability(), self.capabilities()?);
        (!has.contains(needs)).then(|| {
            format!("cannot {operation} {whom}: it would need the capability {needs}, and they have {has}")
        })
    }

    /// What managed nodes of the scenario's application can have done to them.
    fn capabilities(&self) -> Option<CapabilitySet> {
        let of_app = self.capabilities_of_app();
        of_app.map(|capabilities| capabilities.intersection(self.facts.backend))
    }

    pub(super) fn capabilities_of_app(&self) -> Option<CapabilitySet> {
        let mut apps = self.facts.apps.iter();
        let app = match &self.app {
            Some(wanted) => apps.find(|(name, _)| name == wanted),
            None => apps.next(),
        };
        app.map(|(_, capabilities)| *capabilities)
    }

    pub(super) fn knows(&self, name: &NodeName) -> bool {
        self.managed.contains(name) || self.borrowed.has(name)
    }

    fn plan_operation(&mut self, node: NodeName, operation: Operation, step: &Step) {
        let path = self
            .place
            .feature()
            .path
            .as_deref()
            .unwrap_or_else(|| "feature".as_ref());
        let step = format!("{}:{}: {}", path.display(), step.position.line, step.value);
        self.plan.operations.push(PlannedOperation {
            node,
            operation,
            step,
        });
    }

    /// Where `step` is, as the nodes that it lists say it at run time.
    pub(super) fn listed_in(&self, step: &Step) -> String {
        let title = full_name(self.place.feature(), self.place.scenario);
        format!("{title}, line {}", step.position.line)
    }

    pub(super) fn problem(&mut self, step: &Step, message: String, help: Option<String>) {
        let problem = Problem::new(self.place.loaded.text(), step.position.line, message);
        self.problems
            .add(problem.labelled("in this step").helped(help));
    }

    /// The plan, after the steps.
    fn finish(mut self, steps: usize) -> ScenarioPlan {
        for (name, step) in std::mem::take(&mut self.configured) {
            self.mention(&NodeRef::Named(name), &step);
        }
        self.settle_borrowed();
        let line = self.place.scenario.position.line;
        let at = |message: String| Problem::new(self.place.loaded.text(), line, message);
        if steps == 0 {
            let message = "the scenario has no steps, so it would pass without doing anything";
            self.problems.add(at(message.to_owned()));
        }
        self.plan.nodes_max = self.managed.len();
        self.plan.missing = self.missing();
        if self.plan.nodes_max > self.facts.budget {
            let message = format!(
                "the scenario has {} nodes, and at most {} may run at one time",
                self.plan.nodes_max, self.facts.budget
            );
            let help = "raise the node budget with --nodes, or use fewer nodes".to_owned();
            self.problems.add(at(message).helped(help));
        }
        if self.facts.missing_is_wrong {
            for program in &self.plan.missing {
                let help = format!(
                    "{}; or skip the scenario with --missing skip",
                    program.install()
                );
                self.problems.add(at(program.is_missing()).helped(help));
            }
        }
        self.plan
    }

    /// The programs that the scenario would run and that are missing.
    fn missing(&self) -> Vec<Program> {
        if self.managed.is_empty() && self.borrowed.outside == 0 {
            return Vec::new();
        }
        let default = self.facts.apps.first().map(|(name, _)| name);
        let app = self.app.as_ref().or(default);
        let missing = self.facts.missing.iter();
        let missing = missing.filter(|(of, _)| Some(of) == app);
        let mut missing: Vec<Program> = missing.map(|(_, program)| program.clone()).collect();
        if self.mounts_disks {
            let mut disks = self.facts.disks.iter();
            let privilege = disks.find(|(of, _)| Some(of) == app);
            let refused = privilege.filter(|(_, privilege)| !(privilege.is_given)());
            missing.extend(refused.map(|(_, privilege)| privilege.lacking.clone()));
        }
        missing
    }
}
