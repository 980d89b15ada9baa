//! Compiling: from JSON to nodes, with everything checked that can be checked before an event comes.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{
    CompileError,
    node::{Arithmetic, Comparison, MetaField, Node, Slot, TextOperation, Type},
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
            slots: Vec::new(),
            view_allowed: false,
            nodes: 0,
            depth: 0,
            deepest: 0,
        }
    }

    pub(super) fn condition(&mut self, source: &Value) -> Result<Node, CompileError> {
        self.expect(source, "when", Type::Bool)
    }

    pub(super) fn key(&mut self, source: &Value) -> Result<Node, CompileError> {
        let (node, kind) = self.node(source, "key")?;
        if kind.fits(Type::Text) || kind.fits(Type::List) {
            return Ok(node);
        }
        Err(wrong("key", "must be a text or a list of texts"))
    }

    pub(super) fn view(&mut self, source: &Value) -> Result<Node, CompileError> {
        self.view_allowed = true;
        Ok(self.node(source, "view")?.0)
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

    fn operation(
        &mut self,
        members: &Map<String, Value>,
        place: &str,
    ) -> Result<Typed, CompileError> {
        let mut members_left = members.iter();
        let (Some((name, argument)), None) = (members_left.next(), members_left.next()) else {
            return Err(wrong(
                place,
                "a step is an object with one member, its operation",
            ));
        };
        let place = &format!("{place}.{name}");
        if let Some(arithmetic) = arithmetic(name) {
            let least = if matches!(arithmetic, Arithmetic::Sub | Arithmetic::Div) {
                2
            } else {
                1
            };
            let items = list(argument, place, least)?;
            return Ok((
                Node::Arithmetic(arithmetic, self.all(items, place, Type::Int)?),
                Type::Int,
            ));
        }
        if let Some(comparison) = comparison(name) {
            let [a, b] = self.some(argument, place, [Type::Any; 2])?;
            return Ok((Node::Compare(comparison, Box::new([a, b])), Type::Bool));
        }
        match name.as_str() {
            "const" => literal(argument, place),
            "event" => Ok((Node::Event(event_path(argument, place)?), Type::Any)),
            "view" if !self.view_allowed => Err(wrong(place, "the keys cannot depend on a view")),
            "view" => Ok((Node::View(path(argument, place)?), Type::Any)),
            "meta" => meta(argument, place),
            "ref" => {
                let name = argument
                    .as_str()
                    .ok_or_else(|| wrong(place, "must be a name"))?;
                let (slot, kind) = self.reference(name, place)?;
                Ok((Node::Ref(slot), kind))
            }
            "if" => self.branch(argument, place),
            "switch" => self.switch(argument, place),
            _ => self.plain(name, argument, place),
        }
    }

    fn plain(&mut self, name: &str, argument: &Value, place: &str) -> Result<Typed, CompileError> {
        Ok(match name {
            "coalesce" => (
                Node::Coalesce(self.all(list(argument, place, 1)?, place, Type::Any)?),
                Type::Any,
            ),
            "and" => (
                Node::And(self.all(list(argument, place, 1)?, place, Type::Bool)?),
                Type::Bool,
            ),
            "or" => (
                Node::Or(self.all(list(argument, place, 1)?, place, Type::Bool)?),
                Type::Bool,
            ),
            "not" => (
                Node::Not(self.boxed(argument, place, Type::Bool)?),
                Type::Bool,
            ),
            "concat" => (
                Node::Concat(self.all(list(argument, place, 1)?, place, Type::Any)?),
                Type::Text,
            ),
            "lower" => (
                Node::Text(
                    TextOperation::Lower,
                    self.boxed(argument, place, Type::Text)?,
                ),
                Type::Text,
            ),
            "upper" => (
                Node::Text(
                    TextOperation::Upper,
                    self.boxed(argument, place, Type::Text)?,
                ),
                Type::Text,
            ),
            "trim" => (
                Node::Text(
                    TextOperation::Trim,
                    self.boxed(argument, place, Type::Text)?,
                ),
                Type::Text,
            ),
            "hash" => (
                Node::Hash(self.boxed(argument, place, Type::Text)?),
                Type::Text,
            ),
            "len" => (
                Node::Len(self.boxed(argument, place, Type::Any)?),
                Type::Int,
            ),
            "slice" => {
                let parts = self.some(argument, place, [Type::Text, Type::Int, Type::Int])?;
                (Node::Slice(Box::new(parts)), Type::Text)
            }
            "list" => (
                Node::List(self.all(list(argument, place, 0)?, place, Type::Any)?),
                Type::List,
            ),
            "object" => (Node::Object(self.members(argument, place)?), Type::Object),
            "merge" => (
                Node::Merge(self.all(list(argument, place, 1)?, place, Type::Any)?),
                Type::Object,
            ),
            "set" => self.set(argument, place)?,
            "remove" => self.remove(argument, place)?,
            "append" => self.append(argument, place)?,
            _ => return Err(wrong(place, "there is no such operation")),
        })
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
        let deepest_before = std::mem::replace(&mut self.deepest, self.depth);
        let (node, kind) = self.node(source, &format!("let.{name}"))?;
        let height = self.deepest - self.depth;
        self.deepest = self.deepest.max(deepest_before);
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

    fn branch(&mut self, argument: &Value, place: &str) -> Result<Typed, CompileError> {
        let [condition, then, otherwise] = fixed(argument, place)?;
        let condition = self.expect(condition, place, Type::Bool)?;
        let (then, one) = self.node(then, place)?;
        let (otherwise, other) = self.node(otherwise, place)?;
        Ok((
            Node::If(Box::new([condition, then, otherwise])),
            one.or(other),
        ))
    }

    fn switch(&mut self, argument: &Value, place: &str) -> Result<Typed, CompileError> {
        let parts = named_parts(argument, place, &["on", "cases", "default"])?;
        let on = self.boxed(parts[0], place, Type::Text)?;
        let cases = self.members(parts[1], place)?;
        let default = self.boxed(parts[2], place, Type::Any)?;
        Ok((Node::Switch { on, cases, default }, Type::Any))
    }

    fn set(&mut self, argument: &Value, place: &str) -> Result<Typed, CompileError> {
        let parts = named_parts(argument, place, &["in", "path", "to"])?;
        let within = self.boxed(parts[0], place, Type::Any)?;
        let to = self.boxed(parts[2], place, Type::Any)?;
        Ok((
            Node::Set {
                within,
                path: longer_path(parts[1], place)?,
                to,
            },
            Type::Object,
        ))
    }

    fn remove(&mut self, argument: &Value, place: &str) -> Result<Typed, CompileError> {
        let parts = named_parts(argument, place, &["in", "path"])?;
        let within = self.boxed(parts[0], place, Type::Any)?;
        Ok((
            Node::Remove {
                within,
                path: longer_path(parts[1], place)?,
            },
            Type::Object,
        ))
    }

    fn append(&mut self, argument: &Value, place: &str) -> Result<Typed, CompileError> {
        let parts = named_parts(argument, place, &["to", "value", "cap"])?;
        let to = self.boxed(parts[0], place, Type::Any)?;
        let value = self.boxed(parts[1], place, Type::Any)?;
        let cap = parts[2]
            .as_u64()
            .and_then(|cap| usize::try_from(cap).ok())
            .filter(|cap| *cap > 0);
        let cap = cap.ok_or_else(|| wrong(place, "cap must be a number above 0"))?;
        Ok((Node::Append { to, value, cap }, Type::List))
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

    fn some<const N: usize>(
        &mut self,
        argument: &Value,
        place: &str,
        wanted: [Type; N],
    ) -> Result<[Node; N], CompileError> {
        let parts: [&Value; N] = fixed(argument, place)?;
        let nodes = parts
            .iter()
            .zip(wanted)
            .map(|(part, wanted)| self.expect(part, place, wanted));
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        Ok(nodes.try_into().expect("as many nodes as parts"))
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

fn wrong(place: &str, what: impl Into<String>) -> CompileError {
    CompileError {
        place: place.to_owned(),
        what: what.into(),
    }
}

fn literal(value: &Value, place: &str) -> Result<Typed, CompileError> {
    if value.is_f64() {
        return Err(wrong(
            place,
            "numbers are whole: fractions round differently here and there",
        ));
    }
    Ok((Node::Const(value.clone()), Type::of(value)))
}

fn list<'v>(argument: &'v Value, place: &str, least: usize) -> Result<&'v [Value], CompileError> {
    let items = argument.as_array().filter(|items| items.len() >= least);
    let items = items.ok_or_else(|| wrong(place, format!("must be a list of at least {least}")))?;
    Ok(items)
}

fn fixed<'v, const N: usize>(
    argument: &'v Value,
    place: &str,
) -> Result<[&'v Value; N], CompileError> {
    let items: Vec<&Value> = list(argument, place, N)?.iter().collect();
    items
        .try_into()
        .map_err(|_| wrong(place, format!("must be a list of {N}")))
}

/// The members `names` of an object that has these and no others.
fn named_parts<'v>(
    argument: &'v Value,
    place: &str,
    names: &[&str],
) -> Result<Vec<&'v Value>, CompileError> {
    let members = argument
        .as_object()
        .filter(|members| members.len() == names.len());
    let parts = members.and_then(|members| names.iter().map(|name| members.get(*name)).collect());
    parts.ok_or_else(|| wrong(place, format!("must be an object of {}", names.join(", "))))
}

