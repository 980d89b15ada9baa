//! Running: one pass over the nodes that are needed, with a meter.
//!
//! Each node costs 1, and each 64 bytes that are made or compared cost 1 more. What is only looked at is not copied, and costs nothing more.

use std::{borrow::Cow, cmp::Ordering};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::node::{Arithmetic, Comparison, MetaField, Node, Slot, TextOperation};
use crate::{
    hex::hex,
    program::{Meta, ProgramError, weight},
    types::Envelope,
};

static NULL: Value = Value::Null;
/// How many bytes cost as much as a node.
const BYTES_PER_GAS: usize = 64;

/// One run of a program.
pub(super) struct Run<'a> {
    slots: &'a [Slot],
    results: Vec<Option<Cow<'a, Value>>>,
    view: Option<&'a Value>,
    event: &'a Envelope,
    meta: &'a Meta<'a>,
    gas_max: u64,
    gas_left: u64,
}

type Evaluated<'a> = Result<Cow<'a, Value>, ProgramError>;

impl<'a> Run<'a> {
    pub(super) fn new(
        slots: &'a [Slot],
        view: Option<&'a Value>,
        event: &'a Envelope,
        meta: &'a Meta<'a>,
        gas_max: u64,
    ) -> Self {
        let results = vec![None; slots.len()];
        Self {
            slots,
            results,
            view,
            event,
            meta,
            gas_max,
            gas_left: gas_max,
        }
    }

    /// How much was used.
    pub(super) fn gas_used(&self) -> u64 {
        self.gas_max - self.gas_left
    }

    pub(super) fn condition(&mut self, node: &'a Node) -> Result<bool, ProgramError> {
        let value = self.eval(node)?;
        value
            .as_bool()
            .ok_or_else(|| contract("condition", "neither true nor false"))
    }

    pub(super) fn eval(&mut self, node: &'a Node) -> Evaluated<'a> {
        self.charge(1)?;
        match node {
            Node::Const(value) => Ok(Cow::Borrowed(value)),
            Node::Event(path) => Ok(event_field(self.event, path)),
            Node::View(path) => Ok(Cow::Borrowed(
                self.view.map_or(&NULL, |view| at(view, path)),
            )),
            Node::Meta(field) => Ok(Cow::Owned(self.meta_field(*field))),
            Node::Ref(slot) => self.named(*slot),
            Node::Coalesce(nodes) => self.coalesce(nodes),
            Node::Arithmetic(operation, nodes) => self.arithmetic(*operation, nodes),
            Node::Compare(comparison, pair) => self.compare(*comparison, pair),
            Node::And(nodes) => self.any_is(nodes, false).map(|found| owned(!found)),
            Node::Or(nodes) => self.any_is(nodes, true).map(owned),
            Node::Not(node) => Ok(owned(!self.condition(node)?)),
            Node::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                let taken = if self.condition(condition)? {
                    then
                } else {
                    otherwise
                };
                self.eval(taken)
            }
            Node::Switch { on, cases, default } => self.switch(on, cases, default),
            Node::List(nodes) => {
                let items = nodes.iter().map(|node| Ok(self.eval(node)?.into_owned()));
                let items = items.collect::<Result<Vec<_>, ProgramError>>()?;
                self.made(Value::Array(items))
            }
            Node::Object(members) => {
                let members = members.iter();
                let members =
                    members.map(|(name, node)| Ok((name.clone(), self.eval(node)?.into_owned())));
                let members = members.collect::<Result<Map<_, _>, ProgramError>>()?;
                self.made(Value::Object(members))
            }
            Node::Len(node) => self.len(node),
            Node::Merge(nodes) => self.merge(nodes),
            Node::Set { within, path, to } => {
                let to = self.eval(to)?.into_owned();
                let mut value = self.eval(within)?.into_owned();
                put(&mut value, path, to)?;
                self.made(value)
            }
            Node::Remove { within, path } => {
                let mut value = self.eval(within)?.into_owned();
                take(&mut value, path);
                self.made(value)
            }
            Node::Append { to, value, cap } => self.append(to, value, *cap),
            Node::Concat(_) | Node::Text(..) | Node::Slice(_) | Node::Hash(_) => {
                self.text_operation(node)
            }
        }
    }

    fn charge(&mut self, gas: u64) -> Result<(), ProgramError> {
        match self.gas_left.checked_sub(gas) {
            Some(left) => {
                self.gas_left = left;
                Ok(())
            }
            None => Err(ProgramError::Gas {
                gas_max: self.gas_max,
            }),
        }
    }

    fn charge_bytes(&mut self, bytes: usize) -> Result<(), ProgramError> {
        self.charge((bytes / BYTES_PER_GAS) as u64)
    }

