//! Lists: nodes that make them, and loops over them. A loop runs once for each element there is, and each costs.

use serde_json::Value;

use super::{Evaluated, Failure, Run, contract, given::Given};
use crate::program::dag::node::Node;

/// The elements of a list, without a copy of those that are somewhere else.
enum Elements<'a> {
    Seen(std::slice::Iter<'a, Value>),
    Made(std::vec::IntoIter<Value>),
}

impl<'a> Iterator for Elements<'a> {
    type Item = Given<'a>;

    fn next(&mut self) -> Option<Given<'a>> {
        match self {
            Self::Seen(items) => items.next().map(Given::Seen),
            Self::Made(items) => items.next().map(Given::Made),
        }
    }
}

impl<'a> Run<'a> {
    pub(super) fn list(&mut self, nodes: &'a [Node]) -> Evaluated<'a> {
        let items = nodes.iter().map(|node| Ok(self.eval(node)?.into_value()));
        let items = items.collect::<Result<Vec<_>, Failure>>()?;
        self.made(Value::Array(items))
    }

    pub(super) fn append(&mut self, to: &'a Node, value: &'a Node, cap: usize) -> Evaluated<'a> {
        let value = self.eval(value)?.into_value();
        let mut items = match self.eval(to)?.into_value() {
            Value::Array(items) => items,
            Value::Null => Vec::new(),
            _ => return Err(contract("append", "not a list")),
        };
        items.push(value);
        items.drain(..items.len().saturating_sub(cap));
        self.made(Value::Array(items))
    }

    pub(super) fn map(&mut self, over: &'a Node, give: &'a Node) -> Evaluated<'a> {
        let mut items = Vec::new();
        for element in self.elements(over)? {
            let given = self.within([element], give)?;
            items.push(given.into_value());
        }
        self.made(Value::Array(items))
    }

    pub(super) fn filter(&mut self, over: &'a Node, keep: &'a Node) -> Evaluated<'a> {
        let mut items = Vec::new();
        for element in self.elements(over)? {
            self.charge(1)?;
            self.locals.push(element);
            let kept = self.condition(keep);
            let element = self.locals.pop().expect("it was pushed");
            if kept? {
                items.push(element.into_value());
            }
        }
        self.made(Value::Array(items))
    }

    pub(super) fn fold(&mut self, over: &'a Node, from: &'a Node, give: &'a Node) -> Evaluated<'a> {
        let mut result = self.eval(from)?;
        for element in self.elements(over)? {
            result = self.within([result, element], give)?;
        }
        Ok(result)
    }

    /// Runs the step of a loop on what it looks at.
    fn within<const N: usize>(&mut self, locals: [Given<'a>; N], node: &'a Node) -> Evaluated<'a> {
        self.charge(1)?;
        let around = self.locals.len();
        self.locals.extend(locals);
        let given = self.eval(node);
        self.locals.truncate(around);
        given
    }

    /// Null is as good as an empty list: a view begins without any.
    fn elements(&mut self, over: &'a Node) -> Result<Elements<'a>, Failure> {
        Ok(match self.eval(over)? {
            Given::Seen(Value::Array(items)) => Elements::Seen(items.iter()),
            Given::Made(Value::Array(items)) => Elements::Made(items.into_iter()),
            given if given.is_null() => Elements::Seen([].iter()),
            _ => return Err(contract("loop", "not a list")),
        })
    }
}
