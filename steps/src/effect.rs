//! Effects: what each phrase will do, known from its text alone, so that a scenario can be checked before it runs.
//!
//! Every step module that names nodes lists its phrases in an `EFFECTS` table beside them; a test sees to it that each listed expression is a step and that no step with a `{node}` is missing.

use trellis_domain::{AppName, Capability, NodeName, Operation};

use crate::{NodeRef, external::ExternalRow};

/// One phrase and what it will do.
pub(crate) struct StepEffects {
    /// The step's expression, to the letter.
    pub(crate) expression: &'static str,
    /// What it does with these arguments; an error is something malformed, in words.
    pub(crate) of: fn(&StepArguments) -> Result<Vec<Effect>, String>,
}

/// The arguments of a step in a feature.
#[derive(Debug, Clone, Default)]
pub(crate) struct StepArguments {
    /// The parameters' texts, in order; quotes of `{string}` are taken off.
    pub(crate) values: Vec<String>,
    /// The rows of its table, the heading included.
    pub(crate) table: Option<Vec<Vec<String>>>,
    /// Its doc string.
    pub(crate) doc_string: Option<String>,
}

/// Something that a step will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The scenario uses this application.
    Uses(AppName),
    /// The cluster begins with these managed nodes.
    Founds(Vec<NodeName>),
    /// The cluster may have so many nodes, which start on demand.
    Capacity(usize),
    /// This node is to have a configuration of its own; it must not run yet, and come later.
    Configures(NodeName),
    /// The machine has to let us mount disks for nodes.
    MountsDisks,
    /// These nodes run already and are borrowed.
    Borrows(Vec<ExternalRow>),
    /// The nodes of this cluster, by a name of the settings or as `provider:cluster`, run already and are borrowed.
    Attaches(String),
    /// Somebody else runs so many more nodes; the scenario does not have them yet.
    Outside(usize),
    /// The scenario has them: it lists them, or attaches to them through the provider of this name.
    BorrowsOutside(Option<String>),
    /// The cluster is one of nodes that are not ours, and is complete now.
    Gathers,
    /// This node is ours, although something else says that it is not.
    Adopts(NodeName),
    /// This may be done to this node, although it is borrowed.
    OptsIn(NodeName, Capability),
    /// This node comes into the cluster if it is not in it yet.
    Starts(NodeName),
    /// These nodes come into the cluster, or begin it.
    StartsAll(Vec<NodeName>),
    /// The step speaks of this node.
    Mentions(NodeRef),
    /// The step speaks of this node, or of one that somebody else runs and the scenario may not have.
    MentionsAny(NodeRef),
    /// The step does this to this node.
    Does(Operation, NodeRef),
    /// The step does this to every managed node.
    DoesToAll(Operation),
}

impl StepArguments {
    /// The parameter at `position` as a `T`.
    pub(crate) fn get<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        position: usize,
    ) -> Result<T, String> {
        let value = self
            .values
            .get(position)
            .ok_or("the step lacks a parameter")?;
        value.parse().map_err(|error| format!("{error}"))
    }

    /// The rows below a heading that must be exactly `columns`.
    pub(crate) fn rows(&self, columns: &[&str]) -> Result<&[Vec<String>], String> {
        let wanted = || format!("a table with the columns {}", columns.join(", "));
        let Some(table) = self.table.as_deref().filter(|table| !table.is_empty()) else {
            return Err(format!("the step needs {}", wanted()));
        };
        let (heading, rows) = table.split_at(1);
        if heading[0] != columns {
            return Err(format!(
                "the step needs {}; this one has {}",
                wanted(),
                heading[0].join(", ")
            ));
        }
        if rows.is_empty() {
            return Err(format!("the step needs {} and at least one row", wanted()));
        }
        Ok(rows)
    }
}