    fn made(&mut self, value: Value) -> Evaluated<'a> {
        self.charge_bytes(weight(&value))?;
        Ok(Cow::Owned(value))
    }

    fn meta_field(&self, field: MetaField) -> Value {
        match field {
            MetaField::StreamSeq => self.meta.stream_seq.into(),
            MetaField::Tenant => self.meta.tenant.as_str().into(),
            MetaField::ViewType => self.meta.view_type.as_str().into(),
        }
    }

    fn named(&mut self, slot: usize) -> Evaluated<'a> {
        if self.results[slot].is_none() {
            let slots = self.slots;
            let result = self.eval(&slots[slot].node)?;
            self.results[slot] = Some(result);
        }
        let result = self.results[slot].clone().expect("it was just put there");
        if let Cow::Owned(value) = &result {
            self.charge_bytes(weight(value))?;
        }
        Ok(result)
    }

    fn coalesce(&mut self, nodes: &'a [Node]) -> Evaluated<'a> {
        for node in nodes {
            let value = self.eval(node)?;
            if !value.is_null() {
                return Ok(value);
            }
        }
        Ok(Cow::Borrowed(&NULL))
    }

    /// Whether a condition is `wanted`; those behind it are not looked at.
    fn any_is(&mut self, nodes: &'a [Node], wanted: bool) -> Result<bool, ProgramError> {
        for node in nodes {
            if self.condition(node)? == wanted {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn whole(&mut self, node: &'a Node, place: &str) -> Result<i64, ProgramError> {
        let value = self.eval(node)?;
        value
            .as_i64()
            .ok_or_else(|| contract(place, "not a whole number of 64 bits"))
    }

    fn arithmetic(&mut self, operation: Arithmetic, nodes: &'a [Node]) -> Evaluated<'a> {
        let (first, rest) = nodes
            .split_first()
            .expect("the compiler wants at least one");
        let mut result = self.whole(first, "arithmetic")?;
        for node in rest {
            let next = self.whole(node, "arithmetic")?;
            let combined = match operation {
                Arithmetic::Add => result.checked_add(next),
                Arithmetic::Sub => result.checked_sub(next),
                Arithmetic::Mul => result.checked_mul(next),
                Arithmetic::Div => result.checked_div(next),
                Arithmetic::Min => Some(result.min(next)),
                Arithmetic::Max => Some(result.max(next)),
            };
            let wrong = || contract("arithmetic", "an overflow, or a division by 0");
            result = combined.ok_or_else(wrong)?;
        }
        Ok(Cow::Owned(result.into()))
    }

    fn compare(&mut self, comparison: Comparison, pair: &'a [Node; 2]) -> Evaluated<'a> {
        let one = self.eval(&pair[0])?;
        let other = self.eval(&pair[1])?;
        self.charge_bytes(weight(&one).min(weight(&other)))?;
        if let Comparison::Eq | Comparison::Ne = comparison {
            return Ok(owned(
                (one == other) == matches!(comparison, Comparison::Eq),
            ));
        }
        let order = match (&*one, &*other) {
            (Value::String(one), Value::String(other)) => one.cmp(other),
            (one, other) => match (one.as_i64(), other.as_i64()) {
                (Some(one), Some(other)) => one.cmp(&other),
                _ => {
                    return Err(contract(
                        "comparison",
                        "neither two texts nor two whole numbers",
                    ));
                }
            },
        };
        Ok(owned(match comparison {
            Comparison::Lt => order == Ordering::Less,
            Comparison::Lte => order != Ordering::Greater,
            Comparison::Gt => order == Ordering::Greater,
            Comparison::Gte | Comparison::Eq | Comparison::Ne => order != Ordering::Less,
        }))
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

    fn text(&mut self, node: &'a Node, place: &str) -> Result<String, ProgramError> {
        match self.eval(node)?.into_owned() {
            Value::String(text) => Ok(text),
            _ => Err(contract(place, "not a text")),
        }
    }

    fn text_operation(&mut self, node: &'a Node) -> Evaluated<'a> {
        let text = match node {
            Node::Concat(nodes) => self.concat(nodes)?,
            Node::Text(operation, node) => {
                let text = self.text(node, "text")?;
                match operation {
                    TextOperation::Lower => text.to_lowercase(),
                    TextOperation::Upper => text.to_uppercase(),
                    TextOperation::Trim => text.trim().to_owned(),
                }
            }
            Node::Slice(parts) => {
                let text = self.text(&parts[0], "slice")?;
                let position = |number: i64| usize::try_from(number).unwrap_or(0);
                let from = position(self.whole(&parts[1], "slice")?);
                let to = position(self.whole(&parts[2], "slice")?);
                text.chars().take(to).skip(from).collect()
            }
            Node::Hash(node) => {
                let text = self.text(node, "hash")?;
                self.charge_bytes(text.len())?;
                hex(&Sha256::digest(text))
            }
            _ => unreachable!("only nodes that give texts come here"),
        };
        self.made(Value::String(text))
    }

    fn concat(&mut self, nodes: &'a [Node]) -> Result<String, ProgramError> {
        let mut text = String::new();
        for node in nodes {
            match &*self.eval(node)? {
                Value::String(piece) => text.push_str(piece),
                Value::Number(number) => text.push_str(&number.to_string()),
                _ => return Err(contract("concat", "neither a text nor a number")),
            }
        }
        Ok(text)
    }

    fn len(&mut self, node: &'a Node) -> Evaluated<'a> {
        let len = match &*self.eval(node)? {
            Value::String(text) => text.chars().count(),
            Value::Array(items) => items.len(),
            Value::Object(members) => members.len(),
            Value::Null => 0,
            _ => return Err(contract("len", "not a text, a list or an object")),
        };
        Ok(Cow::Owned(len.into()))
    }

    fn merge(&mut self, nodes: &'a [Node]) -> Evaluated<'a> {
        let mut merged = Map::new();
        for node in nodes {
            match self.eval(node)?.into_owned() {
                Value::Object(members) if merged.is_empty() => merged = members,
                Value::Object(members) => merged.extend(members),
                Value::Null => {}
                _ => return Err(contract("merge", "not an object")),
            }
        }
        self.made(Value::Object(merged))
    }

    fn append(&mut self, to: &'a Node, value: &'a Node, cap: usize) -> Evaluated<'a> {
        let value = self.eval(value)?.into_owned();
        let mut items = match self.eval(to)?.into_owned() {
            Value::Array(items) => items,
            Value::Null => Vec::new(),
            _ => return Err(contract("append", "not a list")),
        };
        items.push(value);
        items.drain(..items.len().saturating_sub(cap));
        self.made(Value::Array(items))
    }
}

fn owned<'a>(value: bool) -> Cow<'a, Value> {
    Cow::Owned(Value::Bool(value))
}

fn contract(node: &str, what: &str) -> ProgramError {
    ProgramError::Contract {
        node: node.to_owned(),
        what: what.to_owned(),
    }
}

/// The part of `value` at `path`, null where there is none.
fn at<'a>(value: &'a Value, path: &[String]) -> &'a Value {
    path.iter().fold(value, |value, name| match value {
        Value::Object(members) => members.get(name).unwrap_or(&NULL),
        Value::Array(items) => name
            .parse()
            .ok()
            .and_then(|at: usize| items.get(at))
            .unwrap_or(&NULL),
        _ => &NULL,
    })
}

fn event_field<'a>(event: &'a Envelope, path: &[String]) -> Cow<'a, Value> {
    let (name, rest) = path.split_first().expect("the compiler wants a path");
    let text = |text: Option<&String>| text.map_or(Value::Null, |text| text.as_str().into());
    let field = match name.as_str() {
        "payload" => return Cow::Borrowed(at(&event.payload, rest)),
        "tenant_id" => event.tenant_id.as_str().into(),
        "aggregate_id" => event.aggregate_id.as_str().into(),
        "aggregate_type" => event.aggregate_type.as_str().into(),
        "event_type" => event.event_type.as_str().into(),
        "timestamp" => event.timestamp.as_str().into(),
        "event_id" => text(event.event_id.as_ref()),
        "correlation_id" => text(event.correlation_id.as_ref()),
        "traceparent" => text(event.traceparent.as_ref()),
        "aggregate_seq" => event.aggregate_seq.into(),
        "schema_version" => event.schema_version.into(),
        other => {
            let extra = event.extra.get(other);
            return Cow::Borrowed(extra.map_or(&NULL, |extra| at(extra, rest)));
        }
    };
    if rest.is_empty() {
        Cow::Owned(field)
    } else {
        Cow::Borrowed(&NULL)
    }
}

fn put(value: &mut Value, path: &[String], to: Value) -> Result<(), ProgramError> {
    let Some((name, rest)) = path.split_first() else {
        *value = to;
        return Ok(());
    };
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    let members = value
        .as_object_mut()
        .ok_or_else(|| contract("set", "not an object"))?;
    put(members.entry(name).or_insert(Value::Null), rest, to)
}

fn take(value: &mut Value, path: &[String]) {
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    let parent = parents
        .iter()
        .try_fold(value, |value, name| value.get_mut(name));
    if let Some(Value::Object(members)) = parent {
        members.remove(last);
    }
}
