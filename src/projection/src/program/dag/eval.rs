//! Running: one pass over the nodes that are needed, with a meter.
//!
//! Each node costs 1, each element that a loop looks at 1 more, and each 64 bytes that are made or compared 1 more. What is only looked at is not copied, and costs nothing more.
//! Here are the nodes that choose; what they make is in `lists`, `numbers`, `objects` and `texts`, what they look at in `given`.

mod given;
mod lists;
mod numbers;
mod objects;
mod texts;

use serde_json::Value;

pub(super) use self::given::Given;
use super::node::{Emit, MetaField, Node, Slot};
use crate::{
    program::{BYTES_PER_GAS, Meta, ProgramError, weight},
    types::Envelope,
};

/// One run of a program.
pub(super) struct Run<'a> {
    slots: &'a [Slot],
    /// The named steps that were worked out. Empty until there is one.
    results: Vec<Option<Given<'a>>>,
    /// What the loops around a node look at, the innermost last.
    locals: Vec<Given<'a>>,
    view: Option<&'a Value>,
    event: &'a Envelope,
    meta: &'a Meta<'a>,
    gas_max: u64,
    gas_left: u64,
}

/// An error out of the way, because results are moved at every node and errors are rare.
pub(super) struct Failure(Box<ProgramError>);

impl From<ProgramError> for Failure {
    fn from(error: ProgramError) -> Self {
        Self(Box::new(error))
    }
}

impl From<Failure> for ProgramError {
    fn from(failure: Failure) -> Self {
        *failure.0
    }
}

type Evaluated<'a> = Result<Given<'a>, Failure>;

impl<'a> Run<'a> {
    pub(super) fn new(
        slots: &'a [Slot],
        view: Option<&'a Value>,
        event: &'a Envelope,
        meta: &'a Meta<'a>,
        gas_max: u64,
    ) -> Self {
        Self {
            slots,
            results: Vec::new(),
            locals: Vec::new(),
            view,
            event,
            meta,
            gas_max,
            gas_left: gas_max,
        }
    }

