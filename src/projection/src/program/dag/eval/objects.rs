//! Objects: nodes that make them, and change parts of them.

use serde_json::{Map, Value};

use super::{Evaluated, Failure, Run, contract};
use crate::program::dag::node::Node;

impl<'a> Run<'a> {
    pub(super) fn object(&mut self, members: &'a [(String, Node)]) -> Evaluated<'a> {
        let mut object = Map::new();
        for (name, node) in members {
            object.insert(name.clone(), self.eval(node)?.into_value());
        }
        self.made(Value::Object(object))
    }

    pub(super) fn merge(&mut self, nodes: &'a [Node]) -> Evaluated<'a> {
        let mut merged = Map::new();
        for node in nodes {
            match self.eval(node)?.into_value() {
                Value::Object(members) if merged.is_empty() => merged = members,
                Value::Object(members) => merged.extend(members),
                Value::Null => {}
                _ => return Err(contract("merge", "not an object")),
            }
        }
        self.made(Value::Object(merged))
    }

    pub(super) fn set(
        &mut self,
        within: &'a Node,
        path: &'a [String],
        to: &'a Node,
    ) -> Evaluated<'a> {
        let to = self.eval(to)?.into_value();
        let mut value = self.eval(within)?.into_value();
        put(&mut value, path, to)?;
        self.made(value)
    }

    pub(super) fn remove(&mut self, within: &'a Node, path: &'a [String]) -> Evaluated<'a> {
        let mut value = self.eval(within)?.into_value();
        take(&mut value, path);
        self.made(value)
    }
}

fn put(value: &mut Value, path: &[String], to: Value) -> Result<(), Failure> {
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
