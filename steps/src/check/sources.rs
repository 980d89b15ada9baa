//! Sources in a plan: which nodes of a scenario are not ours, and what its steps must leave alone.
//!
//! What is refused here is refused in the words of the same refusal at run time, where it is decided again (`trellis-domain`).

use std::collections::{BTreeMap, BTreeSet};

use gherkin::Step;
use trellis_domain::{
    Capability, CapabilitySet, NodeName, Operation, Origin, Refusal, SourcesError,
};

use super::plan::Walk;
use crate::{
    NodeRef,
    draft::{MANAGED_AND_ATTACHED, TWO_CLUSTERS},
    external::{ExternalRow, external_nodes},
    outsiders::OutsideClusters,
    suite::attach_spec,
};

/// What is known of the nodes that are not ours.
#[derive(Default)]
pub(super) struct Borrowed {
    /// Nodes by name, with where they come from.
    nodes: BTreeMap<NodeName, Origin>,
    /// The cluster that the scenario attaches to; which nodes it has is known later.
    attached: Option<Attached>,
    /// How many nodes somebody else runs that are not in the scenario so far.
    pub(super) outside: usize,
    /// The cluster is one of nodes that are not ours, and is complete.
    gathered: bool,
    adopted: BTreeSet<NodeName>,
    opt_ins: BTreeMap<NodeName, CapabilitySet>,
    /// Nodes that were adopted or opted in, maybe before they were known, with the step that did.
    named: Vec<(NodeName, Step)>,
}

struct Attached {
    /// Provider and cluster, as far as they are known.
    shown: String,
    /// What its provider can do to nodes that are opted in.
    can: CapabilitySet,
}

