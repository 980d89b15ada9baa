//! Compiling: from JSON to nodes, with everything checked that can be checked before an event comes.
//!
//! Here is what holds for every step; the operations are in `operations`, the forms of their arguments in `arguments`.

mod arguments;
mod operations;

use std::collections::HashMap;

use serde_json::{Map, Value};

use self::arguments::{list, literal, wrong};
use super::{
    CompileError, EmitSource,
    node::{Emit, Node, Slot, Type},
};

/// How many steps a program may have.
const NODES_MAX: usize = 1_000;
/// How deep steps may stand in steps: running them must not use up the stack.
const DEPTH_MAX: usize = 64;

type Typed = (Node, Type);

/// A name that was compiled.
#[derive(Clone, Copy)]
struct Named {
    slot: usize,
    kind: Type,
    /// How deep steps stand in it.
    height: usize,
}

pub(super) struct Compiler<'s> {
    named: &'s Map<String, Value>,
    known: HashMap<String, Named>,
    /// Names that are being compiled now: to meet one again is a circle.
    open: Vec<String>,
    /// What the loops around a step call what they look at, the outermost first.
    locals: Vec<String>,
    slots: Vec<Slot>,
    /// Whether the view may be read: not where the keys are found.
    view_allowed: bool,
    nodes: usize,
    depth: usize,
    /// The greatest depth since the name that is being compiled was begun.
    deepest: usize,
}

impl<'s> Compiler<'s> {
    pub(super) fn new(named: &'s Map<String, Value>) -> Self {
        Self {
            named,
            known: HashMap::new(),
            open: Vec::new(),
            locals: Vec::new(),
            slots: Vec::new(),
            view_allowed: false,
            nodes: 0,
            depth: 0,
            deepest: 0,
        }
    }

    /// A condition on the event alone.
    pub(super) fn when(&mut self, source: &Value, place: &str) -> Result<Node, CompileError> {
        self.expect(source, place, Type::Bool)
    }

    /// A condition that may look at the view, compiled after what may not.
    pub(super) fn skip(&mut self, source: &Value) -> Result<Node, CompileError> {
        self.view_allowed = true;
        self.expect(source, "skip", Type::Bool)
    }

    /// First all that names views: what is compiled there does not look at one, wherever it is used again.
    pub(super) fn emits(
        &mut self,
        sources: &[(String, EmitSource)],
    ) -> Result<Vec<Emit>, CompileError> {
        let ids = sources.iter().map(|(place, source)| self.id(source, place));
        let ids = ids.collect::<Result<Vec<_>, _>>()?;
        self.view_allowed = true;
        let whole = sources
            .iter()
            .zip(ids)
            .map(|((place, source), (when, view_id))| {
                Ok(Emit {
                    when,
                    view_id,
                    new_view: self.new_view(source, place)?,
                })
            });
        whole.collect()
    }

    fn id(
        &mut self,
        source: &EmitSource,
        place: &str,
    ) -> Result<(Option<Node>, Node), CompileError> {
        let when = source.when.as_ref();
        let when = when.map(|when| self.when(when, &format!("{place}.when")));
        let place = &match place {
            "" => "key".to_owned(),
            place => format!("{place}.view_id"),
        };
        let (view_id, kind) = self.node(&source.view_id, place)?;
        if !kind.fits(Type::Text) && !kind.fits(Type::List) {
            return Err(wrong(place, "must be a text or a list of texts"));
        }
        Ok((when.transpose()?, view_id))
    }

    fn new_view(&mut self, source: &EmitSource, place: &str) -> Result<Node, CompileError> {
        match (&source.new_view, source.delete) {
            (Some(view), false) if place.is_empty() => Ok(self.node(view, "view")?.0),
            (Some(view), false) => Ok(self.node(view, &format!("{place}.new_view"))?.0),
            (None, true) => Ok(Node::Const(Value::Null)),
            _ => Err(wrong(place, "has either a new_view or delete: true")),
        }
    }