    /// A run on another view that goes on with the gas that is left.
    pub(super) fn on<'b>(&self, view: Option<&'b Value>) -> Run<'b>
    where
        'a: 'b,
    {
        Run {
            slots: self.slots,
            results: Vec::new(),
            locals: Vec::new(),
            view,
            event: self.event,
            meta: self.meta,
            gas_max: self.gas_max,
            gas_left: self.gas_left,
        }
    }

    /// How much was used.
    pub(super) fn gas_used(&self) -> u64 {
        self.gas_max - self.gas_left
    }

    pub(super) fn gas_left(&self) -> u64 {
        self.gas_left
    }

    /// Takes over what another run has left.
    pub(super) fn go_on_with(&mut self, gas_left: u64) {
        self.gas_left = gas_left;
    }

    pub(super) fn condition(&mut self, node: &'a Node) -> Result<bool, Failure> {
        let value = self.eval(node)?;
        value
            .as_bool()
            .ok_or_else(|| contract("condition", "neither true nor false"))
    }

    /// Shows the views that an event is for, until `visit` has enough.
    pub(super) fn ids(
        &mut self,
        emit: &'a Emit,
        visit: &mut dyn FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if let Some(when) = &emit.when
            && !self.condition(when)?
        {
            return Ok(());
        }
        let ids = self.eval(&emit.view_id)?;
        if let Some(id) = ids.as_str() {
            return visit(id);
        }
        let list = ids.as_list();
        let list = list.ok_or_else(|| contract("key", "neither a text nor a list of texts"))?;
        list.iter().try_for_each(|id| match id.as_str() {
            Some(id) => visit(id),
            None => Err(contract("key", "not a list of texts")),
        })
    }

    pub(super) fn eval(&mut self, node: &'a Node) -> Evaluated<'a> {
        self.charge(1)?;
        match node {
            Node::Const(value) => Ok(Given::Seen(value)),
            Node::Event(field, rest) => Ok(given::event_field(self.event, field, rest)),
            Node::View(path) => Ok(Given::Seen(
                self.view.map_or(&given::NULL, |view| given::at(view, path)),
            )),
            Node::Meta(field) => Ok(self.meta_field(*field)),
            Node::Local(further_out, path) => self.local(*further_out, path),
            Node::Ref(slot) => self.named(*slot),
            Node::Coalesce(nodes) => self.coalesce(nodes),
            Node::And(nodes) => self.any_is(nodes, false).map(|found| truth(!found)),
            Node::Or(nodes) => self.any_is(nodes, true).map(truth),
            Node::Not(node) => Ok(truth(!self.condition(node)?)),
            Node::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                let holds = self.condition(condition)?;
                self.eval(if holds { then } else { otherwise })
            }
            Node::Switch { on, cases, default } => self.switch(on, cases, default),
            Node::Arithmetic(operation, nodes) => self.arithmetic(*operation, nodes),
            Node::Decimal(operation, nodes) => self.decimals(*operation, nodes),
            Node::DecimalQuotient { of, by, scale } => {
                self.decimal_quotient(of, by.as_deref(), *scale)
            }
            Node::DecimalOrder(pair) => self.decimal_order(pair),
            Node::Compare(comparison, pair) => self.compare(*comparison, pair),
            Node::Concat(nodes) => self.concat(nodes),
            Node::Text(operation, node) => self.changed_text(*operation, node),
            Node::Slice(parts) => self.slice(parts),
            Node::Hash(node) => self.hash(node),
            Node::Len(node) => self.len(node),
            Node::Object(members) => self.object(members),
            Node::Merge(nodes) => self.merge(nodes),
            Node::Set { within, path, to } => self.set(within, path, to),
            Node::Remove { within, path } => self.remove(within, path),
            Node::List(nodes) => self.list(nodes),
            Node::Append { to, value, cap } => self.append(to, value, *cap),
            Node::Map { over, give } => self.map(over, give),
            Node::Filter { over, keep } => self.filter(over, keep),
            Node::Fold { over, from, give } => self.fold(over, from, give),
        }
    }

    fn charge(&mut self, gas: u64) -> Result<(), Failure> {
        let left = self.gas_left.checked_sub(gas);
        // Nothing may be tried with what would be left.
        self.gas_left = left.unwrap_or(0);
        let gas_max = self.gas_max;
        left.map(drop)
            .ok_or_else(|| ProgramError::Gas { gas_max }.into())
    }

    fn charge_bytes(&mut self, bytes: usize) -> Result<(), Failure> {
        self.charge((bytes / BYTES_PER_GAS) as u64)
    }

    fn made(&mut self, value: Value) -> Evaluated<'a> {
        self.charge_bytes(weight(&value))?;
        Ok(Given::Made(value))
    }

    fn meta_field(&self, field: MetaField) -> Given<'a> {
        match field {
            MetaField::StreamSeq => Given::Made(self.meta.stream_seq.into()),
            MetaField::Tenant => Given::Text(self.meta.tenant.as_str()),
            MetaField::ViewType => Given::Text(self.meta.view_type.as_str()),
            MetaField::ViewId => self
                .meta
                .view_id
                .map_or(Given::Seen(&given::NULL), |id| Given::Text(id.as_str())),
        }
    }

    fn named(&mut self, slot: usize) -> Evaluated<'a> {
        if self.results.is_empty() {
            self.results.resize(self.slots.len(), None);
        }
        if self.results[slot].is_none() {
            let slots = self.slots;
            let result = self.eval(&slots[slot].node)?;
            self.results[slot] = Some(result);
        }
        let result = self.results[slot].clone().expect("it was just put there");
        self.copied(result)
    }

    /// Charges for a value that was made before, and is made once more.
    fn copied(&mut self, value: Given<'a>) -> Evaluated<'a> {
        if let Given::Made(_) = value {
            self.charge_bytes(value.weight())?;
        }
        Ok(value)
    }

    fn local(&mut self, further_out: usize, path: &'a [String]) -> Evaluated<'a> {
        let at = self.locals.len() - 1 - further_out;
        let part = self.locals[at].part(path);
        self.copied(part)
    }

    fn coalesce(&mut self, nodes: &'a [Node]) -> Evaluated<'a> {
        for node in nodes {
            let value = self.eval(node)?;
            if !value.is_null() {
                return Ok(value);
            }
        }
        Ok(Given::Seen(&given::NULL))
    }

    /// Whether a condition is `wanted`; those behind it are not looked at.
    fn any_is(&mut self, nodes: &'a [Node], wanted: bool) -> Result<bool, Failure> {
        for node in nodes {
            if self.condition(node)? == wanted {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn switch(
        &mut self,
        on: &'a Node,
        cases: &'a [(String, Node)],
        default: &'a Node,
    ) -> Evaluated<'a> {
        let value = self.eval(on)?;
        let chosen = value
            .as_str()
            .and_then(|value| cases.iter().find(|(case, _)| case == value));
        match chosen {
            Some((_, node)) => self.eval(node),
            None => self.eval(default),
        }
    }
}

fn truth<'a>(value: bool) -> Given<'a> {
    Given::Made(Value::Bool(value))
}

#[cold]
fn contract(node: &str, what: &str) -> Failure {
    ProgramError::Contract {
        node: node.to_owned(),
        what: what.to_owned(),
    }
    .into()
}