fn path(argument: &Value, place: &str) -> Result<Vec<String>, CompileError> {
    let text = argument
        .as_str()
        .ok_or_else(|| wrong(place, "must be a path such as a.b"))?;
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let pieces: Vec<String> = text.split('.').map(str::to_owned).collect();
    if pieces.iter().any(String::is_empty) {
        return Err(wrong(place, "must be a path such as a.b"));
    }
    Ok(pieces)
}

fn longer_path(argument: &Value, place: &str) -> Result<Vec<String>, CompileError> {
    let path = path(argument, place)?;
    if path.is_empty() {
        Err(wrong(place, "must be a path such as a.b"))
    } else {
        Ok(path)
    }
}

fn event_path(argument: &Value, place: &str) -> Result<Vec<String>, CompileError> {
    longer_path(argument, place)
}

fn meta(argument: &Value, place: &str) -> Result<Typed, CompileError> {
    match argument.as_str() {
        Some("stream_seq") => Ok((Node::Meta(MetaField::StreamSeq), Type::Int)),
        Some("tenant") => Ok((Node::Meta(MetaField::Tenant), Type::Text)),
        Some("view_type") => Ok((Node::Meta(MetaField::ViewType), Type::Text)),
        _ => Err(wrong(place, "must be stream_seq, tenant or view_type")),
    }
}

fn arithmetic(name: &str) -> Option<Arithmetic> {
    Some(match name {
        "add" => Arithmetic::Add,
        "sub" => Arithmetic::Sub,
        "mul" => Arithmetic::Mul,
        "div" => Arithmetic::Div,
        "min" => Arithmetic::Min,
        "max" => Arithmetic::Max,
        _ => return None,
    })
}

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        "eq" => Comparison::Eq,
        "ne" => Comparison::Ne,
        "lt" => Comparison::Lt,
        "lte" => Comparison::Lte,
        "gt" => Comparison::Gt,
        "gte" => Comparison::Gte,
        _ => return None,
    })
}