    /// Compiles the names that nothing refers to as well: a mistake in them is still a mistake.
    pub(super) fn finish(mut self) -> Result<Vec<Slot>, CompileError> {
        self.view_allowed = true;
        for name in self.named.keys() {
            self.reference(name, "let")?;
        }
        Ok(self.slots)
    }

    fn expect(&mut self, source: &Value, place: &str, wanted: Type) -> Result<Node, CompileError> {
        let (node, kind) = self.node(source, place)?;
        if kind.fits(wanted) {
            return Ok(node);
        }
        Err(wrong(
            place,
            format!("gives {kind:?} where {wanted:?} is wanted"),
        ))
    }

    fn node(&mut self, source: &Value, place: &str) -> Result<Typed, CompileError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(wrong(place, format!("more than {NODES_MAX} steps")));
        }
        self.depth += 1;
        self.reach(self.depth, place)?;
        let compiled = match source {
            Value::Object(members) => self.operation(members, place),
            Value::Array(items) => Ok((Node::List(self.all(items, place, Type::Any)?), Type::List)),
            constant => literal(constant, place),
        };
        self.depth -= 1;
        compiled
    }

    fn reference(&mut self, name: &str, place: &str) -> Result<(usize, Type), CompileError> {
        if let Some(&Named { slot, kind, height }) = self.known.get(name) {
            // It is run as deep as if it stood here.
            self.reach(self.depth + height, place)?;
            return Ok((slot, kind));
        }
        let source = self.named.get(name);
        let source = source.ok_or_else(|| wrong(place, format!("{name:?} is not in let")))?;
        if self.open.iter().any(|open| open == name) {
            return Err(wrong(place, format!("{name:?} needs itself")));
        }
        self.open.push(name.to_owned());
        // It is worked out once, so it cannot depend on where in a loop that is.
        let locals = std::mem::take(&mut self.locals);
        let deepest_before = std::mem::replace(&mut self.deepest, self.depth);
        let (node, kind) = self.node(source, &format!("let.{name}"))?;
        let height = self.deepest - self.depth;
        self.deepest = self.deepest.max(deepest_before);
        self.locals = locals;
        self.open.pop();
        self.slots.push(Slot { node });
        let slot = self.slots.len() - 1;
        self.known
            .insert(name.to_owned(), Named { slot, kind, height });
        Ok((slot, kind))
    }

    fn reach(&mut self, depth: usize, place: &str) -> Result<(), CompileError> {
        self.deepest = self.deepest.max(depth);
        if depth > DEPTH_MAX {
            return Err(wrong(
                place,
                format!("steps stand in steps more than {DEPTH_MAX} deep"),
            ));
        }
        Ok(())
    }

    /// The steps of a list that has at least `least`.
    fn several(
        &mut self,
        argument: &Value,
        place: &str,
        least: usize,
        wanted: Type,
    ) -> Result<Vec<Node>, CompileError> {
        self.all(list(argument, place, least)?, place, wanted)
    }

    fn all(
        &mut self,
        items: &[Value],
        place: &str,
        wanted: Type,
    ) -> Result<Vec<Node>, CompileError> {
        let numbered = items.iter().enumerate();
        numbered
            .map(|(at, item)| self.expect(item, &format!("{place}[{at}]"), wanted))
            .collect()
    }

    fn boxed(
        &mut self,
        argument: &Value,
        place: &str,
        wanted: Type,
    ) -> Result<Box<Node>, CompileError> {
        Ok(Box::new(self.expect(argument, place, wanted)?))
    }

    fn members(
        &mut self,
        argument: &Value,
        place: &str,
    ) -> Result<Vec<(String, Node)>, CompileError> {
        let members = argument
            .as_object()
            .ok_or_else(|| wrong(place, "must be an object"))?;
        let compiled = members.iter().map(|(name, value)| {
            let node = self.node(value, &format!("{place}.{name}"))?.0;
            Ok((name.clone(), node))
        });
        compiled.collect()
    }
}