impl Borrowed {
    pub(super) fn has(&self, name: &NodeName) -> bool {
        self.nodes.contains_key(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &NodeName> {
        self.nodes.keys()
    }

    /// Whether nodes may be there whose names only the attached cluster knows.
    pub(super) fn is_attached(&self) -> bool {
        self.attached.is_some()
    }

    /// Whether a cluster with no node of ours is meant.
    fn is_everything(&self) -> bool {
        self.gathered || self.is_attached()
    }
}

impl Walk<'_> {
    /// Takes nodes in that a table lists.
    pub(super) fn borrow(&mut self, rows: &[ExternalRow], step: &Step) {
        let listed_in = self.listed_in(step);
        if let Err(wrong) = external_nodes(rows, &self.facts.settings, &listed_in) {
            self.problem(step, format!("malformed step: {wrong}"), None);
        }
        // Several rows may be endpoints of one node.
        let names: BTreeSet<&NodeName> = rows.iter().map(ExternalRow::name).collect();
        for name in names {
            let listed_in = listed_in.clone();
            self.take_in(name.clone(), Origin::External { listed_in }, step);
        }
    }

    fn take_in(&mut self, name: NodeName, origin: Origin, step: &Step) {
        if self.knows(&name) {
            self.problem(step, SourcesError::DuplicateName(name).to_string(), None);
        } else {
            self.borrowed.nodes.insert(name, origin);
        }
    }

    /// Attaches to the cluster that a phrase calls so.
    pub(super) fn attach(&mut self, cluster: &str, step: &Step) {
        let providers: Vec<&str> = self.facts.attach.iter().map(|(name, _)| *name).collect();
        match attach_spec(cluster, &self.facts.settings, &providers) {
            Ok(attach) => {
                let shown = format!("{}:{}", attach.provider, attach.cluster);
                self.attach_through(&attach.provider, shown, step);
            }
            Err(wrong) => {
                self.uncertain = true;
                self.problem(step, wrong, None);
            }
        }
    }

    fn attach_through(&mut self, provider: &str, shown: String, step: &Step) {
        if self.borrowed.is_attached() {
            return self.problem(step, TWO_CLUSTERS.to_owned(), None);
        }
        if !self.managed.is_empty() {
            return self.problem(step, MANAGED_AND_ATTACHED.to_owned(), None);
        }
        let mut providers = self.facts.attach.iter();
        let can = providers.find(|(name, _)| *name == provider);
        let Some((_, can)) = can else {
            let known: Vec<&str> = self.facts.attach.iter().map(|(name, _)| *name).collect();
            let message = format!("there is no attach provider {provider:?}");
            let help = format!("known attach providers: {}", known.join(", "));
            return self.problem(step, message, Some(help));
        };
        self.borrowed.attached = Some(Attached { shown, can: *can });
    }

    /// Takes the nodes in that somebody else runs, as listed ones or through an attach provider.
    pub(super) fn borrow_outside(&mut self, provider: Option<&str>, step: &Step) {
        let names = OutsideClusters::names(0, self.borrowed.outside);
        let origin = match provider {
            Some(provider) => {
                let cluster = format!("{provider}:theirs");
                self.attach_through(provider, cluster.clone(), step);
                Origin::Attached { cluster }
            }
            None => Origin::External {
                listed_in: self.listed_in(step),
            },
        };
        names.for_each(|name| self.take_in(name, origin.clone(), step));
    }

    /// Whether somebody else runs a node of this name, in the scenario or not.
    pub(super) fn is_outside(&self, node: &NodeRef) -> bool {
        let mut names = OutsideClusters::names(0, self.borrowed.outside);
        matches!(node, NodeRef::Named(name) if names.any(|outside| outside == *name))
    }

    /// A cluster is about to begin with a node of ours.
    pub(super) fn begin(&mut self, step: &Step) {
        if self.borrowed.is_attached() {
            self.problem(step, MANAGED_AND_ATTACHED.to_owned(), None);
        } else if self.borrowed.gathered {
            let message = "the cluster has no nodes of ours and takes none; begin it with one";
            self.problem(step, message.to_owned(), None);
        }
    }

    /// The cluster is one of nodes that are not ours.
    pub(super) fn gather(&mut self, step: &Step) {
        if !self.managed.is_empty() {
            let message = "the cluster runs already, and a scenario has one; wait for its nodes with `all nodes are ready within 10 seconds`";
            self.problem(step, message.to_owned(), None);
        } else if self.borrowed.nodes.is_empty() && !self.borrowed.is_attached() {
            let message = SourcesError::NoExternalNodes.to_string();
            let help = "list them with `external nodes:`, attach with `the attached cluster \"..\"`, or start some with `a cluster of 3 nodes`";
            self.problem(step, message, Some(help.to_owned()));
        }
        self.borrowed.gathered = true;
    }

    pub(super) fn adopt(&mut self, name: NodeName, step: &Step) {
        self.borrowed.adopted.insert(name.clone());
        self.borrowed.named.push((name, step.clone()));
    }

    pub(super) fn opt_in(&mut self, name: NodeName, capability: Capability, step: &Step) {
        let set = self.borrowed.opt_ins.entry(name.clone()).or_default();
        *set = set.with(capability);
        self.borrowed.named.push((name, step.clone()));
    }

    /// Finds names that were adopted or opted in and that no node has.
    pub(super) fn settle_borrowed(&mut self) {
        for (name, step) in std::mem::take(&mut self.borrowed.named) {
            self.mention(&NodeRef::Named(name), &step);
        }
    }

    /// Whether a node that the scenario names is one of others.
    pub(super) fn is_borrowed(&self, name: &NodeName) -> bool {
        let listed = self.borrowed.has(name);
        let found = self.borrowed.is_everything() && !self.managed.contains(name);
        (listed || found) && !self.borrowed.adopted.contains(name)
    }

    /// Why `operation` on a node of others would be refused.
    pub(super) fn refusal_of_borrowed(
        &self,
        operation: Operation,
        name: &NodeName,
    ) -> Option<Refusal> {
        let (node, needs) = (name.clone(), operation.capability());
        let origin = self.borrowed.nodes.get(name);
        let attached = self.borrowed.attached.as_ref();
        let opted_in = self.borrowed.opt_ins.get(name).copied();
        if CapabilitySet::BORROWED.contains(needs) {
            return None;
        }
        if !opted_in.unwrap_or_default().contains(needs) {
            let origins = match (origin, attached) {
                (Some(origin), _) => origin.to_string(),
                (None, Some(attached)) => Origin::Attached {
                    cluster: attached.shown.clone(),
                }
                .to_string(),
                (None, None) => "not ours".to_owned(),
            };
            return Some(Refusal::Borrowed {
                node,
                operation,
                origins,
                needs,
            });
        }
        let external = matches!(origin, Some(Origin::External { .. }));
        let of_provider = attached.filter(|_| !external).map(|attached| attached.can);
        // What a provider claims beyond this is not taken from it.
        let can = of_provider
            .unwrap_or_default()
            .intersection(CapabilitySet::OPT_IN)
            .intersection(self.capabilities_of_app()?);
        let has = can.union(CapabilitySet::BORROWED);
        (!has.contains(needs)).then_some(Refusal::Incapable {
            node,
            operation,
            needs,
            has,
        })
    }

    /// Why `operation` is refused for whoever has the role that `node` means, where no node is ours.
    pub(super) fn refused_for_all(&self, operation: Operation, node: &NodeRef) -> Option<String> {
        let needs = operation.capability();
        let refused = self.borrowed.is_everything()
            && self.borrowed.opt_ins.is_empty()
            && !CapabilitySet::BORROWED.contains(needs);
        refused.then(|| {
            format!(
                "refused to {operation} {node}: all nodes of the scenario are borrowed; it would need an opt-in for {needs} that names a node"
            )
        })
    }

    /// What is done to all nodes of ours would do nothing where there are none, and pass.
    pub(super) fn touch_all(&mut self, operation: Operation, step: &Step) {
        if self.borrowed.is_everything() && self.managed.is_empty() {
            let message = format!(
                "cannot {operation} the nodes that we started: the scenario has none, and those of others are left alone"
            );
            self.problem(step, message, None);
        }
    }
}
