//! Texts: nodes that make them out of others, and what counts their parts.

use std::fmt::Write;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Evaluated, Failure, Run, contract, given::Given};
use crate::{
    hex::hex,
    program::dag::node::{Node, TextOperation},
};

impl<'a> Run<'a> {
    pub(super) fn concat(&mut self, nodes: &'a [Node]) -> Evaluated<'a> {
        let mut text = String::new();
        for node in nodes {
            let piece = self.eval(node)?;
            match (piece.as_str(), piece.as_value()) {
                (Some(piece), _) => text.push_str(piece),
                (_, Some(Value::Number(number))) => {
                    write!(text, "{number}").expect("a text takes everything");
                }
                _ => return Err(contract("concat", "neither a text nor a number")),
            }
        }
        self.made(Value::String(text))
    }

    pub(super) fn changed_text(
        &mut self,
        operation: TextOperation,
        node: &'a Node,
    ) -> Evaluated<'a> {
        let given = self.eval(node)?;
        let text = text(&given, "text")?;
        let changed = match operation {
            TextOperation::Lower => text.to_lowercase(),
            TextOperation::Upper => text.to_uppercase(),
            TextOperation::Trim => text.trim().to_owned(),
        };
        self.made(Value::String(changed))
    }

    pub(super) fn slice(&mut self, parts: &'a [Node; 3]) -> Evaluated<'a> {
        let given = self.eval(&parts[0])?;
        let position = |number: i64| usize::try_from(number).unwrap_or(0);
        let from = position(self.whole(&parts[1], "slice")?);
        let to = position(self.whole(&parts[2], "slice")?);
        let text = text(&given, "slice")?;
        let piece = text.chars().take(to).skip(from).collect();
        self.made(Value::String(piece))
    }

    pub(super) fn hash(&mut self, node: &'a Node) -> Evaluated<'a> {
        let given = self.eval(node)?;
        let text = text(&given, "hash")?;
        self.charge_bytes(text.len())?;
        self.made(Value::String(hex(&Sha256::digest(text))))
    }

    pub(super) fn len(&mut self, node: &'a Node) -> Evaluated<'a> {
        let given = self.eval(node)?;
        let len = match (given.as_str(), given.as_value()) {
            (Some(text), _) => text.chars().count(),
            (_, Some(Value::Array(items))) => items.len(),
            (_, Some(Value::Object(members))) => members.len(),
            (_, Some(Value::Null)) => 0,
            _ => return Err(contract("len", "not a text, a list or an object")),
        };
        Ok(Given::Made(len.into()))
    }
}

fn text<'t>(given: &'t Given<'_>, place: &str) -> Result<&'t str, Failure> {
    given.as_str().ok_or_else(|| contract(place, "not a text"))
}
