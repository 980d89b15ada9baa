//! `dag/v1`: programs as a graph of small typed steps, written in JSON or YAML, with exact gas.
//!
//! A program has `key` (a text, or a list of texts), `view` (the new view; null removes it), and, where wanted, `when` (false: the event is not for this projection) and `let` (steps with names).
//! A step is a constant, or an object with one member: the operation and its arguments. All numbers are whole, and an overflow is an error.

mod compile;
mod eval;
mod node;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use thiserror::Error;

use self::{
    eval::Run,
    node::{Node, Slot},
};
use super::{Meta, Outcome, Program, ProgramError};
use crate::{
    hex,
    types::{Envelope, ViewId},
};

/// The name of the language in manifests and programs.
pub const LANGUAGE: &str = "dag/v1";

/// The most views that one event may change.
const KEYS_MAX: usize = 64;

/// A compiled program.
#[derive(Debug)]
pub struct DagProgram {
    hash: String,
    gas_max: u64,
    slots: Vec<Slot>,
    when: Option<Node>,
    key: Node,
    view: Node,
}

/// Why a text is no program.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("at {place}: {what}")]
pub struct CompileError {
    /// Where in the program.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    language: String,
    #[serde(default)]
    when: Option<Value>,
    key: Value,
    #[serde(default, rename = "let")]
    named: Map<String, Value>,
    view: Value,
}

impl DagProgram {
    /// Compiles a program that may use `gas_max` for an event.
    ///
    /// # Errors
    /// The first thing that is wrong, and where.
    pub fn compile(source: &Value, gas_max: u64) -> Result<Self, CompileError> {
        let bytes = serde_json::to_vec(source).expect("JSON values are always JSON");
        // The gas is part of what a program does: another bound sets other events aside.
        let digest = Sha256::new()
            .chain_update(&bytes)
            .chain_update(gas_max.to_be_bytes())
            .finalize();
        let hash = hex::short(&digest);
        let source: Source =
            serde_json::from_value(source.clone()).map_err(|error| CompileError {
                place: "program".to_owned(),
                what: error.to_string(),
            })?;
        if source.language != LANGUAGE {
            let what = format!("{:?} is not {LANGUAGE}", source.language);
            return Err(CompileError {
                place: "language".to_owned(),
                what,
            });
        }
        let mut compiler = compile::Compiler::new(&source.named);
        let when = source
            .when
            .as_ref()
            .map(|when| compiler.condition(when))
            .transpose()?;
        let key = compiler.key(&source.key)?;
        let view = compiler.view(&source.view)?;
        Ok(Self {
            hash,
            gas_max,
            slots: compiler.finish()?,
            when,
            key,
            view,
        })
    }

    fn run<'a>(
        &'a self,
        view: Option<&'a Value>,
        event: &'a Envelope,
        meta: &'a Meta<'a>,
    ) -> Run<'a> {
        Run::new(&self.slots, view, event, meta, self.gas_max)
    }

    fn wanted<'a>(&'a self, run: &mut Run<'a>) -> Result<bool, ProgramError> {
        match &self.when {
            None => Ok(true),
            Some(when) => run.condition(when),
        }
    }
}

impl Program for DagProgram {
    fn hash(&self) -> &str {
        &self.hash
    }

    fn keys(&self, event: &Envelope, meta: &Meta<'_>) -> Result<Vec<ViewId>, ProgramError> {
        let mut run = self.run(None, event, meta);
        if !self.wanted(&mut run)? {
            return Ok(Vec::new());
        }
        let wrong = |what: &str| ProgramError::Contract {
            node: "key".to_owned(),
            what: what.to_owned(),
        };
        match run.eval(&self.key)?.as_ref() {
            Value::String(id) => Ok(vec![id.as_str().into()]),
            Value::Array(ids) if ids.len() > KEYS_MAX => Err(wrong("more than 64 keys")),
            Value::Array(ids) => {
                let ids = ids.iter().map(|id| id.as_str().map(ViewId::from));
                let ids = ids
                    .collect::<Option<Vec<_>>>()
                    .ok_or_else(|| wrong("not a list of texts"))?;
                let mut distinct = Vec::with_capacity(ids.len());
                for id in ids {
                    if !distinct.contains(&id) {
                        distinct.push(id);
                    }
                }
                Ok(distinct)
            }
            _ => Err(wrong("neither a text nor a list of texts")),
        }
    }

    fn project(
        &self,
        view: Option<&Value>,
        event: &Envelope,
        meta: &Meta<'_>,
    ) -> Result<Outcome, ProgramError> {
        self.measured(view, event, meta).0
    }

    fn measured(
        &self,
        view: Option<&Value>,
        event: &Envelope,
        meta: &Meta<'_>,
    ) -> (Result<Outcome, ProgramError>, Option<u64>) {
        let mut run = self.run(view, event, meta);
        let new = run.eval(&self.view).map(Cow::into_owned);
        let outcome = new.map(|new| match new {
            Value::Null if view.is_none() => Outcome::Unchanged,
            Value::Null => Outcome::Delete,
            new => Outcome::View(new),
        });
        (outcome, Some(run.gas_used()))
    }
}

#[cfg(test)]
mod tests;
