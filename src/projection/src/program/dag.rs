//! `dag/v1`: programs as a graph of small typed steps, written in JSON or YAML, with exact gas.
//!
//! A program has `key` (a text, or a list of texts) and `view` (the new view; null removes it), or instead of both a list of them, `emit`.
//! Where wanted it has `when` (false: the event is not for this projection), `skip` (true: the view stays as it is) and `let` (steps with names).
//! A step is a constant, or an object with one member: the operation and its arguments.
//! All numbers are whole, and amounts with fractions are texts; an overflow is an error.

mod compile;
mod decimal;
mod eval;
mod node;

use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use thiserror::Error;

use self::{
    eval::Run,
    node::{Emit, Node, Slot},
};
use super::{KEYS_MAX, Meta, Outcome, Program, ProgramError, written};
use crate::{
    hex,
    types::{Envelope, ViewId},
};

/// The name of the language in manifests and programs.
pub const LANGUAGE: &str = "dag/v1";

/// A compiled program.
#[derive(Debug)]
pub struct DagProgram {
    hash: String,
    gas_max: u64,
    slots: Vec<Slot>,
    when: Option<Node>,
    skip: Option<Node>,
    emits: Vec<Emit>,
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
    #[serde(default)]
    skip: Option<Value>,
    #[serde(default)]
    key: Option<Value>,
    #[serde(default, rename = "let")]
    named: Map<String, Value>,
    #[serde(default, deserialize_with = "written")]
    view: Option<Value>,
    #[serde(default)]
    emit: Vec<EmitSource>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmitSource {
    #[serde(default)]
    when: Option<Value>,
    view_id: Value,
    #[serde(default, deserialize_with = "written")]
    new_view: Option<Value>,
    #[serde(default)]
    delete: bool,
}

impl Source {
    /// What it emits, and where that stands in it.
    fn emits(&mut self) -> Result<Vec<(String, EmitSource)>, CompileError> {
        match (self.key.take(), self.view.take(), &self.emit[..]) {
            (Some(view_id), new_view @ Some(_), []) => {
                let emit = EmitSource {
                    when: None,
                    view_id,
                    new_view,
                    delete: false,
                };
                Ok(vec![(String::new(), emit)])
            }
            (None, None, [_, ..]) => {
                let emits = std::mem::take(&mut self.emit).into_iter().enumerate();
                Ok(emits
                    .map(|(at, emit)| (format!("emit[{at}]"), emit))
                    .collect())
            }
            _ => Err(CompileError {
                place: "program".to_owned(),
                what: "has either key and view, or emit".to_owned(),
            }),
        }
    }
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
        let mut source: Source =
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
        let emits = source.emits()?;
        let mut compiler = compile::Compiler::new(&source.named);
        let when = source.when.as_ref();
        let when = when.map(|when| compiler.when(when, "when")).transpose()?;
        let emits = compiler.emits(&emits)?;
        let skip = source.skip.as_ref();
        let skip = skip.map(|skip| compiler.skip(skip)).transpose()?;
        Ok(Self {
            hash,
            gas_max,
            slots: compiler.finish()?,
            when,
            skip,
            emits,
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

    fn outcome<'a>(
        &'a self,
        run: &mut Run<'a>,
        view: Option<&Value>,
        meta: &Meta<'_>,
    ) -> Result<Outcome, ProgramError> {
        if let Some(skip) = &self.skip
            && run.condition(skip)?
        {
            return Ok(Outcome::Unchanged);
        }
        let new = if let [only] = &self.emits[..] {
            // It was given to this view because this is what it emits for.
            run.eval(&only.new_view)?.into_value()
        } else {
            match self.emitted(run, view, meta)? {
                Some(new) => new,
                None => return Ok(Outcome::Unchanged),
            }
        };
        Ok(match new {
            Value::Null if view.is_none() => Outcome::Unchanged,
            Value::Null => Outcome::Delete,
            new => Outcome::View(new),
        })
    }

    /// What all that is emitted for the view makes of it, one after the other; `None` where nothing is.
    fn emitted<'a>(
        &'a self,
        run: &mut Run<'a>,
        view: Option<&Value>,
        meta: &Meta<'_>,
    ) -> Result<Option<Value>, ProgramError> {
        let mut made: Option<Value> = None;
        for emit in &self.emits {
            let mut for_this = false;
            run.ids(emit, &mut |id| {
                for_this |= meta.view_id.is_some_and(|view_id| view_id.as_str() == id);
                Ok(())
            })?;
            if !for_this {
                continue;
            }
            // Each sees what the one before it made, in steps with names as well.
            let seen = made
                .as_ref()
                .map_or(view, |made| Some(made).filter(|made| !made.is_null()));
            let mut next = run.on(seen);
            let new = next.eval(&emit.new_view)?.into_value();
            let left = next.gas_left();
            run.go_on_with(left);
            made = Some(new);
        }
        Ok(made)
    }
}

impl Program for DagProgram {
    fn hash(&self) -> &str {
        &self.hash
    }

    fn keys(&self, event: &Envelope, meta: &Meta<'_>) -> Result<Vec<ViewId>, ProgramError> {
        let mut run = self.run(None, event, meta);
        if let Some(when) = &self.when
            && !run.condition(when)?
        {
            return Ok(Vec::new());
        }
        let mut keys: Vec<ViewId> = Vec::with_capacity(self.emits.len());
        for emit in &self.emits {
            run.ids(emit, &mut |id| {
                if keys.iter().any(|key| key.as_str() == id) {
                    return Ok(());
                }
                if keys.len() == KEYS_MAX {
                    let error = ProgramError::Contract {
                        node: "key".to_owned(),
                        what: format!("more than {KEYS_MAX} keys"),
                    };
                    return Err(error.into());
                }
                keys.push(id.into());
                Ok(())
            })?;
        }
        Ok(keys)
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
        let outcome = self.outcome(&mut run, view, meta);
        (outcome, Some(run.gas_used()))
    }
}

#[cfg(test)]
mod tests;
